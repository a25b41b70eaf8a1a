"""
Slow readers of the same formats: a cell at a time, with nothing of the package but its tables of columns.

What the package accepts must be what these say, to the letter.
"""

# ruff: noqa: EM101, TRY003 - always caught; the words are for whoever looks into a difference

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from ares_notebook.model.columns import Column
from ares_notebook.model.datasets import Dataset

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_PLAIN = re.compile(r"(-?)(0|[1-9][0-9]{0,23})(\.[0-9]{1,24})?")
_SCIENTIFIC = re.compile(r"(-?)([0-9])(?:\.([0-9]{1,8}))?E([+-](?:[1-9]|1[0-6]))")
_COUNT = re.compile(r"0|[1-9][0-9]{0,18}")
_FROM_MICROSECONDS = 10**14
_SINCE_MICROSECONDS = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()) * 10**6


class Wrong(Exception):
    """It is no such input."""


class Unclear(Exception):
    """It may be taken in this way or that."""


def archive_lines(
    dataset: Dataset, text: bytes, step_ms: int | None = None, symbol: str | None = None
) -> list[str]:
    """
    The lines of a cache file for archive CSV without a header.

    Its candles are *step_ms* long, and rows that name a symbol are of *symbol*.
    """
    rows = _rows(text)
    names = [column.name for column in dataset.published]
    places = {column.name: names.index(column.name) for column in dataset.columns}
    columns = {column.name: column for column in dataset.published}
    if rows and max(places.values()) >= len(rows[0]):
        raise Wrong("too few columns")
    found: list[tuple[int, str]] = []
    lengths: list[int] = []
    stamps: list[int] = []
    for row in rows:
        all_cells = {
            name: _published(columns[name], cell)
            for name, cell in zip(names, row, strict=False)
            if columns[name].kind != "ignored"
        }
        if symbol is not None and all_cells.get("symbol", symbol) != symbol:
            raise Wrong("another symbol")
        cells = {name: _trimmed(columns[name], all_cells[name]) for name in places}
        stamp_us = _microseconds(dataset, int(cells["timestamp"]))
        if "close_time" in all_cells:
            lengths.append(_length_ms(stamp_us, int(all_cells["close_time"])))
            stamps.append(stamp_us)
        if not any(columns[name].proves_row and cells[name] in ("0", "") for name in cells):
            line = ",".join([_stamp(dataset, stamp_us), *list(cells.values())[1:]])
            found.append((_key(dataset, stamp_us, cells), line))
    if rows and "close_time" in names:
        _check_volumes(names, rows, step_ms)
    if step_ms is not None and lengths:
        may_be_odd = dataset.name == "klines"
        if not may_be_odd and any(stamp_us // 1000 % step_ms for stamp_us in stamps):
            raise Wrong("a candle off the grid")
        _check_lengths(lengths, step_ms, may_be_odd=may_be_odd)
    return _in_order(sorted(found) if columns["timestamp"].is_label else found)


def _check_volumes(names: list[str], rows: list[list[str]], step_ms: int | None) -> None:
    """A price has no volume; of candles that count trades, one has."""
    at = names.index("volume")
    volumes = [row[at] for row in rows if len(row) > at]
    if "number_of_trades" not in names:
        if not all(re.fullmatch(r"0(\.0+)?", each) for each in volumes):
            raise Wrong("a price has no volume")
        return
    has_trades = any(int(row[names.index("number_of_trades")]) for row in rows)
    if step_ms and has_trades and not any(set(each) & set("123456789") for each in volumes):
        raise Wrong("trades without a volume")


def _in_order(found: list[tuple[int, str]]) -> list[str]:
    """The lines of rows by their keys, each row once."""
    for (key, line), (after, next_line) in pairwise(found):
        if after < key:
            raise Wrong("out of order")
        if after == key and line != next_line:
            raise Wrong("two rows of one key")
    return list(dict(found).values())


def _rows(text: bytes) -> list[list[str]]:
    """The cells of whole lines of one width."""
    if not text.strip(b"\r\n"):
        return []
    *lines, cut = text.split(b"\n")
    if cut:
        raise Wrong("cut inside a line")
    lines = [line.removesuffix(b"\r") for line in lines]
    if any(b"\r" in line for line in lines):
        raise Wrong("a line end inside a line")
    rows = [line.decode("utf-8", "replace").split(",") for line in lines]
    if len({len(row) for row in rows}) > 1:
        raise Wrong("rows of different lengths")
    return rows


_STEPS_MINUTES = (1, 3, 5, 15, 30, 60, 120, 240, 360, 480, 720, 1440, 3 * 1440, 7 * 1440)


def _length_ms(opened_us: int, closed: int) -> int:
    end_us = closed + 1 if closed >= _FROM_MICROSECONDS else (closed + 1) * 1000
    return -((opened_us - end_us) // 1000)


def _check_lengths(lengths: list[int], step_ms: int, *, may_be_odd: bool) -> None:
    if not may_be_odd:
        if set(lengths) != {step_ms}:
            raise Wrong("a candle is of another interval")
    elif len(lengths) > 1:
        if 2 * lengths.count(step_ms) < len(lengths):
            raise Wrong("most candles are of another interval")
    elif lengths[0] != step_ms:
        others = [1000, *(minutes * 60_000 for minutes in _STEPS_MINUTES)]
        if lengths[0] > step_ms + 1 or lengths[0] in others:
            raise Wrong("the candle is of another interval")


def _trimmed(column: Column, text: str) -> str:
    """A number without zeros at its end, where the cache drops them."""
    if not column.trimmed or "." not in text:
        return text
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


_LABEL = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)
_LABEL_SECONDS = 300


def _label(text: str) -> str:
    """The start of the five minutes of a label, in milliseconds."""
    if not _LABEL.fullmatch(text):
        raise Wrong(text)
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise Wrong(text) from error
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    if seconds % _LABEL_SECONDS >= 60:
        raise Wrong("not on the grid")
    return str((seconds - seconds % _LABEL_SECONDS) * 1000)


def _published(column: Column, text: str) -> str:
    """A cell as the exchange writes it, as the cache does."""
    if column.kind == "symbol":
        return text
    if column.kind == "number":
        may_be_empty = column.may_be_empty or column.proves_row
        return "" if may_be_empty and text in ("", '""') else _number(column, text)
    if column.is_label:
        return _label(text)
    if column.kind == "time":
        if not _COUNT.fullmatch(text.removeprefix("-")):
            raise Wrong(text)
    elif column.kind == "hours":
        if len(text) > 2 or not _COUNT.fullmatch(text):
            raise Wrong(text)
    elif column.kind != "flag":
        is_none = column.signed and text == "-1"
        if not (is_none or _COUNT.fullmatch(text)):
            raise Wrong(text)
    return _cell("flag" if column.kind == "flag" else "integer", text)


def _number(column: Column, text: str) -> str:
    if match := _SCIENTIFIC.fullmatch(text):
        sign, whole, fraction, exponent = match[1], match[2], match[3] or "", int(match[4])
        digits, point = whole + fraction, 1 + exponent
        if point <= 0:
            digits, point = "0" * (1 - point) + digits, 1
        digits = digits.ljust(point, "0")
        plain = (digits[:point].lstrip("0") or "0") + ("." + digits[point:]) * (len(digits) > point)
    elif match := _PLAIN.fullmatch(text):
        sign, plain = match[1], text.removeprefix("-")
    else:
        raise Wrong(text)
    if sign and not column.signed:
        raise Wrong(text)
    return sign * bool(set(plain) & set("123456789")) + plain


def _cell(kind: str, text: str) -> str:
    if kind in ("time", "integer"):
        if not _INTEGER.fullmatch(text) or len(text) > 99 or not -(2**63) <= int(text) < 2**63:
            raise Wrong(text)
        return str(int(text))
    if kind == "flag":
        if text.lower() not in ("true", "false"):
            raise Wrong(text)
        return text.lower().capitalize()
    if not _NUMBER.fullmatch(text) or float(text) in (float("inf"), float("-inf")):
        raise Wrong(text)
    return text


def _microseconds(dataset: Dataset, stamp: int) -> int:
    us = stamp if stamp >= _FROM_MICROSECONDS else stamp * 1000
    if not 2009 <= (_EPOCH + timedelta(microseconds=max(0, min(us, 10**17)))).year < 2100:
        raise Wrong("no moment")
    fine = dataset.stamp_digits == 6 and us >= _SINCE_MICROSECONDS
    return us if fine else us // 1000 * 1000


def _key(dataset: Dataset, stamp_us: int, cells: dict[str, str]) -> int:
    if dataset.key == "id":
        return int(cells["agg_trade_id"])
    return stamp_us // 3_600_000_000 if dataset.key == "event_time" else stamp_us


def _stamp(dataset: Dataset, us: int) -> str:
    moment = _EPOCH + timedelta(microseconds=us)
    digits = dataset.stamp_digits or (3 if us % 10**6 else 0)
    whole = moment.strftime("%Y-%m-%d %H:%M:%S")
    return f"{whole}.{us % 10**6:06d}"[: len(whole) + 1 + digits] if digits else whole


def page_lines(dataset: Dataset, symbol: str, body: bytes, step_ms: int | None = None) -> list[str]:
    """The lines of a cache file for a page of REST."""
    try:
        text = body.decode()
    except ValueError as error:
        # Nobody need look into a name that is not asked for.
        raise Unclear from error
    try:
        page = json.loads(
            text,
            parse_float=_Float,
            parse_int=lambda digits: int(digits) if len(digits) < 99 else _Float(digits),
            parse_constant=_refuse,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError) as error:
        raise Wrong from error
    if not isinstance(page, list):
        raise Wrong("no list")
    return archive_lines(
        dataset,
        "".join(_as_csv(dataset, symbol, row) for row in page).encode("utf-8", "surrogatepass"),
        step_ms,
    )


class _Float(str):
    """A number with a point, which no cell is."""

    __slots__ = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs) or not "".join(dict(pairs)).isprintable():
        raise Unclear("a name is there twice, or is none")
    return dict(pairs)


def _refuse(word: str) -> None:
    raise Wrong(word)


def _as_csv(dataset: Dataset, symbol: str, row: Any) -> str:
    names = dataset.rest_fields or range(len(dataset.published))
    cells = []
    if dataset.rest_fields and not isinstance(row, dict):
        raise Wrong("no object")
    if not dataset.rest_fields and not isinstance(row, list):
        raise Wrong("no array")
    if dataset.rest_symbol and row.get(dataset.rest_symbol) != symbol:
        raise Wrong("another symbol")
    for column, name in zip(dataset.published, names, strict=False):
        if name == "":
            cells.append("0")
            continue
        try:
            value = row[name]
        except (KeyError, IndexError) as error:
            raise Wrong("a cell is missing") from error
        if column.kind == "ignored":
            cells.append("0")
            continue
        kind = {"time": int, "integer": int, "close": int, "number": str, "flag": bool}[column.kind]
        if type(value) is not kind or (kind is str and set(value) & set(",\r\n")):
            raise Wrong("a cell of another sort")
        cells.append(str(value))
    return ",".join(cells) + "\n"


def cached_rows(dataset: Dataset, text: bytes) -> list[tuple[Any, ...]]:
    """The rows of a cache file of ours: stamps in microseconds, other cells as text."""
    header, *lines = text.split(b"\n")
    if header.decode("utf-8", "replace") != ",".join(dataset.column_names) or lines[-1:] != [b""]:
        raise Wrong("no header, or no last line end")
    rows: list[tuple[Any, ...]] = []
    last = -1
    for line in lines[:-1]:
        cells = line.decode("utf-8", "replace").split(",")
        if len(cells) != len(dataset.columns):
            raise Wrong("rows of different lengths")
        reported = {
            column.name: _cached(column, cell)
            for column, cell in zip(dataset.columns, cells, strict=True)
        }
        stamp_us = int(reported["timestamp"])
        key = _key(dataset, stamp_us, reported)
        if key <= last:
            raise Wrong("out of order")
        last = key
        rows.append((stamp_us, *list(reported.values())[1:]))
    return rows


def _cached(column: Column, text: str) -> Any:
    if column.may_be_empty and not text:
        return text
    if column.kind == "time":
        if not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.(\d{3}|\d{6}))?", text, re.ASCII):
            raise Wrong(text)
        try:
            moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError as error:
            raise Wrong(text) from error
        return (moment - _EPOCH) // timedelta(microseconds=1)
    return _cell(column.kind, text)
