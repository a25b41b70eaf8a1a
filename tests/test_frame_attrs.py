"""What frames state about themselves: small, plain, and true; and all that they lack."""

from __future__ import annotations

import json
import logging
import warnings

import pandas as pd
import pyarrow as pa
import pytest

import ares_notebook as ares
from ares_notebook.errors import BadArgument
from ares_notebook.load import IncompleteData

DAY = 1 / 365.25
LOADERS = {
    "klines": lambda *window, **options: ares.load_klines("BTCUSDT", "1h", *window, **options),
    "agg_trades": lambda *window, **options: ares.load_agg_trades("BTCUSDT", *window, **options),
    "futures": lambda *window, **options: ares.load_futures("BTCUSDT", *window, **options),
}
KEYS = {
    "dataset",
    "symbol",
    "interval",
    "market",
    "start",
    "end",
    "rows",
    "complete",
    "missing",
    "missing_count",
}


@pytest.fixture
async def filled(settings):
    """A cache with a few days of everything."""
    await ares.download_klines_data("BTCUSDT", "1h", 20 * DAY, end="2025-03-15", settings=settings)
    await ares.download_agg_trades_data("BTCUSDT", 2 * DAY, end="2025-03-15", settings=settings)
    await ares.download_futures_data("BTCUSDT", 20 * DAY, end="2025-03-15", settings=settings)
    return settings


@pytest.fixture
async def minutes(settings):
    """A month of 1m candles of which every third one is gone: 13,439 gaps."""
    await ares.download_klines_data(
        "BTCUSDT", "1m", start="2025-02-01", end="2025-03-01", settings=settings
    )
    keep_lines(settings, "klines_BTCUSDT_1m_2025-02.csv", lambda at: at % 3 != 2)
    return settings


def keep_lines(settings, name, is_kept) -> None:
    """Remove lines from a cache file, and its receipt, with which the whole file would be altered."""
    path = settings.cache_dir / name
    header, *lines = path.read_text().splitlines(keepends=True)
    path.write_text(header + "".join(line for at, line in enumerate(lines) if is_kept(at)))
    (settings.cache_dir / ".ares" / "receipts" / f"{name}.json").unlink()


def quiet(load, *window, **options) -> pd.DataFrame:
    """A loaded frame, without the warning that it is incomplete."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteData)
        return load(*window, **options)


def texts(table: pd.DataFrame) -> list[tuple[object, ...]]:
    """The rows of a table of windows, times as text."""
    return [
        (f"{start:%m-%d %H:%M}", f"{end:%m-%d %H:%M}", None if pd.isna(rows) else rows)
        for start, end, rows in table.itertuples(index=False)
    ]


@pytest.mark.parametrize("decimal", [False, True])
@pytest.mark.parametrize("window", [(), ("2025-03-14", "2025-03-15"), ("2025-03-14", "2025-03-20")])
@pytest.mark.parametrize("dataset", LOADERS)
def test_attrs_survive_json_and_parquet(filled, tmp_path, dataset, window, decimal):
    """Of every loaded frame, complete or not, json writes the attrs and Parquet gives them back."""
    frame = quiet(LOADERS[dataset], *window, decimal=decimal, settings=filled)
    frame.to_parquet(tmp_path / "frame.parquet")
    back = pd.read_parquet(tmp_path / "frame.parquet")

    assert json.loads(json.dumps(frame.attrs)) == frame.attrs == back.attrs
    assert set(frame.attrs) - {"fingerprint"} == KEYS
    assert frame.attrs["complete"] is (window[1:] != ("2025-03-20",))
    assert frame.attrs["rows"] == len(frame) > 0
    assert frame.attrs["market"] == "demo"
    assert frame.attrs["interval"] == ("1h" if dataset == "klines" else None)
    pd.testing.assert_frame_equal(frame, back)


async def test_an_empty_complete_frame_survives_parquet(settings, tmp_path):
    """A window before the listing has no row, is complete, and Parquet gives both back."""
    await ares.download_klines_data("SOLUSDT", "1d", 0.3, end="2020-09-01", settings=settings)
    frame = ares.load_klines("SOLUSDT", "1d", "2020-07-01", "2020-08-01", settings=settings)
    frame.to_parquet(tmp_path / "frame.parquet")

    assert frame.empty
    assert pd.read_parquet(tmp_path / "frame.parquet").attrs == frame.attrs
    assert frame.attrs["complete"]
    assert ares.missing(frame).empty


async def test_a_filled_frame_survives_parquet(settings, tmp_path):
    """Frames of fetch_missing_data, which reach into the future here, are saved with their attrs too."""
    start_ms, end_ms = 1735689600000, 4102444800000
    data = await ares.fetch_missing_data(
        "BTCUSDT",
        start_ms,
        end_ms,
        {"klines": None},
        logging.getLogger("step1"),
        interval="1M",
        settings=settings,
    )
    frame = data["klines"]
    frame.to_parquet(tmp_path / "frame.parquet")

    assert pd.read_parquet(tmp_path / "frame.parquet").attrs == frame.attrs
    assert set(frame.attrs) == KEYS
    assert frame.attrs["rows"] == len(frame)
    assert frame.attrs["missing"][-1][1] == "2100-01-01T00:00:00+00:00"


def test_attrs_stay_small(minutes):
    """Of 13,439 missing windows the attrs list the first hundred, and count all."""
    frame = quiet(ares.load_klines, "BTCUSDT", "1m", settings=minutes)

    assert frame.attrs["missing_count"] == 13_439
    assert frame.attrs["missing"][99] == ["2025-02-01T04:59:00+00:00", "2025-02-01T05:00:00+00:00"]
    assert len(frame.attrs["missing"]) == 100
    assert len(json.dumps(frame.attrs)) < 8_000


@pytest.mark.parametrize("source", ["rows", "cache", "another cache", "attrs lost"])
def test_missing_gives_all_windows(minutes, tmp_path, source):
    """All of 13,439 windows come, from the cache or from the rows of the frame alone."""
    frame = quiet(ares.load_klines, "BTCUSDT", "1m", settings=minutes)
    settings = minutes if source == "cache" else ares.Settings(cache_dir=tmp_path / "none")
    if source == "another cache":
        settings = minutes
        (settings.cache_dir / "klines_BTCUSDT_1m_2025-02.csv").unlink()
    if source == "attrs lost":
        frame.attrs = {}
    table = ares.missing(frame, settings=settings)

    assert len(table) == 13_439
    assert set(table["rows"]) == {1}
    assert table["rows"].dtype == "Int64"
    assert str(table["start"].dtype) == str(table["end"].dtype) == "datetime64[us, UTC]"
    assert (table["end"] - table["start"] == pd.Timedelta(minutes=1)).all()
    assert not set(table["start"]) & set(frame.index)


async def test_more_windows_than_are_listed_are_those_of_the_cache(settings):
    """Where the cache is unchanged, rows that are proven absent are no missing windows, however many there are."""
    await ares.download_klines_data(
        "BTCUSDT", "1m", start="2025-03-01", end="2025-04-01", settings=settings
    )
    # The halt from 02:00 to 04:30 of 2025-03-14 is proven by the receipt of the file.
    path = settings.cache_dir / "klines_BTCUSDT_1m_2025-03.csv"
    halt = ares.load_klines("BTCUSDT", "1m", settings=settings)
    receipt = settings.cache_dir / ".ares" / "receipts" / f"{path.name}.json"
    stored = json.loads(receipt.read_text())
    keep_lines(settings, path.name, lambda at: at > 1_000 or at % 2)
    receipt.write_text(
        json.dumps({**stored, "size": None, "mtime_ns": None, "sha256": None, "final": False})
    )
    frame = quiet(ares.load_klines, "BTCUSDT", "1m", settings=settings)
    from_rows = ares.missing(frame, settings=ares.Settings(cache_dir=settings.cache_dir / "none"))
    from_cache = ares.missing(frame, settings=settings)

    assert len(halt) == 31 * 1440 - 150
    assert len(from_cache) == frame.attrs["missing_count"] == 501
    assert from_rows["rows"].sum() - from_cache["rows"].sum() == 150


async def test_rows_of_an_altered_file_are_missing_rows(minutes, tmp_path):
    """Where windows are derived from rows, those of an altered file do not count, as when it was loaded."""
    await ares.download_klines_data(
        "BTCUSDT", "1m", start="2025-03-01", end="2025-03-02", settings=minutes
    )
    path = minutes.cache_dir / "klines_BTCUSDT_1m_2025-03.csv"
    path.write_bytes(path.read_bytes()[:-1] + b"7\n")
    frame = quiet(ares.load_klines, "BTCUSDT", "1m", end="2025-03-02", settings=minutes)
    table = ares.missing(frame, settings=ares.Settings(cache_dir=tmp_path / "none"))

    assert frame.attrs["altered"] == [path.name]
    assert len(frame.loc["2025-03-01"]) == 1440
    assert len(table) == frame.attrs["missing_count"]
    # The last candle of February was removed too.
    assert texts(table)[-1] == ("02-28 23:59", "03-02 00:00", 1441)


def test_concatenated_windows_claim_nothing_that_nobody_counted(filled):
    """Two complete frames with a day between them lose their attrs in concat, and missing finds the day."""
    one = ares.load_klines("BTCUSDT", "1h", "2025-03-01", "2025-03-03", settings=filled)
    other = ares.load_klines("BTCUSDT", "1h", "2025-03-04", "2025-03-05", settings=filled)
    both = pd.concat([one, other])

    assert one.attrs["complete"]
    assert other.attrs["complete"]
    assert "complete" not in both.attrs
    assert texts(ares.missing(both)) == [("03-03 00:00", "03-04 00:00", 24)]


def test_missing_trades_are_counted_by_ids(filled):
    """Of missing trades the ids tell how many there are, inside a day, at midnight, and without attrs."""
    whole = ares.load_agg_trades("BTCUSDT", settings=filled)
    first_day = int((whole.index < "2025-03-14").sum())
    keep_lines(filled, "aggtrades_BTCUSDT_2025-03-13.csv", lambda at: not 50 <= at < 57)
    keep_lines(filled, "aggtrades_BTCUSDT_2025-03-14.csv", lambda at: at >= 3)
    frame = quiet(ares.load_agg_trades, "BTCUSDT", settings=filled)
    inside = ares.missing(frame)
    bare = quiet(ares.load_agg_trades, "BTCUSDT", columns=["price"], settings=filled)
    frame.attrs = {}

    counted = inside.dropna()
    assert counted["rows"].tolist() == [7, 3]
    assert counted["start"].tolist() == [
        whole.index[49].floor("ms"),
        whole.index[first_day - 1].floor("ms"),
    ]
    assert ares.missing(frame)["rows"].tolist() == [7, 3]
    assert ares.missing(bare)["rows"].isna().all()


def test_missing_trades_of_a_cut_frame_are_not_counted(filled):
    """Where trades beside a gap were removed, ids do not tell how many were missing, and the gap stays."""
    keep_lines(filled, "aggtrades_BTCUSDT_2025-03-13.csv", lambda at: not 50 <= at < 57)
    frame = quiet(ares.load_agg_trades, "BTCUSDT", settings=filled)
    whole, cut = (ares.missing(each) for each in (frame, frame.drop(frame.index[50:60])))

    assert whole["rows"].dropna().tolist() == [7]
    assert cut["rows"].isna().all()
    assert cut[["start", "end"]].equals(whole[["start", "end"]])


@pytest.mark.parametrize("start", ["2025-03-13", "2025-03-13T05:00:00.000123"])
@pytest.mark.parametrize(
    "end", ["2025-03-15", "2025-03-14", "2025-03-14T07:00", "2025-03-13T05:01"]
)
@pytest.mark.parametrize("kind", ["files", "altered", "copies", "compressed", "legacy"])
def test_blocks_state_the_rows_of_their_window(filled, kind, start, end):
    """Each block of iter_agg_trades states how many trades all of them have, also of files partly inside."""
    name = "aggtrades_BTCUSDT_2025-03-13.csv"
    if kind == "altered":
        path = filled.cache_dir / name
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-3]))
    if kind == "legacy":
        keep_lines(filled, name, lambda at: at != 40)
    if kind == "compressed":
        with (filled.cache_dir / name).open("rb") as text:
            zipped = pa.compress(text.read(), "zstd", asbytes=True)
        (filled.cache_dir / name).unlink()
        (filled.cache_dir / f"{name}.zst").write_bytes(zipped)
    settings = filled.replace(arrow_copies="plain" if kind == "copies" else "off")
    with warnings.catch_warnings(action="ignore", category=IncompleteData):
        blocks = [*ares.iter_agg_trades("BTCUSDT", start, end, rows=99, settings=settings)]
        frame = ares.load_agg_trades("BTCUSDT", start, end, settings=settings)

    assert sum(map(len, blocks)) == len(frame) > 0
    assert {each.attrs["rows"] for each in blocks} == {len(frame)} == {frame.attrs["rows"]}


def test_missing_funding_is_counted_by_its_interval(filled):
    """Of missing funding inside a month the interval tells how many events there are."""
    keep_lines(filled, "futures_BTCUSDT_2025-03.csv", lambda at: at not in (5, 6, 9))
    frame = quiet(ares.load_futures, "BTCUSDT", "2025-03-01", "2025-03-10", settings=filled)

    assert ares.missing(frame)["rows"].tolist() == [2, 1]
    frame.attrs = {}
    assert ares.missing(frame)["rows"].tolist() == [2, 1]


@pytest.mark.parametrize("interval", ["1w", "1M"])
async def test_missing_candles_without_a_fixed_grid_of_files(settings, interval):
    """Candles of weeks, which cross months, and of months are counted as those of hours are."""
    await ares.download_klines_data("BTCUSDT", interval, 1, end="2025-03-01", settings=settings)
    frame = ares.load_klines("BTCUSDT", interval, settings=settings)
    fewer = frame.drop(frame.index[[3, 4]])
    fewer.attrs = {}

    [[start, end, rows]] = ares.missing(fewer).to_numpy().tolist()
    assert (start, end, rows) == (frame.index[3], frame.index[5], 2)


def test_a_frame_of_no_interval_is_refused():
    """Rows without attrs that are on no grid of Binance's are refused with their spacing."""
    index = pd.date_range("2025-01-01", periods=9, freq="7s", tz="UTC")
    with pytest.raises(BadArgument, match="7 seconds apart"):
        ares.missing(pd.DataFrame({"close": 1.0}, index=index))


async def test_the_fingerprint_of_one_whole_file_is_known(filled):
    """A frame of one whole file has the fingerprint that the cache has of it."""
    frame = ares.load_klines("BTCUSDT", "1h", "2025-02-01", "2025-03-01", settings=filled)
    one_column = ares.load_klines(
        "BTCUSDT", "1h", "2025-02-01", "2025-03-01", columns=["close"], settings=filled
    )
    made = ares.fingerprint("BTCUSDT", "1h", "2025-02-01", "2025-03-01", settings=filled)

    assert frame.attrs["fingerprint"] == one_column.attrs["fingerprint"] == made.sha256


@pytest.mark.parametrize(
    "window",
    [
        ("2025-02-01", "2025-03-02"),
        ("2025-02-01T00:00:00.000001", "2025-03-01"),
        ("2025-02-02", "2025-03-01"),
    ],
)
def test_of_another_window_no_fingerprint_is_claimed(filled, window):
    """A frame of two files, of a part of one, or that lacks its first row by a microsecond, claims none."""
    frame = ares.load_klines("BTCUSDT", "1h", *window, settings=filled)

    assert "fingerprint" not in frame.attrs


@pytest.mark.parametrize("kind", ["compressed", "legacy", "altered"])
async def test_of_other_bytes_no_fingerprint_is_claimed(settings, kind):
    """Bytes that are not the text of the rows, or that no receipt vouches for, are no fingerprint."""
    chosen = settings.replace(**{"compression": "zstd"} if kind == "compressed" else {})
    await ares.download_klines_data("BTCUSDT", "1d", 20 * DAY, end="2025-03-01", settings=chosen)
    path = settings.cache_dir / f"klines_BTCUSDT_1d_2025-02.csv{'.zst' * (kind == 'compressed')}"
    if kind == "legacy":
        (settings.cache_dir / ".ares" / "receipts" / f"{path.name}.json").unlink()
    if kind == "altered":
        path.write_bytes(path.read_bytes()[:-1] + b"7\n")
    frame = quiet(ares.load_klines, "BTCUSDT", "1d", "2025-02-01", "2025-03-01", settings=settings)

    assert len(frame) == 28
    assert "fingerprint" not in frame.attrs
