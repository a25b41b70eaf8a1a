"""From the cache to frames that say themselves whether they are complete."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from datetime import UTC, date, datetime

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.cache import names
from ares_notebook.errors import BadArgument, CorruptFile, NeverDownloaded
from ares_notebook.load import IncompleteData

DAY = 1 / 365.25


@pytest.fixture
async def filled(settings):
    """A cache with a few days of everything, a halt (2025-03-14 02:00 to 04:30) among them."""
    await ares.download_klines_data("BTCUSDT", "1h", 20 * DAY, end="2025-03-15", settings=settings)
    await ares.download_agg_trades_data("BTCUSDT", 2 * DAY, end="2025-03-15", settings=settings)
    await ares.download_futures_data("BTCUSDT", 20 * DAY, end="2025-03-15", settings=settings)
    return settings


def test_klines_as_promised(filled):
    """K-lines come with an aware UTC index, float64 numbers and whole counts."""
    frame = ares.load_klines("btcusdt", "1h", "2025-03-01", "2025-03-14", settings=filled)

    assert (frame.index.name, str(frame.index.tz), len(frame)) == ("timestamp", "UTC", 13 * 24)
    assert frame.index.is_monotonic_increasing
    assert frame.index.is_unique
    assert frame.columns.tolist() == [
        "open",
        "high",
        "low",
        "close",
        "volume",
        "quote_asset_volume",
        "number_of_trades",
        "taker_buy_base_asset_volume",
        "taker_buy_quote_asset_volume",
    ]
    assert {"float64"} == {str(dtype) for dtype in frame.drop(columns="number_of_trades").dtypes}
    assert frame["number_of_trades"].dtype == "int64"
    assert (frame.attrs["complete"], frame.attrs["missing"]) == (True, [])


def test_trades_as_promised(filled):
    """Trades come in order of ids without a gap, with bool flags and whole ids."""
    frame = ares.load_agg_trades("BTCUSDT", settings=filled)

    assert (frame["agg_trade_id"].diff().dropna() == 1).all()
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "price": "float64",
        "quantity": "float64",
        "is_buyer_maker": "bool",
        "agg_trade_id": "int64",
        "first_trade_id": "int64",
        "last_trade_id": "int64",
    }
    assert {True, False} == set(frame["is_buyer_maker"])
    assert frame.attrs["complete"]


def test_funding_as_promised(filled):
    """Funding keeps the exchange's jitter in its stamps and its rates as float64."""
    frame = ares.load_futures("BTCUSDT", "2025-03-01", "2025-03-11", settings=filled)

    assert len(frame) == 30
    assert {0, 8, 16} == set(frame.index.hour)
    assert frame.index.microsecond.max() > 0
    assert frame["fundingRate"].dtype == "float64"


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2025-03-02T03:00", "2025-03-02T07:00"),
        (datetime(2025, 3, 2, 3, tzinfo=UTC), datetime(2025, 3, 2, 7, tzinfo=UTC)),
        ("2025-03-02T05:00+02:00", "2025-03-02T02:00-05:00"),
    ],
)
def test_window_is_half_open_and_utc(filled, start, end):
    """A window holds its start and not its end, in UTC whatever zone it was given in."""
    frame = ares.load_klines("BTCUSDT", "1h", start, end, settings=filled)

    assert frame.index.hour.tolist() == [3, 4, 5, 6]


def test_dates_are_midnights(filled):
    """A date means its midnight, UTC."""
    frame = ares.load_klines("BTCUSDT", "1h", date(2025, 3, 2), date(2025, 3, 3), settings=filled)

    assert len(frame) == 24


def test_default_window_is_what_the_cache_spans(filled):
    """Without a window everything comes, complete, with no warning about the running month."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = ares.load_klines("BTCUSDT", "1h", settings=filled)

    assert (str(frame.index[0]), str(frame.index[-1])) == (
        "2025-02-01 00:00:00+00:00",
        "2025-03-14 23:00:00+00:00",
    )
    assert frame.attrs["complete"]


def test_confirmed_halt_is_complete(filled):
    """Hours that the exchange confirmed to lack do not make a window incomplete."""
    frame = ares.load_klines("BTCUSDT", "1h", "2025-03-14", "2025-03-15", settings=filled)

    assert len(frame) == 22
    assert frame.attrs["complete"]


def test_gap_is_reported(filled):
    """A window with a gap loads what is there, with one warning and the gap in attrs."""
    path = filled.cache_dir / "klines_BTCUSDT_1h_2025-03.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:25] + lines[31:]))
    # With its receipt the whole file would count for altered.
    (filled.cache_dir / ".ares" / "receipts" / f"{path.name}.json").unlink()
    with pytest.warns(IncompleteData, match="2025-03-02 00:00:00 to 2025-03-02 06:00:00") as caught:
        frame = ares.load_klines("BTCUSDT", "1h", "2025-03-01", "2025-03-04", settings=filled)

    assert len(caught) == 1
    assert len(frame) == 66
    assert frame.attrs["complete"] is False
    assert frame.attrs["missing"] == [["2025-03-02T00:00:00+00:00", "2025-03-02T06:00:00+00:00"]]
    assert frame.attrs["missing_count"] == 1


def test_window_beyond_the_cache_is_reported(filled):
    """What lies beyond the last download is missing, and the warning names the call that downloads just that."""
    call = re.escape(
        '`await ares.download_klines_data("BTCUSDT", "1h", start="2025-03-15", end="2025-03-16", '
        "settings=settings)`"
    )
    with pytest.warns(IncompleteData, match=call):
        frame = ares.load_klines("BTCUSDT", "1h", "2025-03-14T12:00", "2025-03-16", settings=filled)

    assert len(frame) == 12
    assert frame.attrs["missing"] == [["2025-03-15T00:00:00+00:00", "2025-03-16T00:00:00+00:00"]]


def test_a_hint_has_no_end_in_the_future(filled):
    """Of a window that ends in the future the hint names a call without an end, which a download refuses."""
    with pytest.warns(IncompleteData, match=r'"1h", start="2025-03-15", settings=settings\)`'):
        ares.load_klines("BTCUSDT", "1h", "2025-03-14", "2100-01-01", settings=filled)


@pytest.mark.parametrize(
    ("load", "window", "call"),
    [
        (("klines", "ETHUSDT", "1h"), (), 'klines_data("ETHUSDT", "1h", 1)'),
        (("klines", "BTCUSDT", "1m"), (), 'klines_data("BTCUSDT", "1m", 1)'),
        (
            ("klines", "BTCUSDT", "1h"),
            ("2024-01-01", "2024-02-01T06:30"),
            'klines_data("BTCUSDT", "1h", start="2024-01-01", end="2024-02-01T06:30:00")',
        ),
        (
            ("klines", "BTCUSDT", "1h"),
            ("2025-04-01",),
            'klines_data("BTCUSDT", "1h", start="2025-04-01")',
        ),
        (("agg_trades", "ETHUSDT"), (), 'agg_trades_data("ETHUSDT", "1d")'),
        (
            ("futures", "BTCUSDT"),
            ("2023-01-01", "2023-02-01"),
            'funding_data("BTCUSDT", start="2023-01-01", end="2023-02-01")',
        ),
        (
            ("agg_trades", "BTCUSDT"),
            ("2025-03-01", "2025-03-02"),
            'agg_trades_data("BTCUSDT", start="2025-03-01", end="2025-03-02")',
        ),
    ],
)
def test_no_data_is_not_an_empty_frame(filled, load, window, call):
    """What was never downloaded raises, with the narrowest call that downloads it."""
    dataset, *series = load
    call = call.replace(")", ", settings=settings)")
    with pytest.raises(NeverDownloaded, match=re.escape(f"`await ares.download_{call}`")):
        getattr(ares, f"load_{dataset}")(*series, *window, settings=filled)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2025-03-02", "2025-03-01"),
        ("2025-03-01", "2025-03-01"),
        (datetime(2025, 3, 1), None),  # noqa: DTZ001 - naive is what is wrong
        ("soon", None),
    ],
)
def test_wrong_window_is_refused(filled, start, end):
    """A window that ends before it begins, a naive or unreadable moment, is refused."""
    with pytest.raises(BadArgument):
        ares.load_klines("BTCUSDT", "1h", start, end, settings=filled)


@pytest.mark.parametrize("lost", [1, 4, 30, 60])
def test_broken_file_is_not_loaded(filled, lost):
    """A file that was cut short raises with its name; no half number is taken for a whole one."""
    path = filled.cache_dir / "klines_BTCUSDT_1h_2025-03.csv"
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(CorruptFile, match=path.name):
        ares.load_klines("BTCUSDT", "1h", settings=filled)


async def test_time_before_listing_is_complete(settings):
    """A window that begins before the symbol was listed is complete, and begins with its first candle."""
    await ares.download_klines_data("SOLUSDT", "1d", 0.3, end="2020-09-01", settings=settings)
    frame = ares.load_klines("SOLUSDT", "1d", "2020-07-01", "2020-09-01", settings=settings)

    assert "2020-08-11" == f"{frame.index[0]:%Y-%m-%d}"  # noqa: SIM300
    assert frame.attrs["complete"]


def test_old_files_are_loaded_as_they_are(settings):
    """Files of the original downloader load: any of its stamps, out of order, doubled, with a bad line."""
    settings.cache_dir.mkdir()
    (settings.cache_dir / "klines_BTCUSDT_1d_2025-02.csv").write_text(
        "timestamp,open,high,low,close,volume\n"
        "2025-02-02,2.0,2.0,2.0,2.0,2.0\n"
        "2025-02-01,9.0,9.0,9.0,9.0,9.0\n"
        "2025-02-01,1.0,1.0,1.0,1.0,1.0\n"
        "rubbish,in,a,line,of,it\n"
        "1738540800000,3.0,3.0,3.0,3.0,3.0\n"
    )
    frame = ares.load_klines("BTCUSDT", "1d", "2025-02-01", "2025-02-04", settings=settings)

    assert frame["open"].tolist() == [1.0, 2.0, 3.0]
    assert frame.index.day.tolist() == [1, 2, 3]
    assert frame["quote_asset_volume"].isna().all()


def test_loading_changes_nothing(exchange, filled):
    """Loading asks the exchange nothing, and leaves the cache as it was but for Arrow copies."""

    def state():
        shutil.rmtree(filled.cache_dir / ".ares/arrow", ignore_errors=True)
        files = [path for path in filled.cache_dir.rglob("*") if path.is_file()]
        return {path: path.stat().st_mtime_ns for path in files}

    before = state()
    exchange.requests.clear()
    ares.load_klines("BTCUSDT", "1h", settings=filled)
    ares.load_agg_trades("BTCUSDT", settings=filled)

    assert (filled.cache_dir / ".ares/arrow").exists()
    assert before == state()
    assert exchange.requests == []


def test_cells_are_those_of_the_file(filled):
    """What is loaded is what the CSV says, read by pandas alone."""
    path = filled.cache_dir / "aggtrades_BTCUSDT_2025-03-14.csv"
    plain = pd.read_csv(path, index_col="timestamp", parse_dates=True)
    frame = ares.load_agg_trades("BTCUSDT", "2025-03-14", "2025-03-15", settings=filled)

    assert plain.to_numpy().tolist() == frame.to_numpy().tolist()
    assert list(plain.index) == list(frame.index.tz_localize(None))


async def test_an_unfinished_day_is_loaded_to_its_last_trade(settings):
    """Without a window every row of the files is loaded, the last one of a running day too."""
    await ares.download_agg_trades_data(
        "BTCUSDT", 1.5 * DAY, end="2025-03-10T12:00", settings=settings
    )
    lines = sum(
        len(path.read_text().splitlines()) - 1 for path in settings.cache_dir.glob("aggtrades*.csv")
    )

    assert len(ares.load_agg_trades("BTCUSDT", settings=settings)) == lines


@pytest.mark.parametrize("start", ["2025-03-16", "2026-01-01"])
def test_a_start_after_the_last_row_is_no_empty_frame(filled, start):
    """Where the cache ends before the window begins, nothing was downloaded, and that is said."""
    with pytest.raises(NeverDownloaded):
        ares.load_klines("BTCUSDT", "1h", start=start, settings=filled)


@pytest.mark.parametrize("damage", ["doubled", "swapped"])
async def test_lines_out_of_order_are_not_loaded_and_are_mended(filled, damage):
    """A doubled or swapped line is a broken file: it is not loaded, and the next run replaces it."""
    path = filled.cache_dir / "klines_BTCUSDT_1h_2025-02.csv"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    lines[50:52] = [lines[50], lines[50]] if damage == "doubled" else [lines[51], lines[50]]
    path.write_bytes(b"".join(lines))

    with pytest.raises(CorruptFile, match="out of order"):
        ares.load_klines("BTCUSDT", "1h", settings=filled)
    await ares.download_klines_data("BTCUSDT", "1h", 20 * DAY, end="2025-03-15", settings=filled)
    assert path.read_bytes() == whole


async def test_a_window_is_loaded_without_a_listing_of_the_folder(settings, monkeypatch):
    """Files of a window that is there are looked up by their names; only what is not there, or not proven, needs a listing."""
    for start in ("2025-03-01", "2025-03-03"):
        await ares.download_agg_trades_data(
            "BTCUSDT", start=start, end=f"{start[:-1]}{int(start[-1]) + 1}", settings=settings
        )
    listed: list[str] = []

    def listdir(folder):
        listed.append(str(folder))
        return os_listdir(folder)

    os_listdir = os.listdir
    monkeypatch.setattr(os, "listdir", listdir)
    names._known.clear()
    day = ares.load_agg_trades("BTCUSDT", "2025-03-01", "2025-03-02", settings=settings)
    part = ares.load_agg_trades(
        "BTCUSDT", "2025-03-03T06:00", "2025-03-03T07:00", settings=settings
    )
    by_name = [name for name in listed if name == str(settings.cache_dir)]
    with pytest.warns(IncompleteData):
        gap = ares.load_agg_trades("BTCUSDT", "2025-03-01", "2025-03-04", settings=settings)
    with pytest.raises(NeverDownloaded):
        ares.load_agg_trades("ETHUSDT", "2025-03-01", "2025-03-02", settings=settings)

    assert day.attrs["complete"]
    assert part.attrs["complete"]
    assert by_name == []
    assert [window[0][:10] for window in gap.attrs["missing"]] == ["2025-03-02"]
    assert str(settings.cache_dir) in listed
