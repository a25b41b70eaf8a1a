"""Parse the exchange's CSV into Arrow tables: the slow path, for text the fast path rejects."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from ares_notebook.errors import BadAnswer
from ares_notebook.formatting import refused
from ares_notebook.model.columns import Column, Kind
from ares_notebook.model.datasets import KLINES, Dataset
from ares_notebook.model.rows import (
    MICROSECONDS_FROM,
    UNUSUAL_NUMBER,
    Lines,
    Table,
    empty_rows,
    keys_of,
    lines_of,
    microseconds_of,
    pattern_of,
    plain_number,
    schema_of,
)
from ares_notebook.model.time import GRID_ORIGIN_MS, INTERVALS, Period

_LOGGER = logging.getLogger("DataDownloader")
_Int64s = npt.NDArray[np.int64]

# A candle of September 2017 closes a millisecond late.
_LATEST_CLOSE_MS = 1
# But for months, which differ.
_LENGTHS_MS = frozenset(INTERVALS.values()) - {0}


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of the rows of a block before they are parsed."""

    # The interval of rows on a grid; None where it is not known, or there is no grid.
    interval: str | None = None
    # The columns of a row, in order; None to take those that are published, as many as the first row has.
    columns: tuple[Column, ...] | None = None
    # The number of the first row in error messages, and what it counts.
    first: int = 1
    unit: str = "line"
    # The symbol that rows must have where they have one; None where it is not known.
    symbol: str | None = None
    # From the label of a row to its start, in milliseconds, by the date of its file.
    label_shift_ms: int = 0
    # The period that labels are of; None where it is not known.
    period: Period | None = None

    def position(self, at: int) -> str:
        """The number of row *at* of the block (from 0) for messages."""
        return f"{self.unit} {self.first + at}"

    def check_closes(
        self, opens_us: _Int64s, closes: _Int64s, origin: str, odd: float = KLINES.odd_candles
    ) -> None:
        """
        Refuse candles of another interval than the requested one, by the share that may be *odd*.

        A halt of spot cuts single candles short (in old files the close time may even precede the open
        time), so most must be as long as the interval. A single candle must not be longer, nor
        exactly as long as those of another interval. Where none may be odd, each must also open on
        the grid.
        """
        if self.interval is None or not len(opens_us):
            return
        lengths = _lengths_ms(opens_us, closes)
        wanted = _wanted_ms(self.interval, opens_us // 1000)
        fits = lengths == wanted
        if not odd:
            self._check_opens(opens_us, origin)
            is_valid = bool(fits.all())
        elif len(lengths) > 1:
            is_valid = int(np.count_nonzero(~fits)) <= odd * len(lengths)
        else:
            is_longer = lengths[0] > wanted[0] + _LATEST_CLOSE_MS
            is_valid = bool(fits[0]) or not (is_longer or lengths[0] in _LENGTHS_MS)
        if not is_valid:
            at = int(np.argmin(fits))
            fault = (
                f"it has candles that were not asked for: that in {self.position(at)} is "
                f"{lengths[at] / 1000:,.3f} seconds long, not {self.interval}"
            )
            raise BadAnswer(refused(origin, fault))

    def _check_opens(self, opens_us: _Int64s, origin: str) -> None:
        """Refuse candles that open off the grid."""
        is_on = on_grid(self.interval or "", opens_us // 1000)
        if not is_on.all():
            at = int(np.argmin(is_on))
            fault = f"the candle in {self.position(at)} opens off the grid of {self.interval}"
            raise BadAnswer(refused(origin, fault))


def check_volumes(*, has_volume: bool, has_trades: bool, origin: str) -> None:
    """Refuse candles of a price that is calculated, whose files count samples as candles of trades do trades."""
    if has_trades and not has_volume:
        raise BadAnswer(refused(origin, "its candles count trades, and none has a volume"))


ANY = Expected()
"""Nothing is known in advance."""


def columns_of(dataset: Dataset, header: bytes, rows: bytes, origin: str) -> tuple[Column, ...]:
    """
    The columns of rows that are as wide as the first one.

    The names in a header decide, in any order; a column of another name is not kept. Without a header,
    columns are those that are published.
    """
    width = rows[: rows.find(b"\n")].count(b",") + 1
    named = _columns_named(dataset, header, origin) if header else ()
    is_start = named == dataset.published[: len(named)]
    if not named or (is_start and len(named) < width <= len(dataset.published)):
        unknown = (_unknown(at) for at in range(len(dataset.published), width))
        return (*dataset.published[:width], *unknown)
    if len(named) != width:
        fault = f"its first row has {width} columns, and its header {len(named)}"
        raise BadAnswer(refused(origin, fault))
    return named


def _columns_named(dataset: Dataset, header: bytes, origin: str) -> tuple[Column, ...]:
    """The columns that a header names."""
    text = header.decode("utf-8", "replace")
    names = [cell.strip(' "\r\n').lower() for cell in text.split(",")]
    known = dict(zip(dataset.archive_names, dataset.published, strict=False))
    lacking = [name for name in known if known[name].kind != "ignored" and name not in names]
    twice = [name for name in names if names.count(name) > 1]
    if lacking or twice:
        fault = f"does not name {lacking[0]}" if lacking else f"names {twice[0]!r} twice"
        raise BadAnswer(refused(origin, f"its header {fault}; it is no header of {dataset.name}"))
    return tuple(known.get(name) or _unknown(at) for at, name in enumerate(names))


def _unknown(at: int) -> Column:
    return Column(f"unknown {at}", "ignored")


def on_grid(interval: str, opens_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of the open times are on Binance's grid."""
    if interval == "1M":
        months = opens_ms.astype("datetime64[ms]").astype("datetime64[M]")
        since_open: npt.NDArray[np.int64] = opens_ms - months.astype("datetime64[ms]").astype(int)
    else:
        since_open = (opens_ms - GRID_ORIGIN_MS.get(interval, 0)) % INTERVALS[interval]
    return np.equal(since_open, 0)


def _lengths_ms(opens_us: _Int64s, closes: _Int64s) -> _Int64s:
    """Length of each candle, from its open time to the end of its last unit of time."""
    ends_us = np.where(closes >= MICROSECONDS_FROM, closes + 1, (closes + 1) * 1000)
    # A close time in microseconds may be written to the millisecond.
    lengths: _Int64s = -((opens_us - ends_us) // 1000)
    return lengths


def _wanted_ms(interval: str, opens_ms: _Int64s) -> _Int64s:
    """The length that each candle should have; months differ."""
    if interval != "1M":
        return np.full(len(opens_ms), INTERVALS[interval], np.int64)
    months = opens_ms.astype("datetime64[ms]").astype("datetime64[M]")
    ends: _Int64s = (months + np.timedelta64(1, "M")).astype("datetime64[ms]").astype(np.int64)
    return ends - opens_ms


_ARROW_ERRORS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError)
# How much of an invalid cell a message shows.
_SHOWN_BYTES = 40


def lines_by_cell(dataset: Dataset, block: bytes, origin: str, expected: Expected) -> Lines:
    """Lines of a cache file for a block of archive CSV."""
    rows, hours = rows_of_csv(dataset, block, origin, expected)
    return replace(lines_of(dataset, rows), hours=hours)


def rows_of_csv(
    dataset: Dataset, block: bytes, origin: str, expected: Expected = ANY
) -> tuple[Table, _Int64s | None]:
    """Rows of a block of archive CSV, and for funding the hours between two events."""
    if not block.strip(b"\r\n"):
        return empty_rows(dataset), None
    if not block.endswith(b"\n"):
        raise BadAnswer(refused(origin, "it ends inside a line"))
    columns = expected.columns or columns_of(dataset, b"", block, origin)
    if {each.name for each in dataset.columns} - {each.name for each in columns}:
        fault = f"a row of {len(columns)} columns is no row of {dataset.name}"
        raise BadAnswer(refused(origin, fault))
    try:
        table = arrow_csv.read_csv(pa.BufferReader(block), *_csv_options(columns))
    except _ARROW_ERRORS as error:
        fault = _uneven_line(block, len(columns), expected) or _unreadable(error)
        raise BadAnswer(refused(origin, fault)) from error
    if table.num_rows != block.count(b"\n"):
        raise BadAnswer(refused(origin, "a line end stands inside a line"))
    try:
        return _converted(dataset, table, origin, expected)
    except _ARROW_ERRORS as error:
        raise BadAnswer(refused(origin, _unreadable(error))) from error


def _csv_options(columns: tuple[Column, ...]) -> tuple[Any, Any, Any]:
    names = [each.name for each in columns]
    kept = [each for each in columns if each.kind != "ignored" or each.is_zero]
    types = {each.name: pa.string() for each in kept}
    return (
        arrow_csv.ReadOptions(column_names=names, use_threads=False, block_size=1 << 26),
        # An empty line has another width, and is an error.
        arrow_csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        arrow_csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            strings_can_be_null=False,
            null_values=[],
            # Every cell that is kept is checked by its pattern.
            check_utf8=False,
        ),
    )


def _converted(
    dataset: Dataset, table: Table, origin: str, expected: Expected
) -> tuple[Table, _Int64s | None]:
    """Check the text of all cells and convert them to the columns of the cache."""
    published = [each for each in dataset.published if each.name in table.column_names]
    columns = {}
    for column in published:
        cells = table[column.name]
        _check_pattern(cells, column, origin, expected)
        columns[column.name] = _in_cache(dataset, column, cells, origin, expected)
    rows = pa.table({name: columns[name] for name in dataset.column_names}, schema_of(dataset))
    if any(each.is_label for each in published):
        rows = _at_starts(dataset, rows, expected, origin)
        rows = _measured_rows(dataset, rows).sort_by("timestamp")
    if "close_time" in columns:
        opens_us, closes = columns["timestamp"].to_numpy(), columns["close_time"].to_numpy()
        expected.check_closes(opens_us, closes, origin, dataset.odd_candles)
    if "number_of_trades" in columns and expected.interval is not None:
        has_volume = pc.any(pc.match_substring_regex(columns["volume"], "[1-9]")).as_py()
        has_trades = pc.any(pc.greater(columns["number_of_trades"], 0)).as_py()
        check_volumes(has_volume=has_volume, has_trades=has_trades, origin=origin)
    hours = None
    if "funding_interval_hours" in columns:
        hours = columns["funding_interval_hours"].to_numpy()
    kept = _first_of_each_key(dataset, rows, origin)
    if kept is None:
        return rows, hours
    return rows.filter(pa.array(kept)), hours if hours is None else hours[kept]


def _in_cache(dataset: Dataset, column: Column, cells: Any, origin: str, expected: Expected) -> Any:
    """The cells of a column as the cache has them."""
    match column.kind:
        case "flag":
            # Archives of futures write flags in lower case.
            return pc.if_else(pc.equal(pc.ascii_lower(cells), "true"), "True", "False")
        case "number":
            return _plain(column, cells)
        case "time" if column.is_label:
            return pa.array(_labels_us(dataset, cells, origin, expected))
        case "symbol" | "ignored":
            if column.kind == "symbol":
                _check_symbol(cells, origin, expected)
            return cells
        case "time":
            stamps = cells.cast(pa.int64()).to_numpy()
            return pa.array(microseconds_of(dataset, stamps, origin))
        case _:
            return cells.cast(pa.int64())


_WORDS: dict[Kind, str] = {"flag": "flag", "symbol": "symbol", "ignored": "zero"}


def _check_pattern(cells: Any, column: Column, origin: str, expected: Expected) -> None:
    """Refuse text that the exchange does not write, even if it is a number elsewhere."""
    fits = pc.match_substring_regex(cells, f"^(?:{pattern_of(column)})$")
    if pc.all(fits).as_py() is not False:
        return
    at = pc.index(fits, value=False).as_py()
    cell = _shown(cells, at)
    what = "label" if column.is_label else _WORDS.get(column.kind, "number")
    where = f"the {column.name} in {expected.position(at)}"
    fault = f"{where} is {cell!r}, which is no {what} as the exchange writes them"
    raise BadAnswer(refused(origin, fault))


def _shown(cells: Any, at: int) -> str:
    """A cell for a message; it may be no UTF-8."""
    text: bytes = cells.cast(pa.binary())[at].as_py()[:_SHOWN_BYTES]
    return text.decode("utf-8", "backslashreplace")


# Labels are up to five seconds late.
_LATEST_LABEL_US = 60_000_000


def _labels_us(dataset: Dataset, labels: Any, origin: str, expected: Expected) -> _Int64s:
    """Labels in microseconds since the epoch, without the seconds that they are late."""
    stamps_us = labels.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    late_us = stamps_us % (INTERVALS[dataset.fixed_interval or ""] * 1000)
    if np.any(is_off := late_us >= _LATEST_LABEL_US):
        at = int(np.argmax(is_off))
        fault = f"the label {labels[at].as_py()} in {expected.position(at)} is not on the grid"
        raise BadAnswer(refused(origin, fault))
    return microseconds_of(dataset, stamps_us - late_us, origin)


def _at_starts(dataset: Dataset, rows: Table, expected: Expected, origin: str) -> Table:
    """
    The rows with the starts of their intervals in place of labels.

    A few rows of other dates are left out, since the files of these have them; where most are of other
    dates they all stay, and the caller refuses them. Labels that do not tell whether they are starts or
    ends give no rows.
    """
    labels_us = rows["timestamp"].to_numpy()
    shift_ms: int | None = expected.label_shift_ms
    kept = np.ones(len(labels_us), np.bool_)
    period = expected.period
    if period is not None and 2 * _in(period, labels_us).sum() > len(labels_us):
        step_ms = INTERVALS[dataset.fixed_interval or ""]
        shift_ms = _label_shift_ms(set((labels_us // 1000).tolist()), period, step_ms, expected)
        kept = _in(period, labels_us + (shift_ms or 0) * 1000)
    if shift_ms is None:
        _LOGGER.warning("%s: its labels may be starts or ends of rows; no row is stored", origin)
        return rows.slice(0, 0)
    if not kept.all():
        _LOGGER.warning("%s: %s rows of other dates are left out", origin, np.sum(~kept))
    return rows.set_column(0, "timestamp", pa.array(labels_us + shift_ms * 1000)).filter(kept)


def _in(period: Period, stamps_us: _Int64s) -> npt.NDArray[np.bool_]:
    return (stamps_us >= period.start_ms * 1000) & (stamps_us < period.end_ms * 1000)


def _label_shift_ms(
    labels_ms: set[int], period: Period, step_ms: int, expected: Expected
) -> int | None:
    """
    From labels to starts; None where the labels do not tell.

    A whole file has the first moment of its day as a label if labels are starts, and the one after its
    last if they are ends. Where it has one of both, and not the one that files of its date have, the
    label next to the other must be there: else it is one row of another date in a file that lacks rows.
    """
    has_first, has_last = period.start_ms in labels_ms, period.end_ms in labels_ms
    found_ms = 0 if has_first else -step_ms
    if has_first == has_last or found_ms == expected.label_shift_ms:
        return expected.label_shift_ms
    other_edge_ms = period.end_ms - step_ms if has_first else period.start_ms + step_ms
    return found_ms if other_edge_ms in labels_ms else None


def _check_symbol(cells: Any, origin: str, expected: Expected) -> None:
    """Refuse rows of another symbol."""
    if expected.symbol is None:
        return
    is_own = pc.equal(cells, expected.symbol)
    if pc.all(is_own).as_py() is False:
        at = pc.index(is_own, value=False).as_py()
        fault = (
            f"{expected.position(at)} is of another symbol, {_shown(cells, at)!r}, "
            f"than {expected.symbol}"
        )
        raise BadAnswer(refused(origin, fault))


def _measured_rows(dataset: Dataset, rows: Table) -> Table:
    """The rows without those that the exchange wrote although it had measured nothing."""
    for column in dataset.columns:
        if column.proves_row:
            rows = rows.filter(pc.invert(pc.is_in(rows[column.name], pa.array(["0", ""]))))
    return rows


def _plain(column: Column, cells: Any) -> Any:
    """Numbers as the cache writes them; nearly all already are."""
    if column.may_be_empty or column.proves_row:
        # Files of COIN-M write an empty cell with quotes.
        cells = pc.if_else(pc.equal(cells, '""'), "", cells)
    unusual = pc.match_substring_regex(cells, UNUSUAL_NUMBER)
    if pc.any(unusual).as_py():
        cells = pa.array([plain_number(cell) for cell in cells.to_pylist()], pa.string())
    if not column.trimmed:
        return cells
    without_zeros = pc.utf8_rtrim(pc.utf8_rtrim(cells, "0"), ".")
    return pc.if_else(pc.match_substring(cells, "."), without_zeros, cells)


def _first_of_each_key(dataset: Dataset, rows: Table, origin: str) -> npt.NDArray[np.bool_] | None:
    """
    Mark the first row of each key; None where all keys differ.

    Archives of outage days repeat some rows; different rows of one key are refused.
    """
    keys = keys_of(dataset, rows)
    steps = np.diff(keys)
    if bool(np.all(steps > 0)):
        return None
    if bool(np.any(steps < 0)):
        raise BadAnswer(refused(origin, "rows are not in order"))
    repeated = np.flatnonzero(steps == 0) + 1
    if not rows.take(repeated).equals(rows.take(repeated - 1)):
        raise BadAnswer(refused(origin, "two different rows have one key"))
    kept = np.ones(len(keys), dtype=bool)
    kept[repeated] = False
    return kept


def _uneven_line(block: bytes, width: int, expected: Expected) -> str | None:
    """The fault of the first line with another number of columns; None without one."""
    for at, line in enumerate(block[:-1].split(b"\n")):
        if (found := line.count(b",") + 1) != width:
            return f"{expected.position(at)} has {found} columns, not {width} as the first"
    return None


def _unreadable(error: Exception) -> str:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return f"the answer is not in the exchange's format ({reason})"
