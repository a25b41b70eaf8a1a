"""One sha256 for the same rows, and exactly what differs where they are not the same."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest

import ares_notebook as ares
from ares_notebook import Settings
from ares_notebook.errors import (
    BadArgument,
    CacheUnavailable,
    CorruptFile,
    NeverDownloaded,
    WrongMarket,
)
from ares_notebook.quality.fingerprint import Fingerprint

DAY = 1 / 365.25
CUTS = {
    "klines": ("klines", 0.1, "2025-03-01"),
    "agg_trades": ("agg_trades", 2 * DAY, "2025-03-03"),
    "futures": ("futures", 0.1, "2025-03-01"),
}


async def filled(settings: Settings, dataset: str, **changes: object) -> Settings:
    """A cache of one dataset; the settings that it was filled with."""
    own = settings.replace(**changes)
    name, years, end = CUTS[dataset]
    await ares.download_all_data("BTCUSDT", "1h", years, end=end, settings=own, datasets=(name,))
    return own


def made(settings: Settings, dataset: str) -> Fingerprint:
    """The fingerprint of all that is there of it."""
    interval = "1h" if dataset == "klines" else None
    return ares.fingerprint("BTCUSDT", interval, dataset=dataset, settings=settings)


@pytest.mark.parametrize("dataset", CUTS)
async def test_it_is_what_a_shell_would_say(settings, dataset):
    """The sha256 is that of the header once and then the lines of all files, oldest first."""
    own = await filled(settings, dataset)
    texts = [path.read_bytes() for path in sorted(own.cache_dir.glob("*.csv"))]
    header, lines = texts[0].split(b"\n", 1)[0] + b"\n", [text.split(b"\n", 1)[1] for text in texts]
    found = made(own, dataset)

    assert found.sha256 == hashlib.sha256(header + b"".join(lines)).hexdigest()
    assert [part.sha256 for part in found.parts] == [
        hashlib.sha256(text).hexdigest() for text in lines
    ]
    assert found.rows == sum(text.count(b"\n") for text in lines)
    assert found.complete


@pytest.mark.parametrize("dataset", CUTS)
async def test_the_road_and_the_compression_do_not_matter(settings, dataset):
    """Archive or REST, plain or compressed: the same rows have one fingerprint."""
    plain = await filled(settings, dataset)
    other = await filled(
        settings,
        dataset,
        cache_dir=settings.cache_dir.with_name("other"),
        source="rest",
        compression="zstd",
    )

    assert made(plain, dataset) == made(other, dataset)


async def test_a_window_has_its_own(settings):
    """A window is taken row by row, whatever files it lies in."""
    own = await filled(settings, "klines")
    window = ("2025-01-31T22:00", "2025-02-01T02:00")
    found = ares.fingerprint("BTCUSDT", "1h", *window, settings=own)

    assert found.rows == 4
    assert [(part.period, part.rows) for part in found.parts] == [("2025-01", 2), ("2025-02", 2)]
    assert list(found.parts[0].pieces) == ["2025-01-31"]


def test_a_zone_of_the_machine_does_not_matter(settings):
    """In New York the fingerprint is the same."""
    own = ares.run(filled(settings, "klines"))
    code = (
        "import ares_notebook as a; "
        f"s = a.Settings(cache_dir={str(own.cache_dir)!r}, market='demo'); "
        "print(a.fingerprint('BTCUSDT', '1h', '2025-02-01', '2025-03-01', settings=s).to_json())"
    )
    away = {**os.environ, "TZ": "America/New_York"}
    said = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], env=away, check=True, capture_output=True
    )

    here = ares.fingerprint("BTCUSDT", "1h", "2025-02-01", "2025-03-01", settings=own)
    assert json.loads(said.stdout) == json.loads(here.to_json())


async def test_what_is_saved_is_verified(settings, tmp_path):
    """A fingerprint that was saved is read back as it was, and the same cache is the same."""
    own = await filled(settings, "klines")
    path = made(own, "klines").save(tmp_path / "data.json")
    found = ares.verify_fingerprint(path, settings=own)

    assert Fingerprint.load(path) == made(own, "klines")
    assert found
    assert found.differences == ()
    assert "The same" in str(found)


@pytest.mark.parametrize("dataset", CUTS)
async def test_a_changed_digit_is_found_on_its_day(settings, tmp_path, dataset):
    """One digit of one row is told with the day, of trades the hour, that it lies in."""
    own = await filled(settings, dataset)
    saved = made(own, dataset).save(tmp_path / "data.json")
    path = max(own.cache_dir.glob("*.csv"))
    lines = path.read_text().splitlines(keepends=True)
    cells = lines[25].split(",")
    cells[1] = cells[1].rstrip()[:-1] + ("1" if cells[1].rstrip()[-1] != "1" else "2")
    lines[25] = ",".join(cells).rstrip() + "\n"
    path.write_text("".join(lines))
    found = ares.verify_fingerprint(saved, settings=own)

    stamp = cells[0]
    period = f"{stamp[:13]}:00" if dataset == "agg_trades" else stamp[:10]
    assert not found
    assert [(each.period, each.what) for each in found.differences] == [(period, "changed")]
    assert period in str(found)


async def test_missing_and_added_days_are_reported(settings, tmp_path):
    """Days that are gone, and a month that is new, are told as such."""
    own = await filled(settings, "klines")
    window = ("2025-01-01", "2025-03-01")
    saved = ares.fingerprint("BTCUSDT", "1h", *window, settings=own).save(tmp_path / "data.json")
    path = own.cache_dir / "klines_BTCUSDT_1h_2025-02.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("2025-02-03")))
    gone = ares.verify_fingerprint(saved, settings=own)
    path.unlink()
    month = ares.verify_fingerprint(saved, settings=own)

    assert gone.to_frame().to_numpy().tolist() == [["2025-02-03", "missing here"]]
    assert not gone.found.complete
    assert month.to_frame().to_numpy().tolist() == [["2025-02", "missing here"]]


async def test_another_market_is_reported(settings, tmp_path):
    """A fingerprint of Binance's data is not compared with a made-up market."""
    own = await filled(settings, "klines")
    path = made(own, "klines").save(tmp_path / "data.json")
    path.write_text(path.read_text().replace('"demo"', '"binance"'))

    with pytest.raises(WrongMarket, match="'binance'"):
        ares.verify_fingerprint(path, settings=own)


HOSTILE = [
    "",
    "[]",
    "null",
    "{}",
    '{"format": "ares-fingerprint 1"}',
    '{"format": "another", "parts": []}',
    "[" * 100_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_fingerprint_is_said(tmp_path, text):
    """A file that is no fingerprint is refused in a sentence, whatever it holds."""
    path = tmp_path / "data.json"
    path.write_text(text)

    with pytest.raises(CorruptFile, match="is no fingerprint"):
        Fingerprint.load(path)


@pytest.mark.parametrize(
    ("name", "value"), [("rows", "9"), ("sha256", 7), ("complete", 1), ("parts", 3)]
)
async def test_a_fingerprint_of_other_types_is_refused(settings, tmp_path, name, value):
    """Every field must be of its type."""
    own = await filled(settings, "futures")
    path = made(own, "futures").save(tmp_path / "data.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))

    with pytest.raises(CorruptFile, match="is no fingerprint"):
        Fingerprint.load(path)


async def test_nothing_has_no_fingerprint(settings):
    """No cache, no such symbol, no such window and a wrong name are refused in words."""
    with pytest.raises(NeverDownloaded):
        ares.fingerprint("BTCUSDT", "1h", settings=settings)
    own = await filled(settings, "klines")
    with pytest.raises(NeverDownloaded, match="ETHUSDT"):
        ares.fingerprint("ETHUSDT", "1h", settings=own)
    with pytest.raises(NeverDownloaded, match="no row"):
        ares.fingerprint("BTCUSDT", "1h", "2020-01-01", "2020-02-01", settings=own)
    with pytest.raises(BadArgument):
        ares.fingerprint("BTCUSDT", "1h", dataset="ticks", settings=own)


async def test_a_place_that_cannot_be_written_is_said(settings, tmp_path):
    """Saving into a folder that is not there fails with the path, and leaves nothing."""
    own = await filled(settings, "futures")

    with pytest.raises(CacheUnavailable, match="nowhere"):
        made(own, "futures").save(tmp_path / "nowhere" / "data.json")
    assert list(tmp_path.glob("**/*.part")) == []


def test_a_file_that_is_not_there_is_said(settings, tmp_path):
    """A path without a file is a wrong argument, and no cache that cannot be read."""
    with pytest.raises(BadArgument, match=r"there is no file .*nope\.json"):
        ares.verify_fingerprint(tmp_path / "nope.json", settings=settings)
