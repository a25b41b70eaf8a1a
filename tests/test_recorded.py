"""Against bytes that Binance served: every cell arrives as it was recorded."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings

DAY = 1 / 365.25
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def replay(recorded: Path) -> Iterator[DemoExchange]:
    """An exchange that serves what was recorded."""
    with DemoExchange(recorded, weight_limit=10**6) as running:
        yield running


@pytest.fixture
def kept(replay: DemoExchange, tmp_path: Path) -> Settings:
    """Settings that point at it."""
    return replay.settings(cache_dir=tmp_path / "cache", retry_delay_seconds=0, progress=False)


def cells(path: Path) -> list[list[str]]:
    """The rows of a CSV file, header included."""
    return list(csv.reader(io.StringIO(path.read_text(encoding="ascii"))))


def stored(settings: Settings, pattern: str = "*.csv") -> list[list[str]]:
    """The rows of all cache files that match, in order of their names."""
    paths = sorted(settings.cache_dir.glob(pattern))
    return [row for path in paths for row in cells(path)[1:]]


def stamp(time: int, unit: str) -> str:
    """A recorded time (ms, or µs from 1e14 on) as the cache writes it."""
    moment = EPOCH + timedelta(microseconds=time if time >= 10**14 else time * 1000)
    return moment.replace(tzinfo=None).isoformat(" ", timespec=unit)


def kline(row: list[str]) -> list[str]:
    """A recorded k-line as the cache holds it; an off-grid one keeps its fraction."""
    unit = "milliseconds" if int(row[0]) % 1000 and int(row[0]) < 10**14 else "seconds"
    return [stamp(int(row[0]), unit), *row[1:6], *row[7:11]]


def members(folder: Path, pattern: str) -> list[list[str]]:
    """The rows of recorded zips, in order of their names; headers left out."""
    rows: list[list[str]] = []
    for path in sorted(folder.glob(pattern)):
        with zipfile.ZipFile(path) as archive:
            text = archive.read(archive.namelist()[0]).decode()
        rows += [row for row in csv.reader(io.StringIO(text)) if row[0].isdigit()]
    return rows


async def test_55_months_of_candles(replay, kept, recorded):
    """Each of 39,000 hours from 2017-08 to 2022-02 has the recorded cells, off-grid ones too."""
    report = await ares.download_klines_data("BTCUSDT", "1h", 4.6, end="2022-03-01", settings=kept)
    paths = sorted((recorded / "klines/spot/BTCUSDT/1h").glob("*.csv"))
    expected = [kline(row) for path in paths for row in cells(path)]
    replay.requests.clear()
    again = await ares.download_klines_data("BTCUSDT", "1h", 4.6, end="2022-03-01", settings=kept)

    assert len(paths) == 55
    assert expected == stored(kept)
    assert report.complete
    assert again.complete
    assert replay.requests == []


async def test_recorded_halts_are_confirmed_absent(kept):
    """The hours in which Binance stood still are confirmed, not missing, and not made up."""
    await ares.download_klines_data("BTCUSDT", "1h", 4.6, end="2022-03-01", settings=kept)
    table = ares.coverage("BTCUSDT", "1h", end="2022-03-01", settings=kept).set_index("file")
    frame = ares.load_klines("BTCUSDT", "1h", "2019-05-15", "2019-05-16", settings=kept)

    def absent(month: str) -> int:
        return table.loc[f"klines_BTCUSDT_1h_{month}.csv", "confirmed_absent"]

    assert {0} == set(table["holes"])
    # 2018-06-26 02:00 to 12:00 and -27 13:00 to 14:00; 2019-05-15 03:00 to 13:00;
    # 2020-12-21 15:00 to 18:00 and -25 02:00 to 03:00.
    assert (absent("2018-06"), absent("2019-05"), absent("2020-12")) == (11, 10, 4)
    assert absent("2019-01") == 0
    assert [*range(3), *range(13, 24)] == frame.index.hour.tolist()
    assert frame.attrs["complete"]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
@pytest.mark.parametrize("source", ["auto", "rest"])
async def test_four_years_of_funding(replay, kept, recorded, symbol, source):
    """Each of 4,383 rates from 2020 to 2023 has its digits and the exchange's own jitter."""
    own = kept.replace(source=source)
    report = await ares.download_futures_data(symbol, 4, end="2024-01-01", settings=own)
    path = recorded / f"funding/{symbol}-fundingRate-2020-2023.csv"
    rows = cells(path)[1:]
    replay.requests.clear()
    await ares.download_futures_data(symbol, 4, end="2024-01-01", settings=own)

    assert [[stamp(int(row[0]), "milliseconds"), row[2]] for row in rows] == stored(own)
    assert len(rows) == 4383
    assert report.complete
    assert replay.requests == []


ZIPS = [
    ("BTCUSDT", "1m", "2020-01", "2020-02-01"),
    ("BTCUSDT", "1h", "2026-05", "2026-05-10"),
    ("ETHUSDT", "15m", "2021-08", "2021-09-01"),
    ("ETHUSDT", "15m", "2021-09", "2021-10-01"),
    ("BTCUSDT", "15m", "2022-02", "2022-03-01"),
]


@pytest.mark.parametrize("days", ZIPS)
async def test_recorded_days(replay, kept, recorded, days):
    """The days that were recorded as zips are stored cell by cell, milliseconds or microseconds."""
    symbol, interval, month, end = days
    own = kept.replace(source="archive")
    await ares.download_klines_data(symbol, interval, 5 * DAY, end=end, settings=own)
    folder = recorded / f"archive/data/spot/daily/klines/{symbol}/{interval}"
    expected = [kline(row) for row in members(folder, f"*{month}-*.zip")]
    replay.requests.clear()
    await ares.download_klines_data(symbol, interval, 5 * DAY, end=end, settings=own)

    assert expected == stored(own, f"*_{month}.csv")
    assert len(expected) > 40
    assert not any(each.path.endswith(".zip") for each in replay.requests)


async def test_recorded_outages_of_a_quarter_hour(kept):
    """ETHUSDT of 2021-08-13 has 78 quarters of an hour, the other 18 confirmed by the exchange."""
    report = await ares.download_klines_data("ETHUSDT", "15m", DAY, end="2021-09-01", settings=kept)
    table = ares.coverage("ETHUSDT", "15m", end="2021-09-01", settings=kept)
    day = ares.load_klines("ETHUSDT", "15m", "2021-08-13", "2021-08-14", settings=kept)

    assert report.complete
    assert len(day) == 78
    assert table["confirmed_absent"].tolist() == [18]


async def test_fine_candles_add_up_to_coarse_ones(kept):
    """The four quarters of each hour of 2022-02 have the hour's extremes and its trades."""
    for interval in ("15m", "1h"):
        await ares.download_klines_data(
            "BTCUSDT", interval, 5 * DAY, end="2022-03-01", settings=kept
        )
    fine, coarse = (
        ares.load_klines("BTCUSDT", interval, "2022-02-01", "2022-03-01", settings=kept)
        for interval in ("15m", "1h")
    )
    hours = fine.resample("1h").agg({"high": "max", "low": "min", "number_of_trades": "sum"})

    assert len(coarse) == 672
    assert hours["high"].tolist() == coarse["high"].tolist()
    assert hours["low"].tolist() == coarse["low"].tolist()
    assert hours["number_of_trades"].tolist() == coarse["number_of_trades"].tolist()


async def test_recorded_month_of_funding(kept, recorded):
    """A recorded funding archive with a header comes out cell by cell, 49 late stamps included."""
    own = kept.replace(source="archive")
    await ares.download_futures_data("BTCUSDT", 5 * DAY, end="2026-05-01", settings=own)
    rows = members(recorded / "archive/data/futures/um/monthly/fundingRate/BTCUSDT", "*.zip")

    assert [[stamp(int(row[0]), "milliseconds"), row[2]] for row in rows] == stored(
        own, "*_2026-04.csv"
    )
    assert sum(int(row[0]) % 1000 > 0 for row in rows) == 49


@pytest.fixture
def trades(recorded: Path, tmp_path: Path) -> tuple[Path, list[list[str]]]:
    """A day of recorded trades of a coin-margined perpetual, put where spot trades lie; its rows."""
    source = recorded / "archive/data/futures/cm/daily/aggTrades/BTCUSD_PERP"
    rows = members(source, "*.zip")
    name = "BTCUSDPERP-aggTrades-2026-05-08"
    folder = tmp_path / "replay/data/spot/daily/aggTrades/BTCUSDPERP"
    folder.mkdir(parents=True)
    [path] = source.glob("*.zip")
    with zipfile.ZipFile(path) as archive:
        text = archive.read(archive.namelist()[0])
    with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.csv", text)
    digest = hashlib.sha256((folder / f"{name}.zip").read_bytes()).hexdigest()
    (folder / f"{name}.zip.CHECKSUM").write_text(f"{digest}  {name}.zip\n")
    return tmp_path / "replay", rows


@pytest.mark.parametrize("source", ["archive", "rest", "auto"])
async def test_a_day_of_recorded_trades(trades, tmp_path, source):
    """Each of 105,280 real trades is stored with its digits, its ids and its side, on every source."""
    folder, rows = trades
    with DemoExchange(folder, weight_limit=10**6) as exchange:
        settings = exchange.settings(cache_dir=tmp_path / "cache", source=source, progress=False)
        report = await ares.download_agg_trades_data(
            "BTCUSDPERP", DAY, end="2026-05-09", settings=settings
        )
        exchange.requests.clear()
        await ares.download_agg_trades_data("BTCUSDPERP", DAY, end="2026-05-09", settings=settings)
        again = list(exchange.requests)

    expected = [
        [
            stamp(int(row[5]), "microseconds"),
            row[1],
            row[2],
            row[6].capitalize(),
            row[0],
            row[3],
            row[4],
        ]
        for row in rows
    ]
    assert expected == stored(settings)
    assert len(rows) == 105_280
    assert not report.failed
    # Of one day alone, whose first id is not 0, nobody can prove the edges.
    assert not report.complete
    assert (again == []) == (source == "archive")
