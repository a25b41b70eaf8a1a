"""REST: pages of rows, each what was asked for."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from reading import table_of

from ares_notebook.binance import breaker
from ares_notebook.binance.archive import Archive
from ares_notebook.binance.http import Transport
from ares_notebook.binance.rest import Rest
from ares_notebook.demo import DemoExchange
from ares_notebook.errors import BadAnswer, BadRequest, NotFound, RegionBlocked, ServerFault
from ares_notebook.model.facts import Gap
from ares_notebook.model.files import Series
from ares_notebook.model.markets import SPOT, UM
from ares_notebook.model.rows import keys_of, stamps_ms, text_of
from ares_notebook.model.time import DAY_MS, as_utc, to_ms

NOW = as_utc("2026-06-01T12:00")
MINUTES = Series.of("klines", "BTCUSDT", "1m")
TRADES = Series.of("agg_trades", "BTCUSDT")
FUNDING = Series.of("futures", "BTCUSDT")
DAY = to_ms(as_utc("2025-02-05"))


@pytest.fixture
def exchange():
    # One a test: what was under way when a test ended would be on the record of the next.
    with DemoExchange(now=NOW, trades_per_day=20_000, weight_limit=10**6) as running:
        yield running


@pytest.fixture
async def transport(exchange):
    settings = exchange.settings(retry_delay_seconds=0, max_retries=2)
    async with Transport(settings) as running:
        yield running


@pytest.fixture
def rest(transport):
    return Rest(transport)


async def all_rows(rest, series, gap):
    return table_of(series.dataset, [page async for page in rest.lines(series, gap)])


def queries(exchange, word):
    return [request.query for request in exchange.requests if word in request.path]


async def by_archive(transport, series, cut, start, tmp_path):
    async with Archive(transport, tmp_path).fetch(series, cut, start) as fetched:
        return table_of(series.dataset, fetched.lines())


async def test_a_file_that_is_alone_has_all_places(exchange):
    """Of one file as many pages are under way as requests may be, and of the next one too when the first is done."""
    async with Transport(exchange.settings(max_concurrency=16, max_retries=0)) as transport:
        rest = Rest(transport)
        await all_rows(rest, MINUTES, Gap(DAY, DAY + DAY_MS))
        fault = exchange.fail("klines", stall="head", stall_seconds=600, times=None)
        reading = asyncio.ensure_future(all_rows(rest, MINUTES, Gap(DAY, DAY + 30 * DAY_MS)))
        while fault.seen < 16 and not reading.done():  # noqa: ASYNC110 - the server sees it
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    assert fault.seen == 16


async def test_candles_are_paged_by_open_time(exchange, rest):
    """Two days of minutes come in three pages that touch, without a row lost or doubled."""
    rows = await all_rows(rest, MINUTES, Gap(DAY, DAY + 2 * DAY_MS))

    asked = sorted((int(q["startTime"]), int(q["endTime"])) for q in queries(exchange, "klines"))
    assert stamps_ms(rows).tolist() == list(range(DAY, DAY + 2 * DAY_MS, 60_000))
    assert [one[1] + 1 for one in asked[:-1]] == [other[0] for other in asked[1:]]
    assert len(asked) == 3
    assert (asked[0][0], asked[-1][1]) == (DAY, DAY + 2 * DAY_MS - 1)


async def test_candles_of_both_roads_are_the_same_bytes(transport, rest, tmp_path):
    """A month by REST and by the archive is one and the same text."""
    start, end = as_utc("2025-02-01"), as_utc("2025-03-01")
    hours = Series.of("klines", "BTCUSDT", "1h")

    one = await all_rows(rest, hours, Gap(to_ms(start), to_ms(end)))
    other = await by_archive(transport, hours, "month", start, tmp_path)

    assert text_of(hours.dataset, one).equals(text_of(hours.dataset, other))


async def test_trades_that_share_a_millisecond_across_a_page_border_are_all_there(
    exchange, transport, rest, tmp_path
):
    """Paging by id loses nobody where a page ends in the middle of a millisecond."""
    rows = await all_rows(rest, TRADES, Gap(DAY, DAY + DAY_MS))
    other = await by_archive(transport, TRADES, "day", as_utc("2025-02-05"), tmp_path)

    ids, stamps = keys_of(TRADES.dataset, rows), stamps_ms(rows)
    starts = [int(q["fromId"]) for q in queries(exchange, "aggTrades") if "fromId" in q]
    torn = [at for at in starts[1:] if stamps[at - ids[0]] == stamps[at - ids[0] - 1]]
    assert np.all(np.diff(ids) == 1)
    assert torn
    assert len(starts) > 5
    assert text_of(TRADES.dataset, rows).equals(text_of(TRADES.dataset, other))


async def test_trades_are_asked_for_in_microseconds(exchange, rest):
    """Only then REST gives the stamps that the archive has."""
    await all_rows(rest, TRADES, Gap(DAY, DAY + 60_000))

    units = {r.headers.get("x-mbx-time-unit") for r in exchange.requests if "aggTrades" in r.path}
    assert units == {"MICROSECOND"}


async def test_a_gap_between_two_ids_is_asked_for_by_ids_alone(exchange, rest):
    """Where both neighbours are known no search is needed, and just the missing come."""
    rows = await all_rows(rest, TRADES, Gap(DAY, DAY + 600_000))
    ids = keys_of(TRADES.dataset, rows)
    exchange.requests.clear()
    gap = Gap(DAY, DAY + 600_000, rows=9, after_id=int(ids[5]), before_id=int(ids[15]))

    inside = await all_rows(rest, TRADES, gap)

    assert keys_of(TRADES.dataset, inside).tolist() == ids[6:15].tolist()
    assert [(q["fromId"], q["limit"]) for q in queries(exchange, "aggTrades")] == [
        (str(ids[6]), "9")
    ]


async def test_a_tail_goes_on_behind_its_last_id(rest):
    """What follows a stored trade begins with the very next id, even in its own millisecond."""
    rows = await all_rows(rest, TRADES, Gap(DAY, DAY + 600_000))
    ids, stamps = keys_of(TRADES.dataset, rows), stamps_ms(rows)
    at = int(np.flatnonzero(np.diff(stamps) == 0)[0])

    tail = await all_rows(rest, TRADES, Gap(int(stamps[at]), DAY + 600_000, after_id=int(ids[at])))

    assert keys_of(TRADES.dataset, tail).tolist() == ids[at + 1 :].tolist()


async def test_a_stretch_without_trades_is_empty(rest):
    """Before the listing and in a halt the exchange has nothing, and that is no error."""
    before = [
        page
        async for page in rest.lines(
            TRADES, Gap(to_ms(as_utc("2016-01-01")), to_ms(as_utc("2016-01-02")))
        )
    ]
    halted = to_ms(as_utc("2025-03-14T03:00"))
    during = [page async for page in rest.lines(TRADES, Gap(halted, halted + 60_000))]

    assert sum(len(page) for page in before + during) == 0


async def test_funding_is_paged_behind_the_last_stamp(exchange, rest):
    """A page of a thousand events is followed by one that begins a millisecond after the last."""
    start, end = to_ms(as_utc("2024-01-01")), to_ms(as_utc("2025-06-01"))

    rows = await all_rows(rest, FUNDING, Gap(start, end))

    asked = queries(exchange, "fundingRate")
    assert len(asked) == 2
    assert int(asked[1]["startTime"]) == stamps_ms(rows)[999] + 1
    assert np.all(np.diff(keys_of(FUNDING.dataset, rows)) == 8)
    assert rows.num_rows == (end - start) // (8 * 3_600_000)


async def test_funding_of_both_roads_is_the_same_bytes(transport, rest, tmp_path):
    """The jitter of the stamps, too, is the same by REST and by the archive."""
    start, end = as_utc("2025-02-01"), as_utc("2025-03-01")

    one = await all_rows(rest, FUNDING, Gap(to_ms(start), to_ms(end)))
    other = await by_archive(transport, FUNDING, "month", start, tmp_path)

    assert text_of(FUNDING.dataset, one).equals(text_of(FUNDING.dataset, other))


def shifted(by_ms):
    """Move the stamps of a page."""

    def move(body):
        page = json.loads(body)
        for row in page:
            if isinstance(row, list):
                row[0] += by_ms
            elif "T" in row:
                row["T"] += by_ms * 1000
            else:
                row["fundingTime"] += by_ms
        return json.dumps(page).encode()

    return move


@pytest.mark.parametrize("by_ms", [-400 * DAY_MS, 400 * DAY_MS])
@pytest.mark.parametrize(
    ("series", "pattern"),
    [(MINUTES, "klines"), (TRADES, "aggTrades.*startTime"), (FUNDING, "fundingRate")],
    ids=lambda value: str(value)[:10],
)
async def test_rows_that_were_not_asked_for_are_refused(exchange, rest, series, pattern, by_ms):
    """A page of another time is no answer, however well it is formed."""
    exchange.fail(pattern, times=None, replace_body=shifted(by_ms))

    with pytest.raises(BadAnswer, match="not asked for"):
        await all_rows(rest, series, Gap(DAY, DAY + DAY_MS))


async def test_trades_before_the_id_asked_for_are_refused(exchange, rest):
    """A page that begins before its fromId is no answer."""

    def older(body):
        return json.dumps([{**row, "a": row["a"] - 5_000} for row in json.loads(body)]).encode()

    exchange.fail("fromId", times=None, replace_body=older)

    with pytest.raises(BadAnswer, match="not asked for"):
        await all_rows(rest, TRADES, Gap(DAY, DAY + 600_000))


async def test_ids_that_the_exchange_lacks_leave_a_gap_and_no_stranger(exchange, rest):
    """Where ids are missing a page reaches further than was asked; what is beyond is left out."""

    def holed(body):
        return json.dumps([row for row in json.loads(body) if row["a"] % 10]).encode()

    exchange.fail("fromId", times=None, replace_body=holed)
    whole = Gap(DAY, DAY + DAY_MS)

    rows = await all_rows(rest, TRADES, whole)

    ids = keys_of(TRADES.dataset, rows)
    assert np.all(np.diff(ids) > 0)
    assert not np.any(ids % 10 == 0)


async def test_a_page_that_fails_fails_the_whole(exchange, rest):
    """No page is left out in silence."""
    exchange.fail("klines", skip=1, times=None, status=500)

    with pytest.raises(ServerFault):
        await all_rows(rest, MINUTES, Gap(DAY, DAY + 3 * DAY_MS))


# --- 451 ---


async def test_a_closed_region_goes_on_over_the_fallback_and_says_so(exchange, rest):
    """After a 451 all is asked of the market-data host, and a note names both."""
    exchange.fail("^/api/", times=None, status=451)

    rows = await all_rows(rest, MINUTES, Gap(DAY, DAY + 3_600_000))
    await all_rows(rest, MINUTES, Gap(DAY, DAY + 3_600_000))

    assert rows.num_rows == 60
    assert [request.status for request in exchange.requests] == [451, 200, 200]
    [note] = rest.notes
    assert "451" in note
    assert exchange.settings().spot_fallback_url in note


async def test_pages_that_are_under_way_when_the_region_is_closed_go_on_too(exchange, rest):
    """Several pages at once meet the 451, and every one of them falls over to the fallback."""
    exchange.fail("^/api/", times=None, status=451, delay_seconds=0.05)

    rows = await all_rows(rest, MINUTES, Gap(DAY, DAY + 4 * DAY_MS))

    assert rows.num_rows == 4 * 1440
    assert len(rest.notes) == 1


async def test_a_fallback_that_is_closed_too_is_reported(exchange, rest):
    """Where both hosts answer 451 the error says what still works."""
    exchange.fail("/api/", times=None, status=451)

    with pytest.raises(RegionBlocked, match='source="archive"'):
        await all_rows(rest, MINUTES, Gap(DAY, DAY + 3_600_000))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, b"<H1>403 ERROR</H1> configured to block access from your country."),
        (400, b'{"code": 0, "msg": "Service unavailable from a restricted location."}'),
        (403, b'{"code": 0, "msg": "Service unavailable from a restricted location."}'),
    ],
)
async def test_a_country_block_of_any_status_goes_on_over_the_fallback(
    exchange, rest, status, body
):
    """A refusal that speaks of the country is one of the region, and costs one request."""
    exchange.fail("^/api/", times=None, status=status, replace_body=body)

    rows = await all_rows(rest, MINUTES, Gap(DAY, DAY + 3_600_000))

    assert rows.num_rows == 60
    assert [request.status for request in exchange.requests] == [status, 200]


async def test_a_firewall_that_refuses_all_goes_on_over_the_fallback(exchange, rest, monkeypatch):
    """A 403 without a reason is tried again; once the host rests the market-data host is asked."""
    at_once = {case: each._replace(seconds=0.0) for case, each in breaker._NEEDED.items()}
    monkeypatch.setattr(breaker, "_NEEDED", at_once)
    exchange.fail("^/api/", times=None, status=403)

    rows = await all_rows(rest, MINUTES, Gap(DAY, DAY + 3_600_000))

    assert rows.num_rows == 60
    assert [request.status for request in exchange.requests] == [403, 403, 200]
    [note] = rest.notes
    assert exchange.settings().spot_fallback_url in note


# --- what else is asked ---


async def test_the_exchanges_clock(rest):
    """The exchange's own time is told in milliseconds."""
    assert await rest.server_time_ms() == to_ms(NOW)


@pytest.mark.parametrize(("symbol", "known"), [("BTCUSDT", True), ("NOSUCHUSDT", False)])
async def test_a_symbol_is_known_or_not(exchange, rest, symbol, known):
    """An unknown symbol is an answer, not an error, and the question is a small one."""
    assert await rest.knows(SPOT, symbol) is known
    assert queries(exchange, "exchangeInfo") == [{"symbol": symbol}]


@pytest.mark.parametrize(("symbol", "known"), [("BTCUSDT", True), ("ETHBTC", False)])
async def test_a_perpetual_is_known_or_not(rest, symbol, known):
    """A spot symbol may have no perpetual of its name."""
    assert await rest.knows(UM, symbol) is known


async def test_limits_are_learnt_from_the_exchange(exchange, transport, rest):
    """The budget's limit is what exchangeInfo says, not what we thought."""
    await rest.knows(SPOT, "BTCUSDT")

    assert transport.budget(exchange.url, "spot").limit == 10**6


@pytest.mark.parametrize(
    ("series", "first"),
    [
        (Series.of("klines", "BTCUSDT", "1h"), "2017-08-17T04:00"),
        (Series.of("klines", "NEARUSDT", "1d"), "2020-10-14"),
    ],
)
async def test_the_first_row_is_asked_for_once(exchange, rest, series, first):
    """Where a history begins is one question, however often it is needed."""
    assert not rest.knows_first(series)

    answers = {(await rest.first_row(series)).stamp_ms, (await rest.first_row(series)).stamp_ms}

    assert answers == {to_ms(as_utc(first))}
    assert rest.knows_first(series)
    assert len(exchange.requests) == 1


async def test_the_first_trade_is_found_though_its_id_is_zero(rest):
    """Spot ids begin with zero."""
    first = await rest.first_row(TRADES)

    assert first.key == 0
    assert 0 <= first.stamp_ms - to_ms(as_utc("2017-08-17T04:00")) < 60_000


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"5", b"{}", b"<html>", b'{"rateLimits": null}']
)
async def test_an_answer_of_another_kind_is_refused(exchange, rest, body):
    """What is no object with the key that was asked for is a bad answer, and nothing raw."""
    exchange.fail("/api/", times=None, replace_body=body)

    with pytest.raises(BadAnswer):
        await rest.server_time_ms()
    with pytest.raises(BadAnswer):
        await rest.knows(SPOT, "BTCUSDT")


@pytest.mark.parametrize("word", [b'"soon"', b"null", b"[]"])
async def test_a_clock_that_tells_no_time_is_refused(exchange, rest, word):
    """A serverTime that is no number is a bad answer, and nothing raw."""
    exchange.fail("/time", times=None, replace_body=b'{"serverTime":' + word + b"}")

    with pytest.raises(BadAnswer):
        await rest.server_time_ms()


async def test_the_list_of_symbols_has_what_trades(exchange, rest):
    """All symbols that trade today are listed in order, delisted ones are not, for 20 of weight."""
    symbols = await rest.symbols(SPOT)

    assert list(symbols) == sorted(symbols)
    assert {"BTCUSDT", "币安人生USDT"} <= set(symbols)
    assert "MATICUSDT" not in symbols
    assert [request.weight for request in exchange.requests] == [20]


async def test_words_of_the_exchange_move_no_cursor(exchange, rest):
    """What the exchange says of an error is shown, but for what would colour, break or turn a line."""
    words = r'{"code":-1,"msg":"\u001b[31mred\nline\u202e \u5e01"}'
    exchange.fail("klines", times=None, status=400, body=words)

    with pytest.raises(BadRequest) as caught:
        await all_rows(rest, MINUTES, Gap(DAY, DAY + 60_000))

    assert str(caught.value).isprintable()
    assert "red" in str(caught.value)
    assert "\u5e01" in str(caught.value)


async def test_an_api_that_is_not_there_is_no_unpublished_file(exchange, rest):
    """A 404 of the API says that the address is wrong."""
    exchange.fail("klines", times=None, status=404)

    with pytest.raises(NotFound, match="there is no such address; check the settings"):
        await all_rows(rest, MINUTES, Gap(DAY, DAY + 60_000))
