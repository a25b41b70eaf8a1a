"""The audit: what is cached against what the exchange says today."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.errors import NeverDownloaded, WrongMarket

DAY = 1 / 365.25
NAME = "klines_BTCUSDT_1h_2025-02.csv"


async def filled(settings: Settings, **changes: object) -> Settings:
    """A cache of two months of candles; its settings."""
    own = settings.replace(**changes)
    await ares.download_klines_data("BTCUSDT", "1h", 0.1, end="2025-03-01", settings=own)
    return own


def verdicts(report) -> list[str]:
    """The verdict on each file."""
    return [each.verdict for each in report.files]


def asked(exchange: DemoExchange) -> list[str]:
    """The names of what was asked for."""
    return [request.path.rpartition("/")[2] for request in exchange.requests]


@pytest.fixture
async def spoilt(exchange: DemoExchange, settings: Settings, publish_anew) -> Settings:
    """A cache whose month the exchange has replaced since: one volume is another."""
    own = await filled(settings)
    rows = (own.cache_dir / NAME).read_text().splitlines()[1:]
    text = ""
    for row in rows:
        stamp, *cells = row.split(",")
        start = int(pd.Timestamp(stamp, tz="UTC").value // 1000)
        parts = [*cells[:5], str(start + 3_600_000_000 - 1), *cells[5:], "0"]
        text += ",".join([str(start), *parts]) + "\n"
    volume = rows[30].split(",")[5]
    assert text.count(volume) == 1
    publish_anew("BTCUSDT-1h-2025-02", text.replace(volume, "123.45600000"))
    exchange.requests.clear()
    return own


async def test_an_unchanged_cache_costs_one_checksum_a_file(exchange, settings):
    """Where the checksums are the same no zip is fetched."""
    own = await filled(settings)
    exchange.requests.clear()
    report = await ares.audit_cache(settings=own)

    assert report
    assert verdicts(report) == ["unchanged", "unchanged"]
    assert sorted(asked(exchange)) == [
        "BTCUSDT-1h-2025-01.zip.CHECKSUM",
        "BTCUSDT-1h-2025-02.zip.CHECKSUM",
    ]
    assert report.requests == 2


async def test_a_replaced_archive_is_shown_row_by_row(spoilt):
    """The one cell that Binance has changed is told, with both values, and nothing else."""
    report = await ares.audit_cache(settings=spoilt)
    [row] = report.differences.to_dict("records")

    assert not report
    assert verdicts(report) == ["unchanged", "differs"]
    assert (row["file"], row["row"], row["kind"], row["column"], row["upstream"]) == (
        NAME,
        "2025-02-02 06:00:00",
        "changed",
        "volume",
        "123.45600000",
    )
    assert "123.45600000" in str(report)


async def test_audit_alone_changes_nothing(spoilt):
    """Without update the cache is byte for byte what it was."""
    before = (spoilt.cache_dir / NAME).read_bytes()
    await ares.audit_cache(settings=spoilt)

    assert (spoilt.cache_dir / NAME).read_bytes() == before
    assert list(spoilt.cache_dir.glob(".*.part")) == []


async def test_update_takes_the_new_bytes(spoilt):
    """With update the file is the one that a fresh download would bring, and the next audit is clean."""
    report = await ares.audit_cache(settings=spoilt, update=True)
    fresh = await filled(spoilt, cache_dir=spoilt.cache_dir.with_name("fresh"))
    again = await ares.audit_cache(settings=spoilt)

    assert verdicts(report) == ["unchanged", "replaced"]
    assert (spoilt.cache_dir / NAME).read_bytes() == (fresh.cache_dir / NAME).read_bytes()
    assert b"123.45600000" in (spoilt.cache_dir / NAME).read_bytes()
    assert verdicts(again) == ["unchanged", "unchanged"]


async def test_an_update_that_fails_leaves_the_old_file(exchange, spoilt):
    """A new version that cannot be had whole does not replace the old one."""
    before = (spoilt.cache_dir / NAME).read_bytes()
    # The audit reads the zip once; when the update asks for it the exchange is gone.
    exchange.fail("2025-02.zip$", skip=1, times=None, status=503)
    exchange.fail("/api/|BTCUSDT-1h-2025-02-", times=None, status=503)
    exchange.faults.reverse()
    own = spoilt.replace(max_retries=0)
    report = await ares.audit_cache(settings=own, update=True)

    assert verdicts(report) == ["unchanged", "not replaced"]
    assert "503" in report.files[1].note
    assert (spoilt.cache_dir / NAME).read_bytes() == before


async def test_rows_of_rest_are_compared_with_the_archive_of_today(settings):
    """A file that came over REST is compared with the archive, now that there is one."""
    own = await filled(settings, source="rest")
    report = await ares.audit_cache(settings=own.replace(source="auto"))

    assert verdicts(report) == ["same rows", "same rows"]
    assert {each.road for each in report.files} == {"monthly archive"}


@pytest.mark.parametrize("source", ["auto", "rest"])
async def test_every_dataset_is_audited(settings, source):
    """Candles, trades and funding are what the exchange says, over both sources."""
    await ares.download_all_data("BTCUSDT", "1h", DAY, end="2025-03-02", settings=settings)
    own = settings.replace(source=source)
    report = await ares.audit_cache(settings=own)

    assert report
    assert len(report.files) == 3


async def test_what_is_not_published_any_more_is_said(exchange, settings):
    """An archive that is gone leaves nothing to compare with, and that is no failure."""
    own = await filled(settings, source="archive")
    exchange.withhold("1h-2025-02")
    report = await ares.audit_cache(settings=own)

    assert verdicts(report) == ["unchanged", "nothing to compare with"]
    assert report


async def test_a_request_that_fails_concerns_its_file_alone(exchange, settings):
    """One file that cannot be audited is told with the error, and the others are audited."""
    own = await filled(settings, max_retries=0)
    exchange.fail("2025-01.zip.CHECKSUM", times=None, status=503)
    report = await ares.audit_cache(settings=own)

    assert not report
    assert verdicts(report) == ["failed", "unchanged"]
    assert "503" in report.to_frame().loc[0, "note"]


async def test_a_damaged_file_cannot_be_read(settings):
    """A file that is damaged is told as such, and is not compared."""
    own = await filled(settings)
    path = own.cache_dir / NAME
    path.write_bytes(path.read_bytes()[:-5])
    report = await ares.audit_cache(settings=own)

    assert verdicts(report) == ["unchanged", "cannot be read"]


async def test_nothing_to_audit_is_said(settings):
    """No cache, and a symbol that was never downloaded, are sentences."""
    with pytest.raises(NeverDownloaded, match="no cache folder"):
        await ares.audit_cache(settings=settings)
    own = await filled(settings)
    with pytest.raises(NeverDownloaded, match="ETHUSDT"):
        await ares.audit_cache("ETHUSDT", settings=own)


@pytest.fixture
def torn(recorded: Path, tmp_path: Path) -> Iterator[DemoExchange]:
    """A replay of ETHUSDT in which daily archives disagree with the month in two hours."""
    folder = tmp_path / "replay"
    month = folder / "klines/spot/ETHUSDT/1h"
    month.mkdir(parents=True)
    source = recorded / "klines/spot/ETHUSDT/1h/ETHUSDT-1h-2021-12.csv"
    text = source.read_text()
    (month / source.name).write_text(text)
    days = folder / "data/spot/daily/klines/ETHUSDT/1h"
    days.mkdir(parents=True)
    for day, hour in (("2021-12-24", 3), ("2021-12-27", 7)):
        lines = of_day(text, day)
        cells = lines[hour].split(",")
        cells[5] = "1.00000000"
        lines[hour] = ",".join(cells)
        with zipfile.ZipFile(days / f"ETHUSDT-1h-{day}.zip", "w") as archive:
            archive.writestr(f"ETHUSDT-1h-{day}.csv", "".join(lines))
    with DemoExchange(replay=folder) as replay:
        yield replay


def of_day(text: str, day: str) -> list[str]:
    """The lines of one day of a month's hours."""
    at = (int(day[-2:]) - 1) * 24
    return text.splitlines(keepends=True)[at : at + 24]


async def test_the_hours_in_which_archive_and_rest_disagree_are_found(torn, tmp_path):
    """On real candles just the two hours are found in which REST has another volume than the month."""
    own = torn.settings(cache_dir=tmp_path / "cache", retry_delay_seconds=0, progress=False)
    await ares.download_klines_data("ETHUSDT", "1h", 0.05, end="2022-01-01", settings=own)
    quiet = await ares.audit_cache(settings=own)
    report = await ares.audit_cache(settings=own.replace(source="rest"))

    assert verdicts(quiet) == ["unchanged"]
    assert report.differences["row"].tolist() == ["2021-12-24 03:00:00", "2021-12-27 07:00:00"]
    assert set(report.differences["column"]) == {"volume"}


async def test_55_recorded_months_are_as_upstream(recorded, tmp_path):
    """Binance's own 55 months are unchanged, for one request each."""
    with DemoExchange(replay=recorded) as replay:
        own = replay.settings(cache_dir=tmp_path / "cache", retry_delay_seconds=0, progress=False)
        await ares.download_klines_data("BTCUSDT", "1h", 4.5, end="2022-03-01", settings=own)
        report = await ares.audit_cache(settings=own)

    assert set(verdicts(report)) == {"unchanged"}
    assert report.requests == len(report.files) == 55


async def test_an_update_does_not_mix_markets(spoilt):
    """What another market has filled is not replaced."""
    other = spoilt.replace(market="other")

    with pytest.raises(WrongMarket):
        await ares.audit_cache(settings=other, update=True)
