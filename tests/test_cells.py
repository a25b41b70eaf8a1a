"""Which cells are read of a file, as what, and that no others come out."""

from __future__ import annotations

import dataclasses
import os
from datetime import timedelta
from decimal import Decimal
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

import ares_notebook as ares
from ares_notebook.cache.cells import Selection, chosen
from ares_notebook.cache.entry import Source
from ares_notebook.cache.frames import frame_of
from ares_notebook.cache.reader import read_rows
from ares_notebook.cache.store import Store
from ares_notebook.cached_window import CachedWindow, read_window
from ares_notebook.errors import BadArgument, CacheUnavailable, CorruptFile
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.rows import header_of, lines_of
from ares_notebook.model.time import as_utc, to_ms

CANDLES = parse_file_name("klines_BTCUSDT_1h_2018-02.csv")
TRADES = parse_file_name("aggtrades_BTCUSDT_2025-01-15.csv")
FUNDING = parse_file_name("futures_BTCUSDT_2025-01.csv")


def candles():
    """A month of hours; those of one day opened at 28:14.789, as some have."""
    opens = pd.date_range("2018-02-01", "2018-02-28T23:00", freq="h")
    stamps = [f"{at}" if at.day != 9 else f"{at:%Y-%m-%d %H}:28:14.789" for at in opens]
    return [f"{at},1.10,2,1,0.1,5.00000000,9,{row},3,4" for row, at in enumerate(stamps)]


def trades(jitter_seconds=0):
    """A day of trades, one a minute, of which some may be stamped before those that they follow."""
    late = np.random.default_rng(7).integers(0, jitter_seconds + 1, 1440)
    stamps = pd.date_range("2025-01-15", periods=1440, freq="min") + pd.to_timedelta(late, "s")
    stamps = stamps.where(stamps.day == 15, pd.Timestamp("2025-01-15T23:59:59"))
    return [f"{at:%F %T.%f},{row}.10,2,True,{row},7,8" for row, at in enumerate(stamps)]


def funding():
    """A month of events, each some milliseconds late."""
    stamps = pd.date_range("2025-01-01T00:00:00.003", "2025-01-31T23:00", freq="8h")
    return [f"{at:%F %T}.003,0.0001{row:04}" for row, at in enumerate(stamps)]


LINES = {CANDLES: candles, TRADES: trades, FUNDING: funding}


FETCHED = Source("rest", "the exchange", "2025-02-01T00:00:00+00:00")


@pytest.fixture
def store(tmp_path):
    """An empty cache."""
    made = Store(ares.Settings(cache_dir=tmp_path / "cache"))
    made.prepare()
    return made


@pytest.fixture
def put(store, tmp_path):
    """Store the lines of a file as a download does, with a receipt that says that it is final."""

    def put_lines(file, lines, into=store, sources=(FETCHED,), columns=None):
        text = tmp_path / file.name
        text.write_bytes(header_of(file.dataset) + "".join(f"{line}\n" for line in lines).encode())
        with into.writer(file, columns) as part:
            for table in read_rows(text, file):
                part.write_lines(lines_of(file.dataset, table))
            into.commit(part, sources=sources, absences=(), final=True)

    return put_lines


def change(path, old, new):
    """Change a file so that its receipt does not notice: as long, and of the same time."""
    status = path.stat()
    data = path.read_bytes()
    assert data.count(old) == 1
    assert len(old) == len(new)
    path.write_bytes(data.replace(old, new))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def window(store, file, start=None, end=None, **options):
    period = file.period
    start_ms = period.start_ms if start is None else to_ms(as_utc(start))
    end_ms = period.end_ms if end is None else to_ms(as_utc(end))
    return read_window(store, file.series, start_ms, end_ms, **options)


# --- columns ---


@pytest.mark.parametrize("file", LINES, ids=lambda file: file.dataset.name)
@pytest.mark.parametrize("decimal", [False, True])
def test_only_the_named_columns_come_in_their_order(store, put, file, decimal):
    """Chosen columns are those of the whole frame, in the order in which they were named."""
    put(file, LINES[file]())
    whole = window(store, file, decimal=decimal)
    names = [whole.columns[-1], whole.columns[0]] if len(whole.columns) > 1 else ["fundingRate"]

    frame = window(store, file, columns=names, decimal=decimal)

    pd.testing.assert_frame_equal(frame, whole[names])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["close", "clsoe"], "names 'clsoe'"),
        (["close", "timestamp"], "it is the index"),
        (["close", "close"], "twice"),
        ("close", "sequence of names"),
        ([], "sequence of names"),
        (5, "sequence of names"),
        (b"close", "sequence of names"),
        ([["close"]], "sequence of names"),
        ({"close", "open"}, "sequence of names"),
    ],
)
def test_columns_that_cannot_be_meant_are_refused(settings, columns, words):
    """A wrong choice of columns is refused before any file is looked for, with those there are."""
    with pytest.raises(BadArgument, match=f"{words}.*; there are open, high, low, close, volume"):
        ares.load_klines("BTCUSDT", "1h", columns=columns, settings=settings)


def test_other_columns_are_not_parsed(store, put):
    """Without a copy, a cell that is no number does no harm where its column is not asked for."""
    store.arrow_copies = "off"
    put(CANDLES, candles())
    change(store.path_of(CANDLES), b",9,300,3,4", b",x,300,3,4")

    assert len(window(store, CANDLES, columns=["close", "number_of_trades"])) == 28 * 24
    with pytest.raises(CorruptFile, match=CANDLES.name):
        window(store, CANDLES)


# --- numbers ---


@pytest.mark.parametrize("file", LINES, ids=lambda file: file.dataset.name)
def test_decimals_have_the_very_digits(store, put, file):
    """As decimals the numbers print as the file has them; counts and flags are as always."""
    lines = LINES[file]()
    put(file, lines)
    types = window(store, file).dtypes

    frame = window(store, file, decimal=True)

    for at, column in enumerate(file.dataset.columns[1:], 1):
        cells = frame[column.name].tolist()
        assert [line.split(",")[at] for line in lines] == [str(cell) for cell in cells]
        kind = Decimal if column.kind == "number" else type(cells[0])
        assert {kind} == {type(cell) for cell in cells}
        assert frame[column.name].dtype == (object if kind is Decimal else types[column.name])
    assert frame.attrs == window(store, file).attrs


def test_decimals_are_not_rounded(store, put):
    """What no float holds comes whole, and sums are exact."""
    put(FUNDING, ["2025-01-01 00:00:00.003,0.1", "2025-01-01 08:00:00.003,0.2"])
    put(CANDLES, ["2018-02-01 00:00:00,1,1,1,1,12345678901234567890.1234567890123456789,9,1,3,4"])

    assert window(store, FUNDING)["fundingRate"].sum() != 0.3
    assert window(store, FUNDING, decimal=True)["fundingRate"].sum() == Decimal("0.3")
    volume = window(store, CANDLES, decimal=True)["volume"].iloc[0]
    assert volume == Decimal("12345678901234567890.1234567890123456789")


@pytest.mark.parametrize("decimal", [False, True])
@pytest.mark.parametrize("cell", [b"nan", b"inf", b"NaN", b"one", b"1_0", b"\xff10", b"   "])
def test_what_is_no_number_does_not_come_out(store, put, cell, decimal):
    """Words for numbers, nan and inf are a corrupt file, as floats and as decimals."""
    put(CANDLES, [*candles()[:5], "2018-02-01 05:00:00,1,1,1,1,777,9,5,3,4"])
    change(store.path_of(CANDLES), b",777,", b"," + cell + b",")

    with pytest.raises(CorruptFile, match=CANDLES.name):
        window(store, CANDLES, decimal=decimal)


@pytest.mark.parametrize("decimal", [False, True])
@pytest.mark.parametrize(("old", "new"), [(b",7,9,", b",,79,"), (b",6,7,", b",6.7,")])
def test_an_empty_cell_or_a_short_line_does_not_come_out(store, put, old, new, decimal):
    """A line with an empty cell, or with too few, is a corrupt file."""
    put(CANDLES, [*candles()[:5], "2018-02-01 05:00:00,1,1,1,6,7,9,5,3,4"])
    change(store.path_of(CANDLES), old, new)

    with pytest.raises(CorruptFile, match=CANDLES.name):
        window(store, CANDLES, decimal=decimal)


@pytest.mark.parametrize(
    ("flag", "word"), [(b"False", b"Maybe"), (b"False", b"false"), (b"True", b"true")]
)
def test_a_flag_is_true_or_false(store, put, flag, word):
    """Another word for a flag is a corrupt file, not False."""
    put(TRADES, [*trades()[:50], f"2025-01-15 00:50:00.000000,1,2,{flag.decode()},50,7,8"])
    change(store.path_of(TRADES), flag + b",50,", word + b",50,")

    with pytest.raises(CorruptFile, match=TRADES.name):
        window(store, TRADES)


def test_a_last_line_without_its_end_does_not_come_out(store, put):
    """A number that may have been cut short is a corrupt file, whatever the receipt says."""
    put(CANDLES, [*candles()[:5], "2018-02-01 05:00:00,1,1,1,6,7,9,5,3,4"])
    change(store.path_of(CANDLES), b",9,5,3,4\n", b",9,5,3,44")

    with pytest.raises(CorruptFile, match="ends inside a line"):
        window(store, CANDLES)


@pytest.mark.parametrize("old", [False, True])
def test_of_old_files_what_was_not_stored_is_nan(store, put, old):
    """What the original downloader did not store is NaN, alone and beside files of ours, as both kinds of number."""
    months = [parse_file_name(f"klines_BTCUSDT_1d_2025-0{month}.csv") for month in (1, 2)]
    put(months[0], ["2025-01-01 00:00:00,0.10,1,1,1,1,9,5,3,4"])
    (store.folder / months[1].name).write_text(
        "timestamp,open,high,low,close,volume\n2025-02-01,0.1,1,1,1,1e-05\n"
    )
    store.refresh()
    start = "2025-02-01" if old else "2025-01-01"
    names = ["number_of_trades", "quote_asset_volume", "volume"]

    floats = window(store, months[1], start, columns=names)
    exact = window(store, months[1], start, columns=names, decimal=True)

    assert floats.dtypes.tolist() == ["float64"] * 3
    assert exact.dtypes.tolist() == ["float64", object, object]
    for frame in (floats, exact):
        assert frame.isna().to_numpy().tolist()[-1] == [True, True, False]
    assert not floats.iloc[:-1].isna().to_numpy().any()
    assert exact["volume"].iloc[-1] == Decimal("0.00001")
    assert exact["quote_asset_volume"].map(type).eq(Decimal).all()


def test_old_trades_that_were_completed_load_as_old_ones(store, put):
    """A final file in the original downloader's columns has ids as whole numbers, and NaN for what it lacks."""
    legacy = Source("legacy", "", "2025-02-01T00:00:00Z")
    put(TRADES, trades(), sources=(legacy,), columns=TRADES.dataset.original_names)
    assert store.entry(TRADES).final

    frame = window(store, TRADES)

    assert frame["agg_trade_id"].tolist() == list(range(1440))
    assert frame["agg_trade_id"].dtype == "int64"
    assert frame["first_trade_id"].isna().all()


# --- windows ---


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("file", LINES, ids=lambda file: file.dataset.name)
def test_a_window_is_what_a_filter_of_the_whole_leaves(tmp_path, put, file, compression):
    """Any window of a file has the rows that the whole file has of it, at its edges, too."""
    store = Store(ares.Settings(cache_dir=tmp_path / "cache", compression=compression))
    put(file, LINES[file](), store)
    whole = window(store, file)
    # The candle in the middle is one that opened off the grid.
    edges = whole.index[[0, 1, 200 % len(whole), -1]]
    around = {to_ms(edge) + step for edge in edges for step in (-1, 0, 1)}
    around |= {file.period.start_ms, file.period.end_ms}

    for start_ms, end_ms in combinations(sorted(around), 2):
        frame = read_window(store, file.series, start_ms, end_ms)
        first, last = pd.to_datetime([start_ms, end_ms], unit="ms", utc=True)
        inside = (whole.index >= first) & (whole.index < last)
        pd.testing.assert_frame_equal(frame, whole[inside])


@pytest.mark.parametrize("first", [-1, 0, 1, 999])
@pytest.mark.parametrize("last", [-1, 0, 1, 999])
def test_a_window_of_trades_is_cut_to_the_microsecond(tmp_path, put, first, last):
    """Trades of one millisecond are told apart: who goes on behind the last one reads none twice, and loses none."""
    store = Store(ares.Settings(cache_dir=tmp_path / "cache"))
    start = TRADES.period.start
    stamps = [start + timedelta(microseconds=at * 250) for at in range(40)]
    lines = [
        f"{stamp:%Y-%m-%d %H:%M:%S.%f},1.1,2,True,{at},{at},{at}" for at, stamp in enumerate(stamps)
    ]
    put(TRADES, lines, store)
    begin, end = (
        stamps[9] + timedelta(microseconds=first),
        stamps[22] + timedelta(microseconds=last),
    )

    settings = ares.Settings(cache_dir=tmp_path / "cache")
    frame = ares.load_agg_trades(
        "BTCUSDT", begin, end, columns=iter(["agg_trade_id"]), settings=settings
    )

    inside = [at for at, stamp in enumerate(stamps) if begin <= stamp < end]
    assert frame["agg_trade_id"].tolist() == inside
    assert "complete" in frame.attrs


@pytest.mark.parametrize("rows", range(1, 6))
def test_the_last_of_few_rows_is_found(store, put, rows):
    """A window of the last row has it, however short the file is."""
    put(CANDLES, candles()[:rows])
    last = CANDLES.period.start_ms + (rows - 1) * 3_600_000

    assert len(read_window(store, CANDLES.series, last, last + 1)) == 1


def test_stamps_that_go_back_a_little_lose_no_trade(store, put):
    """Ids are in order, stamps need not be: a trade that is stamped minutes late is in its window."""
    put(TRADES, trades(jitter_seconds=500))
    whole = window(store, TRADES)
    assert not whole["agg_trade_id"].is_monotonic_increasing
    assert whole.index.is_monotonic_increasing

    for minute in pd.date_range("2025-01-15T00:01", "2025-01-15T23:59", freq="17min", tz="UTC"):
        after = minute + pd.Timedelta("1min")
        inside = (whole.index >= minute) & (whole.index < after)
        frame = read_window(store, TRADES.series, to_ms(minute), to_ms(after))
        pd.testing.assert_frame_equal(frame, whole[inside])


def test_a_last_stamp_that_goes_back_is_cut_by_the_window(store, put):
    """With an Arrow copy and without one, a window has no trade that is stamped after its end."""
    lines = trades()
    *first, before, last = lines
    end = "2025-01-15 23:59:59.300000"
    early, late = (f"2025-01-15 23:59:59.{tenth}00000" for tenth in (1, 5))
    put(TRADES, [*first, late + before[len(late) :], early + last[len(early) :]])

    for how in ("off", "plain", "plain"):
        settings = ares.Settings(cache_dir=store.folder, arrow_copies=how)
        frame = window(Store(settings), TRADES, end=end)
        assert len(frame) == 1439
        assert frame.index[-1] == pd.Timestamp(early, tz="UTC")


def test_a_file_that_a_download_replaces_meanwhile_is_read_anew(store, put):
    """A window whose file is replaced before it is read has the new rows, and the new receipt stays."""
    put(FUNDING, funding()[:40])
    settings = ares.Settings(cache_dir=store.folder)
    series, end = FUNDING.series, FUNDING.end_ms
    cached = CachedWindow.of(Store(settings), series, FUNDING.start_ms, end)
    put(FUNDING, funding())
    receipt = store.receipt_path(FUNDING).read_bytes()
    frame = cached.frame(None, decimal=False)

    assert len(frame) == len(funding())
    assert store.receipt_path(FUNDING).read_bytes() == receipt


@pytest.mark.parametrize("file", [CANDLES, TRADES], ids=lambda file: file.dataset.name)
def test_far_from_the_window_nothing_is_parsed(store, put, file):
    """A window is read without the lines of its file that are far from it."""
    lines = LINES[file]()
    put(file, lines)
    for line in (lines[0], lines[-1]):
        change(store.path_of(file), line[19:].encode(), b"x" * len(line[19:]))
    middle = file.period.start + (file.period.end - file.period.start) / 2

    frame = read_window(store, file.series, to_ms(middle), to_ms(middle) + 3_600_000)

    assert len(frame) == {CANDLES: 1, TRADES: 60}[file]
    with pytest.raises(CorruptFile):
        window(store, file)


def test_without_a_receipt_the_whole_file_is_read(store, put):
    """Where nobody vouches for the lines of a file, each is parsed, near the window or far."""
    put(CANDLES, candles())
    change(store.path_of(CANDLES), b",9,5,3,4\n", b",9,5,3,x\n")
    entries, wanted = looked_at(store, CANDLES)
    narrow = dataclasses.replace(wanted, start_us=wanted.end_us - 3_600_000_000)

    assert len(frame_of(entries, narrow)) == 1
    with pytest.raises(CorruptFile, match=CANDLES.name):
        frame_of([replace(entries[0], has_provenance=False)], narrow)


def test_other_files_are_not_opened(store, put):
    """A window is read without the files that do not overlap it, whatever is in them."""
    put(CANDLES, candles())
    for month in ("2018-01", "2018-03"):
        (store.folder / f"klines_BTCUSDT_1h_{month}.csv").write_text("rubbish")
    store.refresh()

    assert len(window(store, CANDLES)) == 28 * 24
    with pytest.raises(CorruptFile, match="2018-03"):
        window(store, CANDLES, end="2018-03-01T01:00")


@pytest.mark.parametrize("columns", [None, ["price"]])
@pytest.mark.parametrize("start", [None, "2025-01-15T12:00"])
def test_lines_out_of_order_do_not_come_out(store, put, columns, start):
    """Swapped trades are a corrupt file, also where neither ids nor the whole day are asked for."""
    lines = trades()
    put(TRADES, lines)
    pair = [f"{each}\n".encode() for each in lines[1000:1002]]
    change(store.path_of(TRADES), b"".join(pair), b"".join(reversed(pair)))

    with pytest.raises(CorruptFile, match="out of order"):
        window(store, TRADES, start, columns=columns)


# --- what changes between the look and the reading ---


def looked_at(store, file):
    wanted = Selection(
        chosen(file.dataset, None),
        False,
        file.period.start_ms * 1000,
        file.period.end_ms * 1000,
    )
    return store.entries([file]), wanted


@pytest.mark.parametrize("rows", [-1, 1])
def test_a_file_of_another_length_is_no_frame(store, put, rows):
    """A final file with a row more or less than its receipt says raises: no cell is left to chance."""
    put(FUNDING, funding())
    entries, wanted = looked_at(store, FUNDING)
    facts = replace(entries[0].facts, rows=entries[0].facts.rows + rows)

    with pytest.raises(CacheUnavailable, match=f"{FUNDING.name} was changed by another program"):
        frame_of([replace(entries[0], facts=facts)], wanted)


def test_a_file_of_fewer_columns_is_no_frame(store, put):
    """A final file that has become one of the original downloader's raises, though it has as many rows."""
    put(CANDLES, candles())
    entries, wanted = looked_at(store, CANDLES)
    path = entries[0].path
    path.write_text(
        "\n".join(",".join(line.split(",")[:6]) for line in path.read_text().splitlines()) + "\n"
    )

    with pytest.raises(CacheUnavailable, match=f"{CANDLES.name} was changed by another program"):
        frame_of(entries, wanted)


def test_a_running_file_may_grow_meanwhile(store, put):
    """Of a file that is not final all rows come that are there when it is read."""
    put(FUNDING, funding()[:5])
    entries, wanted = looked_at(store, FUNDING)
    put(FUNDING, funding()[:8])

    assert len(frame_of([replace(entries[0], final=False)], wanted)) == 8


def test_a_file_that_is_gone_meanwhile_is_told_of(store, put):
    """A file that is deleted between the look and the reading raises with its name."""
    put(FUNDING, funding())
    entries, wanted = looked_at(store, FUNDING)
    entries[0].path.unlink()

    with pytest.raises(CacheUnavailable, match=f"{FUNDING.name} is not there any more"):
        frame_of(entries, wanted)


def test_frames_can_be_written_to(store, put):
    """Every column of a loaded frame can be changed in place."""
    put(TRADES, trades())
    frame = window(store, TRADES)

    frame.iloc[0] = frame.iloc[1]

    assert frame.iloc[0].tolist() == frame.iloc[1].tolist()


def test_an_empty_window_has_the_columns(store, put):
    """A window without a row has the columns and types of one with rows."""
    put(FUNDING, funding())
    whole = window(store, FUNDING)

    frame = window(store, FUNDING, "2025-01-01T01:00", "2025-01-01T02:00")

    pd.testing.assert_frame_equal(frame, whole[:0])
    assert isinstance(whole.index.dtype, pd.DatetimeTZDtype)
