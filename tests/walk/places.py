"""Where the walk goes: a few series of the demo market, their windows, and the moments in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ares_notebook.demo.archive import Folder
from ares_notebook.model.files import CacheFile, Series, files_between
from ares_notebook.model.time import INTERVALS

TRADES_PER_DAY = 6_000
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Place:
    """
    A window of one series, in whole files.

    Parameters
    ----------
    dataset, symbol, interval : str
        The interval is empty where there is none.
    first, last : str
        ISO dates, half-open.
    """

    dataset: str
    symbol: str
    interval: str
    first: str
    last: str

    def __repr__(self) -> str:
        """How a sequence names it."""
        return " ".join(filter(None, (self.dataset, self.symbol, self.interval)))

    @property
    def start(self) -> datetime:
        """Of the first file."""
        return datetime.fromisoformat(self.first).replace(tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """Of the last file."""
        return datetime.fromisoformat(self.last).replace(tzinfo=UTC)

    @property
    def series(self) -> Series:
        """As the package names it."""
        return Series.of(self.dataset, self.symbol, self.interval or None)

    @property
    def files(self) -> list[CacheFile]:
        """Oldest first."""
        return files_between(self.series, self.start, self.end)

    @property
    def step_us(self) -> int:
        """How long after its stamp a row is closed."""
        return (INTERVALS[self.interval] or 0) * 1000 if self.interval else 0

    def years(self, end: datetime) -> float:
        """The lookback that begins in the first file."""
        return max(end - self.start - _HOUR / 2, _HOUR / 2) / timedelta(days=365.25)

    def moments(self) -> list[datetime]:
        """Ends of downloads: those of the files, and some inside each of them, off the grid too."""
        inside = [
            file.period.start + (file.period.end - file.period.start) * share
            for file in self.files
            for share in (1 / 8, 13 / 31)
        ]
        return sorted({*inside, *self.borders()})

    def borders(self) -> list[datetime]:
        """Ends of windows: those of the files, and a day (of trades 6 hours) inside each, on the grid."""
        step = timedelta(days=1) if self.dataset != "agg_trades" else 6 * _HOUR
        ends = {file.period.end for file in self.files}
        return sorted(ends | {end - 2 * step for end in ends})

    def folder(self, cadence: str) -> Folder:
        """The folder of the archive that has its files."""
        kinds = {"klines": "klines", "agg_trades": "aggTrades", "futures": "fundingRate"}
        source = "um" if self.dataset == "futures" else "spot"
        return Folder(source, cadence, kinds[self.dataset], self.symbol, self.interval or None)

    def keys(self) -> list[str]:
        """Keys of the archive's zips: of the months and of one day of each, or of the days."""
        daily = [self.folder("daily").key(file.period.start) for file in self.files]
        if self.dataset == "agg_trades":
            return daily
        monthly = [self.folder("monthly").key(file.period.start) for file in self.files]
        return monthly if self.dataset == "futures" else [*monthly, *daily]


PLACES = (
    Place("klines", "BTCUSDT", "1h", "2025-02-01", "2025-04-01"),
    Place("agg_trades", "BTCUSDT", "", "2025-03-13", "2025-03-16"),
    Place("futures", "BTCUSDT", "", "2025-01-01", "2025-04-01"),
    Place("klines", "BTCUSDT", "1d", "2025-01-01", "2025-04-01"),
    Place("klines", "ETHUSDT", "1h", "2025-02-01", "2025-04-01"),
    Place("agg_trades", "ETHUSDT", "", "2025-03-13", "2025-03-16"),
    Place("klines", "MATICUSDT", "1h", "2024-08-01", "2024-11-01"),
    Place("agg_trades", "MATICUSDT", "", "2024-09-09", "2024-09-12"),
    Place("futures", "MATICUSDT", "", "2024-08-01", "2024-11-01"),
    Place("klines", "币安人生USDT", "1h", "2025-09-01", "2025-12-01"),
    Place("agg_trades", "币安人生USDT", "", "2025-10-06", "2025-10-09"),
    Place("futures", "币安人生USDT", "", "2025-09-01", "2025-12-01"),
    Place("klines", "BTCUSDT", "15m", "2025-03-01", "2025-05-01"),
)
"""A halt on 2025-03-14, an end on 2024-09-10, a beginning on 2025-10-07."""

BY_NAME = {str(place): place for place in PLACES}

LISTED_IN_THE_WINDOW = "币安人生USDT"
