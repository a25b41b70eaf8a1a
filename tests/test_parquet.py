"""The cache as Parquet: the same rows, typed, partitioned, incremental and proven."""

from __future__ import annotations

import json
import os
import shutil
from decimal import Decimal

import dask.dataframe
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.cli.commands import app
from ares_notebook.errors import BadArgument, NeverDownloaded, WrongMarket

DAY = 1 / 365.25
NAMES = {
    "klines_BTCUSDT_1h_2025-02.csv": "klines_1h/symbol=BTCUSDT/month=2025-02/klines_BTCUSDT_1h_2025-02.parquet",
    "klines_ETHUSDT_1h_2025-02.csv": "klines_1h/symbol=ETHUSDT/month=2025-02/klines_ETHUSDT_1h_2025-02.parquet",
    "aggtrades_BTCUSDT_2025-02-28.csv": "agg_trades/symbol=BTCUSDT/month=2025-02/aggtrades_BTCUSDT_2025-02-28.parquet",
    "futures_BTCUSDT_2025-02.csv": "futures/symbol=BTCUSDT/month=2025-02/futures_BTCUSDT_2025-02.parquet",
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache of two symbols' candles, a day of trades, and funding."""
    with DemoExchange(trades_per_day=6_000) as exchange:
        settings = exchange.settings(cache_dir=tmp_path_factory.mktemp("filled"), progress=False)

        def brought(symbol, days, *names):
            return ares.run(
                ares.download_all_data(
                    symbol, "1h", days * DAY, end="2025-03-01", datasets=names, settings=settings
                )
            )

        assert brought("BTCUSDT", 28, "klines", "futures").complete
        assert brought("ETHUSDT", 28, "klines").complete
        assert brought("BTCUSDT", 1, "agg_trades").complete
    return settings


@pytest.fixture
def settings(filled, tmp_path):
    """A copy of it, to be changed."""
    copy = shutil.copytree(filled.cache_dir, tmp_path / "cache")
    return filled.replace(cache_dir=copy)


@pytest.fixture
def destination(settings, tmp_path):
    """The dataset, of floats."""
    assert ares.to_parquet(tmp_path / "lake", settings=settings)
    return tmp_path / "lake"


def actions(report):
    return dict(zip(report.to_frame()["file"], report.to_frame()["action"], strict=True))


def test_each_cache_file_is_one_file_in_its_partition(destination):
    """Folders a kind, symbol and month; besides only the manifests, a note of the market, and no temporary file."""
    there = {
        path.relative_to(destination).as_posix()
        for path in destination.rglob("*")
        if path.is_file()
    }

    manifests = {f"_ares_manifest/{name.split('/month')[0]}.json" for name in NAMES.values()}
    assert there == {*NAMES.values(), *manifests, "_ares_origin.json"}


@pytest.mark.parametrize("note", ['{"market": "binance"}', "{", "[]"])
def test_markets_do_not_mix(settings, destination, note):
    """Into a dataset of another market, or of nobody knows whose, nothing is written."""
    (destination / "_ares_origin.json").write_text(note)
    for path in destination.rglob("*.parquet"):
        path.unlink()
    with pytest.raises(WrongMarket, match="would be mixed into it"):
        ares.to_parquet(destination, settings=settings)

    assert list(destination.rglob("*.parquet")) == []


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_those_of_the_cache(settings, destination, tmp_path, name):
    """As floats they are what loading gives; as decimals they have the very digits of the CSV."""
    assert ares.to_parquet(tmp_path / "exact", decimal=True, settings=settings)
    text = pd.read_csv(settings.cache_dir / name, dtype=str)
    floats = pq.ParquetFile(destination / NAMES[name]).read().to_pandas()
    exact = pq.ParquetFile(tmp_path / "exact" / NAMES[name]).read().to_pandas()

    assert list(floats) == list(exact) == list(text)
    for column in text.columns[1:]:
        if floats[column].dtype == "float64":
            assert floats[column].tolist() == text[column].astype(float).tolist()
            assert exact[column].tolist() == text[column].map(Decimal).tolist()
        else:
            assert floats[column].astype(str).tolist() == text[column].tolist()
    moments = pd.to_datetime(text["timestamp"], utc=True, format="ISO8601")
    assert floats["timestamp"].tolist() == exact["timestamp"].tolist() == moments.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_tells_of_itself(settings, destination, name):
    """Zstd, statistics of every column, its order, and the receipt of the file it was made of."""
    metadata = pq.read_metadata(destination / NAMES[name])
    group = metadata.row_group(0)
    receipt = json.loads((settings.cache_dir / f".ares/receipts/{name}.json").read_text())

    assert {group.column(at).compression for at in range(group.num_columns)} == {"ZSTD"}
    assert all(group.column(at).is_stats_set for at in range(group.num_columns))
    assert [each.column_index for each in group.sorting_columns] == [0]
    assert json.loads(metadata.metadata[b"ares_notebook"]) == receipt


def test_only_what_is_new_is_written(settings, destination):
    """Of a second export nothing is written; of one after a change only what changed."""
    stamps = {path: path.stat().st_mtime_ns for path in destination.rglob("*.parquet")}
    again = ares.to_parquet(destination, settings=settings)
    with DemoExchange(trades_per_day=6_000) as exchange:
        grown = exchange.settings(cache_dir=settings.cache_dir, progress=False)
        ares.run(
            ares.download_klines_data("BTCUSDT", "1h", 5 * DAY, end="2025-03-03", settings=grown)
        )
    later = ares.to_parquet(destination, settings=settings)

    assert set(actions(again).values()) == {"skip"}
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    written = [name for name, action in actions(later).items() if action == "write"]
    assert written == ["klines_BTCUSDT_1h_2025-03.csv"]
    assert len(again.items) == len(NAMES)
    assert again.rows == sum(pq.read_metadata(path).num_rows for path in stamps)


def test_numbers_of_two_types_do_not_mix(settings, destination):
    """A dataset of floats takes no decimals, of no symbol, and says how to go on."""
    with pytest.raises(BadArgument, match=r"float64.*pass decimal=False, or choose"):
        ares.to_parquet(destination, "ETHUSDT", decimal=True, settings=settings)

    for name in NAMES.values():
        fields = pq.read_schema(destination / name)
        assert not any(pa.types.is_decimal(field.type) for field in fields)


@pytest.mark.parametrize("bytes_left", [0, 100])
def test_a_file_that_is_not_whole_is_written_anew(settings, destination, bytes_left):
    """What is there counts only if it says of which bytes it was made."""
    path = destination / NAMES["futures_BTCUSDT_2025-02.csv"]
    whole = path.read_bytes()
    path.write_bytes(whole[:bytes_left])
    report = ares.to_parquet(destination, settings=settings)

    assert actions(report)["futures_BTCUSDT_2025-02.csv"] == "write"
    assert path.read_bytes() == whole


def test_a_damaged_file_is_told_and_stops_no_other(settings, tmp_path):
    """A cache file that cannot be read gives no Parquet, and the report is false."""
    path = settings.cache_dir / "futures_BTCUSDT_2025-02.csv"
    path.write_bytes(path.read_bytes()[:-5])
    report = ares.to_parquet(tmp_path / "lake", settings=settings)

    assert not report
    assert "failed futures_BTCUSDT_2025-02.csv" in str(report)
    assert "ends inside a line" in str(report)
    assert len(list((tmp_path / "lake").rglob("*.parquet"))) == len(NAMES) - 1


def test_a_disk_that_does_not_take_it_is_reported(settings, tmp_path):
    """A file where a folder should be costs what would lie in it, and nothing else."""
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "futures").write_text("mine")
    report = ares.to_parquet(tmp_path / "lake", settings=settings)

    assert [each.file for each in report.failed] == ["futures_BTCUSDT_2025-02.csv"]
    assert "there is a file where a folder should be" in str(report)


def test_part_of_the_cache_can_be_meant(settings, tmp_path):
    """One symbol and one interval, beside its trades and funding."""
    report = ares.to_parquet(tmp_path / "lake", "ETHUSDT", "1h", settings=settings)

    assert list(actions(report)) == ["klines_ETHUSDT_1h_2025-02.csv"]


def test_wrong_places_are_refused(settings, tmp_path):
    """Into the cache itself nothing is exported, and of nothing no dataset is made."""
    with pytest.raises(BadArgument, match=r"is no folder; scale\.download\(plan, to="):
        ares.to_parquet("s3://bucket/dataset", settings=settings)
    with pytest.raises(BadArgument, match="is the cache itself"):
        ares.to_parquet(settings.cache_dir, settings=settings)
    with pytest.raises(NeverDownloaded):
        ares.to_parquet(tmp_path / "lake", "XRPUSDT", settings=settings)
    assert not (tmp_path / "lake").exists()


# Dask 2026.8 is older than what pandas 3.1 warns of.
@pytest.mark.filterwarnings("ignore:The inplace keyword:pandas.errors.Pandas4Warning")
def test_three_readers_agree(settings, destination):
    """Dask, Polars and DuckDB read a month of one symbol out of the whole, as the documentation shows."""
    frame = dask.dataframe.read_parquet(
        destination / "klines_1h", filters=[("symbol", "==", "BTCUSDT"), ("month", "==", "2025-02")]
    )
    by_dask = frame["volume"].sum().compute()
    by_polars = (
        pl.scan_parquet(destination / "klines_1h", hive_partitioning=True)
        .filter(symbol="BTCUSDT", month="2025-02")
        .select(pl.col("volume").sum())
        .collect()
        .item()
    )
    files = duckdb.read_parquet(f"{destination}/klines_1h/**/*.parquet", hive_partitioning=True)
    wanted = files.filter("symbol = 'BTCUSDT' and month = '2025-02'")
    by_duckdb = wanted.sum("volume").fetchall()[0][0]
    truth = ares.load_klines("BTCUSDT", "1h", settings=settings)["volume"].sum()

    assert by_dask == pytest.approx(truth, rel=1e-12)
    assert by_polars == pytest.approx(truth, rel=1e-12)
    assert by_duckdb == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("damage", [False, True])
def test_the_shell_does_the_same(settings, tmp_path, damage):
    """`ares-notebook parquet` exports, tells of each file, and exits with 1 where one failed."""
    if damage:
        path = settings.cache_dir / "futures_BTCUSDT_2025-02.csv"
        path.write_bytes(path.read_bytes()[:-5])
    folder, cache = str(tmp_path / "lake"), str(settings.cache_dir)
    done = CliRunner().invoke(app, ["parquet", folder, "--decimal", "--cache-dir", cache, "--json"])

    reported = {each["file"]: each["action"] for each in json.loads(done.stdout)}
    assert done.exit_code == int(damage)
    assert set(reported) == set(NAMES)
    assert [name for name, action in reported.items() if action == "fail"] == (
        ["futures_BTCUSDT_2025-02.csv"] if damage else []
    )
    assert (
        ares.to_parquet(folder, "ETHUSDT", decimal=True, settings=settings).items[0].action
        == "skip"
    )


def test_bytes_that_no_receipt_describes_are_not_exported(settings, tmp_path):
    """A digit changed under the same size and time fails, strikes the receipt, and is right after a download."""
    name = "klines_BTCUSDT_1h_2025-02.csv"
    path = settings.cache_dir / name
    status, whole = path.stat(), path.read_bytes()
    at = whole.index(b".", len(whole) // 2) + 1
    path.write_bytes(whole[:at] + (b"1" if whole[at : at + 1] != b"1" else b"2") + whole[at + 1 :])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    report = ares.to_parquet(tmp_path / "lake", settings=settings)

    assert [each.file for each in report.failed] == [name]
    assert "not those of its receipt" in str(report)
    assert "download its period again" in str(report)
    assert not (tmp_path / "lake" / NAMES[name]).exists()
    with DemoExchange(trades_per_day=6_000) as exchange:
        again = exchange.settings(cache_dir=settings.cache_dir, progress=False)
        ares.run(
            ares.download_klines_data("BTCUSDT", "1h", 28 * DAY, end="2025-03-01", settings=again)
        )
    assert path.read_bytes() == whole
    assert actions(ares.to_parquet(tmp_path / "lake", settings=settings))[name] == "write"


def test_a_month_without_a_cache_file_is_stale(settings, destination):
    """It stays, its rows are counted, and the report of its selection names it and no other one."""
    name = "klines_BTCUSDT_1h_2025-02.csv"
    (settings.cache_dir / name).unlink()
    report = ares.to_parquet(destination, settings=settings)
    other = ares.to_parquet(destination, "ETHUSDT", settings=settings)

    assert report
    assert actions(report)[name] == "stale"
    assert "1 stale" in str(report)
    assert f"stale  {name}: the cache has no such file" in str(report)
    assert report.rows == sum(pq.read_metadata(p).num_rows for p in destination.rglob("*.parquet"))
    assert set(actions(other).values()) == {"skip"}
