"""Candles of longer intervals, made of shorter ones: the exchange's own, and never of a part."""

from __future__ import annotations

import warnings
from datetime import timedelta
from decimal import Decimal, localcontext

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.errors import BadArgument
from ares_notebook.load import IncompleteData
from ares_notebook.model.candles import exact_sums
from ares_notebook.model.datasets import CM, DATASETS
from ares_notebook.model.time import INTERVALS, divides, interval_of_bars, opens_between

WINDOW = {"start": "2025-02-01", "end": "2025-03-17"}
# With a halt of spot from 2025-03-14 02:00 to 04:30 and no prices on 2025-02-20 from 04:10 to 04:31.
CANDLES = [each for each in DATASETS if each.has_interval]
SUMS = ("volume", "quote_asset_volume")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Settings of a cache with candles of each dataset, in several intervals."""
    folder = tmp_path_factory.mktemp("bars")
    with DemoExchange(trades_per_day=3_000, weight_limit=10**6) as exchange:
        made = exchange.settings(cache_dir=folder / "cache", progress=False)
        for dataset in CANDLES:
            for interval in (
                "15m",
                "4h",
                *(("5m", "1d", "1w") if dataset.name == "klines" else ()),
            ):
                work = ares.download_all_data(
                    example(dataset), interval, datasets=[dataset.name], settings=made, **WINDOW
                )
                ares.run(work)
        for interval in ("1d", "3d", "1w", "1M"):
            work = ares.download_klines_data(
                "ETHUSDT", interval, start="2024-10-01", end="2025-03-17", settings=made
            )
            ares.run(work)
        yield made


def example(dataset) -> str:
    """A symbol of a dataset."""
    return dataset.markets[-1].example if dataset.markets != (CM,) else "BTCUSD_PERP"


def load(settings, dataset, symbol, interval, *window, **options) -> pd.DataFrame:
    """Rows, without the warning that some are missing."""
    with warnings.catch_warnings(action="ignore", category=IncompleteData):
        return ares.load_rows(dataset, symbol, interval, *window, settings=settings, **options)


def klines(settings, interval="15m", *window, **options) -> pd.DataFrame:
    return load(settings, "klines", "BTCUSDT", interval, *window, **options)


def assert_same(made: pd.DataFrame, own: pd.DataFrame) -> None:
    """Compare bars with the exchange's own, bit for bit."""
    pd.testing.assert_frame_equal(made, own, check_exact=True, check_freq=False)


@pytest.mark.parametrize("decimal", [False, True])
@pytest.mark.parametrize("dataset", CANDLES, ids=lambda each: each.name)
def test_bars_are_the_exchanges_own(settings, dataset, decimal):
    """Of each dataset the bars of 4h made of 15m are those of the exchange, over halts too."""
    which = (settings, dataset.name, example(dataset))
    small, own = (load(*which, each, **WINDOW, decimal=decimal) for each in ("15m", "4h"))
    made = ares.resample_klines(small, "4h")

    coins = [name for name in own if dataset.markets == (CM,) and "base_asset" in name]
    off = (made[coins] - own[coins]).abs().astype(float)

    assert len(made) > 250
    assert_same(made.drop(columns=coins), own.drop(columns=coins))
    # Coins are contracts divided by a price, rounded in each candle.
    assert (off.to_numpy() < 1e-6).all()
    assert made.attrs == {**own.attrs, "made_from": "15m"}


@pytest.mark.parametrize("interval", ["3d", "1w", "1M"])
def test_long_bars_have_the_exchanges_own_grid(settings, interval):
    """Weeks begin on Mondays, months on the first, three days where the exchange counts them from."""
    which = (settings, "klines", "ETHUSDT")
    made = ares.resample_klines(load(*which, "1d", "2024-10-01", "2025-03-17"), interval)
    own = load(*which, interval, made.index[0], made.attrs["end"])

    assert len(made) > 4
    assert_same(made, own)


@pytest.mark.parametrize("interval", ["4h", "1d", "1w"])
def test_the_first_bar_of_a_symbol_is_the_exchanges_own(exchange, tmp_path, interval):
    """Before the listing nothing is missing: the bar in which a symbol was listed is what there is."""
    made = exchange.settings(cache_dir=tmp_path / "cache", progress=False)
    window = {"start": "2023-04-24", "end": "2023-05-29", "settings": made}
    for each in ("1h", interval):
        ares.run(ares.download_klines_data("SUIUSDT", each, **window))
    bars, own = (
        ares.load_klines("SUIUSDT", interval, **window, from_interval=each) for each in ("1h", None)
    )

    # It was listed on Wednesday 2023-05-03 at 12:00.
    assert bars.index[0] < pd.Timestamp("2023-05-03 12:01Z")
    assert_same(bars, own)
    assert bars.attrs["complete"]


@pytest.mark.parametrize("decimal", [False, True])
@pytest.mark.parametrize("month", ["2022-01", "2022-02"])
def test_recorded_quarters_of_hours_make_the_recorded_hours(recorded, month, decimal):
    """Each hour of two months of Binance's own zips is made of its quarters, in every digit."""
    folder = recorded / "archive/data/spot/daily/klines/BTCUSDT/15m"
    paths = sorted(folder.glob(f"BTCUSDT-15m-{month}-*.zip"))
    quarters = pd.concat([published(path, decimal=decimal) for path in paths])
    hours = published(recorded / f"klines/spot/BTCUSDT/1h/BTCUSDT-1h-{month}.csv", decimal=decimal)

    made = ares.resample_klines(quarters, "1h")
    # From 2 ** 26 on, floats are further apart than the eighth digit.
    is_shown = (hours < 2**26).all(axis=1) | decimal

    assert len(paths) >= 28
    assert is_shown.sum() > 400
    assert_same(made[is_shown], hours[is_shown])
    pd.testing.assert_frame_equal(
        made.astype(float), hours.astype(float), rtol=1e-15, check_freq=False
    )


@pytest.mark.parametrize("day", ["2020-01-01", "2020-01-02", "2020-01-03"])
def test_recorded_minutes_make_the_recorded_hours(recorded, day):
    """Each hour of Binance's own is made of its recorded minutes, in every digit."""
    folder = recorded / "archive/data/spot/daily/klines/BTCUSDT/1m"
    path = folder / f"BTCUSDT-1m-{day}.zip"
    if not path.exists():
        pytest.skip(f"{path.name} is not among the recorded files")
    hours = published(recorded / "klines/spot/BTCUSDT/1h/BTCUSDT-1h-2020-01.csv")

    assert_same(ares.resample_klines(published(path), "1h"), hours.loc[day])


def published(path, *, decimal=False) -> pd.DataFrame:
    """Candles of an archive's file, as a loader returns them but without attrs."""
    names = ["timestamp", "open", "high", "low", "close", "volume", "close_time"]
    names += ["quote_asset_volume", "number_of_trades"]
    names += ["taker_buy_base_asset_volume", "taker_buy_quote_asset_volume", "ignore"]
    kinds = dict.fromkeys(names[1:], str) | {"number_of_trades": "int64"}
    frame = pd.read_csv(path, names=names, dtype=kinds).drop(columns=["close_time", "ignore"])
    stamps = pd.to_datetime(frame.pop("timestamp"), unit="ms", utc=True).dt.as_unit("us")
    text = frame.columns.drop("number_of_trades")
    frame[text] = frame[text].map(Decimal) if decimal else frame[text].astype(float)
    return frame.set_index(pd.DatetimeIndex(stamps, name="timestamp"))


# --- what is missing ---


@pytest.fixture
def holed(settings, tmp_path):
    """A cache whose candles of 15m lack 2025-02-03 05:00 to 05:30 and the last quarter of 2025-02-07."""
    made = settings.replace(cache_dir=tmp_path / "cache")
    made.cache_dir.mkdir()
    for month in ("02", "03"):
        name = f"klines_BTCUSDT_15m_2025-{month}.csv"
        lines = (settings.cache_dir / name).read_text().splitlines(keepends=True)
        gone = ("2025-02-03 05:00", "2025-02-03 05:15", "2025-02-07 23:45")
        (made.cache_dir / name).write_text(
            "".join(line for line in lines if not line.startswith(gone))
        )
    return made


LOST = [
    ["2025-02-03T04:00:00+00:00", "2025-02-03T08:00:00+00:00"],
    ["2025-02-07T20:00:00+00:00", "2025-02-08T00:00:00+00:00"],
]


@pytest.mark.parametrize("decimal", [False, True])
def test_a_bar_over_missing_candles_is_marked(settings, holed, decimal):
    """A bar that lacks one candle is NaN in all columns and listed; all others are the exchange's own."""
    window = ("2025-02-01", "2025-03-01")
    small = klines(holed, "15m", *window, decimal=decimal)
    made = ares.resample_klines(small, "4h")
    own = klines(settings, "4h", *window, decimal=decimal)
    is_lost = made.index.isin(pd.to_datetime([start for start, _ in LOST]))

    assert made.attrs["missing"] == LOST
    assert (made.attrs["complete"], made.attrs["missing_count"]) == (False, 2)
    assert made.index.equals(own.index)
    assert made[is_lost].isna().all(axis=None)
    assert is_lost.sum() == 2
    whole = made[~is_lost].astype({"number_of_trades": "int64"})
    assert_same(whole, own[~is_lost])
    assert [str(each) for each in ares.missing(made)["rows"]] == ["1", "1"]


def test_what_no_attrs_list_is_missing(settings):
    """Without attrs each row that is not there counts as missing, also one of a halt."""
    small = klines(settings, "15m", "2025-03-12T05:00", "2025-03-15")
    small.attrs.clear()
    made = ares.resample_klines(small.drop(small.index[20]), "4h")

    # Of the row that was dropped, and of the halt.
    assert made.attrs["missing"] == [
        ["2025-03-12T08:00:00+00:00", "2025-03-12T12:00:00+00:00"],
        ["2025-03-14T00:00:00+00:00", "2025-03-14T08:00:00+00:00"],
    ]
    assert made["close"].isna().sum() == 3
    # The bar of 04:00 begins before the first row.
    assert made.attrs["start"] == "2025-03-12T08:00:00+00:00"


def cuts(frame) -> dict[str, pd.DataFrame]:
    """The frame after rows were removed, moved or added in ways that pandas users have."""
    small = len(frame) // 3
    return {
        "slice": frame.loc["2025-02-03 02:00":"2025-02-10 09:00"],
        "ends": frame.iloc[1:],
        "head": frame.iloc[:-1],
        "drop": frame.drop(frame.index[[5, 900]]),
        "mask": frame[frame["volume"] > frame["volume"].quantile(0.2)],
        "middle": pd.concat([frame.iloc[:small], frame.iloc[2 * small :]]),
        "moved": frame.shift(freq="15min"),
        "filled": frame.drop(frame.index[5:9]).asfreq("15min").ffill().iloc[:-2],
        "zone": frame.iloc[3:].tz_convert("Asia/Kolkata"),
        "column": frame[["open", "volume"]].iloc[7:],
    }


@pytest.mark.parametrize(
    "how", ["slice", "ends", "head", "drop", "mask", "middle", "moved", "filled", "zone", "column"]
)
@pytest.mark.parametrize("interval", ["4h", "1d"])
def test_a_cut_frame_is_one_without_attrs(settings, how, interval):
    """Of a frame whose rows were removed after loading, no bar is made of a part, whatever attrs state."""
    cut = cuts(klines(settings, "15m", "2025-02-01", "2025-03-01"))[how]
    bare = cut.copy()
    bare.attrs = {}
    made, like = (ares.resample_klines(each, interval) for each in (cut, bare))
    window = ("start", "end", "rows", "complete", "missing", "missing_count")
    own = klines(settings, interval, "2025-02-01", "2025-03-01")[[*made]]
    whole = made.dropna()

    assert_same(made, like)
    assert {key: made.attrs[key] for key in window} == {key: like.attrs[key] for key in window}
    assert (made.attrs["symbol"], made.attrs["rows"]) == ("BTCUSDT", len(made))
    if how not in ("moved", "filled"):
        assert_same(whole.astype(own.dtypes), own.loc[whole.index])
    assert made.attrs["complete"] is (
        how in ("slice", "ends", "head", "moved", "filled", "zone", "column")
    )


def test_what_was_missing_stays_so_where_rows_are_added(holed):
    """Rows that a caller made up for missing ones prove nothing."""
    small = klines(holed, "15m", "2025-02-01", "2025-03-01")
    made = ares.resample_klines(small.asfreq("15min").ffill().iloc[4:], "4h")

    assert made.attrs["missing"] == LOST


def test_a_cut_frame_of_bars_is_seen_too(settings):
    """Bars state their rows, so that bars of a part of them are as those of candles."""
    hours = ares.resample_klines(klines(settings, "15m", "2025-02-01", "2025-03-01"), "1h")
    made = ares.resample_klines(hours.drop(hours.index[50]).iloc[2:], "4h")

    assert hours.attrs["rows"] == len(hours)
    assert made.attrs["missing"] == [["2025-02-03T00:00:00+00:00", "2025-02-03T04:00:00+00:00"]]
    assert made.attrs["start"] == "2025-02-01T04:00:00+00:00"


def test_a_frame_of_an_older_session_is_trusted(settings):
    """Attrs that do not state their rows, as older versions wrote them, count as they are."""
    small = klines(settings, "15m", "2025-03-12", "2025-03-15")
    del small.attrs["rows"]

    assert ares.resample_klines(small.drop(small.index[20]), "4h").attrs["complete"]


def test_a_window_that_ends_in_a_bar_leaves_it_out(settings):
    """Bars that begin before the window or end after it are left out, and attrs state the rest."""
    made = ares.resample_klines(
        klines(settings, "15m", "2025-02-02T00:15", "2025-02-02T15:50"), "4h"
    )
    short = ares.resample_klines(
        klines(settings, "15m", "2025-02-02T00:15", "2025-02-02T15:45"), "4h"
    )
    none = ares.resample_klines(
        klines(settings, "15m", "2025-02-02T00:15", "2025-02-02T15:45"), "1d"
    )

    # The window is one of open times: the candle of 15:45 is in the first.
    assert made.index.hour.tolist() == [4, 8, 12]
    assert short.index.hour.tolist() == [4, 8]
    assert (short.attrs["start"][11:16], short.attrs["end"][11:16]) == ("04:00", "12:00")
    assert none.empty
    assert list(none.columns) == list(made.columns)
    assert none.attrs["complete"]


def test_more_bars_than_a_frame_has_room_for_are_refused():
    """A frame of two rows may claim a window of forty years, of which no grid of seconds is made."""
    frame = table([[1.0] * 5] * 2, step="1s")
    frame.attrs = {"interval": "1s", "missing": [], "start": "1980-01-01", "end": "2020-01-01"}

    with pytest.raises(BadArgument, match="has 1,262,304,000 bars of 1s, more than 50,000,000"):
        ares.resample_klines(frame, "1s")


def test_more_windows_than_attrs_list_are_marked(settings, tmp_path):
    """Of bars with more than a hundred gaps each is marked, and missing() lists all of them."""
    made = settings.replace(cache_dir=tmp_path / "cache")
    made.cache_dir.mkdir()
    name = "klines_BTCUSDT_5m_2025-02.csv"
    lines = (settings.cache_dir / name).read_text().splitlines(keepends=True)
    # One candle of each second hour.
    kept = [line for at, line in enumerate(lines) if at % 24 != 5]
    (made.cache_dir / name).write_text("".join(kept))
    bars = ares.resample_klines(klines(made, "5m"), "1h", settings=made)
    table = ares.missing(bars)

    assert bars["open"].isna().tolist() == [True, False] * 336
    assert bars.attrs["missing_count"] == len(table) == 336
    assert len(bars.attrs["missing"]) == 100
    assert (table["rows"] == 1).all()
    assert [*table["start"]] == [*bars.index[::2]]
    with pytest.raises(BadArgument, match="bars were removed from it"):
        ares.missing(bars.dropna())


def test_an_empty_bar_is_missing_again_in_a_longer_one(holed):
    """What was marked in bars of 1h is marked in those of 4h that are made of them."""
    small = klines(holed, "15m", "2025-02-01", "2025-03-01")
    twice = ares.resample_klines(ares.resample_klines(small, "1h"), "4h")
    once = ares.resample_klines(small, "4h")

    assert_same(twice, once)
    assert twice.attrs == {**once.attrs, "made_from": "1h"}


def test_an_empty_row_is_no_candle(settings):
    """Rows that asfreq fills in count as their frame says: absent in a halt, missing without attrs."""
    small = klines(settings, "15m", "2025-03-13", "2025-03-15")
    filled = small.asfreq("15min")
    loose = filled.copy()
    loose.attrs.clear()
    bars = ares.resample_klines(loose, "4h")

    assert filled.isna().any(axis=None)
    assert_same(
        ares.resample_klines(filled, "4h").astype({"number_of_trades": "int64"}),
        klines(settings, "4h", "2025-03-13", "2025-03-15"),
    )
    assert bars.isna().all(axis=1).sum() == bars.isna().any(axis=1).sum() == 2
    assert bars.attrs["missing"] == [["2025-03-14T00:00:00+00:00", "2025-03-14T08:00:00+00:00"]]


def test_rows_of_an_altered_file_prove_nothing(settings, vouch, tmp_path):
    """Bars of rows whose file was altered by another program are marked, though the rows are there."""
    made = settings.replace(cache_dir=tmp_path / "cache")
    made.cache_dir.mkdir()
    name = "klines_BTCUSDT_4h_2025-02.csv"
    (made.cache_dir / name).write_bytes((settings.cache_dir / name).read_bytes())
    (made.cache_dir / ".ares" / "receipts").mkdir(parents=True)
    vouch(made, name)
    path = made.cache_dir / name
    path.write_text(path.read_text().replace("2025-02-05 04:00:00,9", "2025-02-05 04:00:00,19"))
    frame = klines(made, "4h", "2025-02-01", "2025-03-01")
    for rows in (frame, frame.iloc[1:], frame.drop(frame.index[40])):
        bars = ares.resample_klines(rows, "1d")

        assert bars["close"].isna().all()
        assert bars.attrs["altered"] == [name]


# --- what makes up a bar ---


def table(rows, step="15min", columns=("open", "high", "low", "close", "volume")) -> pd.DataFrame:
    """Candles without attrs."""
    index = pd.date_range("2025-01-01", periods=len(rows), freq=step, tz="UTC", name="timestamp")
    return pd.DataFrame(rows, columns=list(columns), index=index)


IDLE = [9.0, 9.0, 9.0, 9.0, 0.0]


def test_a_bar_opens_with_its_first_trade():
    """A candle without a trade only repeats the last price, and counts only where there is no other."""
    made = ares.resample_klines(table([IDLE, [5, 6, 4, 5.5, 1], IDLE, IDLE, *[IDLE] * 4]), "1h")

    assert made.to_numpy().tolist() == [[5, 6, 4, 5.5, 1], IDLE]


def test_whole_prices_are_prices():
    """Of prices that are integers, too, a bar has the highest and the lowest, and stays whole."""
    made = ares.resample_klines(
        table([[5, 9, 4, 6, 1], [6, 7, 1, 2, 3], *[[2, 2, 2, 2, 1]] * 2]), "1h"
    )

    assert made.to_numpy().tolist() == [[5, 9, 1, 2, 6]]
    assert set(made.dtypes) == {np.dtype("int64")}


def test_counts_tell_an_idle_candle_and_where_they_are_empty_the_volume_does():
    """An idle candle has the count zero; where the original downloader stored none, the volume zero."""
    names = ("open", "volume", "number_of_trades")
    rows = [[9.0, 0.0, 0.0], [5.0, 1.0, 3.0], [6.0, 0.0, 0.0], [6.0, 1.0, 1.0]]
    made = ares.resample_klines(
        table([*rows, *([*row[:2], np.nan] for row in rows)], columns=names), "1h"
    )

    assert made["open"].tolist() == [5.0, 5.0]
    np.testing.assert_array_equal(made["number_of_trades"], [4.0, np.nan])


def test_a_sum_with_an_empty_cell_is_empty():
    """A column that one candle lacks is NaN in its bar, and no sum of the others."""
    made = ares.resample_klines(
        table([[1.0, 2.0], [1.0, np.nan], *[[1.0, 2.0]] * 6], columns=SUMS), "1h"
    )

    np.testing.assert_array_equal(made["quote_asset_volume"], [np.nan, 8.0])
    assert made["volume"].tolist() == [4.0, 4.0]
    assert made.attrs["complete"]


def test_whole_numbers_stay_whole_where_nothing_is_missing(settings, holed):
    """Counts are integers, and floats only where a bar is marked."""
    for cache, kind in ((settings, "int64"), (holed, "float64")):
        made = ares.resample_klines(klines(cache, "15m", "2025-02-01", "2025-03-01"), "4h")
        assert made["number_of_trades"].dtype == kind


@given(
    st.lists(st.integers(0, 10**17), min_size=1, max_size=40),
    st.integers(0, 8),
    st.data(),
)
def test_a_sum_of_floats_is_the_float_of_the_sum_of_decimals(units, places, data):
    """Of numbers with any digits that a float can show, in runs of any size."""
    cuts = data.draw(st.sets(st.integers(1, max(1, len(units) - 1)), max_size=5))
    starts = np.array(sorted({0, *(cut for cut in cuts if cut < len(units))}))
    cells = np.array([float(Decimal(each).scaleb(-places)) for each in units])
    # The digits that a float shows are those of its shortest text.
    with localcontext(prec=80):
        exact = [Decimal(repr(each)) for each in cells.tolist()]
        ends = [*starts[1:], len(units)]
        sums = [sum(exact[a:b], Decimal(0)) for a, b in zip(starts, ends, strict=True)]

    assert exact_sums(cells, starts).tolist() == [float(each) for each in sums]


def test_a_sum_of_floats_is_none_of_their_noise():
    """0.1 + 0.2 is 0.3, also beside a number whose digits do not fit an integer."""
    cells = np.array([0.1, 0.2, 123456789012.12345, 0.1, 0.2])

    assert exact_sums(cells, np.array([0, 2])).tolist() == [0.3, 123456789012.42345]
    assert exact_sums(np.full(60, 1e11 + 0.01), np.array([0])).tolist() == [6000000000000.6]


def test_long_sums_are_as_exact_as_short_ones():
    """Sums that no float, and sums that no int64 holds in units of their last digit."""
    units = np.random.default_rng(7).integers(0, 2**51, 60_000)
    starts = np.arange(0, 60_000, 60)
    sums = [sum(units[at : at + 60].tolist()) / 10**8 for at in starts.tolist()]

    assert exact_sums(units / 1e8, starts).tolist() == sums
    assert exact_sums(units / 1e8, np.array([0])).tolist() == [sum(units.tolist()) / 10**8]


@st.composite
def grids(draw) -> pd.DataFrame:
    """Candles of 5m of some hours, of which some have no trade."""
    count = draw(st.integers(1, 80))
    first = draw(st.integers(0, 400))
    number = st.integers(0, 10**12).map(lambda units: units / 10**6)
    rows = draw(st.lists(st.tuples(number, number, number, number), min_size=count, max_size=count))
    idle = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    index = pd.date_range("2025-01-01", periods=count, freq="5min", tz="UTC", name="timestamp")
    frame = pd.DataFrame(rows, columns=["open", "close", *SUMS], index=index.shift(first))
    frame["high"], frame["low"] = frame["open"] + 1, frame["open"] - 1
    frame["number_of_trades"] = np.where(idle, 0, 7)
    frame.loc[idle, list(SUMS)] = 0.0
    start, end = frame.index[0], frame.index[-1] + timedelta(minutes=5)
    frame.attrs = {"dataset": "klines", "symbol": "BTCUSDT", "interval": "5m", "market": "demo"}
    frame.attrs |= {"start": start.isoformat(), "end": end.isoformat()}
    frame.attrs |= {"complete": True, "missing": [], "missing_count": 0}
    return frame


@given(grids(), st.sampled_from(["15m", "30m", "10m"]), st.data())
def test_bars_of_bars_are_bars(frame, between, data):
    """Over any step in between, with rows proven absent or not, the bars of an hour are the same."""
    first, count = (data.draw(st.integers(0, most)) for most in (len(frame), 20))
    frame = frame.drop(frame.index[first : first + count])
    hours = ares.resample_klines(frame, "1h")
    # A window whose ends are in a bar in between loses that bar, but no whole hour.
    twice = ares.resample_klines(ares.resample_klines(frame, between), "1h")

    assert_same(twice, hours)


@given(grids())
def test_nothing_is_lost_and_nothing_is_counted_twice(frame):
    """The volume of all bars is that of all candles in their window."""
    made = ares.resample_klines(frame, "15m")
    inside = frame[(frame.index >= made.attrs["start"]) & (frame.index < made.attrs["end"])]

    assert made["number_of_trades"].sum() == inside["number_of_trades"].sum()
    if len(inside):
        volumes = [exact_sums(each["volume"].to_numpy(), np.array([0])) for each in (made, inside)]
        assert volumes[0] == volumes[1]


# --- loading, and what else takes bars ---


def test_bars_are_loaded_from_shorter_candles(settings):
    """load_klines with from_interval gives the exchange's own candles, with any columns."""
    window = ("2025-02-01", "2025-03-17")
    options = {"columns": ["close", "open"], "decimal": True, "settings": settings}
    made = ares.load_klines("BTCUSDT", "4h", *window, from_interval="15m", **options)

    assert_same(made, ares.load_klines("BTCUSDT", "4h", *window, **options))
    assert (made.attrs["interval"], made.attrs["made_from"]) == ("4h", "15m")


def test_a_candle_without_a_trade_is_known_whatever_columns_are_loaded(settings, tmp_path):
    """The opens alone are those of the first trades: the counts are read with them."""
    made = settings.replace(cache_dir=tmp_path / "cache")
    made.cache_dir.mkdir()
    name = "klines_BTCUSDT_15m_2025-02.csv"
    header, first, *lines = (settings.cache_dir / name).read_text().splitlines()
    price = str(float(first.split(",")[1]) + 9.5)
    idle = ",".join([first[:19], *[price] * 4, "0.0", "0.0", "0", "0.0", "0.0"])
    (made.cache_dir / name).write_text("\n".join([header, idle, *lines, ""]))
    window = ("2025-02-01", "2025-02-02")
    bars = ares.load_klines(
        "BTCUSDT", "4h", *window, columns=["open"], from_interval="15m", settings=made
    )

    assert list(bars) == ["open"]
    assert bars["open"].iloc[0] == klines(settings, "15m", *window)["open"].iloc[1]


def test_bars_of_an_incomplete_series_are_loaded_with_a_warning(holed):
    """Who loads bars over missing candles is told, as by every loader."""
    with pytest.warns(IncompleteData, match="klines_BTCUSDT_15m lacks 2025-02-03 05:00:00"):
        ares.load_klines(
            "BTCUSDT", "4h", "2025-02-01", "2025-03-01", from_interval="15m", settings=holed
        )


def test_bars_are_aligned_at_their_close(settings, holed):
    """A bar is seen at its close, and an aligned frame lacks what its bars lack."""
    hours = ares.resample_klines(klines(settings, "15m", "2025-02-01", "2025-03-01"), "1h")
    bars = ares.resample_klines(klines(holed, "15m", "2025-02-01", "2025-03-01"), "4h")
    aligned = ares.align(hours, bars)

    assert aligned["open_klines_4h"].first_valid_index() == pd.Timestamp("2025-02-01 03:00Z")
    assert aligned.attrs["missing"] == LOST


def test_bars_are_drawn_with_their_gaps(holed):
    """A plot of bars shows those that are missing as gaps, on both axes of price."""
    plot = pytest.importorskip("ares_notebook.plots.klines")
    bars = ares.resample_klines(klines(holed, "15m", "2025-02-01", "2025-03-01"), "4h")
    for log in (False, True):
        ax = plot.plot_klines(bars, log=log)
        words = [text.get_text() for text in ax.get_legend().get_texts()]
        assert words == ["rose, or stayed", "fell", "missing"]


def test_attrs_of_bars_are_their_own(settings):
    """The frame that bars are made of keeps its attrs, and its fingerprint is not theirs."""
    small = klines(settings, "15m", "2025-02-01", "2025-03-01")
    before = dict(small.attrs)
    made = ares.resample_klines(small, "1h")

    assert "fingerprint" in before
    assert small.attrs == before
    assert "fingerprint" not in made.attrs
    assert ares.resample_klines(small, "15m").equals(small)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_the_grid_is_that_of_utc(settings, zone):
    """Candles whose index was moved to another zone make the same bars."""
    small = klines(settings, "4h", "2025-02-01", "2025-03-01")

    assert_same(
        ares.resample_klines(small.tz_convert(zone), "1d"), ares.resample_klines(small, "1d")
    )


# --- refusals ---


@pytest.mark.parametrize(
    ("small", "large"), [("15m", "5m"), ("1d", "4h"), ("1w", "1M"), ("4h", "10m"), ("1w", "3d")]
)
def test_an_interval_that_does_not_divide_is_refused(settings, small, large):
    """Bars are made of candles that fill them: weeks do not fill months."""
    with pytest.raises(BadArgument, match=f"candles of {small} do not make up those of {large}"):
        ares.resample_klines(klines(settings, small), large)


@pytest.mark.parametrize("interval", ["7m", "7min", "25h", "0s", "", "2d", "3M", "fast", None, 4])
def test_what_is_no_interval_of_bars_is_refused(interval):
    """An interval of bars is Binance's, or divides a day."""
    with pytest.raises(BadArgument, match="interval="):
        ares.resample_klines(table([IDLE]), interval)


@pytest.mark.parametrize(
    ("written", "name"),
    [("4H", "4h"), ("60min", "1h"), (timedelta(minutes=10), "10m"), ("90s", "90s"), ("MS", "1M"),
     ("1M", "1M"), ("1m", "1m"), ("500ms", "500ms"), ("24h", "1d"), (pd.Timedelta("5s"), "5s"), (timedelta(days=7), "1w")],
)  # fmt: skip
def test_an_interval_of_bars_has_one_name(written, name):
    """However it is written, attrs and files name it as Binance does."""
    assert interval_of_bars(written) == name


def test_what_divides_makes_up_every_bar():
    """If an interval divides another one, each bar of that begins and ends with one of its own."""
    end = 1_735_689_600_000
    start = end - 1000 * INTERVALS["1d"]
    for small in [each for each in INTERVALS if each not in ("1s", "1m")]:
        opens = {*opens_between(small, start, end)}
        for large in INTERVALS:
            edges = opens_between(large, start + 100 * INTERVALS["1d"], end)
            assert divides(small, large) == opens.issuperset(edges), (small, large)


def test_what_are_no_candles_is_refused(settings):
    """Trades, funding and foreign columns are named, with what to do."""
    small = klines(settings, "15m", "2025-02-01", "2025-02-02")
    funding = pd.DataFrame({"fundingRate": [0.1]}, index=small.index[:1])
    funding.attrs = {"dataset": "futures"}
    bars = small.assign(mine=1.0)
    several = small.set_axis([*small.columns[:-1], "open"], axis=1)
    stale = small.iloc[::4]
    unknown = table([IDLE])

    for frame, words in (
        (funding, "a frame of candles is needed"),
        (funding.iloc[:, :0], "a frame of candles is needed"),
        (pd.DataFrame({"price": [1.0]}, index=small.index[:1]), "a frame of candles is needed"),
        (bars, "has the column.* mine, and it is not known how to put these together"),
        (several, "has a column twice"),
        (small[::-1], "not ascending"),
        (pd.concat([small.iloc[:1], small.iloc[:1]]), "two have one timestamp"),
        (small.tz_localize(None), "no time zone"),
        (small["close"], "not Series"),
        (stale, "interval.* is '15m', and"),
        (small.astype(str), "the column open of the frame holds str; pass numbers"),
        (unknown, "not known how long a candle"),
    ):
        with pytest.raises(BadArgument, match=words):
            ares.resample_klines(frame, "1h")
