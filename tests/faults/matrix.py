"""
The table of faults: what goes wrong, on which source, and what is expected of it.

A row is a fault; `test_faults.py` puts it before each dataset on each source that can
suffer it, once and for ever.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal

Source = Literal["archive", "rest"]
Script = list[tuple[str, dict[str, Any]]]

HTML = b"<!DOCTYPE html><html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"
PAGES = {
    "klines": "/api/v3/klines",
    "agg_trades": "/api/v3/aggTrades.*fromId=",
    "futures": "/fapi/v1/fundingRate",
}
ZIP, CHECKSUM, LISTING = r"\.zip$", r"\.CHECKSUM$", "prefix="
DATASETS = tuple(PAGES)
SOURCES: tuple[Source, ...] = ("archive", "rest")


@dataclass(frozen=True)
class Trouble:
    """
    A fault.

    Parameters
    ----------
    name : str
    sources : tuple of {"archive", "rest"}
        Which can suffer it.
    script : callable
        Of source and dataset: patterns of requests, and what becomes of them.
    once, lasting : {"survived", "told", "unpublished"}
        Survived: the same bytes as without the fault. Told: the step fails, and its
        error names file, URL and remedy. Unpublished: the report says so, and how many
        rows are missing. Lasting is meant of a source that stands alone.
    datasets : tuple of str
    note : str
        Why a row is not as one would wish, for the table.
    """

    name: str
    sources: tuple[Source, ...]
    script: Callable[[Source, str], Script]
    once: Literal["survived", "told"] = "survived"
    lasting: Literal["survived", "told", "unpublished"] = "told"
    datasets: tuple[str, ...] = DATASETS
    note: str = ""


@dataclass(frozen=True)
class Case:
    """A fault on one source to one dataset."""

    trouble: Trouble
    source: Source
    dataset: str

    def __str__(self) -> str:
        return f"{self.trouble.name}, {self.source}, {self.dataset}"

    @property
    def once(self) -> str:
        """What becomes of it once: of a refusal that is final a second way of the same source may be left."""
        has_days = self.source == "archive" and self.dataset == "klines"
        # A day of trades that is not published is cut from its month.
        has_month = (self.source, self.dataset) == ("archive", "agg_trades")
        is_lacking = self.trouble.name in ("404 of a zip", "checksum missing")
        has_other_host = self.source == "rest" and self.dataset != "futures"
        is_left = (
            has_days
            or (has_month and is_lacking)
            or (has_other_host and self.trouble.name == "451")
        )
        return "survived" if is_left else self.trouble.once

    def script(self) -> Script:
        """Patterns of requests, and what becomes of them."""
        return self.trouble.script(self.source, self.dataset)


def anywhere(**fault: Any) -> Callable[[Source, str], Script]:
    """The same fault with the zips of the archive, or with the pages of REST."""
    return lambda source, dataset: [(ZIP if source == "archive" else PAGES[dataset], fault)]


def with_checksum(**fault: Any) -> Callable[[Source, str], Script]:
    """A fault of the checksum alone."""
    return lambda _source, _dataset: [(CHECKSUM, fault)]


def with_page(change: Callable[[list[Any]], list[Any]]) -> Callable[[Source, str], Script]:
    """A page of REST whose rows are not what was asked for, though each is well formed."""

    def spoil(body: bytes) -> bytes:
        return json.dumps(change(json.loads(body))).encode()

    return lambda _source, dataset: [(PAGES[dataset], {"replace_body": spoil})]


def well_signed(make: Callable[[str], bytes]) -> Callable[[Source, str], Script]:
    """A bad zip whose checksum is right: what the archive itself published wrong."""
    # Each name is asked for many times, and a bomb takes long to make.
    make = cache(make)

    def checksum(body: bytes) -> bytes:
        name = body.split()[1].decode()
        return f"{hashlib.sha256(make(name)).hexdigest()}  {name}\n".encode()

    def archive(body: bytes) -> bytes:
        member = zipfile.ZipFile(io.BytesIO(body)).namelist()[0]
        return make(member.removesuffix(".csv") + ".zip")

    return lambda _source, _dataset: [
        (CHECKSUM, {"replace_body": checksum}),
        (ZIP, {"replace_body": archive}),
    ]


# --- zips that were made wrong ---


def rows_of(name: str) -> bytes:
    """Rows that could be those of an archive, and are not: whoever stores one has been fooled."""
    stamp = re.search(r"(\d{4})-(\d{2})(?:-(\d{2}))?\.zip$", name)
    assert stamp is not None
    year, month, day = (int(part or 1) for part in stamp.groups())
    start_ms = int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1000
    factor = 1000 if year >= 2025 else 1  # microseconds since
    if "aggTrades" in name:
        lines = [f"{at},7.0,7.0,{at},{at},{(start_ms + at) * factor},True,True" for at in range(9)]
    elif "fundingRate" in name:
        lines = [f"{start_ms + at * 28_800_000},8,0.07" for at in range(84)]
    else:
        lines = [
            f"{(start_ms + at * 900_000) * factor},7.0,7.0,7.0,7.0,7.0,"
            f"{(start_ms + at * 900_000 + 899_999) * factor},7.0,7,7.0,7.0,0"
            for at in range(96)
        ]
    return ("\n".join(lines) + "\n").encode()


def packed(*members: tuple[str, bytes]) -> bytes:
    """A zip of these."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members:
            archive.writestr(name, text)
    return sink.getvalue()


def sound(name: str) -> bytes:
    """A zip as it should be, but for its rows."""
    return packed((name.replace(".zip", ".csv"), rows_of(name)))


def two_members(name: str) -> bytes:
    return packed((name.replace(".zip", ".csv"), rows_of(name)), ("more.csv", b"1,2\n"))


def a_path(name: str) -> bytes:
    return packed((f"../{name.replace('.zip', '.csv')}", rows_of(name)))


def another_name(name: str) -> bytes:
    return packed(("ETHUSDT.csv", rows_of(name)))


def flipped(name: str) -> bytes:
    """One byte of the compressed text is another."""
    body = bytearray(sound(name))
    body[len(name) + 60] ^= 0x55
    return bytes(body)


def encrypted(name: str) -> bytes:
    """The directory says that a password is needed."""
    body = bytearray(sound(name))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(mark) + offset] |= 1
    return bytes(body)


def bomb(name: str) -> bytes:
    """Inflates to a thousand times its size, and says so."""
    return packed((name.replace(".zip", ".csv"), b"0" * 3_000_000))


def lying_bomb(name: str) -> bytes:
    """The same, and its directory says that it is small."""
    body = bytearray(bomb(name))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", body, body.index(mark) + offset, 10_000)
    return bytes(body)


def cut(name: str) -> bytes:
    return sound(name)[:-40]


def not_rows(name: str) -> bytes:
    return packed((name.replace(".zip", ".csv"), HTML + b"\n"))


def out_of_order(name: str) -> bytes:
    lines = rows_of(name).splitlines(keepends=True)
    return packed((name.replace(".zip", ".csv"), b"".join(reversed(lines))))


# --- pages that are not what was asked for ---


def doubled(rows: list[Any]) -> list[Any]:
    return [row for row in rows for _ in range(2)]


def turned(rows: list[Any]) -> list[Any]:
    return rows[::-1]


def shortened(rows: list[Any]) -> list[Any]:
    return rows[: max(1, len(rows) // 2)]


def moved(rows: list[Any]) -> list[Any]:
    """The same rows of a year before, with ids of then."""
    year_ms = 365 * 86_400_000
    if rows and isinstance(rows[0], list):
        return [[row[0] - year_ms, *row[1:]] for row in rows]
    if rows and "fundingTime" in rows[0]:
        return [{**row, "fundingTime": row["fundingTime"] - year_ms} for row in rows]
    return [{**row, "a": row["a"] - 3_000_000, "T": row["T"] - year_ms * 1000} for row in rows]


def of_another_symbol(rows: list[Any]) -> list[Any]:
    """Trades of a busier symbol have other ids; funding rates say whose they are."""
    if rows and "fundingTime" in rows[0]:
        return [{**row, "symbol": "ETHUSDT", "fundingRate": "0.07"} for row in rows]
    return [{**row, "a": row["a"] + 9_000_000, "p": "7.0"} for row in rows]


BOTH = SOURCES
ARCHIVE: tuple[Source, ...] = ("archive",)
REST: tuple[Source, ...] = ("rest",)

FAULTS: tuple[Trouble, ...] = (
    # --- refusals ---
    Trouble("429", BOTH, anywhere(status=429)),
    Trouble("429, Retry-After", BOTH, anywhere(status=429, retry_after=1)),
    Trouble("418", BOTH, anywhere(status=418)),
    Trouble("418, Retry-After", BOTH, anywhere(status=418, retry_after=1)),
    Trouble("400", BOTH, anywhere(status=400), once="told"),
    Trouble("403, HTML", BOTH, anywhere(status=403)),
    Trouble(
        "404 of a zip",
        ARCHIVE,
        anywhere(status=404),
        once="told",
        lasting="unpublished",
    ),
    Trouble("404 of a page", REST, anywhere(status=404), once="told"),
    Trouble("451", BOTH, anywhere(status=451), once="told"),
    Trouble("500, JSON", BOTH, anywhere(status=500)),
    Trouble("500, HTML", BOTH, anywhere(status=500, body=HTML, content_type="text/html")),
    Trouble("502, JSON", BOTH, anywhere(status=502)),
    Trouble("502, HTML", BOTH, anywhere(status=502, body=HTML, content_type="text/html")),
    Trouble("503, HTML", BOTH, anywhere(status=503)),
    Trouble("503, JSON", BOTH, anywhere(status=503, body=b'{"code":-1001,"msg":"Unavailable"}')),
    # --- the line ---
    Trouble("reset before the head", BOTH, anywhere(reset="head")),
    Trouble("reset in the body", BOTH, anywhere(reset="body")),
    Trouble("body shorter than declared", BOTH, anywhere(short=True)),
    Trouble("stall of the head", BOTH, anywhere(stall="head")),
    Trouble("stall in the body", BOTH, anywhere(stall="body")),
    # --- 200, and not what it should be ---
    Trouble("200, empty", BOTH, anywhere(replace_body=b"")),
    Trouble("200, HTML", BOTH, anywhere(replace_body=HTML, content_type="text/html")),
    Trouble("JSON cut in half", REST, anywhere(replace_body=lambda body: body[: len(body) // 2])),
    Trouble("an object for a list", REST, anywhere(replace_body=b'{"code":0,"msg":"ok"}')),
    Trouble("rows doubled", REST, with_page(doubled), lasting="survived"),
    Trouble("rows in reverse order", REST, with_page(turned)),
    Trouble("page shorter than its limit", REST, with_page(shortened), lasting="survived"),
    Trouble("an empty page, though there are rows", REST, with_page(lambda _rows: [])),
    Trouble("rows of another time", REST, with_page(moved)),
    Trouble(
        "rows of another symbol",
        REST,
        with_page(of_another_symbol),
        datasets=("agg_trades", "futures"),
        note="a candle carries nothing that tells whose it is",
    ),
    # --- zips, caught by their checksum ---
    Trouble("zip cut", ARCHIVE, anywhere(replace_body=lambda body: body[:-40])),
    Trouble(
        "zip with a flipped byte",
        ARCHIVE,
        anywhere(replace_body=lambda body: body[:99] + bytes([body[99] ^ 1]) + body[100:]),
    ),
    # --- zips that were published wrong, their checksum right ---
    Trouble("zip cut, signed", ARCHIVE, well_signed(cut)),
    Trouble("zip with a flipped byte, signed", ARCHIVE, well_signed(flipped)),
    Trouble("zip empty, signed", ARCHIVE, well_signed(lambda _name: b"")),
    Trouble("zip of no member, signed", ARCHIVE, well_signed(lambda _name: packed())),
    Trouble("zip of two members, signed", ARCHIVE, well_signed(two_members)),
    Trouble("zip with a member ../x, signed", ARCHIVE, well_signed(a_path)),
    Trouble("zip with another member, signed", ARCHIVE, well_signed(another_name)),
    Trouble("zip encrypted, signed", ARCHIVE, well_signed(encrypted)),
    Trouble("zip bomb, signed", ARCHIVE, well_signed(bomb)),
    Trouble("zip bomb that lies, signed", ARCHIVE, well_signed(lying_bomb)),
    Trouble("zip of HTML, signed", ARCHIVE, well_signed(not_rows)),
    Trouble("zip with rows in reverse order, signed", ARCHIVE, well_signed(out_of_order)),
    # --- checksums ---
    Trouble(
        "checksum missing",
        ARCHIVE,
        with_checksum(status=404),
        once="told",
        lasting="unpublished",
    ),
    Trouble("checksum empty", ARCHIVE, with_checksum(replace_body=b"")),
    Trouble("checksum of HTML", ARCHIVE, with_checksum(replace_body=HTML)),
    Trouble(
        "checksum wrong",
        ARCHIVE,
        with_checksum(replace_body=lambda body: b"0" * 64 + body[64:]),
        note="as one that is stale: of the zip of yesterday",
    ),
    # --- listings ---
    Trouble("listing fails", ARCHIVE, lambda *_: [(LISTING, {"status": 503})], lasting="survived"),
    Trouble(
        "listing is a page for browsers",
        ARCHIVE,
        lambda *_: [(LISTING, {"replace_body": HTML})],
        lasting="survived",
    ),
)

CASES = tuple(
    Case(trouble, source, dataset)
    for trouble in FAULTS
    for source in trouble.sources
    for dataset in trouble.datasets
)


def as_markdown() -> str:
    """The table, as it stands in the tests' README."""
    lines = [
        "| fault | archive, once | archive, for ever | with REST beside it | REST, once | REST, for ever |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in FAULTS:
        archive = (each.once, each.lasting, "survived") if "archive" in each.sources else ("–",) * 3
        rest = (each.once, each.lasting) if "rest" in each.sources else ("–",) * 2
        note = f" ({each.note})" if each.note else ""
        lines.append(f"| {each.name}{note} | {' | '.join((*archive, *rest))} |")
    return "\n".join(lines) + "\n"
