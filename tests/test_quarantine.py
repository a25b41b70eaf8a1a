"""Damaged files: found, put aside with a note, used as far as they are good, replaced."""

from __future__ import annotations

import json
import os
import shutil

import pytest

import ares_notebook as ares
from ares_notebook import Settings
from ares_notebook.cache.market_guard import refuse_another
from ares_notebook.cache.store import Store
from ares_notebook.model.files import parse_file_name

DAY = 1 / 365.25
CANDLES = "klines_BTCUSDT_1h_2025-02.csv"
TRADES = "aggtrades_BTCUSDT_2025-03-01.csv"
FUNDING = "futures_BTCUSDT_2025-02.csv"
CUTS = {
    CANDLES: ("klines", 0.05, "2025-03-01"),
    TRADES: ("agg_trades", DAY, "2025-03-02"),
    FUNDING: ("futures", 0.05, "2025-03-01"),
}


async def filled(settings: Settings, name: str) -> bytes:
    """A cache that holds the file, and its bytes."""
    dataset, years, end = CUTS[name]
    await ares.download_all_data(
        "BTCUSDT", "1h", years, end=end, settings=settings, datasets=(dataset,)
    )
    return (settings.cache_dir / name).read_bytes()


def kept(settings: Settings) -> list[str]:
    """What is in the quarantine, in order of names."""
    return sorted(path.name for path in settings.cache_dir.glob(".ares/quarantine/*"))


def cut_line(text: bytes) -> bytes:
    """The last line ends in its middle."""
    return text[:-9]


def rubbish(text: bytes) -> bytes:
    """Bytes of no text in the middle."""
    middle = len(text) // 2
    return text[:middle] + bytes(range(128, 256)) + b"\0\0\n" + text[middle:]


def wrong_header(text: bytes) -> bytes:
    """The names of another table."""
    return b"a,b,c" + text[text.index(b"\n") :]


def doubled(text: bytes) -> bytes:
    """One line twice."""
    lines = text.splitlines(keepends=True)
    return b"".join([*lines[:20], lines[19], *lines[20:]])


def unsorted(text: bytes) -> bytes:
    """Two lines in the wrong order."""
    lines = text.splitlines(keepends=True)
    lines[10], lines[20] = lines[20], lines[10]
    return b"".join(lines)


def a_word(text: bytes) -> bytes:
    """A number that is a word."""
    lines = text.splitlines(keepends=True)
    cells = lines[10].rstrip(b"\n").split(b",")
    cells[1] = b"none"
    lines[10] = b",".join(cells) + b"\n"
    return b"".join(lines)


def other_line_ends(text: bytes) -> bytes:
    """Lines that end as on Windows."""
    return text.replace(b"\n", b"\r\n")


EVERY = ("klines", "agg_trades", "futures")
DAMAGES = [other_line_ends, cut_line, rubbish, wrong_header, doubled, unsorted, a_word]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", CUTS)
async def test_damage_is_found_put_aside_and_made_good(settings, name, damage):
    """Whatever is wrong with a file: it goes to quarantine with a note, and a whole one replaces it."""
    whole = await filled(settings, name)
    path = settings.cache_dir / name
    spoiled = damage(whole)
    path.write_bytes(spoiled)
    entry = Store(settings).entry(parse_file_name(name))
    report = await ares.repair_gaps("BTCUSDT", settings=settings, datasets=EVERY)

    moved, note = kept(settings)
    quarantine = settings.cache_dir / ".ares/quarantine"
    assert entry.problem
    assert path.read_bytes() == whole
    assert report.complete
    assert (quarantine / moved).read_bytes() == spoiled
    assert json.loads((quarantine / note).read_text())["why"] == entry.problem
    assert moved.startswith(f"{name}.")


@pytest.mark.parametrize("name", [CANDLES, TRADES])
@pytest.mark.parametrize("factor", [30, 0.02])
async def test_prices_of_another_symbol_are_found(settings, name, factor):
    """Rows whose prices are of another scale, which nobody vouches for, are put aside."""
    whole = await filled(settings, name)
    path = settings.cache_dir / name
    lines = whole.decode().splitlines(keepends=True)
    for at in range(50, 80):
        cells = lines[at].split(",")
        for column in range(1, 5 if name == CANDLES else 2):
            cells[column] = f"{float(cells[column]) * factor:.8f}"
        lines[at] = ",".join(cells)
    path.write_text("".join(lines))
    problem = Store(settings).entry(parse_file_name(name)).problem
    report = await ares.repair_gaps("BTCUSDT", settings=settings, datasets=EVERY)

    assert "another scale" in problem
    assert report.complete
    assert path.read_bytes() == whole


async def test_a_truncated_file_is_completed(settings):
    """A file that ends at the end of a line too early is no damage: what lacks is brought."""
    whole = await filled(settings, CANDLES)
    path = settings.cache_dir / CANDLES
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:300]))
    await ares.download_klines_data("BTCUSDT", "1h", 0.05, end="2025-03-01", settings=settings)

    assert path.read_bytes() == whole
    assert kept(settings) == []


async def test_what_is_good_stays_until_a_whole_file_has_come(exchange, settings):
    """While the exchange is out of reach the good rows are there, and the gap says quarantined."""
    whole = await filled(settings, CANDLES)
    path = settings.cache_dir / CANDLES
    path.write_bytes(cut_line(whole))
    exchange.fail(".", times=None, status=503)
    hasty = settings.replace(max_retries=0)
    report = await ares.repair_gaps("BTCUSDT", settings=hasty)
    left = path.read_bytes()
    table = ares.find_gaps("BTCUSDT", settings=settings)
    exchange.faults.clear()
    good = await ares.repair_gaps("BTCUSDT", settings=settings)

    assert not report
    assert left == b"".join(whole.splitlines(keepends=True)[:-1])
    assert table["reason"].tolist() == ["corrupt, quarantined"]
    assert table["missing"].tolist() == [1]
    assert ".ares/quarantine" in table.loc[0, "note"]
    assert "503" in table.loc[0, "note"]
    assert good.complete
    assert path.read_bytes() == whole
    assert len(kept(settings)) == 2


async def test_a_file_of_which_nothing_can_be_read_leaves_none(exchange, settings):
    """A file that is rubbish altogether is moved away, and its whole period is the gap."""
    await filled(settings, CANDLES)
    path = settings.cache_dir / CANDLES
    path.write_bytes(os.urandom(4096))
    exchange.fail(".", times=None, status=503)
    await ares.repair_gaps("BTCUSDT", settings=settings.replace(max_retries=0))
    table = ares.find_gaps("BTCUSDT", settings=settings)

    assert not path.exists()
    assert table["missing"].tolist() == [672]
    assert table["reason"].tolist() == ["corrupt, quarantined"]


async def test_broken_compression_is_put_aside(settings):
    """A compressed file that cannot be unpacked is put aside and replaced as well."""
    own = settings.replace(compression="zstd")
    await ares.download_klines_data("BTCUSDT", "1h", 0.05, end="2025-03-01", settings=own)
    path = own.cache_dir / f"{CANDLES}.zst"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    report = await ares.repair_gaps("BTCUSDT", settings=own)

    assert report.complete
    assert path.read_bytes() == whole
    assert len(kept(own)) == 2


async def test_a_copied_cache_is_not_put_aside(settings):
    """A cache that was copied, with other times and the same bytes, is believed."""
    await filled(settings, CANDLES)
    other = settings.cache_dir.with_name("copy")
    shutil.copytree(settings.cache_dir, other)
    os.utime(other / CANDLES, (1, 1))
    own = settings.replace(cache_dir=other)

    assert Store(own).entry(parse_file_name(CANDLES)).has_provenance
    assert ares.find_gaps("BTCUSDT", settings=own).empty


@pytest.mark.parametrize("name", CUTS)
async def test_a_digit_that_was_changed_in_a_final_file_is_set_right(settings, name):
    """A final file whose bytes are others now is replaced, though it lacks nothing, and says so."""
    whole = await filled(settings, name)
    path = settings.cache_dir / name
    lines = whole.decode().splitlines(keepends=True)
    cells = lines[20].rstrip("\n").split(",")
    cells[1] = cells[1][:-1] + ("1" if cells[1][-1] != "1" else "2")
    lines[20] = ",".join(cells) + "\n"
    path.write_text("".join(lines))
    report = await ares.repair_gaps("BTCUSDT", settings=settings, datasets=EVERY)

    assert path.read_bytes() == whole
    assert [step.reason for step in report.steps if step.action != "skip"] == [
        "its bytes are not those of its receipt; replaced by a whole one"
    ]


async def test_a_changed_digit_beside_a_gap_is_set_right_too(settings):
    """Where rows were cut out and a digit changed, the file is as it was after one run."""
    whole = await filled(settings, CANDLES)
    path = settings.cache_dir / CANDLES
    lines = whole.decode().splitlines(keepends=True)
    cells = lines[20].split(",")
    cells[5] = f"1{cells[5]}"
    path.write_text("".join([*lines[:20], ",".join(cells), *lines[21:50], *lines[60:]]))
    report = await ares.repair_gaps("BTCUSDT", settings=settings)

    assert report.complete
    assert path.read_bytes() == whole


async def test_a_changed_file_stays_while_the_exchange_is_out_of_reach(exchange, settings):
    """What was changed is not thrown away before a whole file is there."""
    whole = await filled(settings, CANDLES)
    path = settings.cache_dir / CANDLES
    changed = whole.replace(b"2025-02-10 05:00:00,", b"2025-02-10 05:00:00,1")
    path.write_bytes(changed)
    exchange.fail(".", times=None, status=503)
    report = await ares.repair_gaps("BTCUSDT", settings=settings.replace(max_retries=0))

    assert not report
    assert path.read_bytes() == changed


async def test_a_stamp_that_was_moved_is_set_right(settings):
    """A funding event that was moved to where none can be does not stand in the way of the true one."""
    whole = await filled(settings, FUNDING)
    path = settings.cache_dir / FUNDING
    for hour in ("08", "16"):
        path.write_bytes(whole.replace(f"2025-02-03 {hour}:".encode(), b"2025-02-03 17:"))
        await ares.repair_gaps("BTCUSDT", settings=settings)

        assert path.read_bytes() == whole


async def test_an_event_that_was_moved_onto_another_is_set_right(settings):
    """A funding event whose stamp was moved into the hour of another one is put aside with its file."""
    whole = await filled(settings, FUNDING)
    path = settings.cache_dir / FUNDING
    moved = whole.replace(b"2025-02-03 08:", b"2025-02-04 08:")
    path.write_bytes(moved)
    report = await ares.repair_gaps("BTCUSDT", settings=settings)

    assert report.complete
    assert path.read_bytes() == whole
    assert len(kept(settings)) == 2


async def test_a_file_that_goes_while_the_market_is_looked_up_stops_nobody(settings):
    """A file that another step has put aside since the folder was listed decides no market."""
    await filled(settings, CANDLES)
    shutil.rmtree(settings.cache_dir / ".ares")
    paths = [settings.cache_dir / name for name in ("klines_BTCUSDT_1h_2025-01.csv", CANDLES)]
    listed = [(parse_file_name(path.name), path) for path in paths]

    assert not paths[0].exists()
    refuse_another(settings.cache_dir, "demo", listed)


async def test_an_empty_file_does_not_make_a_cache_binance_s(settings):
    """Without a note whose it is, a cache is the original downloader's only if none of its files is ours."""
    for end in ("2025-02-01", "2025-03-01"):
        await ares.download_klines_data("BTCUSDT", "1h", 0.05, end=end, settings=settings)
    shutil.rmtree(settings.cache_dir / ".ares")
    first = min(settings.cache_dir.glob("*.csv"))
    whole = first.read_bytes()
    first.write_bytes(b"")
    report = await ares.repair_gaps("BTCUSDT", settings=settings)

    assert report.complete
    assert first.read_bytes() == whole
