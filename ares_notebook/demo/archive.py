"""The archive: keys of its files, when they are published, zip files, and S3's responses for them."""

from __future__ import annotations

import hashlib
import re
import struct
import threading
import zlib
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from typing import Protocol
from xml.sax.saxutils import escape

from ares_notebook.demo.server import XML, Response, error
from ares_notebook.demo.symbols import ARCHIVE_PATHS, Product, moment_of, ms_of
from ares_notebook.demo.tables import advance, open_of

CHECKSUM = ".CHECKSUM"

_DATE = re.compile(r"-(\d{4}-\d{2})(-\d{2})?\.zip$")
_KEY = re.compile(
    r"data/(spot|futures/um|futures/cm)/(daily|monthly)/([A-Za-z]+)/([^/]+)/(?:([^/]+)/)?([^/]+)\.zip"
)
_PRODUCTS = {path: product for product, path in ARCHIVE_PATHS.items()}
_DATE_LENGTHS = {"monthly": len("2017-08"), "daily": len("2017-08-17")}
_DAILY_DELAY = timedelta(hours=4)
_MONTHLY_DELAY = timedelta(hours=2, minutes=1)
_ALWAYS_PUBLISHED = datetime(2017, 7, 14, tzinfo=UTC)
_DIGEST_AND_BLANKS = 66
_MAX_KEYS = 1_000


# --- keys ---


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the archive that has files in it."""

    product: Product
    # ``daily`` or ``monthly``: what time a file covers.
    cadence: str
    # ``klines``, ``aggTrades``, ``fundingRate``, ``metrics`` or one of `PRICE_KINDS`.
    kind: str
    # Or the pair of an index.
    symbol: str
    # Of k-lines, as the archive spells it: the month is ``1mo``.
    interval: str | None = None

    @property
    def path(self) -> str:
        """The folder's keys begin with this."""
        interval = f"{self.interval}/" if self.interval else ""
        product = ARCHIVE_PATHS[self.product]
        return f"data/{product}/{self.cadence}/{self.kind}/{self.symbol}/{interval}"

    @property
    def rest_interval(self) -> str:
        """The interval as REST spells it."""
        return "1M" if self.interval == "1mo" else self.interval or ""

    def key(self, start: datetime) -> str:
        """Key of the file whose period starts then."""
        return self._key(start.isoformat()[: _DATE_LENGTHS[self.cadence]])

    def keys(self, first: datetime, last: datetime) -> Iterator[str]:
        """Keys of all periods from the one of *first* to the one of *last*."""
        start = _midnight(first)
        if self.cadence == "monthly":
            start, last = start.replace(day=1), max(last, start)
        return map(self._key, _dates(self.cadence, start, _midnight(last)))

    def _key(self, date: str) -> str:
        """Key of the file of a date."""
        return f"{self.path}{self.symbol}-{self.interval or self.kind}-{date}.zip"


def parse(key: str) -> tuple[Folder, datetime, datetime] | None:
    """Folder, start and end of the archive file that *key* names, or None if it names none."""
    found, period = _KEY.fullmatch(key), period_of(key)
    if found is None or period is None:
        return None
    folder = Folder(_PRODUCTS[found[1]], found[2], found[3], found[4], found[5])
    return (folder, *period) if folder.key(period[0]) == key else None


def period_of(key: str) -> tuple[datetime, datetime] | None:
    """Start and end (exclusive) of the day or month at the end of a key."""
    found = _DATE.search(key)
    if found is None:
        return None
    month, day = found.groups()
    try:
        start = datetime.fromisoformat(f"{month}{day or '-01'}").replace(tzinfo=UTC)
    except ValueError:
        # 2024-02-30 names nothing.
        return None
    return start, start + timedelta(days=1) if day else _next_month(start)


def member_name(key: str) -> str:
    """Name of the one member of a zip file."""
    return key.rpartition("/")[2].removesuffix(".zip") + ".csv"


def published_at(key: str) -> datetime:
    """
    When the exchange publishes a file; one without a period in its name has always been there.

    A day four hours after it; a month on the first Monday after it, at 02:01 UTC, but later
    where its last three-day candle is open then.
    """
    return _zip_published_at(key.removesuffix(CHECKSUM))


# A listing of years has thousands, and is asked for again and again.
@lru_cache(maxsize=1 << 14)
def _zip_published_at(key: str) -> datetime:
    """`published_at` of a zip file."""
    period = period_of(key)
    if period is None:
        return _ALWAYS_PUBLISHED
    start, end = period
    if end - start == timedelta(days=1):
        return end + _DAILY_DELAY
    monday = end + timedelta(days=-end.weekday() % 7)
    if "/3d/" in key:
        last_open = open_of("3d", ms_of(end) - 1)
        monday = max(monday, moment_of(advance("3d", last_open, 1)))
    return monday + _MONTHLY_DELAY


@lru_cache(maxsize=64)
def _dates(cadence: str, start: datetime, last: datetime) -> tuple[str, ...]:
    """Days or months as keys have them, from one to another, both inclusive."""
    dates = []
    while start <= last:
        dates.append(start.isoformat()[: _DATE_LENGTHS[cadence]])
        start = _next_month(start) if cadence == "monthly" else start + timedelta(days=1)
    return tuple(dates)


def _next_month(moment: datetime) -> datetime:
    """First of the month after."""
    # Day 28 plus four days is always in the next month.
    return (moment.replace(day=28) + timedelta(days=4)).replace(day=1)


def _midnight(moment: datetime) -> datetime:
    """Start of a day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _folders_of(prefix: str, folders: Sequence[str]) -> Iterator[str]:
    """Of all *folders*, sorted, those in which keys may begin with *prefix*."""
    first = bisect_left(folders, prefix)
    # No folder holds another, so that only the one before can hold the prefix.
    if first and prefix.startswith(folders[first - 1]):
        yield folders[first - 1]
    for number in range(first, len(folders)):
        if not folders[number].startswith(prefix):
            break
        yield folders[number]


# --- zip files ---

Chunks = Callable[[], Iterable[bytes]]
"""Makes the text of a file, a piece at a time, as often as it is called."""

_COMPRESSION_LEVELS = (1, 6, 9)
# A stored block of no bytes: what zlib writes to reach a byte border, and legal any number of times.
_EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"
_FINAL_BLOCK = b"\x01\x00\x00\xff\xff"

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_MIDNIGHT, _FIRST_OF_1980 = 0, 0x21
_UTF8 = 0x800
_REGULAR_FILE = 0o100644 << 16


def pack(member: str, chunks: Chunks, size: int | None = None) -> bytes:
    """Make a zip file of one deflated member: the same bytes every time, padded to *size*."""
    headers = _LOCAL.size + _CENTRAL.size + _END.size + 2 * len(member.encode()) + len(_FINAL_BLOCK)
    for level in _COMPRESSION_LEVELS:
        body, crc, length = _deflate(chunks(), level)
        spare = 0 if size is None else size - headers - len(body)
        if spare >= 0:
            blocks, comment = divmod(spare, len(_EMPTY_BLOCK))
            body += _EMPTY_BLOCK * blocks + _FINAL_BLOCK
            return _wrap(member, body, crc, length, b" " * comment)
    msg = f"{member}: {-spare} bytes more than the {size} that were announced"
    raise ValueError(msg)


def _deflate(chunks: Iterable[bytes], level: int) -> tuple[bytes, int, int]:
    """Compress: the stream without its final block, the checksum, the length of the text."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    parts, crc, length = [], 0, 0
    for chunk in chunks:
        parts.append(compressor.compress(chunk))
        crc = zlib.crc32(chunk, crc)
        length += len(chunk)
    parts.append(compressor.flush(zlib.Z_SYNC_FLUSH))
    return b"".join(parts), crc, length


def _wrap(member: str, body: bytes, crc: int, length: int, comment: bytes) -> bytes:
    """Put headers around a deflated stream."""
    name = member.encode()
    sizes = (crc, len(body), length, len(name), 0)
    fields = (20, _UTF8, zlib.DEFLATED, _MIDNIGHT, _FIRST_OF_1980, *sizes)
    local = _LOCAL.pack(b"PK\x03\x04", *fields) + name
    central = _CENTRAL.pack(b"PK\x01\x02", 0x314, *fields, 0, 0, 0, _REGULAR_FILE, 0) + name
    ends = (len(central), len(local) + len(body), len(comment))
    return b"".join((local, body, central, _END.pack(b"PK\x05\x06", 0, 0, 1, 1, *ends), comment))


# --- responses ---


class ArchiveFiles(Protocol):
    """Where the archive takes its files from."""

    def folders(self) -> Sequence[str]:
        """Paths of the folders that have files in them, sorted."""

    def keys(self, folder: str, until: datetime) -> Iterator[str]:
        """Keys of a folder's zip files, sorted, up to the period of *until*."""

    def size(self, key: str) -> int:
        """Bytes of a zip file."""

    def build(self, key: str) -> bytes | None:
        """The zip file, or None if there is none of that name."""

    def checksum(self, key: str) -> bytes | None:
        """A recorded checksum file, or None where one is to be made."""


class S3Archive:
    """Objects under ``/data`` and their listing."""

    def __init__(
        self,
        files: ArchiveFiles,
        now: Callable[[], datetime | None],
        fingerprint: str,
        memory_bytes: int,
    ) -> None:
        self._files = files
        # None: all that there is is published.
        self._now = now
        self._fingerprint = fingerprint
        self._memory_bytes = memory_bytes
        self._zips: OrderedDict[str, bytes] = OrderedDict()
        self._digests: dict[str, str] = {}
        self._building: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self.withheld: set[str] = set()

    def get_object(self, key: str, byte_range: str) -> Response:
        """Respond an object, or a part of it (``bytes=first-last``)."""
        if not self._is_published(key, self._until()):
            return _no_such_key(key)
        is_checksum = key.endswith(CHECKSUM)
        zip_key = key.removesuffix(CHECKSUM)
        body = self._checksum(zip_key) if is_checksum else self._zip(zip_key)
        if body is None:
            return _no_such_key(key)
        size = len(body)
        headers = {
            "Server": "AmazonS3",
            "ETag": self._etag(key, size),
            "Last-Modified": format_datetime(published_at(key), usegmt=True),
            "Accept-Ranges": "bytes",
            "X-Cache": "Miss from cloudfront",
        }
        content_type = "binary/octet-stream" if is_checksum else "application/zip"
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", byte_range)
        if found is None:
            return Response(200, body, content_type, headers)
        first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
        if first > last:
            return Response(416, b"", XML, {"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return Response(206, body[first : last + 1], content_type, headers)

    def warm(self, pattern: str) -> int:
        """Make all published zip files whose keys match, and return how many."""
        until = self._until()
        wanted = [
            key
            for folder in self._files.folders()
            for key in self._files.keys(folder, until)
            if re.search(pattern, key) and self._is_published(key, until)
        ]
        for key in wanted:
            self._checksum(key)
        return len(wanted)

    def _zip(self, key: str) -> bytes | None:
        """A zip file, made once even if many ask for it at once."""
        zips = self._zips
        with self._lock:
            building = self._building.setdefault(key, threading.Lock())
        with building:
            with self._lock:
                if key in zips:
                    zips.move_to_end(key)
                    return zips[key]
            body = self._files.build(key)
            if body is not None:
                with self._lock:
                    zips[key] = body
                    # What was not asked for longest goes first.
                    while sum(map(len, zips.values())) > self._memory_bytes and len(zips) > 1:
                        zips.popitem(last=False)
            return body

    def _checksum(self, key: str) -> bytes | None:
        """A checksum file: the recorded one, or one in the same form."""
        recorded = self._files.checksum(key)
        if recorded is not None:
            return recorded
        if key not in self._digests:
            body = self._zip(key)
            if body is None:
                return None
            self._digests[key] = hashlib.sha256(body).hexdigest()
        return f"{self._digests[key]}  {_checksum_end(key)}".encode()

    def _etag(self, key: str, size: int) -> str:
        """An entity tag, of a multi-part upload: it is not the MD5 of bytes that nobody made yet."""
        text = f"{self._fingerprint}/{key}/{size}"
        return f'"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}-1"'

    def _until(self) -> datetime:
        """The time by which something must have been published, to be there."""
        return self._now() or datetime.max.replace(tzinfo=UTC)

    def _is_published(self, key: str, until: datetime) -> bool:
        """Whether an object of that name would be there at a time."""
        if any(re.search(pattern, key) for pattern in tuple(self.withheld)):
            return False
        return published_at(key) <= until

    def list_objects(self, query: Mapping[str, str]) -> Response:
        """Respond a listing (version 1 of S3's ListObjects)."""
        max_keys = query.get("max-keys", "")
        if max_keys and not max_keys.isdecimal():
            return error(0, "max-keys is not a number", weight=0)
        limit = min(int(max_keys or _MAX_KEYS), _MAX_KEYS)
        prefix, marker = query.get("prefix", ""), query.get("marker", "")
        delimiter = query.get("delimiter", "")
        keys: list[str] = []
        is_truncated = False
        for key in self._listed_keys(prefix, marker, delimiter):
            if len(keys) == limit:
                is_truncated = limit > 0
                break
            keys.append(key)
        next_marker = escape(keys[-1]) if is_truncated and delimiter else ""
        objects = [key for key in keys if not key.endswith("/")]
        parts = [
            '<?xml version="1.0" encoding="UTF-8"?>\n',
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
            f"<Name>data.binance.vision</Name><Prefix>{escape(prefix)}</Prefix>",
            f"<Marker>{escape(marker)}</Marker>",
            f"<NextMarker>{next_marker}</NextMarker>" if next_marker else "",
            f"<MaxKeys>{limit}</MaxKeys>",
            f"<Delimiter>{escape(delimiter)}</Delimiter>" if delimiter else "",
            f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>",
            *map(self._contents, objects),
            *(
                f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>"
                for key in keys
                if key.endswith("/")
            ),
            "</ListBucketResult>",
        ]
        return Response(200, "".join(parts).encode(), XML, {"Server": "AmazonS3"})

    def _listed_keys(self, prefix: str, marker: str, delimiter: str) -> Iterator[str]:
        """Keys after *marker*, in order; those with the delimiter in the rest as common prefixes."""
        common = ""
        for folder in _folders_of(prefix, self._files.folders()):
            # All of it is before the marker.
            if folder < marker and not marker.startswith(folder):
                continue
            if common and folder.startswith(common):
                continue
            for key in self._published_keys(folder, marker):
                if not key.startswith(prefix):
                    continue
                head, found, _ = key[len(prefix) :].partition(delimiter or "\n")
                listed = prefix + head + found
                if listed > marker and listed != common:
                    yield listed
                if found:
                    common = listed
                    if folder.startswith(common):
                        break

    def _published_keys(self, folder: str, marker: str) -> Iterator[str]:
        """Published keys of a folder after *marker*, zip files and their checksums in turn."""
        until = self._until()
        for key in self._files.keys(folder, until):
            for name in (key, key + CHECKSUM):
                # First what costs less: of years of days most are before the marker.
                if name > marker and self._is_published(name, until):
                    yield name

    def _contents(self, key: str) -> str:
        """One object of a listing."""
        zip_key = key.removesuffix(CHECKSUM)
        if zip_key == key:
            size = self._files.size(key)
        else:
            recorded = self._files.checksum(zip_key)
            made = _DIGEST_AND_BLANKS + len(_checksum_end(zip_key).encode())
            size = made if recorded is None else len(recorded)
        modified = f"{published_at(key):%Y-%m-%dT%H:%M:%S.000Z}"
        etag = escape(self._etag(key, size), {'"': "&quot;"})
        return (
            f"<Contents><Key>{escape(key)}</Key><LastModified>{modified}</LastModified>"
            f"<ETag>{etag}</ETag><Size>{size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


def _checksum_end(key: str) -> str:
    """What follows the digest in a checksum file; of futures it ends in a newline."""
    return key.rpartition("/")[2] + ("\n" if "/futures/" in key else "")


def _no_such_key(key: str) -> Response:
    """The response of S3 to a key that it does not have."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message>"
        f"<Key>{escape(key)}</Key><RequestId>DEM0DEM0DEM0DEM0</RequestId>"
        "<HostId>ZGVtbyBleGNoYW5nZTogYSBsb2NhbCBCaW5hbmNl</HostId></Error>"
    )
    return Response(404, text.encode(), XML, {"Server": "AmazonS3"})
