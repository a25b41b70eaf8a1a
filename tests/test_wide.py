"""Several symbols in one frame: the rows that each has alone, side by side, and what each lacks."""

from __future__ import annotations

import json
import os
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.errors import BadArgument, CorruptFile, NeverDownloaded
from ares_notebook.load import IncompleteData
from ares_notebook.model.datasets import DATASETS

DAY = 1 / 365.25
WINDOW = {"start": "2023-04-20", "end": "2023-06-10"}
THREE = ["BTCUSDT", "ETHUSDT", "SUIUSDT"]
ALIGNED = [each for each in DATASETS if each.key != "id"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Settings of a cache of three symbols, of which one was listed later, and of half of a fourth."""
    folder = tmp_path_factory.mktemp("wide")
    with DemoExchange(weight_limit=10**6) as exchange:
        made = exchange.settings(cache_dir=folder / "cache", progress=False)
        ares.run(
            ares.download_universe(
                THREE, "1h", **WINDOW, datasets=["klines", "futures", "um_klines"], settings=made
            )
        )
        ares.run(
            ares.download_klines_data(
                "BNBUSDT", "1h", start="2023-05-01", end="2023-05-20", settings=made
            )
        )
        yield made


def candles(settings, symbols, *window, **options):
    return ares.load_klines(symbols, "1h", *window, settings=settings, **options)


def joined(dataset, symbols, settings, interval="1h", **options):
    """What pandas makes of the frames of single symbols: the outer join of each field."""
    frames = {
        each: ares.load_rows(dataset, each, interval, settings=settings, **options)
        for each in symbols
    }
    for frame in frames.values():
        frame.attrs = {}
        if "fundingRate" in frame:
            frame.index = frame.index.floor("h")
    fields = next(iter(frames.values())).columns
    return pd.concat(
        {
            field: pd.concat(
                {each: frame[field] for each, frame in frames.items()}, axis=1, sort=True
            )
            for field in fields
        },
        axis=1,
        names=["field", "symbol"],
    )


def same(wide, wanted):
    pd.testing.assert_frame_equal(
        wide, wanted, check_exact=True, check_freq=False, check_column_type=False
    )


@pytest.mark.parametrize("dataset", ALIGNED, ids=lambda each: each.name)
def test_a_wide_frame_is_the_join_of_the_frames_of_its_symbols(tmp_path, dataset):
    """For each dataset on a grid or of payments, each cell is that of the frame of its symbol alone."""
    market = dataset.markets[-1].name
    symbols = {"cm": ["BTCUSD_PERP", "ETHUSD_PERP"]}.get(market, ["BTCUSDT", "ETHUSDT"])
    if dataset.rest_symbol_parameter == "pair":
        symbols = ["BTCUSD", "ETHUSD"]
    with DemoExchange(weight_limit=10**6) as exchange:
        settings = exchange.settings(cache_dir=tmp_path / "cache", progress=False)
        for each in symbols:
            work = ares.download_all_data(
                each, "1h", 0.1, end="2025-03-02", datasets=[dataset.name], settings=settings
            )
            ares.run(work)
        for _ in range(2):
            with warnings.catch_warnings(action="ignore", category=IncompleteData):
                wide = ares.load_rows(dataset.name, symbols, "1h", settings=settings)
                wanted = joined(dataset.name, symbols, settings)

            same(wide, wanted)


@pytest.mark.parametrize("interval", ["1m", "3d", "1w", "1M"])
def test_each_grid_of_binance_is_aligned(settings, interval):
    """Minutes, three days, weeks and months are aligned as hours are."""
    ares.run(
        ares.download_universe(THREE, interval, **WINDOW, datasets=["klines"], settings=settings)
    )

    wide = ares.load_klines(THREE, interval, settings=settings)
    same(wide, joined("klines", THREE, settings, interval))


def test_one_field_as_text_gives_a_column_a_symbol(cache):
    """A field named as text gives the columns of its symbols, a list of fields two levels."""
    text = candles(cache, THREE[::-1], columns="close")
    listed = candles(cache, THREE[::-1], columns=["close"])

    assert list(text.columns) == THREE[::-1]
    assert text.columns.name == "symbol"
    assert list(listed.columns) == [("close", each) for each in THREE[::-1]]
    assert listed.columns.names == ["field", "symbol"]
    pd.testing.assert_frame_equal(listed["close"], text, check_column_type=False)


def test_one_symbol_in_a_list_gives_a_wide_frame(cache):
    """A list of one symbol gives a wide frame, and its name alone the frame that it always gave."""
    assert list(candles(cache, ["btcusdt"], columns="close").columns) == ["BTCUSDT"]
    assert list(candles(cache, "BTCUSDT", columns=["close"]).columns) == ["close"]
    with pytest.raises(BadArgument, match="must be a sequence of names"):
        candles(cache, "BTCUSDT", columns="close")


def test_integers_are_floats_only_where_a_cell_is_missing(cache):
    """The count of a symbol is int64 if it has each row of the frame, else float64 with NaN."""
    count = "number_of_trades"
    whole = candles(cache, THREE[:2], columns=count)
    late = candles(cache, THREE, columns=["close", count])

    assert set(whole.dtypes) == {np.dtype(np.int64)}
    assert late[count].dtypes.astype(str).tolist() == ["int64", "int64", "float64"]
    assert late[count].loc[:"2023-05-03 11:59", "SUIUSDT"].isna().all()
    assert late.loc["2023-05-03 12:00":].notna().all(axis=None)


def test_attrs_state_what_each_symbol_lacks(cache):
    """A symbol that was not yet listed lacks nothing, one that was not downloaded does; one warning says so."""
    with pytest.warns(IncompleteData) as caught:
        frame = candles(cache, [*THREE, "BNBUSDT"], columns="close")

    assert json.loads(json.dumps(frame.attrs)) == {
        "dataset": "klines",
        "interval": "1h",
        "market": "demo",
        "start": "2023-04-01T00:00:00+00:00",
        "end": "2023-06-10T00:00:00+00:00",
        "rows": len(frame),
        "complete": False,
        "column": "close",
        "symbols": {
            **{each: {"complete": True, "missing_count": 0} for each in THREE},
            "BNBUSDT": {
                "complete": False,
                "missing_count": 2,
                "missing": [
                    ["2023-04-01T00:00:00+00:00", "2023-05-01T00:00:00+00:00"],
                    ["2023-05-20T00:00:00+00:00", "2023-06-10T00:00:00+00:00"],
                ],
            },
        },
    }
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert "1 of 4 symbols lack rows: klines_BNBUSDT_1h" in str(caught[0].message)
    assert 'ares.download_klines_data("BNBUSDT", "1h", start="2023-04-01"' in str(caught[0].message)


def test_the_windows_that_a_wide_frame_lacks_are_listed(cache, tmp_path):
    """`missing` lists the windows of each symbol with their rows; of more than are stated it asks the cache."""
    with pytest.warns(IncompleteData):
        frame = candles(cache, [*THREE, "BNBUSDT"], columns="close")
    table = ares.missing(frame)

    assert table.astype(str).to_numpy().tolist() == [
        ["BNBUSDT", "2023-04-01 00:00:00+00:00", "2023-05-01 00:00:00+00:00", "720"],
        ["BNBUSDT", "2023-05-20 00:00:00+00:00", "2023-06-10 00:00:00+00:00", "504"],
    ]
    assert len(ares.missing(candles(cache, THREE, columns="close"), settings=cache)) == 0
    other = cache.replace(cache_dir=tmp_path)
    frame.attrs["symbols"]["BNBUSDT"]["missing"].pop()
    assert ares.missing(frame, settings=cache).equals(table)
    with pytest.raises(BadArgument, match="lacks other windows of klines_BNBUSDT_1h"):
        ares.missing(frame, settings=other)


def test_attrs_list_a_hundred_windows_of_all_symbols(settings):
    """However many windows the symbols lack, ``attrs`` list a hundred, those of the first symbols."""
    for symbol in ("BTCUSDT", "ETHUSDT"):
        work = ares.download_klines_data(
            symbol, "1m", start="2025-02-01", end="2025-02-02", settings=settings
        )
        ares.run(work)
        path = settings.cache_dir / f"klines_{symbol}_1m_2025-02.csv"
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([lines[0], *lines[1::10]]))
        (settings.cache_dir / f".ares/receipts/{path.name}.json").unlink()
    with pytest.warns(IncompleteData):
        frame = ares.load_klines(
            ["BTCUSDT", "ETHUSDT"],
            "1m",
            "2025-02-01",
            "2025-02-02",
            columns="close",
            settings=settings,
        )

    each = frame.attrs["symbols"]
    assert [len(own["missing"]) for own in each.values()] == [100, 0]
    assert [own["missing_count"] for own in each.values()] == [144, 144]
    assert len(ares.missing(frame, settings=settings)) == 288


def test_the_window_of_a_wide_frame_is_stated_to_the_microsecond(cache):
    """A window that begins a microsecond after a candle has not this candle, and ``attrs`` say so."""
    late = "2023-05-02T00:00:00.000001+00:00"
    frame = candles(cache, THREE[:2], late, "2023-05-03", columns="close")

    assert frame.attrs["start"] == late
    assert frame.index[0] == pd.Timestamp("2023-05-02T01:00", tz="UTC")


def test_all_symbols_that_are_not_there_are_named(cache):
    """Symbols without a row in the window raise one error, with the call that downloads all of them."""
    with pytest.raises(NeverDownloaded) as caught:
        candles(cache, [*THREE, "LTCUSDT", "ADAUSDT"], "2023-05-01", "2023-06-01")
    call = (
        'ares.download_universe(("LTCUSDT", "ADAUSDT"), "1h", start="2023-05-01", '
        'end="2023-06-01", datasets=("klines",), settings=settings)'
    )
    assert call in str(caught.value)
    with pytest.raises(
        NeverDownloaded, match=r'download_klines_data\("BNBUSDT", "1h", start="2023'
    ):
        candles(cache, ["BTCUSDT", "BNBUSDT"], "2023-05-25")
    with pytest.raises(NeverDownloaded, match=r'universe\(\("LTCUSDT", "ADAUSDT"\), "1h", 1, data'):
        candles(cache, ["LTCUSDT", "ADAUSDT"])


def test_a_symbol_that_is_proven_absent_is_nan(settings):
    """A symbol that had been delisted has NaN throughout, and is complete."""
    names = ["BTCUSDT", "MATICUSDT"]
    ares.run(
        ares.download_universe(
            names,
            "1d",
            start="2024-08-01",
            end="2024-11-01",
            datasets=["klines"],
            settings=settings,
        )
    )
    work = ares.download_klines_data(
        "MATICUSDT", "1d", start="2024-08-01", end="2024-11-01", settings=settings
    )
    ares.run(work)
    frame = ares.load_klines(names, "1d", "2024-10-01", columns="close", settings=settings)

    assert frame["MATICUSDT"].isna().all()
    assert frame["BTCUSDT"].notna().sum() == 31
    assert frame.attrs["complete"]


def test_a_table_of_symbols_is_taken_for_their_names(cache):
    """A table of `list_symbols`, or some of its rows, stands for its symbols in their order."""
    table = pd.DataFrame({"symbol": THREE, "first": pd.NaT, "last": pd.NaT})

    same(candles(cache, table, columns="open"), candles(cache, THREE, columns="open"))
    assert list(candles(cache, table[1:], columns="open").columns) == THREE[1:]


def test_the_days_of_a_table_bound_what_a_symbol_must_have(settings):
    """A month before a listing, which a download by a table does not ask for, is not missing by this table."""
    first = {"BTCUSDT": "2017-08-17", "SUIUSDT": "2023-05-03", "ARBUSDT": "2023-03-23"}
    table = pd.DataFrame(
        {
            "symbol": list(first),
            "first": pd.to_datetime(list(first.values())),
            "last": pd.Timestamp("2025-01-01"),
        }
    )
    window = {"start": "2023-02-01", "end": "2023-06-01", "settings": settings}
    ares.run(ares.download_universe(table, "1d", **window, datasets=["klines"]))
    frame = ares.load_klines(table, "1d", columns="close", **window)
    with pytest.warns(IncompleteData, match="2 of 3 symbols"):
        by_name = ares.load_klines(list(first), "1d", columns="close", **window)

    same(frame, by_name)
    assert frame.attrs["complete"]
    assert frame.attrs["symbols"]["SUIUSDT"]["start"] == "2023-05-03T00:00:00+00:00"
    assert frame["SUIUSDT"].count() == 29
    with pytest.raises(NeverDownloaded, match="SUIUSDT"):
        ares.load_klines(list(first), "1d", "2023-02-01", "2023-04-01", settings=settings)
    early = ares.load_klines(table, "1d", "2023-02-01", "2023-04-01", settings=settings)
    assert early["close"].count().tolist() == [59, 0, 9]
    (settings.cache_dir / "klines_SUIUSDT_1d_2023-05.csv").unlink()
    with pytest.raises(NeverDownloaded, match="SUIUSDT"):
        ares.load_klines(table, "1d", columns="close", **window)


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        ([], "symbols is empty"),
        (["BTCUSDT", "BTC/USDT"], "BTC/USDT"),
        (pd.DataFrame({"name": ["BTCUSDT"]}), "no column 'symbol'"),
        (ares.Universe("USDT"), r"await ares.list_symbols\(…\)"),
    ],
)
def test_what_names_no_symbols_is_refused(cache, symbols, message):
    """No symbol, a name that is none, a table without symbols and a universe are refused."""
    with pytest.raises(BadArgument, match=message):
        candles(cache, symbols)


def test_trades_are_not_aligned(cache):
    """Trades of several symbols are refused, since they have no times in common."""
    with pytest.raises(BadArgument, match="no times in common"):
        ares.load_rows("agg_trades", THREE, settings=cache)


@pytest.mark.parametrize(
    "window", [("2023-05-03T10:30", "2023-05-10T00:00:00.000001"), ("2023-05-02", "2023-05-03")]
)
def test_a_window_is_that_of_the_single_frames(cache, window):
    """Start and end cut the rows as they cut those of one symbol."""
    wide = candles(cache, THREE, *window)
    wanted = joined("klines", THREE, cache, start=window[0], end=window[1])

    same(wide, wanted)


def test_decimals_have_the_digits_of_the_exchange(cache):
    """With decimals each cell has the exchange's digits, and one without a row is Decimal("NaN")."""
    wide = candles(cache, THREE, columns="close", decimal=True)
    alone = candles(cache, "SUIUSDT", columns=["close"], decimal=True)["close"]

    assert wide["SUIUSDT"].dropna().tolist() == alone.tolist()
    assert wide["SUIUSDT"].dropna().map(str).tolist() == alone.map(str).tolist()
    assert isinstance(wide["SUIUSDT"].iloc[0], Decimal)


@pytest.mark.parametrize("copies", ["plain", "off"])
def test_a_row_off_the_grid_is_kept(settings, copies):
    """A candle that opens off the grid, after a halt of 2018, has a row of its own."""
    settings = settings.replace(arrow_copies=copies)
    ares.run(
        ares.download_universe(THREE[:2], "1h", **WINDOW, datasets=["klines"], settings=settings)
    )
    path = settings.cache_dir / "klines_ETHUSDT_1h_2023-05.csv"
    text = path.read_bytes().replace(b"2023-05-09 10:00:00,", b"2023-05-09 10:28:14.789,")
    path.write_bytes(text)
    with warnings.catch_warnings(action="ignore", category=IncompleteData):
        wide = candles(settings, THREE[:2], columns="close")
        alone = candles(settings, "ETHUSDT", columns=["close"])["close"]

    stamp = pd.Timestamp("2023-05-09 10:28:14.789", tz="UTC")
    assert wide.loc[stamp, "ETHUSDT"] == alone[stamp]
    assert wide.isna().sum().tolist() == [1, 1]
    assert wide.index.is_monotonic_increasing


@pytest.mark.parametrize("copies", ["plain", "off"])
def test_an_altered_file_is_found(settings, copies):
    """A file whose times were altered in secret is refused, and its symbol incomplete from then on."""
    settings = settings.replace(arrow_copies=copies)
    ares.run(
        ares.download_universe(THREE[:2], "1h", **WINDOW, datasets=["klines"], settings=settings)
    )
    path = settings.cache_dir / "klines_ETHUSDT_1h_2023-05.csv"
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b"2023-05-09 10:00:00", b"2023-05-09 10:00:01"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CorruptFile, match="2023-05"):
        candles(settings, THREE[:2], columns="close")
    with pytest.warns(IncompleteData, match="ETHUSDT"):
        frame = candles(settings, THREE[:2], columns="close")

    assert frame.attrs["altered"] == [path.name]
    assert not frame.attrs["symbols"]["ETHUSDT"]["complete"]
    assert frame.attrs["symbols"]["BTCUSDT"]["complete"]


# --- bars of several symbols ---


@pytest.mark.parametrize("options", [{}, {"decimal": True}, {"columns": ["volume", "close"]}])
def test_bars_of_several_symbols_are_those_of_each(cache, options):
    """A wide frame of bars has the bars that each symbol has by itself."""
    window = ("2023-04-20", "2023-06-10")
    made = ares.load_klines(THREE, "4h", *window, from_interval="1h", settings=cache, **options)

    each = {
        name: ares.load_klines(name, "4h", *window, from_interval="1h", settings=cache, **options)
        for name in THREE
    }
    for field in each["BTCUSDT"].columns:
        one = pd.concat({name: bars[field] for name, bars in each.items()}, axis=1, sort=True)
        pd.testing.assert_frame_equal(made[field].fillna(-1), one.fillna(-1), check_names=False)
    assert made.attrs["complete"]
    assert made.attrs["made_from"] == "1h"
    assert made.attrs["interval"] == "4h"
    assert len(ares.missing(made)) == 0


def test_bars_of_one_field_have_a_column_a_symbol(cache):
    """A field that is named as text gives one level of columns, which can be resampled again."""
    window = ("2023-04-20", "2023-06-10")
    options = {"columns": "close", "settings": cache}
    closes = ares.load_klines(THREE, "4h", *window, from_interval="1h", **options)
    days = ares.resample_klines(closes, "1d")
    hours = ares.load_klines(THREE, "1h", *window, **options)

    assert list(closes.columns) == list(days.columns) == THREE
    pd.testing.assert_frame_equal(days, ares.resample_klines(hours, "1d"))
    assert days.attrs["column"] == "close"
    assert days["BTCUSDT"].iloc[0] == hours["BTCUSDT"].iloc[23]


def test_a_symbol_that_lacks_candles_lacks_bars(cache):
    """Bars over missing candles of one symbol are NaN in its column alone, and are listed."""
    window = ("2023-04-29", "2023-05-22")
    names = ["BTCUSDT", "BNBUSDT"]
    with pytest.warns(IncompleteData, match="1 of 2 symbols lack rows: klines_BNBUSDT_1h") as told:
        days = ares.load_klines(
            names, "1d", *window, columns="close", from_interval="1h", settings=cache
        )

    assert told[0].filename == __file__
    assert days["BTCUSDT"].notna().all()
    assert days["BNBUSDT"].count() == 19
    assert not days.attrs["complete"]
    table = ares.missing(days)
    assert table["symbol"].tolist() == ["BNBUSDT"] * 2
    assert table["rows"].tolist() == [2, 2]


def test_bars_of_a_wide_frame_that_was_cut_are_whole(cache):
    """Where rows were removed after loading, no bar is made of a part of its candles."""
    hours = candles(cache, THREE[:2], "2023-05-01", "2023-05-03", columns="close")
    bars = ares.resample_klines(hours.iloc[2:], "4h")

    assert bars.index[0] == pd.Timestamp("2023-05-01T04:00", tz="UTC")
    assert len(bars) == 11


def test_some_columns_of_a_wide_frame_can_be_resampled(cache):
    """A selection of symbols gives the bars of these."""
    hours = candles(cache, THREE, "2023-05-01", "2023-05-03")
    some = hours.loc[:, (slice(None), ["ETHUSDT"])]
    bars = ares.resample_klines(some, "4h")

    assert bars.columns.unique("symbol").tolist() == ["ETHUSDT"]
    assert list(bars.attrs["symbols"]) == ["ETHUSDT"]


@pytest.mark.parametrize(
    ("dataset", "interval"), [("futures", None), ("futures", "1h"), ("klines", None)]
)
def test_bars_are_of_candles(cache, dataset, interval):
    """What has no interval is made of no shorter one."""
    with pytest.raises(BadArgument, match="is for candles with an interval"):
        ares.load_rows(dataset, "BTCUSDT", interval, from_interval="1m", settings=cache)


def test_bars_of_other_markets_are_loaded(cache):
    """`load_rows` makes bars of the candles of any dataset."""
    own = ("2023-04-20", "2023-06-10")
    made = ares.load_rows(
        "um_klines",
        ["BTCUSDT", "ETHUSDT"],
        "1d",
        *own,
        columns="close",
        from_interval="1h",
        settings=cache,
    )
    assert made.attrs["dataset"] == "um_klines"
    assert made.notna().all(axis=None)


def test_symbols_may_come_from_an_iterator(cache):
    """Symbols are read once, so that what can be read one time will do."""
    window = ("2023-05-01", "2023-05-03")
    frame = candles(cache, iter(THREE[:2]), *window, columns="close")

    same(frame, candles(cache, THREE[:2], *window, columns="close"))
