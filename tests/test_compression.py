"""Plain and compressed files in one cache: every reader reads both, and the rows do not tell them apart."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings

DAY = 1 / 365.25
END = "2025-04-01"
OLD = [
    "aggtrades_BTCUSDT_2025-03-30.csv",
    "futures_BTCUSDT_2025-02.csv",
    "klines_BTCUSDT_1h_2025-02.csv",
]
NEW = [
    "aggtrades_BTCUSDT_2025-03-31.csv",
    "futures_BTCUSDT_2025-03.csv",
    "klines_BTCUSDT_1h_2025-03.csv",
]
SERIES = [("klines", "1h"), ("agg_trades", None), ("futures", None)]
FORMS = [None, "zstd"]


def fill(settings: Settings, months: tuple[float, str], days: tuple[float, str]) -> bool:
    """Bring candles, funding and trades, the trades with a lookback of their own; whether all came."""
    (years, end), (few, last) = months, days
    work = (
        ares.download_klines_data("BTCUSDT", "1h", years, end=end, settings=settings),
        ares.download_futures_data("BTCUSDT", years, end=end, settings=settings),
        ares.download_agg_trades_data("BTCUSDT", few, end=last, settings=settings),
    )
    return all(ares.run(each).complete for each in work)


def fill_all(settings: Settings) -> bool:
    """Bring both periods of each dataset."""
    return fill(settings, (0.1, END), (2 * DAY, END))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DemoExchange, Path]]:
    """An exchange; a plain cache, and one whose later files are compressed and whose earlier are not."""
    folder = tmp_path_factory.mktemp("filled")
    with DemoExchange(trades_per_day=2_000) as exchange:
        assert fill_all(exchange.settings(cache_dir=folder / "plain", progress=False))
        mixed = exchange.settings(cache_dir=folder / "mixed", progress=False)
        assert fill(mixed, (20 * DAY, "2025-03-01"), (DAY, "2025-03-31"))
        assert fill_all(mixed.replace(compression="zstd"))
        yield exchange, folder


@pytest.fixture
def caches(filled: tuple[DemoExchange, Path], tmp_path: Path) -> tuple[Settings, Settings]:
    """Settings of a copy of the plain and of the mixed cache, whose receipts hold."""
    exchange, folder = filled
    shutil.copytree(folder, tmp_path / "copy")
    exchange.requests.clear()
    return tuple(
        exchange.settings(cache_dir=tmp_path / "copy" / name, progress=False)
        for name in ("plain", "mixed")
    )


def names(settings: Settings) -> list[str]:
    """The cache files that are there, as they are called on disk."""
    return sorted(path.name for path in settings.cache_dir.glob("*.csv*"))


def test_a_cache_may_hold_both_forms(caches):
    """What is there stays in its form when another is wanted; what is new has the new one."""
    plain, mixed = caches

    assert names(plain) == sorted([*OLD, *NEW])
    assert names(mixed) == sorted([*OLD, *(f"{name}.zst" for name in NEW)])


@pytest.mark.parametrize("receipts", [True, False], ids=["receipts", "no receipts"])
def test_coverage_and_gaps_are_the_same(caches, receipts):
    """Both tables tell the same of both caches, from receipts and from the rows alone."""
    if not receipts:
        for settings in caches:
            shutil.rmtree(settings.cache_dir / ".ares" / "receipts")
    plain, mixed = (ares.coverage(settings=each) for each in caches)
    known = [each for each in plain if each != "source"]
    gaps = [ares.find_gaps("BTCUSDT", settings=each).drop(columns="note") for each in caches]

    assert plain[known].equals(mixed[known])
    assert len(plain) == 6
    assert gaps[0].equals(gaps[1])
    assert len(gaps[0]) > 0


def test_loads_are_the_same(caches):
    """Frames over the seam between a plain and a compressed file hold the same rows, and are complete."""
    for load in (
        lambda own: ares.load_klines("BTCUSDT", "1h", settings=own),
        lambda own: ares.load_agg_trades("BTCUSDT", settings=own),
        lambda own: ares.load_futures("BTCUSDT", settings=own),
    ):
        plain, mixed = map(load, caches)
        assert plain.equals(mixed)
        assert plain.attrs["complete"] == mixed.attrs["complete"]
        assert plain.attrs["missing"] == mixed.attrs["missing"]
        assert len(plain) > 0


@pytest.mark.parametrize(("dataset", "interval"), SERIES)
def test_the_fingerprint_is_the_same(caches, tmp_path, dataset, interval):
    """One fingerprint for both caches, and that saved of the one verifies the other."""
    plain, mixed = (
        ares.fingerprint("BTCUSDT", interval, dataset=dataset, settings=each) for each in caches
    )
    saved = plain.save(tmp_path / "data.json")

    assert plain == mixed
    assert len(plain.parts) == 2
    assert ares.verify_fingerprint(saved, settings=caches[1])


def test_a_changed_digit_in_a_compressed_file_is_found(caches, tmp_path):
    """A compressed file with another digit has another fingerprint, and is no longer what its receipt says."""
    plain, mixed = caches
    saved = ares.fingerprint("BTCUSDT", "1h", settings=mixed).save(tmp_path / "data.json")
    target = mixed.cache_dir / f"{NEW[2]}.zst"
    text = (plain.cache_dir / NEW[2]).read_bytes()
    digit = text.rindex(b".") + 1
    pack(target, text[:digit] + (b"1" if text[digit:][:1] != b"1" else b"2") + text[digit + 1 :])

    assert not ares.verify_fingerprint(saved, settings=mixed)
    found = {each.check for each in ares.validate_cache(settings=mixed).errors}
    assert "bytes" in found


def pack(path: Path, text: bytes) -> None:
    """Write text as zstd."""
    with pa.output_stream(str(path), compression="zstd") as stream:
        stream.write(text)


def test_validation_reads_both(caches):
    """Every row of both caches is checked and added up, and both are sound."""
    plain, mixed = (ares.validate_cache(settings=each) for each in caches)

    assert plain.ok
    assert mixed.ok
    assert (plain.files, plain.rows) == (mixed.files, mixed.rows)
    assert plain.findings == mixed.findings
    assert plain.reconciliation.equals(mixed.reconciliation)
    assert plain.fingerprints == mixed.fingerprints


async def test_an_audit_reads_both(caches):
    """Both forms are compared with the exchange, and are as upstream."""
    report = await ares.audit_cache("BTCUSDT", settings=caches[1])

    assert report
    assert str(report).startswith("as upstream: 6 files")


@pytest.mark.parametrize("form", FORMS)
def test_a_download_skips_both(filled, caches, form):
    """Whichever form is wanted, what is there in either is not asked for again, nor rewritten."""
    exchange, _ = filled
    own = caches[1].replace(compression=form)
    before = {path: path.stat().st_mtime_ns for path in own.cache_dir.glob("*.csv*")}
    exchange.requests.clear()

    assert fill_all(own)
    assert exchange.requests == []
    assert {path: path.stat().st_mtime_ns for path in own.cache_dir.glob("*.csv*")} == before


@pytest.mark.parametrize("form", FORMS)
async def test_a_repair_closes_gaps_in_both(caches, form):
    """A compressed file that is broken and a plain one that is gone come back with the same rows."""
    plain, mixed = caches
    own = mixed.replace(compression=form)
    (own.cache_dir / OLD[2]).unlink()
    (own.cache_dir / f"{NEW[2]}.zst").write_bytes(b"no zstd")
    report = await ares.repair_gaps("BTCUSDT", "1h", settings=own)
    end = ".zst" if form else ""

    assert report.complete
    assert [name for name in names(own) if "klines" in name] == [f"{OLD[2]}{end}", f"{NEW[2]}{end}"]
    assert ares.fingerprint("BTCUSDT", "1h", settings=own) == ares.fingerprint(
        "BTCUSDT", "1h", settings=plain
    )


def test_a_pruning_counts_and_deletes_both(caches):
    """Compressed files count what they are on disk, and go with their receipts as plain ones do."""
    _, mixed = caches
    sizes = {path.name: path.stat().st_size for path in mixed.cache_dir.glob("*.csv*")}
    new = sum(sizes[f"{name}.zst"] for name in NEW)
    half = ares.prune_cache(max_bytes=sizes[f"{NEW[2]}.zst"], settings=mixed)
    report = ares.prune_cache(max_bytes=0, dry_run=False, settings=mixed)

    assert {each.file: each.bytes for each in half.items} == {
        name.removesuffix(".zst"): size for name, size in sizes.items()
    }
    assert sum(each.bytes for each in report.gone if each.file in NEW) == new
    assert names(mixed) == []
    assert list((mixed.cache_dir / ".ares" / "receipts").iterdir()) == []
