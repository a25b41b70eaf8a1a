"""Plan a download: what is wanted, what is there, what is to be done with each file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from msgspec import structs

from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step, decide
from ares_notebook.download.estimate import Cost, by_own_days, sized, trades_in_words
from ares_notebook.errors import BadArgument
from ares_notebook.formatting import block, line, table
from ares_notebook.model.datasets import datasets_named
from ares_notebook.model.files import CacheFile, Series, files_between
from ares_notebook.model.markets import SPOT, Market, market_named
from ares_notebook.model.symbols import Listed, Universe, validate_symbol
from ares_notebook.model.time import Period, as_utc, to_ms, utc, validate_interval
from ares_notebook.model.window import Lookback, window_in_words, window_of
from ares_notebook.settings import Settings, settings_given

if TYPE_CHECKING:
    import pandas as pd

    from ares_notebook.binance.archive import Archive


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What a download will do, file by file; made without touching the network.

    Printing it is the dry run. Iterating gives its steps, oldest first a dataset.
    """

    settings: Settings
    symbol: str
    interval: str | None
    # The window as asked for, aware UTC, half-open.
    start: datetime
    end: datetime
    steps: tuple[Step, ...]
    # Whether it ends earlier than requested, since the exchange's clock is not there yet, or
    # could not be asked.
    is_cut_short: bool = False

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def to_do(self) -> tuple[Step, ...]:
        """The steps that are not *skip*."""
        return tuple(step for step in self.steps if step.action != "skip")

    @property
    def cost(self) -> Cost:
        """Files, rows, bytes, requests, weight and time, estimated."""
        return Cost.of(self.steps, self.settings)

    @property
    def rows(self) -> int:
        """Rows to come, estimated."""
        return self.cost.rows

    @property
    def bytes_received(self) -> int:
        """Bytes to come over the line, estimated or (after `measure`) exact for the archive's."""
        return self.cost.bytes_received

    @property
    def bytes_stored(self) -> int:
        """Bytes to be written to the cache, estimated."""
        return self.cost.bytes_stored

    @property
    def requests(self) -> int:
        """Requests to be made, estimated."""
        return self.cost.requests

    def ending(self, end: datetime) -> Plan:
        """The same plan with an earlier end: what is not closed by then is left out."""
        begun = [step for step in self.steps if step.file.period.start < end]
        cut = [
            decide(step.entry, min(step.until_ms, to_ms(end)), self.settings.source)
            for step in begun
        ]
        steps = [
            structs.replace(now, is_recheck=step.is_recheck)
            for now, step in zip(cut, begun, strict=True)
        ]
        return replace(self, end=end, steps=tuple(steps))

    async def measure(self) -> Plan:
        """
        The same plan with the exact sizes of the archive's files, by its listing.

        A listing that fails leaves the estimate.
        """
        from ares_notebook.binance.archive import Archive  # noqa: PLC0415 - slow to import
        from ares_notebook.binance.http import Transport  # noqa: PLC0415 - as above

        async with Transport(self.settings) as transport:
            archive = Archive(transport, Path(tempfile.gettempdir()))
            return await self.measured_by(archive)

    async def measured_by(self, archive: Archive) -> Plan:
        """The same as `measure`, asked over *archive*."""
        import asyncio  # noqa: PLC0415 - slow to import, and not needed to plan

        steps = await asyncio.gather(*(sized(step, archive) for step in self.steps))
        return replace(self, steps=tuple(steps))

    def to_frame(self) -> pd.DataFrame:
        """
        A row a step: dataset, file, action, reason, road, rows, bytes_received, bytes_stored,
        requests.
        """
        import pandas as pd  # noqa: PLC0415 - slow to import, and not needed to plan

        return pd.DataFrame(
            {
                "dataset": step.file.dataset.name,
                "file": step.file.name,
                "action": step.action,
                "reason": step.reason,
                "road": step.sources[0] if step.sources else "",
                "rows": step.rows,
                "bytes_received": step.bytes_received,
                "bytes_stored": step.bytes_stored,
                "requests": step.requests,
            }
            for step in self.steps
        )

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = [f"  {_in_words(group)}" for group in _groups(self.steps)]
        return "\n".join([self._headline(), *lines, *self._sums()])

    def _repr_html_(self) -> str:
        """The same for a notebook; all text from outside is escaped."""
        rows = [_cells(group) for group in _groups(self.steps)]
        return block(self._headline(), table(_TOLD, rows), *map(line, self._sums()))

    def _headline(self) -> str:
        what = " ".join(filter(None, (self.symbol, self.interval)))
        when = window_in_words(self.start, self.end)
        return f"Plan for {what}: {when}{self._widened()}; into {self.settings.cache_dir}"

    def _sums(self) -> list[str]:
        """What it will cost, and how much of it trades are, where they are not all of it."""
        trades = [step for step in self.to_do if step.file.dataset.key == "id"]
        others = any(step.file.dataset.key != "id" for step in self.steps)
        shares = [f"Of that {trades_in_words(trades)}."] if trades and others else []
        return [str(self.cost), *shares]

    def _widened(self) -> str:
        """Where the first file begins, if that is before the window."""
        first = min((step.file.period.start for step in self.steps), default=self.start)
        return "" if first >= self.start else f" (whole files, from {first:%Y-%m-%d})"


def _groups(steps: Iterable[Step]) -> list[list[Step]]:
    """Neighbours with the same action, reason and source, which take one line."""
    groups: list[list[Step]] = []
    for step in steps:
        if groups and _alike(groups[-1][-1], step):
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups


def _alike(one: Step, other: Step) -> bool:
    return (one.file.dataset, one.action, one.reason, one.sources[:1]) == (
        other.file.dataset,
        other.action,
        other.reason,
        other.sources[:1],
    )


_TOLD = ("action", "files", "which", "why", "by")


def _cells(group: Sequence[Step]) -> tuple[str, str, str, str, str]:
    """The cells of one line, for steps that are alike; see `_TOLD`."""
    first, last = group[0], group[-1]
    names = first.file.name
    if len(group) > 1:
        names = f"{names.removesuffix('.csv')} … {last.file.stamp}"
    return (
        first.action,
        f"{len(group)}",
        names,
        first.reason,
        first.sources[0] if first.sources else "",
    )


def _in_words(group: Sequence[Step]) -> str:
    action, count, names, reason, source = _cells(group)
    files = f"{count} file" if len(group) == 1 else f"{count} files"
    return f"{action:<6} {files:>10}  {names}: {reason}{f', by {source}' if source else ''}"


def plan_downloads(
    symbol: str,
    interval: str | None,
    lookback_years: Lookback | None = None,
    *,
    start: datetime | date | str | None = None,
    end: datetime | date | str | None = None,
    settings: Settings | None = None,
    datasets: Sequence[str] = ("klines", "agg_trades", "futures"),
) -> Plan:
    """
    Return for each file of a download whether it would be skipped, extended or fetched, and why.

    Reads the cache only, and writes nothing into it.

    Parameters
    ----------
    symbol : str
    interval : str or None
        Needed where *datasets* has candles.
    lookback_years, start, end, settings, datasets
        As in `download_all_data`.

    Returns
    -------
    Plan
        Its steps, and what they will cost: ``rows``, ``requests``, ``bytes_received``,
        ``bytes_stored``, all estimated; ``await plan.measure()`` asks the archive's
        listing for the exact sizes. Printing it is the dry run.

    Raises
    ------
    BadArgument
        If an argument is invalid.
    CacheUnavailable
        If the cache folder cannot be read.

    Examples
    --------
    >>> plan = plan_downloads("ETHUSDT", "1d", 0.5, end="2024-07-01", datasets=("klines",))
    >>> len(plan), plan.to_do[0].action, plan.to_do[0].reason
    (7, 'fetch', 'not downloaded')
    """
    chosen = settings_given(settings)
    window = window_of(lookback_years, start, end)
    return make_plan(symbol, interval, window, chosen, datasets)


def make_plan(
    symbol: str,
    interval: str | None,
    window: Period,
    settings: Settings,
    datasets: Sequence[str],
    *,
    store: Store | None = None,
) -> Plan:
    """The plan for *window*; *store* if the cache is looked at already, else as `plan_downloads`."""
    start, end = window
    checked = validate_symbol(symbol)
    wanted = datasets_named(datasets)
    store = store or Store(settings)
    steps: list[Step] = []
    for dataset in wanted:
        series = Series.of(dataset, checked, interval)
        entries = store.entries(files_between(series, start, end))
        decided = [decide(entry, to_ms(end), settings.source) for entry in entries]
        steps += by_own_days(decided) if dataset.key == "id" else decided
    shown = validate_interval(interval) if interval is not None else None
    return Plan(settings, checked, shown, start, end, tuple(steps))


def together(parts: Sequence[Plan]) -> Plan:
    """One plan of several for one symbol, at least one."""
    intervals = dict.fromkeys(part.interval for part in parts if part.interval)
    return replace(
        parts[0],
        interval=",".join(intervals) or None,
        start=min(part.start for part in parts),
        end=max(part.end for part in parts),
        steps=tuple(step for part in parts for step in part.steps),
    )


# Whose last published day is so long before that of the others is not traded any more.
_LATE = timedelta(days=10)
# The archive of futures begins there, and what is in it from the first may be older.
_FUTURES_BEGIN = date(2019, 12, 31)
# A candle of three days or a week may open so long before the listing.
_LONGEST_CANDLE = timedelta(days=6)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Symbols, each once, and the days on which they were listed, where a table states these."""

    listed: tuple[Listed, ...]
    # The market of these days; they say nothing of other markets.
    market: Market = SPOT
    # The last day of any: what ends near to it is traded still.
    until: date | None = None

    @classmethod
    def of(cls, symbols: Sequence[str] | pd.DataFrame) -> Wanted:
        """Read what a caller gives: names, or a table with at least a column ``symbol``."""
        if isinstance(symbols, Universe):
            msg = f"{symbols}: list them first, and pass the table of `await ares.list_symbols(…)`"
            raise BadArgument(msg)
        # Asked of itself: pandas is slow to import, and who has a table has it.
        is_table = hasattr(symbols, "columns")
        given = (
            _rows(cast("pd.DataFrame", symbols))
            if is_table
            else _names(cast("Sequence[str]", symbols))
        )
        listed = tuple({each.symbol: each for each in given}.values())
        if not listed:
            msg = "symbols is empty; name one, or filter less"
            raise BadArgument(msg)
        told = getattr(symbols, "attrs", {})
        until = told.get("until") or max((each.last for each in listed if each.last), default=None)
        return cls(
            listed,
            # What it says is checked as what a caller says.
            market_named(told.get("market", SPOT.name)),
            None if until is None else as_utc(until, "until").date(),
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(each.symbol for each in self.listed)

    def window(self, listed: Listed, series: Series, window: Period) -> Period | None:
        """
        What to ask for of a series, within *window*: whole files while it was listed; None if
        nothing.
        """
        start, end = window
        if series.market is not self.market:
            return window
        if listed.first is not None and not self._may_be_older(listed.first):
            opened = timedelta() if series.interval not in ("3d", "1w") else _LONGEST_CANDLE
            start = max(start, _midnight(listed.first) - opened)
        if listed.last is not None and self._is_over(listed.last):
            # Up to where the last candle of the last file is closed, so that the file is whole.
            last = CacheFile.of(series, _midnight(listed.last))
            end = min(end, utc(last.grid_end_ms))
        return Period(start, end) if start < end else None

    def has(self, listed: Listed, file: CacheFile) -> bool:
        """Whether a file begins before the symbol was delisted; the last candle may reach beyond."""
        last = listed.last
        if file.series.market is not self.market or last is None or not self._is_over(last):
            return True
        return file.period.start.date() <= last

    def _is_over(self, last: date) -> bool:
        return self.until is not None and last < self.until - _LATE

    def _may_be_older(self, first: date) -> bool:
        return self.market is not SPOT and first <= _FUTURES_BEGIN


def _names(symbols: Iterable[str]) -> Iterator[Listed]:
    # One name alone is what it looks like, and no sequence of letters.
    is_one = isinstance(symbols, str) or not isinstance(symbols, Iterable)
    names = [cast("str", symbols)] if is_one else symbols
    return (Listed(validate_symbol(name)) for name in names)


def _rows(table: pd.DataFrame) -> Iterator[Listed]:
    if "symbol" not in table:
        msg = f"symbols has no column 'symbol', but {list(table)}; take a table of list_symbols"
        raise BadArgument(msg)
    nothing = [None] * len(table)
    days = [table.get(name, nothing) for name in ("first", "last")]
    for symbol, first, last in zip(table["symbol"], *days, strict=True):
        yield Listed(validate_symbol(symbol), _day(first, "first"), _day(last, "last"))


def _day(value: Any, column: str) -> date | None:
    """A cell as a day; any of pandas' ways to say that it is not known is None."""
    # What is not known is not even itself.
    if value is None or value != value:  # noqa: PLR0124 - NaT and NaN
        return None
    if isinstance(value, datetime):
        return value.date()
    return as_utc(value, column).date()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
