"""The native kernel: ordinary lines of the archive, made lines of the cache without a CSV reader."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from itertools import accumulate, chain
from urllib.request import urlopen

import numpy as np
import pytest
from fuzz_kernel import tried
from hypothesis import given
from hypothesis import strategies as st

from ares_notebook.binance.csv_tables import Expected, columns_of, lines_by_cell, rows_of_csv
from ares_notebook.binance.parse import KERNEL, lines_by_kernel, lines_of_csv
from ares_notebook.binance.zips import _header_and_rows
from ares_notebook.binance.zips import lines_of as zip_text
from ares_notebook.errors import BadAnswer
from ares_notebook.model.datasets import AGG_TRADES, DATASETS, FUTURES, KLINES
from ares_notebook.model.files import Series
from ares_notebook.model.rows import lines_of
from ares_notebook.model.symbols import pair_of

pytestmark = pytest.mark.skipif(KERNEL is None, reason="the package was built without a compiler")
MS = 1_735_689_600_000
CANDLE = b"1735689600000,1.5,2.0,1.25,1.75,10.1,1735689659999,17.0,3,5.0,8.5,0\n"
TRADE = b"7,93576.00000000,0.00018000,9,9,1735689600010866,True,True\n"
FUNDING = b"1735689600003,8,-0.00010000\n1735718400000,8,0.00010000\n1735747200047,4,-0.00002590\n"
# Of one draw each: a block has hundreds, and drawing digit by digit takes longer than the test.
DECIMALS = st.integers(0, 48 * 10**14 - 1).map(lambda drawn: decimal(*divmod(drawn, 48)))
COUNTS = st.integers(0, 10**12).map(str)


def decimal(digits, shape):
    """One to six digits, none of them a leading zero, a point, one to eight digits; the last ones drawn come first."""
    text = f"{digits:014}"[::-1]
    return f"{text[: 1 + shape // 8].lstrip('0') or '0'}.{text[6 : 7 + shape % 8]}"


def candle_blocks():
    row = st.tuples(st.integers(1, 3), st.tuples(*[DECIMALS] * 8), COUNTS)

    def block(rows):
        opens = accumulate(step for step, _, _ in rows)
        lines = []
        for minute, (_, cells, count) in zip(opens, rows, strict=True):
            start = MS + minute * 60_000
            prices, volumes = ",".join(cells[:5]), f"{cells[5]},{count},{cells[6]},{cells[7]}"
            lines.append(f"{start},{prices},{start + 59_999},{volumes},0\n")
        return "".join(lines).encode()

    return st.lists(row, min_size=1, max_size=30).map(block)


def trade_blocks():
    row = st.tuples(st.integers(1, 3), st.integers(0, 999), DECIMALS, DECIMALS, st.booleans())

    def block(rows, first, scale, flags):
        ids = accumulate((each[0] for each in rows), initial=first)
        stamps = accumulate((each[1] for each in rows), initial=MS * scale)
        return "".join(
            f"{number},{price},{quantity},{number * 2},{number * 2 + 1},{stamp},{maker}{',True' * flags}\n"
            for number, stamp, (_, _, price, quantity, maker) in zip(
                ids, stamps, rows, strict=False
            )
        ).encode()

    return st.builds(
        block,
        st.lists(row, min_size=1, max_size=30),
        st.integers(1, 10**10),
        st.sampled_from([1, 1000]),
        st.booleans(),
    )


def test_negative_numbers_take_the_express():
    """Funding rates below zero, half of all, are copied as they stand."""
    lines = lines_by_kernel(FUTURES, FUNDING)
    assert lines is not None
    assert same(lines, general(FUTURES, FUNDING))
    assert lines.text.tobytes().count(b"-0.00") == FUNDING.count(b"-")


def example_of(dataset, market):
    is_pair = dataset.rest_symbol_parameter == "pair"
    return pair_of(market.example) if is_pair else market.example


def general(dataset, block):
    return lines_of(dataset, rows_of_csv(dataset, block, "origin")[0])


def same(one, other):
    pairs = ((getattr(one, name), getattr(other, name)) for name in ("keys", "stamps_us", "text"))
    return all(np.array_equal(*pair) for pair in pairs)


@given(candle_blocks())
def test_candles_come_out_as_by_the_general_road(block):
    """Cells of any width are copied to where a reader and a writer of CSV would have put them."""
    lines = lines_by_kernel(KLINES, block)
    assert lines is not None
    assert same(lines, general(KLINES, block))


@given(trade_blocks())
def test_trades_come_out_as_by_the_general_road(block):
    """Trades of spot and futures, in milliseconds and microseconds, give the same lines on both paths."""
    lines = lines_by_kernel(AGG_TRADES, block)
    assert lines is not None
    assert same(lines, general(AGG_TRADES, block))


@given(st.data())
def test_a_byte_put_anywhere_is_seen(data):
    """Whatever byte of a block is changed, the fast path gives what the general path gives, or gets off."""
    kinds = [(KLINES, CANDLE), (AGG_TRADES, TRADE), (FUTURES, FUNDING)]
    dataset, block = data.draw(st.sampled_from(kinds))
    at, gone = data.draw(st.integers(0, len(block))), data.draw(st.integers(0, 1))
    changed = block[:at] + bytes([data.draw(st.integers(0, 255))]) + block[at + gone :]
    outcomes = []
    for path in (lines_by_kernel, general):
        try:
            outcomes.append(path(dataset, changed))
        except BadAnswer:
            outcomes.append("refused")
    fast, slow = outcomes
    assert fast is None or same(fast, slow)


@pytest.mark.parametrize(
    ("dataset", "block"),
    [
        (KLINES, b""),
        (KLINES, b"\n"),
        (KLINES, CANDLE.rstrip()),
        (KLINES, CANDLE.replace(b"\n", b"\r\n")),
        (KLINES, CANDLE + CANDLE),
        (KLINES, CANDLE + b"1" + CANDLE),
        (KLINES, CANDLE.replace(b"9600000,", b"9600001,")),
        (KLINES, CANDLE.replace(b"1.5", b"--1.5")),
        (KLINES, CANDLE.replace(b"1.5", b"-.5")),
        (KLINES, CANDLE.replace(b"1.5", b"1.-5")),
        (KLINES, CANDLE.replace(b"1.5", b"1-5.0")),
        (KLINES, CANDLE.replace(b"1.5", b"1.5-")),
        (KLINES, CANDLE.replace(b",3,", b",-3,")),
        (KLINES, b"-" + CANDLE),
        (KLINES, CANDLE + b"-"),
        (KLINES, CANDLE.replace(b"1.5", b"1:5")),
        (KLINES, CANDLE.replace(b"1.5", b".5")),
        (KLINES, CANDLE.replace(b"1.5,2.0", b"1.5.,20")),
        (KLINES, CANDLE.replace(b"1.5", b"1." + b"5" * 40)),
        (KLINES, CANDLE.replace(b"1.5", b"1.e")),
        (KLINES, CANDLE.replace(b",3,", b",03,")),
        (KLINES, CANDLE.replace(b",3,", b"," + b"3" * 19 + b",")),
        (KLINES, CANDLE.replace(b",5.0,8.5,0\n", b"\n")),
        (AGG_TRADES, TRADE[1:]),
        (AGG_TRADES, b"7,1.0,1.0,9,9,1,True\n"),
        (AGG_TRADES, TRADE.replace(b"True,True", b"x")),
        (AGG_TRADES, TRADE.replace(b"True,", b"TrueTrue,")),
        (AGG_TRADES, TRADE.replace(b"True,", b"trUe,")),
        (AGG_TRADES, TRADE.replace(b"True,", b"Trux,")),
        (AGG_TRADES, TRADE.replace(b"True,", b"Falsy,")),
        (AGG_TRADES, TRADE.replace(b"True,", b"1,")),
        (AGG_TRADES, TRADE.replace(b",True,True", b"")),
        (FUTURES, FUNDING.replace(b"-", b"")[:-1] + b"-"),
    ],
)
def test_what_is_not_ordinary_gets_off(dataset, block):
    """A block in which one cell is not what such cells are is left to the general path."""
    assert lines_by_kernel(dataset, block) is None


def test_a_stamp_that_is_no_moment_is_refused():
    """Fourteen-digit stamps are no stamps, on the fast path as elsewhere."""
    with pytest.raises(BadAnswer, match="origin: a stamp is no moment"):
        lines_of_csv(KLINES, CANDLE.replace(b"1735689600000", b"17356896000000"), "origin")


def paths_of(dataset, data, name, interval=None):
    """The lines of each block of a zip by the kernel, None where it leaves it, and by PyArrow."""
    blocks = zip_text(BytesIO(data), f"{name.removesuffix('.zip')}.csv", name)
    header, first = _header_and_rows(next(blocks))
    expected = Expected(interval, columns=columns_of(dataset, header, first, name))
    for block in chain([first], blocks):
        yield (
            lines_by_kernel(dataset, block, expected),
            lines_by_cell(dataset, block, name, expected),
        )


def test_real_files_take_the_express(recorded):
    """Nine in ten blocks of recorded zips are ordinary, and all give the lines of the general path."""
    words = {each.path_name: each for each in (KLINES, AGG_TRADES, FUTURES)}
    archive = recorded / "archive/data"
    pairs = []
    for path in archive.rglob("*.zip"):
        # Of candles also the interval is known, as a folder.
        kind = next(word for word in path.relative_to(archive).parts if word in words)
        interval = path.parent.name if kind == "klines" else None
        pairs += paths_of(words[kind], path.read_bytes(), path.name, interval)
    taken = [pair for pair in pairs if pair[0] is not None]
    assert len(taken) >= 0.9 * len(pairs) > 0
    assert all(same(*pair) for pair in taken)


def test_the_whole_market_takes_the_express(exchange):
    """Every zip of the demo is parsed by the kernel, to the lines of the general path, but those of measurements."""
    start = datetime(2026, 8, 1, tzinfo=UTC)
    left = set()
    for dataset in DATASETS:
        for market in dataset.markets:
            series = Series.of(dataset, example_of(dataset, market), "1h")
            cut = series.archive_cuts[0]
            key = series.archive_key(cut, start)
            with urlopen(f"{exchange.url}/{key}") as answer:  # noqa: S310 - on loopback
                data = answer.read()
            pairs = list(paths_of(dataset, data, key.rpartition("/")[2], series.interval))
            assert pairs
            for pair in pairs:
                if pair[0] is None:
                    left.add(dataset.name)
                else:
                    assert same(*pair), key
    assert left == {"metrics"}


def test_spoilt_blocks_come_out_as_by_the_general_road():
    """What the kernel makes of rows with faults in them is what PyArrow makes of them, and hundreds it takes."""
    taken, different = tried(2_000, seed=20)
    assert different == []
    assert taken > 300


def test_long_blocks_and_lines_are_read_to_their_ends():
    """A block of any length up to hundreds of rows, and a line that is longer than its room behind, are taken whole."""
    for rows in (1, 2, 3, 40, 600):
        block = b"".join(
            b"%d,93576.%08d,0.00018000,9,9,%d,True,True\n"
            % (7 + at, at, 1_735_689_600_000_000 + at)
            for at in range(rows)
        )
        lines = lines_by_kernel(AGG_TRADES, block)
        assert lines is not None
        assert same(lines, general(AGG_TRADES, block))
    longest = CANDLE.replace(b"1.5", b"1" * 24 + b"." + b"5" * 24)
    assert same(lines_by_kernel(KLINES, longest * 1), general(KLINES, longest))
    # A cell that is not kept may be as long as it will: then PyArrow reads the block.
    assert lines_by_kernel(KLINES, CANDLE.replace(b",0\n", b"," + b"1" * 9_000 + b"\n")) is None


def test_a_table_that_is_none_is_refused():
    """A table of columns without a stamp, or with a place twice or left out, is an error and not a crash."""
    for table in (b"", b"n\0\0", b"t\0\0n\0\0", b"t\0\0n\0\2", b"t\0\0" * 33, b"t\0\0n\0\40"):
        with pytest.raises(ValueError, match="no table of columns"):
            KERNEL(CANDLE, table, 0, 0, 0, 0, 1)
    assert KERNEL(CANDLE, b"t\0\0?\0\1", 0, 0, 0, 0, 1) == 0
