"""The archive: nothing is parsed before its checksum is true, and no failure looks like emptiness."""

from __future__ import annotations

import hashlib
import re

import pytest

from ares_notebook.binance.archive import Archive
from ares_notebook.binance.http import Transport
from ares_notebook.demo import DemoExchange
from ares_notebook.errors import AresError, BadAnswer, ChecksumMismatch, NotFound
from ares_notebook.model.files import Series
from ares_notebook.model.time import as_utc

CANDLES = Series.of("klines", "BTCUSDT", "1h")
TRADES = Series.of("agg_trades", "BTCUSDT")
MONTH = as_utc("2025-02-01")
NOW = as_utc("2026-06-01T12:00")
HTML = b"<!DOCTYPE html><title>Binance Data Collection</title>"


@pytest.fixture
def exchange():
    with DemoExchange(now=NOW, trades_per_day=6_000) as running:
        yield running


@pytest.fixture
async def archive(exchange, tmp_path):
    settings = exchange.settings(retry_delay_seconds=0, max_retries=2)
    async with Transport(settings) as transport:
        yield Archive(transport, tmp_path)


def asked(exchange):
    """What was asked for: last parts of paths."""
    return [request.path.rpartition("/")[2] for request in exchange.requests]


async def rows_of(archive, series=CANDLES, cut="month", start=MONTH):
    async with archive.fetch(series, cut, start) as fetched:
        return sum(len(lines) for lines in fetched.lines())


async def test_a_zip_comes_after_its_checksum(exchange, archive):
    """The sidecar is asked for first, and the zip's digest is what it says."""
    async with archive.fetch(CANDLES, "month", MONTH) as fetched:
        rows = sum(len(lines) for lines in fetched.lines())
        fetched.data.seek(0)
        digest = hashlib.sha256(fetched.data.read()).hexdigest()

    assert rows == 672
    assert fetched.sha256 == digest
    assert asked(exchange) == ["BTCUSDT-1h-2025-02.zip.CHECKSUM", "BTCUSDT-1h-2025-02.zip"]


async def test_a_zip_that_is_not_its_checksum_is_never_opened(exchange, archive):
    """A wrong zip is tried again and then refused, though it is a sound zip with sound rows."""
    other = []
    exchange.fail(r"2025-03\.zip$", times=1, replace_body=lambda body: other.append(body) or body)
    await rows_of(archive, start=as_utc("2025-03-01"))
    exchange.fail(r"2025-02\.zip$", times=None, replace_body=other[0])
    exchange.requests.clear()

    with pytest.raises(ChecksumMismatch, match="nothing is stored"):
        await rows_of(archive)

    assert asked(exchange).count("BTCUSDT-1h-2025-02.zip") == 3


async def test_a_zip_that_was_cut_once_is_whole_at_the_second_try(exchange, archive):
    """What came in at the first try does not spoil the second."""
    exchange.fail(r"\.zip$", replace_body=lambda body: body + b"more")

    assert await rows_of(archive) == 672


@pytest.mark.parametrize(
    "body",
    [
        b"",
        HTML,
        b"0" * 64 + b"  other.zip",
        b"0" * 63 + b"  BTCUSDT-1h-2025-02.zip",
        b"0" * 64,
        b"0" * 64 + b"  BTCUSDT-1h-2025-02.zip\n" * 2,
    ],
)
async def test_a_sidecar_that_is_none_is_refused(exchange, archive, body):
    """Without a checksum of this very file no zip is fetched."""
    exchange.fail("CHECKSUM", times=None, replace_body=body)

    with pytest.raises(BadAnswer, match=r"holds no checksum of BTCUSDT-1h-2025-02\.zip"):
        await rows_of(archive)

    assert set(asked(exchange)) == {"BTCUSDT-1h-2025-02.zip.CHECKSUM"}


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body + b"\n",
        lambda body: body.upper().replace(b"BTCUSDT-1H", b"BTCUSDT-1h").replace(b".ZIP", b".zip"),
    ],
    ids=["line end", "upper case"],
)
async def test_a_sidecar_may_be_written_in_its_own_way(exchange, archive, change):
    """With a line end, or in capitals, the checksum is the same."""
    exchange.fail("CHECKSUM", times=None, replace_body=change)

    assert await rows_of(archive) == 672


async def test_what_is_not_published_costs_one_small_request(exchange, archive):
    """A 404 is not tried again, and the zip is not asked for."""
    exchange.withhold("2025-02")

    with pytest.raises(NotFound, match="not published"):
        await rows_of(archive)

    assert asked(exchange) == ["BTCUSDT-1h-2025-02.zip.CHECKSUM"]


async def test_a_large_zip_waits_in_the_folder_it_was_given(exchange, tmp_path):
    """Zips too large for memory leave nothing in the folder when they are done with."""
    async with Transport(exchange.settings(retry_delay_seconds=0)) as transport:
        archive = Archive(transport, tmp_path)
        async with archive.fetch(CANDLES, "month", MONTH) as fetched:
            fetched.data.write(b"")

    assert list(tmp_path.iterdir()) == []


async def test_rows_of_trades_are_all_there(archive):
    """A day of trades has ids without a gap."""
    async with archive.fetch(TRADES, "day", as_utc("2025-02-05")) as fetched:
        ids = [at for lines in fetched.lines() for at in lines.keys.tolist()]

    assert len(ids) > 4_000
    assert ids == list(range(ids[0], ids[0] + len(ids)))


# --- listings ---


async def test_the_listing_knows_the_exact_size(exchange, archive):
    """The size told is the zip's, and all months are asked for in one listing."""
    size = await archive.size_of(CANDLES, "month", MONTH)
    await archive.size_of(CANDLES, "month", as_utc("2025-03-01"))
    listings = len(exchange.requests)

    async with archive.fetch(CANDLES, "month", MONTH) as fetched:
        length = len(fetched.data.read() if not fetched.data.seek(0) else b"")

    assert size == length
    assert listings == 1


async def test_what_is_not_listed_is_not_published(exchange, archive):
    """A listing that came and lacks the zip says that it is not there."""
    exchange.withhold("2025-02")

    with pytest.raises(NotFound, match="2025-02"):
        await archive.size_of(CANDLES, "month", MONTH)


async def test_a_listing_is_read_to_its_last_page(exchange, archive):
    """Years of daily files are several pages, each begun at the marker of the one before."""
    folder = TRADES.archive_folder("day")

    listing = await archive._listing(folder)

    markers = [request.query.get("marker", "") for request in exchange.requests]
    days = sorted(key for key in listing if key.endswith(".zip"))
    assert len(markers) > 3
    assert markers == sorted(set(markers))
    assert days[0].endswith("2017-08-17.zip")
    assert days[-1].endswith("2026-05-31.zip")
    assert len(days) == (as_utc("2026-06-01") - as_utc("2017-08-17")).days


async def test_without_a_next_marker_the_last_key_is_it(exchange, archive):
    """A listing that leaves NextMarker out is paged by its last key."""
    exchange.fail(
        "prefix=",
        times=None,
        replace_body=lambda body: re.sub(rb"<NextMarker>.*?</NextMarker>", b"", body),
    )

    listing = await archive._listing(TRADES.archive_folder("day"))

    assert max(listing).endswith("2026-05-31.zip.CHECKSUM")


BROKEN_LISTINGS = pytest.mark.parametrize(
    "fault",
    [
        {"replace_body": HTML, "content_type": "text/html"},
        {"replace_body": b"<html></html>"},
        {"replace_body": b""},
        {"replace_body": b"<ListBucketResult><Contents>"},
        {"replace_body": b"<Error><Code>SlowDown</Code></Error>"},
        {"replace_body": b'<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult/>'},
        {"status": 503},
        {"status": 403},
        {"status": 404},
        {"reset": "body"},
    ],
    ids=str,
)


@BROKEN_LISTINGS
async def test_a_failed_listing_tells_no_size(exchange, archive, fault):
    """A page for browsers, half a page, an error: none of it is a listing in which the zip is not."""
    exchange.fail("prefix=", times=None, **fault)

    assert await archive.size_of(CANDLES, "month", MONTH) is None


@BROKEN_LISTINGS
async def test_a_failed_listing_is_no_empty_one(exchange, archive, fault):
    """Where the listing fails it is not said that the archive holds nothing of a symbol."""
    exchange.fail("prefix=", times=None, **fault)

    try:
        answer = await archive.holds(CANDLES)
    except AresError:
        return
    assert answer is not False


async def test_a_second_page_that_fails_is_a_failed_listing(exchange, archive):
    """Half a listing is not taken for the whole."""
    exchange.fail("marker=", times=None, status=503)

    assert await archive._listing(TRADES.archive_folder("day")) is None


@pytest.mark.parametrize(("symbol", "there"), [("BTCUSDT", True), ("NOSUCHUSDT", False)])
async def test_an_empty_listing_is_an_answer(archive, symbol, there):
    """A symbol that the archive does not have has an empty listing, which is no failure."""
    assert await archive.holds(Series.of("klines", symbol, "1h")) is there


async def test_a_symbol_of_another_script_has_an_address(archive):
    """Letters of any script are escaped in addresses and found in listings."""
    series = Series.of("klines", "币安人生USDT", "1d")

    assert await rows_of(archive, series, start=as_utc("2026-01-01")) == 31
    assert await archive.size_of(series, "month", as_utc("2026-01-01")) > 0
