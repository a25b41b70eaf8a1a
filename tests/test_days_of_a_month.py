"""Days of trades whose own zips are not published: cut from the zip of their month."""

from __future__ import annotations

import asyncio
import io
import re
import urllib.request
import zipfile
from types import SimpleNamespace

import pytest

import ares_notebook as ares
from ares_notebook.binance import archive, zips
from ares_notebook.binance.http import Transport
from ares_notebook.binance.parse import lines_by_kernel
from ares_notebook.errors import NotEnoughDisk
from ares_notebook.model.files import Series
from ares_notebook.model.time import as_utc

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
    await download(settings.replace(cache_dir=tmp_path / "truth"))
    truth = stored(settings.replace(cache_dir=tmp_path / "truth"))
    exchange.requests.clear()
    withheld(exchange)

    settings = settings.replace(**changes)
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
    monkeypatch.setattr(zips, "_TEXT_BLOCK_BYTES", 1 << 16)
    parsed = []

    def parse(dataset, text, *rest):
        parsed.append(len(text))
        return lines_by_kernel(dataset, text, *rest)

    monkeypatch.setattr(zips, "lines_by_kernel", parse)
    withheld(exchange)

    report = await download(settings, days=1, end="2025-01-20")

    assert report.complete
    assert report.rows_written > 1000
    # A day and the hours beside it, of 31 days.
    assert sum(parsed) < 3 * sum(len(each) for each in stored(settings).values())


def sources(settings):
    """Where the rows of the cache came from."""
    return set(ares.download_history(settings=settings)["road"])


@pytest.mark.parametrize("fault", [{"replace_body": b"no zip"}, {"status": 503}], ids=str)
async def test_a_zip_of_a_month_that_fails_is_not_fetched_for_each_day(exchange, settings, fault):
    """Of a month's zip that fails each time no more is fetched for six days than for one, and REST has all days."""
    withheld(exchange)
    exchange.fail(f"{MONTHLY}$", times=None, **fault)

    report = await download(settings, days=6)

    assert report.complete
    assert sources(settings) == {"rest"}
    most_tries = 1 if "status" in fault else 2
    assert 1 <= asked(exchange, "2025-01.zip") <= most_tries * (settings.max_retries + 1)


async def test_a_zip_of_a_month_that_fails_without_rest(exchange, settings):
    """Under source="archive" all days of a month fail with the error of its zip, which is fetched for none anew."""
    withheld(exchange)
    exchange.fail(f"{MONTHLY}$", times=None, replace_body=b"no zip")

    report = await download(settings.replace(source="archive"))

    assert len(report.failed) == 4
    assert len({str(step.error) for step in report.failed}) == 1
    assert asked(exchange, "2025-01.zip") <= 2 * (settings.max_retries + 1)


def listed_as(exchange, size_bytes):
    """State another size of the zips of months in their listing."""
    exchange.fail(
        "prefix=data/spot/monthly/aggTrades",
        times=None,
        replace_body=lambda body: re.sub(rb"<Size>[0-9]+<", b"<Size>%d<" % size_bytes, body),
    )


async def test_a_zip_of_a_month_that_is_larger_than_the_disk(exchange, settings):
    """A month's zip that by its listing does not fit the disk is not asked for, and REST has its days."""
    exchange.withhold("daily/aggTrades/.*2025-01")
    listed_as(exchange, 10**14)

    report = await download(settings, days=2)

    assert report.complete
    assert sources(settings) == {"rest"}
    assert asked(exchange, "2025-01.zip") == 0


async def test_a_zip_of_a_month_that_is_larger_than_the_disk_without_rest(exchange, settings):
    """Under source="archive" the plan counts the zip of a month, and its days fail, since the disk is too small."""
    exchange.withhold("daily/aggTrades/.*2025-01")
    listed_as(exchange, 10**14)

    report = await download(settings.replace(source="archive"), days=2)

    assert [type(step.error) for step in report.failed] == [NotEnoughDisk] * 2
    assert all(f"{settings.cache_dir} has" in str(step.error) for step in report.failed)
    assert asked(exchange, "2025-01.zip.CHECKSUM") == 0


@pytest.mark.parametrize("source", ["auto", "archive"])
async def test_a_zip_of_a_month_whose_size_its_answer_tells(
    exchange, settings, monkeypatch, source
):
    """Where no listing tells its size, a month's zip that does not fit is asked for once, and its body is not read."""
    withheld(exchange)
    exchange.fail("prefix=data/spot/monthly/aggTrades", times=None, status=404)
    monkeypatch.setattr(archive, "SPARE_BYTES", 1 << 60)

    report = await download(settings.replace(source=source), days=2)

    assert asked(exchange, "2025-01.zip") == 1
    if source == "auto":
        assert report.complete
        assert sources(settings) == {"rest"}
    else:
        assert report.bytes_received < 1 << 20
        assert [type(step.error) for step in report.failed] == [NotEnoughDisk] * 2
        assert all(str(settings.cache_dir) in str(step.error) for step in report.failed)


async def test_a_zip_of_a_month_that_a_quota_stops(exchange, settings):
    """A month's zip of which the folder takes only a part is fetched once, and REST has its days."""
    resource = pytest.importorskip("resource")
    withheld(exchange)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, before[1]))
    try:
        report = await download(settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert report.complete
    assert sources(settings) == {"rest"}
    assert asked(exchange, "2025-01.zip") == 1


def month(exchange, stamp):
    """The text of the zip of a month."""
    url = f"{exchange.url}/{MONTHLY.replace('2025-01', stamp)}"
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - the demo exchange
        packed = zipfile.ZipFile(io.BytesIO(answer.read()))
    return packed.read(packed.namelist()[0]).decode()


@pytest.mark.parametrize("source", ["auto", "archive"])
@pytest.mark.parametrize("is_whole", [True, False], ids=["another month", "both months"])
async def test_a_zip_of_a_month_with_rows_of_another(
    exchange, settings, publish_anew, source, is_whole
):
    """A month's zip with rows of another month, far from the day or not, is refused, and is evidence of nothing."""
    later = await asyncio.to_thread(month, exchange, "2025-02")
    own = "" if is_whole else await asyncio.to_thread(month, exchange, "2025-01")
    publish_anew("BTCUSDT-aggTrades-2025-01", own + later)
    withheld(exchange)

    settings = settings.replace(source=source)
    report = await download(settings, days=2, end="2025-01-20")

    receipts = [path.read_text() for path in settings.cache_dir.glob(".ares/receipts/*.json")]
    assert receipts
    assert not any("monthly archive" in text or '"archive"' in text for text in receipts)
    if source == "auto":
        assert report.complete
        assert sources(settings) == {"rest"}
    else:
        assert all("not in its period" in str(step.error) for step in report.failed)
        assert len(report.failed) == 2


async def test_a_kept_zip_makes_room_for_the_next(settings, tmp_path, monkeypatch):
    """Zips of months are kept while the disk has room, up to three; else those that are not read are removed."""
    free_bytes = iter([0, 1 << 40])
    series, kept = Series.of("agg_trades", "BTCUSDT"), []

    async def fetch(bulk, stamp):
        async with bulk.fetch_shared(series, "month", as_utc(stamp)) as fetched:
            kept.append(fetched.data)

    async with Transport(settings) as transport:
        bulk = archive.Archive(transport, tmp_path)
        for stamp in ("2025-01-01", "2024-12-01", "2024-11-01", "2024-10-01"):
            await fetch(bulk, stamp)
        assert [each.closed for each in kept] == [True, False, False, False]
        monkeypatch.setattr(
            archive.shutil,
            "disk_usage",
            lambda _: SimpleNamespace(free=next(free_bytes, 1 << 40)),
        )
        await fetch(bulk, "2024-09-01")
        assert [each.closed for each in kept] == [True, True, True, False, False]
        bulk.close()
    assert all(each.closed for each in kept)


async def test_a_zip_that_is_read_delays_one_for_which_there_is_no_room(
    settings, tmp_path, monkeypatch
):
    """Where the disk has room for one zip of a month only, the next is fetched when the first has been read."""
    series = Series.of("agg_trades", "BTCUSDT")
    async with Transport(settings) as transport:
        bulk = archive.Archive(transport, tmp_path)

        async def second():
            async with bulk.fetch_shared(series, "month", as_utc("2024-12-01")) as fetched:
                return first.data.closed, fetched.name

        async with bulk.fetch_shared(series, "month", as_utc("2025-01-01")) as first:
            monkeypatch.setattr(
                archive.shutil,
                "disk_usage",
                lambda _: SimpleNamespace(free=1 << 40 if first.data.closed else 0),
            )
            task = asyncio.create_task(second())
            done, _ = await asyncio.wait([task], timeout=0.3)
            assert not done
        async with asyncio.timeout(20):
            assert await task == (True, "BTCUSDT-aggTrades-2024-12.zip")
        bulk.close()
