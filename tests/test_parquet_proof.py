"""A Parquet dataset proves itself: every flipped bit is found, and what is gone is named."""

from __future__ import annotations

import hashlib
import json
import random
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.errors import BadArgument, NeverDownloaded
from ares_notebook.parquet_manifest import MANIFESTS

DAY = 1 / 365.25
FLIPS = 400


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache of a month of candles and of funding, and the dataset that was made of it."""
    folder = tmp_path_factory.mktemp("filled")
    with DemoExchange(trades_per_day=500) as exchange:
        settings = exchange.settings(cache_dir=folder / "cache", progress=False)
        assert ares.run(ares.download_all_data("BTCUSDT", "1h", start="2025-02-01", end="2025-03-01", datasets=("klines", "futures"), settings=settings)).complete  # fmt: skip
    assert ares.to_parquet(folder / "data", settings=settings)
    return settings


@pytest.fixture
def dataset(filled, tmp_path):
    """A copy of the dataset."""
    return shutil.copytree(filled.cache_dir.with_name("data"), tmp_path / "data")


def actions(report):
    return {each.file: each.action for each in report.items}


def test_every_flipped_bit_is_found(dataset):
    """Whichever bit of a file differs, it is damaged, and the other file is sound; so also for a bit of the manifest."""
    rng = random.Random(26)  # noqa: S311 - no secret
    paths = sorted(dataset.rglob("*.parquet"))
    manifests = sorted((dataset / MANIFESTS).rglob("*.json"))
    missed = []
    for number in range(FLIPS):
        path = rng.choice(paths if number % 8 else manifests)
        whole = bytearray(path.read_bytes())
        at, bit = rng.randrange(len(whole)), 1 << rng.randrange(8)
        whole[at] ^= bit
        sound = path.read_bytes()
        path.write_bytes(whole)
        report = ares.verify_parquet(dataset)
        is_told = not report or "unproven" in actions(report).values()
        if (not is_told and path not in manifests) or (len(report.failed) > 1 and path in paths):
            missed.append((path.name, at, bit))
        path.write_bytes(sound)

    assert missed == []
    assert ares.verify_parquet(dataset)


def test_pages_have_checksums_of_their_own(dataset):
    """A reader that checks pages finds a flipped bit of the data without any manifest."""
    [path] = dataset.rglob("klines*.parquet")
    shutil.rmtree(dataset / MANIFESTS)
    column = pq.read_metadata(path).row_group(0).column(4)
    whole = bytearray(path.read_bytes())
    whole[column.data_page_offset + column.total_compressed_size // 2] ^= 4
    path.write_bytes(whole)
    report = ares.verify_parquet(dataset)

    assert sorted(actions(report).values()) == ["fail", "unproven"]
    with pytest.raises((OSError, pa.ArrowException)):
        pq.ParquetFile(path, page_checksum_verification=True).read()


def test_a_manifest_says_what_was_written(filled, dataset):
    """It has the sha256, the size, the rows and the receipt of each file; an export anew keeps to it."""
    found = {}
    for manifest in (dataset / MANIFESTS).rglob("*.json"):
        found |= json.loads(manifest.read_text())
    again = ares.to_parquet(dataset, settings=filled)

    assert {each.action for each in again.items} == {"skip"}
    for path in dataset.rglob("*.parquet"):
        own = found.pop(f"{path.stem}.csv")
        assert own["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (own["size"], own["rows"]) == (path.stat().st_size, pq.read_metadata(path).num_rows)
        assert own["receipt"].encode() == pq.read_schema(path).metadata[b"ares_notebook"]
    assert found == {}


def test_what_is_gone_or_swapped_is_named(dataset):
    """A file that the manifest has and the folder lacks fails, and so does another file in its place."""
    funding, candles = (next(dataset.rglob(f"{name}*.parquet")) for name in ("futures", "klines"))
    funding.write_bytes(candles.read_bytes())
    candles.unlink()
    report = ares.verify_parquet(dataset)

    assert not report
    assert set(actions(report).values()) == {"fail"}
    assert "klines_BTCUSDT_1h_2025-02.csv: the manifest has it, and no file is there" in str(report)


def test_what_is_no_dataset_is_refused(tmp_path):
    """A folder of another program and an address are told apart from a sound dataset."""
    with pytest.raises(NeverDownloaded, match="holds no Parquet dataset of ours"):
        ares.verify_parquet(tmp_path)
    with pytest.raises(BadArgument, match=r"scale.verify\('s3://bucket'\)"):
        ares.verify_parquet("s3://bucket")


def test_what_was_pruned_from_the_cache_is_told(filled, dataset, tmp_path):
    """Files that pruning has deleted from the cache are named as that, and their rows are counted; others are stale."""
    own = filled.replace(cache_dir=shutil.copytree(filled.cache_dir, tmp_path / "cache"))
    before = ares.to_parquet(dataset, settings=own)
    ares.prune_cache("BTCUSDT", "1h", keep=1, dry_run=False, settings=own)
    (own.cache_dir / "futures_BTCUSDT_2025-02.csv").unlink()
    report = ares.to_parquet(dataset, settings=own)

    assert report
    assert actions(report) == {
        "klines_BTCUSDT_1h_2025-02.csv": "pruned",
        "futures_BTCUSDT_2025-02.csv": "stale",
    }
    assert report.rows == before.rows
    assert "1 pruned from the cache" in str(report)
    assert "deleted from the cache by prune_cache; the 672 rows stay here" in str(report)
