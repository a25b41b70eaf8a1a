"""The fast path: ordinary lines of the archive, made lines of the cache without a CSV reader."""

from __future__ import annotations

from io import BytesIO
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_notebook.binance.csv_tables import rows_of_csv
from ares_notebook.binance.parse import read_fast
from ares_notebook.binance.zips import lines_of as zip_text
from ares_notebook.errors import BadAnswer
from ares_notebook.model.datasets import AGG_TRADES, FUTURES, KLINES
from ares_notebook.model.rows import lines_of

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
    lines = read_fast(FUTURES, FUNDING, "origin")
    assert lines is not None
    assert same(lines, general(FUTURES, FUNDING))
    assert lines.text.tobytes().count(b"-0.00") == FUNDING.count(b"-")


def general(dataset, block):
    return lines_of(dataset, rows_of_csv(dataset, block, "origin")[0])


def same(one, other):
    pairs = ((getattr(one, name), getattr(other, name)) for name in ("keys", "stamps_us", "text"))
    return all(np.array_equal(*pair) for pair in pairs)


@given(candle_blocks())
def test_candles_come_out_as_by_the_general_road(block):
    """Cells of any width are copied to where a reader and a writer of CSV would have put them."""
    lines = read_fast(KLINES, block, "origin")
    assert lines is not None
    assert same(lines, general(KLINES, block))


@given(trade_blocks())
def test_trades_come_out_as_by_the_general_road(block):
    """Trades of spot and futures, in milliseconds and microseconds, give the same lines on both paths."""
    lines = read_fast(AGG_TRADES, block, "origin")
    expected = general(AGG_TRADES, block)
    assert lines is None or same(lines, expected)
    # Ids that grow a digit on the way are read one by one, and nothing else is.
    widths = {len(line.split(b",")[0]) for line in block.splitlines()}
    assert (lines is None) == (len(widths) > 1)


@given(st.data())
def test_a_byte_put_anywhere_is_seen(data):
    """Whatever byte of a block is changed, the fast path gives what the general path gives, or gets off."""
    kinds = [(KLINES, CANDLE), (AGG_TRADES, TRADE), (FUTURES, FUNDING)]
    dataset, block = data.draw(st.sampled_from(kinds))
    at, gone = data.draw(st.integers(0, len(block))), data.draw(st.integers(0, 1))
    changed = block[:at] + bytes([data.draw(st.integers(0, 255))]) + block[at + gone :]
    outcomes = []
    for path in (read_fast, lambda *args: general(*args[:2])):
        try:
            outcomes.append(path(dataset, changed, "origin"))
        except BadAnswer:
            outcomes.append("refused")
    fast, slow = outcomes
    assert fast is None or fast == slow == "refused" or same(fast, slow)


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
        (AGG_TRADES, TRADE.replace(b",True\n", b",Tru0\n")),
        (AGG_TRADES, TRADE + TRADE.replace(b"7,", b"10,", 1)),
        (AGG_TRADES, TRADE.replace(b",True,True", b"")),
        (FUTURES, FUNDING.replace(b"-", b"")[:-1] + b"-"),
    ],
)
def test_what_is_not_ordinary_gets_off(dataset, block):
    """A block in which one cell is not what such cells are is left to the general path."""
    assert read_fast(dataset, block, "origin") is None


def test_a_stamp_that_is_no_moment_is_refused():
    """Fourteen-digit stamps are no stamps, on the fast path as elsewhere."""
    with pytest.raises(BadAnswer, match="origin: a stamp is no moment"):
        read_fast(KLINES, CANDLE.replace(b"1735689600000", b"17356896000000"), "origin")


def test_real_files_take_the_express(recorded):
    """Nine in ten blocks of real candles are ordinary, and all give the lines of the general path."""
    blocks: list[bytes] = []
    for path in (recorded / "archive").glob("**/spot/**/klines/**/*.zip"):
        blocks += zip_text(BytesIO(path.read_bytes()), f"{path.stem}.csv", path.name)
    taken = [read_fast(KLINES, block, "origin") for block in blocks]
    pairs = [
        (lines, block) for lines, block in zip(taken, blocks, strict=True) if lines is not None
    ]
    assert len(pairs) >= 0.9 * len(blocks) > 0
    assert all(same(lines, general(KLINES, block)) for lines, block in pairs)
