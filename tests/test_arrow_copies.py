"""Arrow copies: the values of the files, faster; never authority."""

from __future__ import annotations

import multiprocessing
import os
import shutil

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.errors import CorruptFile
from ares_notebook.load import IncompleteData
from ares_notebook.model.datasets import DATASETS

END = "2025-03-02"
DAY = 1 / 365.25


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Settings of a cache with a file of each dataset, without copies."""
    folder = tmp_path_factory.mktemp("copies")
    with DemoExchange(trades_per_day=5_000, weight_limit=10**6) as exchange:
        settings = exchange.settings(cache_dir=folder / "cache", progress=False)
        for dataset in DATASETS:
            ares.run(
                ares.download_all_data(
                    dataset.markets[-1].example,
                    "1h",
                    2 * DAY,
                    end=END,
                    datasets=[dataset.name],
                    settings=settings,
                )
            )
        yield settings


@pytest.fixture
def settings(cache, tmp_path):
    """A copy of that cache."""
    shutil.copytree(cache.cache_dir, tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache/.ares/arrow", ignore_errors=True)
    return cache.replace(cache_dir=tmp_path / "cache")


def copies(settings):
    return sorted(path.name for path in settings.cache_dir.glob(".ares/arrow/*"))


def plain(settings):
    """The same cache, of which only the CSV files are read."""
    return settings.replace(arrow_copies="off")


def trades(settings, *window, **options):
    return ares.load_agg_trades("BTCUSDT", *window, settings=settings, **options)


@pytest.mark.parametrize("how", ["plain", "lz4"])
@pytest.mark.parametrize("dataset", DATASETS, ids=lambda each: each.name)
def test_a_copy_has_the_values_of_the_file(settings, dataset, how):
    """The load that makes a copy, and the one that reads it, give bit for bit what the CSV gives."""
    own = settings.replace(arrow_copies=how)
    symbol = dataset.markets[-1].example
    first, second, csv = (
        ares.load_rows(dataset.name, symbol, "1h", settings=each)
        for each in (own, own, plain(settings))
    )

    assert copies(own)
    pd.testing.assert_frame_equal(first, csv, check_exact=True)
    pd.testing.assert_frame_equal(second, csv, check_exact=True)
    assert first.attrs == second.attrs == csv.attrs


@pytest.mark.parametrize(
    "window",
    [
        ("2025-02-28T10:00", "2025-02-28T11:30"),
        ("2025-02-28T23:59:59", "2025-03-01T00:00:01"),
        ("2025-03-01T23:00", None),
    ],
)
def test_a_window_of_a_copy_is_that_of_the_file(settings, window):
    """A window of some columns is the same from copies and from files."""
    trades(settings)
    names = ["is_buyer_maker", "price"]

    pd.testing.assert_frame_equal(
        trades(settings, *window, columns=names),
        trades(plain(settings), *window, columns=names),
        check_exact=True,
    )


def test_a_small_window_makes_no_copy(settings):
    """Of a file of which a part is wanted only that part is read, and no copy is made."""
    trades(settings, "2025-02-28T10:00", "2025-02-28T11:30")

    assert copies(settings) == []


def test_off_makes_none(settings):
    """Where copies are off, none is made and none is read."""
    trades(settings)
    for path in settings.cache_dir.glob(".ares/arrow/*"):
        path.write_bytes(b"")
    shutil.rmtree(settings.cache_dir / ".ares/arrow")
    trades(plain(settings))

    assert copies(settings) == []


def test_decimals_come_from_the_file(settings):
    """Decimals have the digits of the file, whatever a copy has."""
    trades(settings)
    exact = trades(settings, decimal=True)

    pd.testing.assert_frame_equal(exact, trades(plain(settings), decimal=True), check_exact=True)


@pytest.mark.parametrize("dataset", ["klines", "agg_trades", "metrics"])
def test_every_changed_byte_is_found_or_changes_nothing(settings, dataset):
    """With any byte of a copy flipped, and with any end cut off, the values are those of the file."""
    window = ("2025-03-01T00:00", "2025-03-01T02:00")
    whole = ares.load_rows(dataset, "BTCUSDT", "1h", settings=settings)
    wanted = whole.loc[window[0] : window[1]]
    name = next(each for each in copies(settings) if "2025-03" in each)
    path = settings.cache_dir / ".ares/arrow" / name
    good = path.read_bytes()
    small = range(0, len(good), max(1, len(good) // 100))
    ends = [*range(0, 600, 7), *range(len(good) - 2_000, len(good), 7)]
    for at in sorted({*small, *(each for each in ends if 0 <= each < len(good))}):
        path.write_bytes(good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :])
        frame = ares.load_rows(dataset, "BTCUSDT", "1h", "2025-03-01", settings=settings)

        pd.testing.assert_frame_equal(frame.loc[: window[1]], wanted, check_exact=True)
    for size in (0, 1, 7, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        frame = ares.load_rows(dataset, "BTCUSDT", "1h", settings=settings)

        pd.testing.assert_frame_equal(frame, whole, check_exact=True)


def test_a_copy_that_changes_after_it_was_read_is_compared_again(settings, monkeypatch):
    """A copy that was sound when it was read, and is damaged since without a new size or time, is found."""
    # A copy that is older than the tick need not be compared twice.
    monkeypatch.setattr("ares_notebook.cache.arrow_copies.TICK_NS", 0)
    whole = trades(settings)
    trades(settings)
    for path in settings.cache_dir.glob(".ares/arrow/*"):
        good, status = path.read_bytes(), path.stat()
        at = len(good) // 2
        while path.stat().st_ctime_ns == status.st_ctime_ns:
            path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    pd.testing.assert_frame_equal(trades(settings), whole, check_exact=True)


@pytest.mark.parametrize("is_in_time", [True, False])
def test_a_copy_of_another_version_is_not_used(settings, is_in_time):
    """The copy of a file as it was is not used for the file as it is, also if that has the old time."""
    earlier = settings.cache_dir / "aggtrades_BTCUSDT_2025-02-28.csv"
    trades(settings)
    before, status = copies(settings), earlier.stat()
    lines = earlier.read_bytes().splitlines(keepends=True)
    earlier.write_bytes(b"".join(lines[:-100]))
    if is_in_time:
        os.utime(earlier, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.warns(IncompleteData):
        frame = trades(settings)

    assert copies(settings) == before
    assert not frame.attrs["complete"]
    with pytest.warns(IncompleteData):
        pd.testing.assert_frame_equal(frame, trades(plain(settings)), check_exact=True)


def test_a_file_that_was_altered_in_secret_makes_no_copy(settings):
    """A file whose bytes are not those of its receipt, though size and time agree, is refused."""
    path = settings.cache_dir / "aggtrades_BTCUSDT_2025-03-01.csv"
    text, status = path.read_bytes(), path.stat()
    lines = text.splitlines(keepends=True)
    cells = lines[50].split(b",")
    cells[1] = cells[1].translate(bytes.maketrans(b"0123456789", b"1234567890"))
    path.write_bytes(b"".join([*lines[:50], b",".join(cells), *lines[51:]]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CorruptFile, match="not those of its receipt"):
        trades(settings)

    assert copies(settings) == [f"{path.name.replace('03-01', '02-28')}.arrow"]


def _download(settings, **changes):
    """Download two days of trades and two months of candles into an empty cache."""
    for path in settings.cache_dir.glob("*.csv*"):
        path.unlink()
    shutil.rmtree(settings.cache_dir / ".ares/receipts", ignore_errors=True)
    with DemoExchange(trades_per_day=5_000) as exchange:
        fields = {"arrow_copies_at": "download", **changes}
        own = exchange.settings(cache_dir=settings.cache_dir, progress=False, **fields)
        for names, years in ((["agg_trades"], 2 * DAY), (["klines"], 0.1)):
            work = ares.download_all_data(
                "BTCUSDT", "1h", years, end=END, datasets=names, settings=own
            )
            assert ares.run(work).complete
    return own


@pytest.mark.parametrize("how", [{}, {"arrow_copies": "lz4"}, {"compression": "zstd"}])
def test_a_download_makes_copies_by_choice(settings, how):
    """With ``arrow_copies_at="download"`` each file that is written has its copy, which loads then use."""
    own = _download(settings, **how)
    files = [path.name for path in settings.cache_dir.glob("*.csv*")]
    made = {path: path.stat().st_mtime_ns for path in settings.cache_dir.glob(".ares/arrow/*")}
    frame = trades(own)

    assert copies(own) == sorted(f"{name}.arrow" for name in files)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    pd.testing.assert_frame_equal(frame, trades(plain(own)), check_exact=True)


def test_off_makes_no_copies_at_download(settings):
    """Where copies are off, a download makes none either; and by default it makes none."""
    assert copies(_download(settings, arrow_copies="off")) == []
    assert copies(_download(settings, arrow_copies_at="load")) == []


def test_a_download_is_complete_without_its_copies(settings):
    """Where no copy can be written, the download is as without copies."""
    (settings.cache_dir / ".ares/arrow").write_text("in the way")
    own = _download(settings)

    assert trades(own).attrs["complete"]


def test_a_changed_file_gets_a_new_copy(settings):
    """After a file is replaced, the next load makes its copy anew."""
    trades(settings)
    path = settings.cache_dir / ".ares/arrow/aggtrades_BTCUSDT_2025-03-01.csv.arrow"
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    trades(settings)

    assert path.read_bytes() == whole


def _load(settings, count, barrier, found):
    barrier.wait(30)
    for _ in range(count):
        shutil.rmtree(settings.cache_dir / ".ares/arrow", ignore_errors=True)
        found.put(float(trades(settings)["price"].sum()))


def test_two_processes_may_write_one_copy(settings):
    """Two processes that make, read and delete the same copies get the right values each time."""
    wanted = float(trades(plain(settings))["price"].sum())
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(2), context.Queue()
    both = [context.Process(target=_load, args=(settings, 10, barrier, found)) for _ in range(2)]
    for each in both:
        each.start()
    values = [found.get(timeout=60) for _ in range(20)]
    for each in both:
        each.join(30)

    assert values == [wanted] * 20
    assert [each.exitcode for each in both] == [0, 0]


def test_a_cache_that_cannot_be_written_is_loaded(settings):
    """Where no copy can be written, the load is as without copies."""
    (settings.cache_dir / ".ares/arrow").write_text("in the way")

    pd.testing.assert_frame_equal(trades(settings), trades(plain(settings)), check_exact=True)
