"""The numbers of the exchange: one grammar and one text, whatever the source."""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
import zipfile
from io import BytesIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import ares_notebook as ares
from ares_notebook.binance.csv_tables import ANY, lines_by_cell
from ares_notebook.binance.parse import lines_by_kernel, lines_of_csv, lines_of_json
from ares_notebook.errors import BadAnswer
from ares_notebook.model.datasets import AGG_TRADES, FUTURES, KLINES
from ares_notebook.model.files import Series
from ares_notebook.model.rows import pattern_of, plain_number, plain_pattern_of

DAY = 1 / 365.25
MS = 1_735_689_600_000
ROWS = {
    KLINES: [f"{MS}", "1.5", "2.0", "1.25", "1.75", "10.1", f"{MS + 3_599_999}", "17.0", "3", "5.0", "8.5", "0"],
    AGG_TRADES: ["7", "93576.00000000", "0.00018000", "9", "9", f"{MS}", "True", "True"],
    FUTURES: [f"{MS}", "8", "0.00010000"],
}  # fmt: skip
SERIES = {
    KLINES: Series.of("klines", "BTCUSDT", "1h"),
    AGG_TRADES: Series.of("agg_trades", "BTCUSDT"),
    FUTURES: Series.of("futures", "BTCUSDT"),
}
# Numbers that Java's BigDecimal writes, and how REST writes them.
PLAIN = {
    "-1.8E-7": "-0.00000018",
    "6.0E-7": "0.00000060",
    "-6E-8": "-0.00000006",
    "0E-8": "0.00000000",
    "1E+3": "1000",
    "-0.00000000": "0.00000000",
    "-0": "0",
    "0.00010000": "0.00010000",
    "-0.00010000": "-0.00010000",
    "15": "15",
}
NO_NUMBERS = [
    "1.", ".5", "007.5", "00.5", "00", "-.5", "+1", "--1", "1e5", "1.8e-7", "1E3", "1.8E-07", "18E-8", "1E-99",
    "1E-9999999999", "0x1", "1_0", " 1", "1 ", "", "-", "E", "1E", "E-7", "1.2.3", "1,5", "nan", "Infinity", "1" * 25,
    "0." + "1" * 25, "１",
]  # fmt: skip
NO_INTEGERS = ["007", "+5", "-3", "1.0", "1E+3", "", " 5", "5 ", "-", "0x5", "9" * 19, "9" * 25]


def archive(dataset, cells):
    """A row of the archive, behind one that is good."""
    good = list(ROWS[dataset])
    if dataset is AGG_TRADES:
        good[0] = "6"
    else:
        good[0] = f"{MS - 3_600_000}"
    return lines_of_csv(dataset, f"{','.join(good)}\n{','.join(cells)}\n".encode(), "origin")


def rest(dataset, cells):
    """The same as a page of REST."""
    good = list(ROWS[dataset])
    good[0] = "6" if dataset is AGG_TRADES else f"{MS - 3_600_000}"
    kinds = [column.kind for column in dataset.published]
    rows = []
    for row in (good, cells):
        typed = [
            json.dumps(cell) if kind == "number" else cell.lower() if kind == "flag" else cell
            for cell, kind in zip(row, kinds, strict=True)
        ]
        if dataset.rest_fields:
            pairs = [
                f'"{name}":{cell}'
                for name, cell in zip(dataset.rest_fields, typed, strict=False)
                if name
            ]
            rows.append("{" + ",".join(['"symbol":"BTCUSDT"', *pairs]) + "}")
        else:
            rows.append("[" + ",".join(typed) + "]")
    return lines_of_json(
        SERIES[dataset], f"[{','.join(rows)}]".replace("True", "true").encode(), "origin"
    )


SOURCES = pytest.mark.parametrize("read", [archive, rest])
NUMBERS = [(each, column) for each in ROWS for column in each.columns if column.kind == "number"]
INTEGERS = [(each, column) for each in ROWS for column in each.columns if column.kind == "integer"]


def cell_id(value):
    return getattr(value, "name", None)


def row_with(dataset, column, text):
    """A row of the dataset with one other cell."""
    cells = list(ROWS[dataset])
    cells[dataset.published.index(column)] = text
    return cells


@SOURCES
@pytest.mark.parametrize(("dataset", "column"), NUMBERS, ids=cell_id)
def test_what_is_no_number_of_the_exchange_is_refused(read, dataset, column):
    """A cell outside the grammar is a bad answer that names row and column, in every column of every source."""
    negative = [] if column.signed else ["-3.2", "-0.5", "-1.8E-7", "-0"]
    for text in NO_NUMBERS + negative:
        with pytest.raises(BadAnswer, match="origin") as caught:
            read(dataset, row_with(dataset, column, text))
        if "," not in text:
            assert f"the {column.name} in {'row' if read is rest else 'line'} 2" in str(
                caught.value
            )


@SOURCES
@pytest.mark.parametrize(("dataset", "column"), NUMBERS, ids=cell_id)
def test_a_number_has_one_text(read, dataset, column):
    """However a source writes a number, the cache has it plain, with REST's digits, and no zero below zero."""
    for text, plain in PLAIN.items():
        if column.signed or not text.startswith("-"):
            line = (
                read(dataset, row_with(dataset, column, text))
                .text.tobytes()
                .decode()
                .splitlines()[-1]
            )
            assert line.split(",")[dataset.columns.index(column)] == plain


@SOURCES
@pytest.mark.parametrize(("dataset", "column"), INTEGERS, ids=cell_id)
def test_what_is_no_id_or_count_is_refused(read, dataset, column):
    """An id or a count has digits alone, and no leading zero; ids within a row may be -1."""
    for text in NO_INTEGERS:
        if read is rest and text.strip() == "5":
            # In JSON the blank is beside the number.
            continue
        with pytest.raises(BadAnswer, match="origin"):
            read(dataset, row_with(dataset, column, text))
    if column.signed:
        line = (
            read(dataset, row_with(dataset, column, "-1")).text.tobytes().decode().splitlines()[-1]
        )
        assert line.split(",")[dataset.columns.index(column)] == "-1"
    else:
        with pytest.raises(BadAnswer, match="origin"):
            read(dataset, row_with(dataset, column, "-1"))


@pytest.mark.parametrize(
    ("dataset", "at", "texts"),
    [(KLINES, 6, ["x", "-5", "01", "1.0", ""]), (FUTURES, 1, ["x", "-8", "08", "8.0", "", "100"])],
)
def test_columns_that_are_only_looked_at_are_integers_too(dataset, at, texts):
    """A close time, or an interval of funding, that is no integer is a bad answer."""
    for text in texts:
        cells = list(ROWS[dataset])
        cells[at] = text
        with pytest.raises(BadAnswer, match="line 2"):
            archive(dataset, cells)


CELLS = st.one_of(
    st.from_regex(r"-?[0-9]{1,3}(\.[0-9]{0,9})?(E[+-]?[0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"[-+]?0{0,2}[0-9]{0,30}\.?[0-9]{0,30}", fullmatch=True),
    st.text("0019.-+Ee ", max_size=6),
    st.sampled_from([*PLAIN, *NO_NUMBERS, *NO_INTEGERS]),
    # With a comma it would be two cells.
).filter(lambda text: "," not in text)


@given(st.sampled_from(NUMBERS + INTEGERS), CELLS)
@example((FUTURES, FUTURES.columns[1]), "-0.0")
@example((KLINES, KLINES.columns[1]), "-0.5")
@example((KLINES, KLINES.columns[1]), "007.5")
@example((AGG_TRADES, AGG_TRADES.columns[5]), "-1")
def test_the_fast_path_takes_nothing_that_the_slow_one_does_not(where, text):
    """Around the grammar the fast path gives the lines of the general one, or gives up; both follow the grammar."""
    dataset, column = where
    block = (",".join(row_with(dataset, column, text)) + "\n").encode()

    def outcome(path, *more):
        try:
            lines = path(dataset, block, *more)
        except BadAnswer:
            return "refused"
        return None if lines is None else lines.text.tobytes()

    fast, slow = outcome(lines_by_kernel), outcome(lines_by_cell, "origin", ANY)

    assert fast in (None, slow)
    is_in_grammar = re.fullmatch(pattern_of(column), text) is not None and (
        column.kind == "number" or int(text) < 2**63
    )
    assert (slow != "refused") == is_in_grammar


@given(st.from_regex(pattern_of(FUTURES.columns[1]), fullmatch=True))
def test_the_text_of_the_cache_is_within_its_own_grammar(text):
    """What the cache writes for a number is plain, is its own text, and is read as the same number."""
    plain = plain_number(text)

    assert re.fullmatch(plain_pattern_of(FUTURES.columns[1]), plain)
    assert plain_number(plain) == plain
    assert float(plain) == pytest.approx(float(text), rel=1e-15, abs=0)


# --- through the exchange ---

KEYS = {
    "klines": "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01",
    "agg_trades": "data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-01-31",
    "futures": "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-01",
}


def published(exchange, name):
    """The lines of a file of the demo's archive."""
    with urllib.request.urlopen(f"{exchange.url}/{KEYS[name]}.zip") as answer:  # noqa: S310 - the demo exchange
        body = answer.read()
    with zipfile.ZipFile(BytesIO(body)) as zipped:
        return zipped.read(zipped.namelist()[0]).decode().splitlines(keepends=True)


async def fetch(settings, name, source="auto", end="2025-02-01"):
    """Bring the last days of January 2025 into a folder of its own."""
    own = settings.replace(source=source, cache_dir=settings.cache_dir / source)
    shutil.rmtree(own.cache_dir, ignore_errors=True)
    report = await ares.download_all_data(
        "BTCUSDT",
        interval="1h" if name == "klines" else None,
        lookback_years=(1 if name == "agg_trades" else 31) * DAY,
        end=end,
        datasets=(name,),
        settings=own,
    )
    return report, {path.name: path.read_bytes() for path in own.cache_dir.glob("*.csv")}


@pytest.mark.parametrize(
    "spoilt",
    [
        ("klines", 1, "007.5"),
        ("klines", 4, "1."),
        ("klines", 5, "-3.2"),
        ("klines", 8, "007"),
        ("klines", 0, "+1735776000000"),
        ("agg_trades", 1, ".5"),
        ("agg_trades", 2, "-1.0"),
        ("agg_trades", 3, "-3"),
        ("futures", 2, "0.1e-3"),
        ("futures", 2, "00.0001"),
    ],
)
async def test_a_zip_with_such_a_number_falls_through(exchange, settings, publish_anew, spoilt):
    """A zip that holds what is no number is not believed; the next source has the rows, or nothing is stored."""
    name, column, text = spoilt
    _, whole = await fetch(settings, name, "rest")
    lines = published(exchange, name)
    cells = lines[20].rstrip().split(",")
    cells[column] = text
    lines[20] = ",".join(cells) + "\n"
    publish_anew(KEYS[name].rpartition("/")[2], "".join(lines))

    report, stored = await fetch(settings, name)
    alone, left = await fetch(settings, name, "archive")

    assert report.complete
    assert stored == whole
    assert text.encode() not in b"".join(left.values()).replace(b"\n", b",").split(b",")
    assert alone.complete == (name == "klines")


@pytest.mark.parametrize("name", KEYS)
async def test_a_page_of_rest_with_such_a_number_is_refused(exchange, settings, name):
    """A page of REST that holds what is no number fails, and nothing of it is stored."""

    def spoil(body):
        page = json.loads(body)
        for row in page[-1:]:
            row[{"klines": 1, "agg_trades": "p", "futures": "fundingRate"}[name]] = "1."
        return json.dumps(page).encode()

    paths = {"klines": "v3/klines", "agg_trades": "aggTrades", "futures": "v1/fundingRate"}
    exchange.fail(paths[name], times=None, replace_body=spoil)

    report, stored = await fetch(settings, name, "rest")

    assert report.failed
    assert "'1.'" in str(report)
    assert stored == {}


async def test_a_tiny_rate_is_the_same_by_both_sources(exchange, settings, publish_anew):
    """Rates that the archive writes with an exponent, and REST without, become the same bytes."""
    lines = published(exchange, "futures")
    pairs = [pair for pair in PLAIN.items() if pair[0] not in ("15", "1E+3", "-0")]
    for at, (text, _) in enumerate(pairs, 1):
        lines[at] = f"{lines[at].rpartition(',')[0]},{text}\n"
    publish_anew(KEYS["futures"].rpartition("/")[2], "".join(lines))
    stamps = {int(lines[at].split(",")[0]): plain for at, (_, plain) in enumerate(pairs, 1)}

    def as_rest(body):
        page = json.loads(body)
        for row in page:
            row["fundingRate"] = stamps.get(row["fundingTime"], row["fundingRate"])
        return json.dumps(page).encode()

    exchange.fail("v1/fundingRate", times=None, replace_body=as_rest)
    (one, by_archive), (other, by_rest) = [
        await fetch(settings, "futures", source) for source in ("archive", "rest")
    ]

    assert one.complete
    assert other.complete
    assert by_archive == by_rest
    assert b",0.00000060\n" in by_rest["futures_BTCUSDT_2025-01.csv"]


def test_real_rates_are_the_same_by_both_sources(recorded):
    """Rates as the archive served them, with exponents, are the lines that REST's own texts of them make."""
    folder = recorded.parent / "futures/archive/um_fundingRate"
    if not folder.is_dir():
        pytest.skip(f"no {folder.name} beside ARES_TEST_DATA: no recorded rates with exponents")
    for path in sorted(folder.glob("*.csv")):
        text = path.read_bytes().partition(b"\n")[2]
        rows = [line.split(",") for line in text.decode().splitlines()]
        page = [
            {"symbol": "BTCUSDT", "fundingTime": int(stamp), "fundingRate": f"{float(rate):.8f}", "markPrice": ""}
            for stamp, _, rate in rows
        ]  # fmt: skip

        by_archive = lines_of_csv(FUTURES, text, path.name)
        by_rest = lines_of_json(SERIES[FUTURES], json.dumps(page).encode(), "rest")

        assert by_archive.text.tobytes() == by_rest.text.tobytes()
        assert len(by_archive) == len(rows) > 0
