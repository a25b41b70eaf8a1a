"""Parse the exchange's CSV and JSON into lines of the cache, by a native kernel where possible."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import msgspec
import numpy as np

from ares_notebook.binance.csv_tables import ANY, Expected, columns_of, lines_by_cell
from ares_notebook.binance.rate_limit import EARLIEST_MS, Limit
from ares_notebook.errors import BadAnswer
from ares_notebook.formatting import refused
from ares_notebook.model.columns import ID, Column, Kind
from ares_notebook.model.datasets import Dataset
from ares_notebook.model.files import Series
from ares_notebook.model.rows import HOUR_US, Lines
from ares_notebook.model.time import GRID_ORIGIN_MS, INTERVALS

_LOGGER = logging.getLogger("DataDownloader")
_Rewritten = tuple[bytes, bytes, bytes, bytes, int, int]


def _kernel() -> Callable[..., _Rewritten | int] | None:
    """The native kernel; None where it was not built for lack of a compiler, or ``ARES_KERNEL=0`` switches it off."""
    if os.environ.get("ARES_KERNEL") == "0":
        return None
    try:
        from ares_notebook.binance.kernel import rewrite  # noqa: PLC0415 - it may be missing
    except ImportError:
        return None
    return rewrite


KERNEL = _kernel()
"""Rewrites blocks of CSV natively; None where PyArrow parses all of them, slower, to the same bytes."""

# Kinds of columns as the kernel names them; it leaves all others to PyArrow.
_KINDS: dict[Kind, bytes] = {
    "time": b"t",
    "integer": b"i",
    "number": b"n",
    "flag": b"f",
    "close": b"c",
    "hours": b"h",
    "ignored": b"-",
}
_SIGNED, _TRIMMED, _NOT_KEPT = 1, 2, 255
_MOST_COLUMNS = 32


def lines_by_kernel(dataset: Dataset, block: bytes, expected: Expected = ANY) -> Lines | None:
    """The lines of the cache for a block of archive CSV; None if PyArrow must parse it."""
    columns = expected.columns or columns_of(dataset, b"", block, "")
    table, interval = _kernel_table(dataset, columns), expected.interval
    # Months differ in length.
    if KERNEL is None or table is None or interval == "1M":
        return None
    step_ms = INTERVALS[interval] if interval else 0
    found = KERNEL(
        block,
        table,
        dataset.stamp_digits,
        step_ms * 1000,
        GRID_ORIGIN_MS.get(interval or "", 0) * 1000,
        step_ms if any(each.kind == "close" for each in columns) else 0,
        {"open_time": 1, "event_time": HOUR_US, "id": 0}[dataset.key],
    )
    if isinstance(found, int):
        _LOGGER.debug("%s %s is parsed by PyArrow", dataset.name, expected.position(found))
        return None
    keys, stamps_us, hours, text, size, nonzero = found
    values = {each.name for at, each in enumerate(columns) if nonzero >> at & 1}
    if interval and "number_of_trades" in values and "volume" not in values:
        return None
    return Lines(
        np.frombuffer(keys, np.int64),
        np.frombuffer(stamps_us, np.int64),
        np.frombuffer(text, np.uint8, size),
        np.frombuffer(hours, np.int64) if dataset.key == "event_time" else None,
    )


@cache
def _kernel_table(dataset: Dataset, columns: tuple[Column, ...]) -> bytes | None:
    """The kernel's table of columns: kind, options and place in the cache, a byte each; None for a kind that it lacks."""
    names = [column.name for column in columns]
    if not set(dataset.column_names) <= set(names) or len(columns) > _MOST_COLUMNS:
        return None
    table = b""
    for column in columns:
        if column.kind not in _KINDS or column.is_label or column.may_be_empty:
            return None
        kind = b"z" if column.is_zero else _KINDS[column.kind]
        is_key = dataset.key == "id" and column == ID
        is_kept = column in dataset.columns
        options = _SIGNED * column.signed + _TRIMMED * column.trimmed
        place = dataset.columns.index(column) if is_kept else _NOT_KEPT
        table += (b"k" if is_key else kind) + bytes((options, place))
    return table


# Types in JSON; all other kinds are integers.
_JSON_TYPES: dict[Kind, Any] = {"number": str, "flag": bool, "ignored": Any}


def lines_of_csv(dataset: Dataset, block: bytes, origin: str, expected: Expected = ANY) -> Lines:
    """The lines of the cache for a block of archive CSV, without header."""
    lines = lines_by_kernel(dataset, block, expected)
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
