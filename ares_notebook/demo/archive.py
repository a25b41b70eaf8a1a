"""The archive: objects, checksums and listings, in the manner of S3."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from xml.sax.saxutils import escape

from ares_notebook.demo.answers import XML, Answer, error, no_such_key
from ares_notebook.demo.names import published_at
from ares_notebook.demo.shelf import Shelf

_CHECKSUM = ".CHECKSUM"
_HEX_AND_BLANKS = 66
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a listing: an object, or a common prefix (which has no size)."""

    key: str
    size: int = -1


class ArchiveServer:
    """Objects under ``/data`` and their listing."""

    def __init__(
        self,
        shelf: Shelf,
        now: Callable[[], datetime | None],
        fingerprint: str = "",
        memory: int = 256 << 20,
    ) -> None:
        self._shelf = shelf
        self._now = now
        self._fingerprint = fingerprint
        self._memory = memory
        self._made: OrderedDict[str, bytes] = OrderedDict()
        self._digests: dict[str, str] = {}
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self.withheld: set[str] = set()

    # --- objects ---

    def answer(self, key: str) -> Answer:
        """Answer a request for an object."""
        if not self._is_published(key, self._until()):
            return no_such_key(key)
        zip_key = key.removesuffix(_CHECKSUM)
        body = self._checksum(zip_key) if key.endswith(_CHECKSUM) else self._zip(zip_key)
        if body is None:
            return no_such_key(key)
        kind = "binary/octet-stream" if key.endswith(_CHECKSUM) else "application/zip"
        published = format_datetime(published_at(key), usegmt=True)
        return Answer(200, body, kind).having(
            Server="AmazonS3",
            ETag=self._etag(key, len(body)),
            Last_Modified=published,
            Accept_Ranges="bytes",
            X_Cache="Miss from cloudfront",
        )

    def part(self, key: str, wanted: str) -> Answer:
        """Answer a request for a range of an object (``bytes=first-last``)."""
        answer = self.answer(key)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
        if answer.status != HTTPStatus.OK or found is None:
            return answer
        size = len(answer.body)
        first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
        if first > last:
            return Answer(416, b"", XML).having(Content_Range=f"bytes */{size}")
        piece = replace(answer, status=206, body=answer.body[first : last + 1])
        return piece.having(Content_Range=f"bytes {first}-{last}/{size}")

    def warm(self, pattern: str) -> int:
        """Make all published zip files whose keys match, and say how many."""
        until = self._until()
        wanted = [
            key
            for folder in self._shelf.folders()
            for key in self._shelf.keys(folder, until)
            if re.search(pattern, key) and self._is_published(key, until)
        ]
        for key in wanted:
            self._checksum(key)
        return len(wanted)

    def _zip(self, key: str) -> bytes | None:
        """A zip file, made once even if many ask for it at once."""
        with self._lock:
            one_maker = self._making.setdefault(key, threading.Lock())
        with one_maker:
            with self._lock:
                if key in self._made:
                    self._made.move_to_end(key)
                    return self._made[key]
            body = self._shelf.build(key)
            if body is not None:
                self._remember(key, body)
            return body

    def _remember(self, key: str, body: bytes) -> None:
        """Keep a zip file, and let go of the ones that were not asked for longest."""
        with self._lock:
            self._made[key] = body
            while sum(map(len, self._made.values())) > self._memory and len(self._made) > 1:
                self._made.popitem(last=False)

    def _checksum(self, key: str) -> bytes | None:
        """A checksum file: the recorded one, or one in the same form."""
        recorded = self._shelf.checksum(key)
        if recorded is not None:
            return recorded
        if key not in self._digests:
            body = self._zip(key)
            if body is None:
                return None
            self._digests[key] = hashlib.sha256(body).hexdigest()
        name = key.rpartition("/")[2]
        return f"{self._digests[key]}  {name}{_line_end(key)}".encode()

    def _etag(self, key: str, size: int) -> str:
        """
        An entity tag.

        With the ``-1`` of a multi-part upload, which says that it is not the MD5 of the
        bytes: a listing names the tags of files that nobody has made yet.
        """
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

    # --- listings ---

    def listing(self, query: Mapping[str, str]) -> Answer:
        """Answer a request for a listing (version 1 of S3's ListObjects)."""
        size = query.get("max-keys", "")
        if size and not size.isdecimal():
            return error(0, "max-keys is not a number", weight=0)
        limit = min(int(size or _PAGE), _PAGE)
        prefix, marker = query.get("prefix", ""), query.get("marker", "")
        delimiter = query.get("delimiter", "")
        entries: list[Entry] = []
        is_truncated = False
        for entry in self._walk(prefix, marker, delimiter):
            if len(entries) == limit:
                is_truncated = limit > 0
                break
            entries.append(entry)
        shown = [self._measured(entry) for entry in entries]
        text = self._xml((prefix, marker, delimiter), limit, shown, is_truncated=is_truncated)
        return Answer(200, text.encode(), XML, {"Server": "AmazonS3"})

    def _walk(self, prefix: str, marker: str, delimiter: str) -> Iterator[Entry]:
        """Entries after *marker*, in order; those with the delimiter in the rest rolled up."""
        rolled = ""
        for folder in self._shelf.folders():
            # Nothing in the folder can match, or all of it is behind us.
            if not (folder.startswith(prefix) or prefix.startswith(folder)):
                continue
            if folder < marker and not marker.startswith(folder):
                continue
            if rolled and folder.startswith(rolled):
                continue
            for key in self._keys(folder, marker):
                if not key.startswith(prefix):
                    continue
                head, found, _ = (
                    key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
                )
                entry = Entry(prefix + head + found if found else key)
                if entry.key > marker and entry.key != rolled:
                    yield entry
                if found:
                    rolled = entry.key
                    if folder.startswith(rolled):
                        break

    def _keys(self, folder: str, marker: str) -> Iterator[str]:
        """Published keys of a folder after *marker*, zip files and their checksums in turn."""
        until = self._until()
        for key in self._shelf.keys(folder, until):
            for name in (key, key + _CHECKSUM):
                # First what costs less: of years of days most are behind the marker.
                if name > marker and self._is_published(name, until):
                    yield name

    def _measured(self, entry: Entry) -> Entry:
        """The entry with the size of its object."""
        if entry.key.endswith("/"):
            return entry
        zip_key = entry.key.removesuffix(_CHECKSUM)
        if zip_key == entry.key:
            return Entry(entry.key, self._shelf.size(zip_key))
        recorded = self._shelf.checksum(zip_key)
        made = _HEX_AND_BLANKS + len((zip_key.rpartition("/")[2] + _line_end(zip_key)).encode())
        return Entry(entry.key, made if recorded is None else len(recorded))

    def _xml(
        self,
        asked: tuple[str, str, str],
        limit: int,
        entries: list[Entry],
        *,
        is_truncated: bool,
    ) -> str:
        """Write a listing."""
        prefix, marker, delimiter = map(escape, asked)
        following = escape(entries[-1].key) if is_truncated and delimiter else ""
        parts = [
            (
                '<?xml version="1.0" encoding="UTF-8"?>\n'
                '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"<Name>data.binance.vision</Name><Prefix>{prefix}</Prefix><Marker>{marker}</Marker>"
            ),
            f"<NextMarker>{following}</NextMarker>" if following else "",
            f"<MaxKeys>{limit}</MaxKeys>",
            f"<Delimiter>{delimiter}</Delimiter>" if delimiter else "",
            f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>",
        ]
        parts += [self._contents(entry) for entry in entries if entry.size >= 0]
        parts += [
            f"<CommonPrefixes><Prefix>{escape(entry.key)}</Prefix></CommonPrefixes>"
            for entry in entries
            if entry.size < 0
        ]
        return "".join(parts) + "</ListBucketResult>"

    def _contents(self, entry: Entry) -> str:
        """One object of a listing."""
        modified = f"{published_at(entry.key):%Y-%m-%dT%H:%M:%S.000Z}"
        etag = escape(self._etag(entry.key, entry.size), {'"': "&quot;"})
        return (
            f"<Contents><Key>{escape(entry.key)}</Key><LastModified>{modified}</LastModified>"
            f"<ETag>{etag}</ETag><Size>{entry.size}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
        )


def _line_end(key: str) -> str:
    """Checksum files of futures end in a newline, those of spot do not."""
    return "\n" if "/futures/" in key else ""
