"""Days of trades whose own zips are not published: cut from the zip of their month."""

from __future__ import annotations

import asyncio

import pytest

import ares_notebook as ares
from ares_notebook.binance import archive
from ares_notebook.binance.parse import lines_of_csv

END = "2025-02-01"
DAILY = r"daily/aggTrades/.*\.zip"
MONTHLY = "data/spot/monthly/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-01.zip"


async def download(settings, days=4.0, end=END):
    return await ares.download_agg_trades_data("BTCUSDT", days / 365.25, end=end, settings=settings)


def withheld(exchange):
    """Publish no zip of a day; their listing is empty too."""
    exchange.fail(DAILY, times=None, status=404)
    exchange.fail("prefix=data/spot/daily/aggTrades", times=None, status=404)


def stored(settings):
    return {path.name: path.read_bytes() for path in settings.cache_dir.glob("*.csv")}


def asked(exchange, ending):
    return sum(request.path.endswith(ending) for request in exchange.requests)


@pytest.mark.parametrize("changes", [{}, {"max_concurrency": 1}, {"source": "archive"}], ids=str)
async def test_days_are_cut_from_the_zip_of_their_month(exchange, settings, tmp_path, changes):
    """The same bytes as from zips of days, of one zip that is fetched once, with no trade over REST."""
    await download(settings.model_copy(update={"cache_dir": tmp_path / "truth"}))
    truth = stored(settings.model_copy(update={"cache_dir": tmp_path / "truth"}))
    exchange.requests.clear()
    withheld(exchange)

    settings = settings.model_copy(update=changes)
    report = await download(settings)

    assert not report.failed
    assert stored(settings) == truth
    assert asked(exchange, "2025-01.zip") == 1
    # Only the edges are asked about, as with zips of days.
    assert asked(exchange, "/api/v3/aggTrades") < 8
    history = ares.download_history(settings=settings)
    zips = history[history["road"] == "monthly archive"]
    assert len(zips) == len(truth) == 4
    assert zips["url"].str.endswith(MONTHLY).all()
    assert zips["sha256"].nunique() == 1
    if "source" not in changes:
        assert report.complete
        exchange.requests.clear()
        assert not (await download(settings)).requests


async def test_days_of_two_months(exchange, settings):
    """Where the days are of two months each zip is fetched once."""
    withheld(exchange)

    report = await download(settings, days=5, end="2025-02-03")

    assert report.complete
    assert asked(exchange, "2025-01.zip") == asked(exchange, "2025-02.zip") == 1


async def test_a_month_that_is_not_published_either(exchange, settings):
    """Without the zip of the month the days come over REST, as ever."""
    withheld(exchange)
    exchange.fail("monthly/aggTrades", times=None, status=404)

    report = await download(settings, days=1)

    assert report.complete
    assert asked(exchange, "2025-01.zip") == 0
    assert set(ares.download_history(settings=settings)["road"]) == {"rest"}


async def test_a_zip_of_a_month_that_is_not_sound(exchange, settings):
    """A zip that is not what its checksum says is asked for again, and nothing of it is stored."""
    withheld(exchange)
    exchange.fail(f"{MONTHLY}$", replace_body=b"no zip")

    report = await download(settings, days=2)

    assert report.complete
    assert set(ares.download_history(settings=settings)["road"]) >= {"monthly archive"}


async def test_a_cancelled_run_leaves_no_zip(exchange, settings):
    """After a cancel while the zip comes, no temporary file is left, and the next run ends."""
    withheld(exchange)
    exchange.fail(f"{MONTHLY}$", stall="body", stall_seconds=60)
    task = asyncio.create_task(download(settings, days=2))
    async with asyncio.timeout(20):
        while not asked(exchange, "2025-01.zip"):  # noqa: ASYNC110 - the exchange tells nobody
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    left = [path for path in settings.cache_dir.rglob("*") if path.is_file()]
    assert not [path for path in left if path.suffix in (".part", ".zip", ".csv")]
    assert (await download(settings, days=2)).complete


async def test_an_audit_reads_the_month_of_a_day(exchange, settings):
    """A day that was cut from a month is compared with the zip of that month."""
    withheld(exchange)
    await download(settings, days=1)

    report = await ares.audit_cache("BTCUSDT", settings=settings)

    assert [each.verdict for each in report.files] == ["unchanged"]


async def test_only_the_day_is_parsed(exchange, settings, monkeypatch):
    """Of the zip of a month the blocks of other days are not parsed, and the day is whole."""
    monkeypatch.setattr(archive, "_TEXT_BLOCK_BYTES", 1 << 16)
    parsed = []

    def parse(dataset, text, *rest):
        parsed.append(len(text))
        return lines_of_csv(dataset, text, *rest)

    monkeypatch.setattr(archive, "lines_of_csv", parse)
    withheld(exchange)

    report = await download(settings, days=1, end="2025-01-20")

    assert report.complete
    assert report.rows_written > 1000
    # A day and the hours beside it, of 31 days.
    assert sum(parsed) < 3 * sum(len(each) for each in stored(settings).values())
