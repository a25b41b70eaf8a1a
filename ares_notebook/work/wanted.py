"""Which symbols are wanted, and of what time: names, or a table that tells when each was listed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, cast

from ares_notebook.errors import BadArgument
from ares_notebook.market.periods import Period, as_utc, utc
from ares_notebook.market.series import CacheFile, Series
from ares_notebook.market.symbols import validate_symbol
from ares_notebook.market.universe import Listed, Market, Universe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Wanted"]

# Whose last published day is so long before that of the others is not traded any more.
_LATE = timedelta(days=10)
# The archive of futures begins there, and what is in it from the first may be older.
_FUTURES_BEGIN = date(2019, 12, 31)
# A candle of three days or a week may open so long before the listing.
_LONGEST_CANDLE = timedelta(days=6)


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    Symbols, each once, and the days on which they were listed as far as these are told.

    Parameters
    ----------
    listed : tuple of Listed
    market : {"spot", "futures"}
        Where they were listed on these days; of the other market nothing is told.
    until : date, optional
        The last day of any: what ends near to it is traded still.
    """

    listed: tuple[Listed, ...]
    market: Market = "spot"
    until: date | None = None

    @classmethod
    def of(cls, symbols: Sequence[str] | pd.DataFrame) -> Wanted:
        """
        Read what a caller gives: names, or a table with at least a column ``symbol``.

        Raises
        ------
        BadArgument
            If no symbol is given, or one that cannot be one.
        """
        if isinstance(symbols, Universe):
            msg = f"{symbols}: list them first, plan_universe(await list_symbols(…), …)"
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
            msg = "symbols is empty, so there is nothing to download; name one, or filter less"
            raise BadArgument(msg)
        told = getattr(symbols, "attrs", {})
        until = told.get("until") or max((each.last for each in listed if each.last), default=None)
        return cls(
            listed,
            # What it says is checked as what a caller says.
            Universe(market=told.get("market", "spot")).market,
            None if until is None else as_utc(until, "until").date(),
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(each.symbol for each in self.listed)

    def window(self, listed: Listed, series: Series, window: Period) -> Period | None:
        """
        What to ask for of a series, within *window*: whole files while it was listed; None if nothing.

        Parameters
        ----------
        listed : Listed
        series : Series
        window : Period
        """
        start, end = window
        if series.dataset.market != self.market:
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
        if file.dataset.market != self.market or last is None or not self._is_over(last):
            return True
        return file.period.start.date() <= last

    def _is_over(self, last: date) -> bool:
        return self.until is not None and last < self.until - _LATE

    def _may_be_older(self, first: date) -> bool:
        return self.market == "futures" and first <= _FUTURES_BEGIN


def _names(symbols: Iterable[str]) -> Iterator[Listed]:
    # One name alone is what it looks like, and no sequence of letters.
    names = [symbols] if isinstance(symbols, str) else symbols
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
