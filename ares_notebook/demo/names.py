"""Names in the archive: where a file lies, which time it covers, when it is published."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from ares_notebook.demo.grid import advance, open_of
from ares_notebook.demo.symbols import Road

_DATE = re.compile(r"-(\d{4}-\d{2})(-\d{2})?\.zip$")
_KEY = re.compile(
    r"data/(?P<road>spot|futures/um)/(?P<cadence>daily|monthly)/(?P<kind>[A-Za-z]+)/(?P<symbol>[^/]+)/"
    r"(?:(?P<interval>[^/]+)/)?(?P<file>[^/]+)\.zip"
)

_LETTERS = {"monthly": len("2017-08"), "daily": len("2017-08-17")}
_DAILY_DELAY = timedelta(hours=4)
_MONTHLY_DELAY = timedelta(hours=2, minutes=1)


def month_after(moment: datetime) -> datetime:
    """First of the month after."""
    # Day 28 plus four days is always in the next month.
    return (moment.replace(day=28) + timedelta(days=4)).replace(day=1)


def ms_of(moment: datetime) -> int:
    """Milliseconds since the epoch."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def moment_of(time_ms: int) -> datetime:
    """The UTC time that is so many milliseconds after the epoch."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the archive that has files in it."""

    # Spot or USD-M futures.
    road: Road
    # What time a file covers.
    cadence: str
    # ``klines``, ``aggTrades`` or ``fundingRate``.
    kind: str
    # The symbol.
    symbol: str
    # Of k-lines, as the archive spells it: the month is ``1mo``.
    interval: str | None = None

    @property
    def path(self) -> str:
        """The folder's keys begin with this."""
        road = "spot" if self.road == "spot" else "futures/um"
        deeper = f"{self.interval}/" if self.interval else ""
        return f"data/{road}/{self.cadence}/{self.kind}/{self.symbol}/{deeper}"

    def key(self, start: datetime) -> str:
        """Key of the file whose period starts then."""
        return f"{self._stem}{start.isoformat()[: _LETTERS[self.cadence]]}.zip"

    def keys(self, first: datetime, last: datetime) -> Iterator[str]:
        """Keys of all periods from the one of *first* to the one of *last*."""
        start = _midnight(first)
        if self.cadence == "monthly":
            start, last = start.replace(day=1), max(last, start)
        stem = self._stem
        for stamp in _stamps(self.cadence, start, _midnight(last)):
            yield f"{stem}{stamp}.zip"

    @property
    def _stem(self) -> str:
        """What all keys of the folder begin with."""
        return f"{self.path}{self.symbol}-{self.interval or self.kind}-"


def parse(key: str) -> tuple[Folder, datetime, datetime] | None:
    """Folder, start and end of the archive file that *key* names, or None if it names none."""
    found, span = _KEY.fullmatch(key), period_of(key)
    if found is None or span is None:
        return None
    road: Road = "spot" if found["road"] == "spot" else "um"
    folder = Folder(road, found["cadence"], found["kind"], found["symbol"], found["interval"])
    return (folder, *span) if folder.key(span[0]) == key else None


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
    return start, start + timedelta(days=1) if day else month_after(start)


def published_at(key: str) -> datetime:
    """
    When the exchange publishes a file.

    A daily one four hours after its day; a monthly one on the first Monday after its
    month, at 02:01 UTC, but not while its last candle is open: the first Monday is when
    the last week of any month is over, three-day candles may take longer. What has no
    period in its name has always been there.
    """
    return _zip_published_at(key.removesuffix(".CHECKSUM"))


# A listing of years has thousands, and is asked for again and again.
@lru_cache(maxsize=1 << 14)
def _zip_published_at(zip_key: str) -> datetime:
    """`published_at` of a zip file."""
    span = period_of(zip_key)
    if span is None:
        return datetime(2017, 7, 14, tzinfo=UTC)
    start, end = span
    if end - start == timedelta(days=1):
        return end + _DAILY_DELAY
    monday = end + timedelta(days=-end.weekday() % 7)
    if "/3d/" in zip_key:
        last_open = open_of("3d", ms_of(end) - 1)
        monday = max(monday, moment_of(advance("3d", last_open, 1)))
    return monday + _MONTHLY_DELAY


@lru_cache(maxsize=64)
def _stamps(cadence: str, start: datetime, last: datetime) -> tuple[str, ...]:
    """Days or months as keys have them, from one to another, both inclusive."""
    stamps = []
    while start <= last:
        stamps.append(start.isoformat()[: _LETTERS[cadence]])
        start = month_after(start) if cadence == "monthly" else start + timedelta(days=1)
    return tuple(stamps)


def _midnight(moment: datetime) -> datetime:
    """Start of a day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
