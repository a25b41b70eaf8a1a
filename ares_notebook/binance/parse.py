"""Parse the exchange's CSV and JSON into lines of the cache, by a fast path where possible."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from ares_notebook.binance.csv_tables import (
    ANY,
    Expected,
    check_volumes,
    columns_of,
    lines_by_cell,
)
from ares_notebook.binance.rate_limit import EARLIEST_MS, Limit
from ares_notebook.errors import BadAnswer
from ares_notebook.formatting import refused
from ares_notebook.model.columns import Column, Kind
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.files import Series
from ares_notebook.model.rows import (
    LONGEST_PART,
    SECOND_US,
    Lines,
    microseconds_of,
    stamp_cells,
    time_keys,
)

_Bytes = npt.NDArray[np.uint8]
_Int64s = npt.NDArray[np.int64]

_LINE_END, _COMMA, _MINUS, _POINT, _ZERO, _NINE = b"\n,-.09"
# An integer of more digits may not fit 64 bits; the exchange writes none as long.
_MOST_DIGITS = {"time": 18, "integer": 18, "close": 18, "hours": 2}


def read_fast(
    dataset: Dataset, block: bytes, origin: str, expected: Expected = ANY
) -> Lines | None:
    """The lines of the cache for a block of archive CSV; None if the slow path must parse it."""
    cells = _cells_of(dataset, block, expected)
    if cells is None or not cells.are_valid():
        return None
    stamps = cells.integers("timestamp")
    ids = cells.integers("agg_trade_id") if dataset.key == "id" else stamps
    if stamps is None or ids is None:
        return None
    stamps_us = microseconds_of(dataset, stamps, origin)
    keys = ids if dataset.key == "id" else time_keys(dataset, stamps_us)
    is_off_grid = dataset.stamp_digits == 0 and bool(np.any(stamps_us % SECOND_US))
    if is_off_grid or not np.all(np.diff(keys) > 0):
        return None
    hours = None
    match dataset.key:
        case "open_time":
            closes = cells.integers("close_time")
            if closes is None:
                return None
            expected.check_closes(stamps_us, closes, origin, dataset.odd_candles)
            if expected.interval is not None:
                cells.check_volumes(origin)
        case "event_time":
            hours = cells.integers("funding_interval_hours")
            if hours is None:
                return None
    return Lines(keys, stamps_us, _laid_out(dataset, cells, stamps_us), hours)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """The positions of all cells of a block."""

    text: _Bytes
    columns: tuple[Column, ...]
    # For each column, whether its cells are decimals with a point; volumes of COIN-M count contracts.
    have_points: list[bool]
    # For each column, the start and end of its cell in each line.
    starts: list[_Int64s]
    ends: list[_Int64s]

    def are_valid(self) -> bool:
        """Whether all cells are what their columns require; `_cells_of` has checked the separators."""
        letters = 0
        parts = zip(self.columns, self.have_points, self.starts, self.ends, strict=True)
        for column, has_point, start, end in parts:
            longest = int(np.max(end - start))
            if column.is_zero and (longest > 1 or np.any(self.text[start] != _ZERO)):
                return False
            # An ignored column holds numbers or flags.
            is_word = column.kind == "flag" or (
                column.kind == "ignored" and self.text[start[0]] > _NINE
            )
            if is_word and not self._are_flags(start, end):
                return False
            letters += int(np.sum(end - start)) if is_word else 0
            if column.kind == "number":
                # This includes a point and at least one digit on either side.
                most = LONGEST_PART + 2 * has_point
                if longest > most or self._are_unusual(column, start, end, has_point=has_point):
                    return False
            elif column.kind in _MOST_DIGITS and (
                longest > _MOST_DIGITS[column.kind] or self._has_leading_zero(start, end)
            ):
                return False
        # Then all bytes but separators and points are digits.
        return letters == np.count_nonzero(self.text > _NINE)

    def integers(self, name: str) -> _Int64s | None:
        """The integers of a column; None where they differ in length, or the rows lack it."""
        names = [column.name for column in self.columns]
        if name not in names:
            return None
        at = names.index(name)
        start, width = self.starts[at], int(self.ends[at][0] - self.starts[at][0])
        if np.any(self.ends[at] - start != width) or start[-1] + 8 > len(self.text):
            return None
        # The first digits, so that the rest can be read in groups of eight.
        head = width % 8
        value = _eight_digits(self.text, start, head)
        for offset in range(head, width, 8):
            value = value * 100_000_000 + _eight_digits(self.text, start + offset)
        return value

    def check_volumes(self, origin: str) -> None:
        """Refuse candles that count trades, of which none has a volume."""
        at = {column.name: at for at, column in enumerate(self.columns)}
        if "number_of_trades" not in at:
            return
        volumes, trades = (
            (self.starts[at[name]], self.ends[at[name]]) for name in ("volume", "number_of_trades")
        )
        # Nearly always the first candle has a volume, and no other need be looked at.
        has_volume = any(
            self._has_digit(volumes[0][part], volumes[1][part]).any()
            for part in (slice(1), slice(None))
        )
        has_trades = has_volume or bool(self._has_digit(*trades).any())
        check_volumes(has_volume=has_volume, has_trades=has_trades, origin=origin)

    def end_in_cache(self, at: int) -> _Int64s:
        """The ends of the cells of a column, without the zeros that the cache drops."""
        end = self.ends[at]
        if not (self.columns[at].trimmed and self.have_points[at]):
            return end
        # Each number has a point, at which this ends.
        while np.any(is_zero := self.text[end - 1] == _ZERO):
            end = end - is_zero
        shortened: _Int64s = end - (self.text[end - 1] == _POINT)
        return shortened

    def _are_flags(self, start: _Int64s, end: _Int64s) -> bool:
        if start[-1] + 5 > len(self.text):
            return False
        is_false = end - start == len(b"False")
        four, last = _numbers(self.text, 4), self.text[start[is_false] + 4]
        words = np.where(is_false, _FALS, _TRUE)
        return bool(
            np.all(is_false | (end - start == len(b"True")))
            and np.array_equal(four[start], words)
            and np.all(last == _E)
        )

    def _are_unusual(
        self, column: Column, start: _Int64s, end: _Int64s, *, has_point: bool
    ) -> bool:
        """Whether one of the decimals has a leading zero, or is a negative zero."""
        if column.signed:
            is_below = self.text[start] == _MINUS
            if np.any(is_below) and self._has_zero(start[is_below], end[is_below]):
                return True
            start = start + is_below
        if not has_point:
            return self._has_leading_zero(start, end)
        return bool(np.any((self.text[start] == _ZERO) & (self.text[start + 1] != _POINT)))

    def _has_zero(self, start: _Int64s, end: _Int64s) -> bool:
        """Whether one of the cells is zero."""
        return not np.all(self._has_digit(start, end))

    def _has_digit(self, start: _Int64s, end: _Int64s) -> npt.NDArray[np.bool_]:
        """Which of the cells, of numbers, have a digit that is not zero."""
        edges = np.stack([start, end], axis=1).ravel()
        has_digit: npt.NDArray[np.bool_] = np.logical_or.reduceat(self.text > _ZERO, edges)[::2]
        return has_digit

    def _has_leading_zero(self, start: _Int64s, end: _Int64s) -> bool:
        return bool(np.any((self.text[start] == _ZERO) & (end - start > 1)))


def _cells_of(dataset: Dataset, block: bytes, expected: Expected) -> _Cells | None:
    """The cells of a block; None if a line has other separators than the dataset's lines."""
    text = np.frombuffer(block, np.uint8)
    first_row = block[: block.find(b"\n")].split(b",")
    columns = expected.columns or columns_of(dataset, b"", block, "")
    # Text after the last line end has no separator, and would be overlooked.
    is_whole = len(columns) <= len(first_row) and block.endswith(b"\n")
    if not is_whole or not set(dataset.columns) <= set(columns):
        return None
    have_points = [
        each.kind == "number" and b"." in cell
        for each, cell in zip(columns, first_row, strict=False)
    ]
    marks = [mark for has_point in have_points for mark in (_POINT, _COMMA)[not has_point :]]
    marks[-1] = _LINE_END
    # All bytes below the digits. If they are these separators in this order, then there is no
    # blank or quote, and one point in each decimal, or none as in the first row.
    places = np.flatnonzero(text < _ZERO)
    is_sign = text[places] == _MINUS
    signs, places = places[is_sign], places[~is_sign]
    if len(places) % len(marks):
        return None
    in_lines = places.reshape(-1, len(marks))
    has_empty_cell = places[0] == 0 or np.any(np.diff(places) == 1)
    if has_empty_cell or text[places].tobytes() != bytes(marks) * len(in_lines):
        return None
    ends = [
        np.ascontiguousarray(in_lines[:, at]) for at, mark in enumerate(marks) if mark != _POINT
    ]
    first = np.concatenate([[0], ends[-1][:-1] + 1])
    starts = [first, *(end + 1 for end in ends[:-1])]
    if len(signs) and not _are_signs(signs, text, columns, starts):
        return None
    return _Cells(_with_capitals(text, columns, starts), columns, have_points, starts, ends)


def _with_capitals(text: _Bytes, columns: tuple[Column, ...], starts: list[_Int64s]) -> _Bytes:
    """The text with flags as the cache writes them: archives of futures have lower case."""
    for column, start in zip(columns, starts, strict=True):
        if column.kind == "flag" and np.any(is_lower := text[start] >= _LOWER_A):
            text = text.copy()
            text[start[is_lower]] -= _TO_CAPITAL
    return text


def _are_signs(
    signs: _Int64s, text: _Bytes, columns: tuple[Column, ...], starts: list[_Int64s]
) -> bool:
    """Whether each minus is the first character of a decimal that may be negative."""
    decimals = [
        start
        for column, start in zip(columns, starts, strict=True)
        if column.kind == "number" and column.signed
    ]
    # If as many cells begin with one as there are, none is anywhere else.
    found = sum(int(np.count_nonzero(text[start] == _MINUS)) for start in decimals)
    return found == len(signs) and bool(np.all(text[signs + 1] >= _ZERO))


def _eight_digits(text: _Bytes, start: _Int64s, count: int = 8) -> _Int64s:
    """The numbers of *count* digits at *start*, for all rows in three multiplications."""
    if not count:
        return np.zeros(len(start), np.int64)
    eight = _numbers(text, 8)[start] - _EIGHT_ZEROS
    # Shift out the digits behind *count*; zeros come in front.
    eight <<= np.uint64(8 * (8 - count))
    pairs = eight * np.uint64(10) + (eight >> np.uint64(8))
    high = (pairs & _PAIRS) * np.uint64(100 + (1_000_000 << 32))
    low = ((pairs >> np.uint64(16)) & _PAIRS) * np.uint64(1 + (10_000 << 32))
    return ((high + low) >> np.uint64(32)).astype(np.int64)


_LOWER_A = ord("a")
_TO_CAPITAL = _LOWER_A - ord("A")
_TRUE, _FALS = np.frombuffer(b"TrueFals", "<u4")
_E = ord("e")
_EIGHT_ZEROS = np.uint64(0x3030303030303030)
_PAIRS = np.uint64(0x000000FF000000FF)


def _laid_out(dataset: Dataset, cells: _Cells, stamps_us: _Int64s) -> _Bytes:
    """The lines of the cache: a timestamp, then the cells in the order of the cache."""
    stamps = stamp_cells(stamps_us, dataset.stamp_digits)
    width = stamps.dtype.itemsize
    stretches = [
        (cells.starts[first], cells.end_in_cache(last))
        for first, last in _stretches(dataset, cells)
    ]
    lengths = width + 1 + sum(end - start + 1 for start, end in stretches)
    line_ends = np.cumsum(lengths)
    text = np.empty(int(line_ends[-1]), np.uint8)
    place = line_ends - lengths
    _pieces(text, width)[place] = stamps.view(f"V{width}")
    place += width
    for start, end in stretches:
        text[place] = _COMMA
        _copy(cells.text, start, end, text, place + 1)
        place += end - start + 1
    text[place] = _LINE_END
    return text


def _stretches(dataset: Dataset, cells: _Cells) -> Iterator[tuple[int, int]]:
    """First and last of each run of columns that are adjacent here and in the cache."""
    columns = [cells.columns.index(column) for column in dataset.columns[1:]]
    first = last = columns[0]
    for column in columns[1:]:
        if column != last + 1 or cells.columns[last].trimmed:
            yield first, last
            first = column
        last = column
    yield first, last


def _copy(source: _Bytes, start: _Int64s, end: _Int64s, target: _Bytes, place: _Int64s) -> None:
    """Copy pieces of text, all of one length at a time."""
    lengths = end - start
    counts = np.bincount(lengths)
    if counts[-1] < len(lengths):
        # NumPy sorts 16-bit integers by radix, in a few nanoseconds each.
        order = np.argsort(lengths.astype(np.uint16), kind="stable")
        start, place = start[order], place[order]
    first = 0
    for length in np.flatnonzero(counts).tolist():
        rows = slice(first, first := first + int(counts[length]))
        _pieces(target, length)[place[rows]] = _pieces(source, length)[start[rows]]


def _pieces(text: _Bytes, length: int) -> npt.NDArray[np.void]:
    """A view of all pieces of that length in the text, one per offset."""
    return np.ndarray((max(0, len(text) - length + 1),), f"V{length}", text, 0, (1,))


def _numbers(text: _Bytes, length: int) -> npt.NDArray[Any]:
    """The same view as little-endian integers."""
    return np.ndarray((len(text) - length + 1,), f"<u{length}", text, 0, (1,))


# Types in JSON; all other kinds are integers.
_JSON_TYPES: dict[Kind, Any] = {"number": str, "flag": bool, "ignored": Any}


def lines_of_csv(dataset: Dataset, block: bytes, origin: str, expected: Expected = ANY) -> Lines:
    """The lines of the cache for a block of archive CSV, without header."""
    lines = read_fast(dataset, block, origin, expected) if block else None
    return lines_by_cell(dataset, block, origin, expected) if lines is None else lines


def lines_of_json(series: Series, body: bytes, origin: str) -> Lines:
    """The lines of the cache for a page of JSON that REST sent for *series*."""
    dataset = series.dataset
    try:
        page = msgspec.json.decode(body, type=list[_row_type(dataset)])  # type: ignore[misc]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        fault = f"the answer is not in the exchange's format ({error})"
        raise BadAnswer(refused(origin, fault)) from error
    if not page:
        return Lines.none()
    rows = list(map(msgspec.structs.astuple, page))
    if dataset.rest_symbol and any(row[0] != series.symbol for row in rows):
        fault = f"it answered with rows of another symbol than {series.symbol}"
        raise BadAnswer(refused(origin, fault))
    line = _line_of(dataset)
    block = "".join(map(line.__mod__, rows)).encode()
    # Text with a comma or a line end would become two cells of CSV.
    if block.count(b",") != line.count(",") * len(rows) or block.count(b"\n") != len(rows):
        raise BadAnswer(refused(origin, "a cell holds a comma or a line end"))
    return lines_of_csv(dataset, block, origin, Expected(series.interval, unit="row"))


@cache
def _row_type(dataset: Dataset) -> type[msgspec.Struct]:
    """The type of a row of JSON: an array, or an object."""
    owner = [("owner", str)] if dataset.rest_symbol else []
    named = [(column, name) for column, name in _named(dataset) if name]
    return msgspec.defstruct(
        f"Row of {dataset.name}",
        owner + [(column.name, _JSON_TYPES.get(column.kind, int)) for column, _ in named],
        rename={"owner": dataset.rest_symbol} | {column.name: name for column, name in named},
        array_like=not dataset.rest_fields,
    )


@cache
def _line_of(dataset: Dataset) -> str:
    """The format of a row as a line of archive CSV; columns that JSON lacks are 0."""
    cells = [
        ("0" if not name else "0%.0s" if column.kind == "ignored" else "%s")
        for column, name in _named(dataset)
    ]
    return ("%.0s" if dataset.rest_symbol else "") + ",".join(cells) + "\n"


def _named(dataset: Dataset) -> list[tuple[Column, str]]:
    """The published columns with their names in REST; empty where REST lacks one."""
    names = dataset.rest_fields or tuple(column.name for column in dataset.published)
    return list(zip(dataset.published, names, strict=False))


_INTERVAL_SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400}
_LATEST_MS = 4_102_444_800_000
# The statuses of a symbol whose trading is over, for a while or for good.
_OVER = ("BREAK", "SETTLING", "DELIVERING", "DELIVERED", "CLOSE", "PRE_SETTLE")
_JSON_ERRORS = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)


@dataclass(frozen=True, slots=True)
class Listing:
    """The state of one symbol, from exchangeInfo."""

    # Whether trading is over by its status; a halt is not the end.
    is_over: bool
    # When the contract was listed; None for spot.
    onboard_ms: int | None = None
    # When it ends, or has ended; None for spot, and for a contract that is to end on no known day.
    delivery_ms: int | None = None

    @classmethod
    def of_all(cls, contracts: Iterable[Listing]) -> Self:
        """The listing of a pair: it lasts from its first contract to its last one."""
        each = list(contracts)
        onboarded = [one.onboard_ms for one in each if one.onboard_ms is not None]
        return cls(all(one.is_over for one in each), min(onboarded, default=None))


@dataclass(frozen=True, slots=True)
class Info:
    """The parts of an ``exchangeInfo`` that are used."""

    symbols: dict[str, Listing]
    # Request weight.
    limit: Limit | None
    # The exchange's clock.
    server_ms: int | None = None


def read_time(body: bytes) -> int:
    """The exchange's clock, in milliseconds since the epoch."""
    try:
        now_ms = int(json.loads(body)["serverTime"])
    except _JSON_ERRORS as error:
        raise BadAnswer(_unexpected("its time", body)) from error
    if not _is_moment(now_ms):
        raise BadAnswer(_unexpected("its time", body))
    return now_ms


def read_info(body: bytes) -> Info:
    """Symbols and limits of an ``exchangeInfo``."""
    try:
        answer = json.loads(body)
        symbols = {str(each["symbol"]): _listing(each) for each in answer["symbols"]}
        limits = [_limit(rule) for rule in answer["rateLimits"]]
    except _JSON_ERRORS as error:
        raise BadAnswer(_unexpected("its symbols and limits", body)) from error
    limit = next(filter(None, limits), None)
    return Info(symbols, limit, _moment_or_none(answer.get("serverTime")))


def _listing(symbol: dict[str, Any]) -> Listing:
    # COIN-M names the status otherwise.
    status = symbol.get("status") or symbol.get("contractStatus")
    onboard, delivery = (
        _moment_or_none(symbol.get(f"{each}Date")) for each in ("onboard", "delivery")
    )
    return Listing(status in _OVER, onboard, delivery)


def _moment_or_none(value: object) -> int | None:
    return value if isinstance(value, int) and _is_moment(value) else None


def _is_moment(ms: int) -> bool:
    return EARLIEST_MS <= ms < _LATEST_MS


def _limit(rule: dict[str, Any]) -> Limit | None:
    if rule["rateLimitType"] != "REQUEST_WEIGHT":
        return None
    weight = int(rule["limit"])
    seconds = _INTERVAL_SECONDS[rule["interval"]] * int(rule["intervalNum"])
    return (weight, float(seconds)) if weight > 0 and seconds > 0 else None


def _unexpected(what: str, body: bytes) -> str:
    return f"the exchange was asked for {what}, and something else came: {body[:80]!r}"
