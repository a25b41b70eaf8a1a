"""A universe at night: what is asked once for all symbols, and what each of them costs."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime

import msgspec
import pytest

import ares_notebook as ares
from ares_notebook.binance.all_symbols import AllSymbols
from ares_notebook.model.files import Series

SYMBOLS = ["BTCUSDT", "ETHUSDT", "BNBUSDT", "LTCUSDT", "ADAUSDT", "XRPUSDT", "LINKUSDT", "SOLUSDT"]
EVENING, NIGHT = "2025-03-10T09:30", "2025-03-11T00:10"
FUNDING = "/fapi/v1/fundingRate"


def contents(settings):
    """The cache files by name."""
    return {path.name: path.read_bytes() for path in sorted(settings.cache_dir.glob("*.csv"))}


async def download(exchange, settings, end, symbols=SYMBOLS, dataset="futures"):
    """Bring a universe up to *end*, which is now; the requests that it took."""
    exchange.now = datetime.fromisoformat(f"{end}+00:00")
    exchange.requests.clear()
    report = await ares.download_universe(
        symbols, "1h", start="2025-02-20", end=end, datasets=[dataset], settings=settings
    )
    assert report.complete, str(report)
    return [each for each in exchange.requests if each.path != "/api/v3/time"]


@pytest.fixture
async def truth(exchange, settings):
    """The bytes that symbols one by one give."""
    own = settings.replace(cache_dir=settings.cache_dir.with_name("truth"))
    for symbol in SYMBOLS:
        await download(exchange, own, NIGHT, [symbol])
    return contents(own)


async def test_a_night_of_funding_is_a_page_for_all(exchange, settings, truth):
    """New funding rates of many symbols come on pages of all, with the bytes of symbols one by one."""
    await download(exchange, settings, EVENING)
    night = await download(exchange, settings, NIGHT)
    again = await download(exchange, settings, NIGHT)

    assert [each.path for each in night] == [FUNDING]
    assert "symbol" not in night[0].query
    assert again == []
    assert contents(settings) == truth


async def test_a_payment_that_is_due_and_not_there_costs_no_symbol_a_request(
    exchange, settings, truth
):
    """Where payments are late no symbol is asked alone, nothing is confirmed as absent, and the next run has them."""
    await download(exchange, settings, EVENING)
    late = exchange.fail(FUNDING, times=None, replace_body=_before(NIGHT[:10]))
    exchange.now = datetime.fromisoformat(f"{NIGHT}+00:00")
    exchange.requests.clear()
    report = await ares.update(end=NIGHT, settings=settings)
    asked = [each for each in exchange.requests if each.path == FUNDING]
    exchange.faults.remove(late)
    exchange.now = datetime(2025, 3, 11, 1, 10, tzinfo=UTC)
    after = await ares.update(end="2025-03-11T01:10", settings=settings)

    assert len(asked) == 1
    assert report
    assert after.complete
    assert contents(settings) == truth


def _before(day):
    """Make a page of rates lack those of a day on."""
    until_ms = int(datetime.fromisoformat(f"{day}T00:00+00:00").timestamp() * 1000)
    return lambda body: json.dumps(
        [row for row in json.loads(body) if row["fundingTime"] < until_ms]
    ).encode()


def _reversed(body):
    """The rows of a page, newest first."""
    return json.dumps(json.loads(body)[::-1]).encode()


@pytest.mark.parametrize("body", [b"{}", _reversed], ids=["no list", "reversed"])
async def test_pages_of_all_that_are_none_are_not_believed(exchange, settings, truth, body):
    """Where the pages of all symbols are not what they should be, each symbol is asked alone."""
    await download(exchange, settings, EVENING)
    exchange.fail(rf"{FUNDING}\?startTime", times=None, replace_body=body)
    night = await download(exchange, settings, NIGHT)

    assert {each.query.get("symbol") for each in night} >= set(SYMBOLS)
    assert contents(settings) == truth


class _Exchange:
    """Pages of 1,000 rows of all symbols, as the API serves them."""

    def __init__(self, rows):
        self.rows, self.now_ms, self.asked = rows, 1_741_651_800_000, 0

    async def hear_clock(self):
        """It is known."""

    def url_of(self, series):
        """Only for messages."""
        return f"http://here/{series.stem}"

    async def ask(self, market, name, ask, read, pool):
        """The oldest rows of a window."""
        assert (market.name, name, pool) == ("um", "fundingRate", "funding")
        asked = ask(url="http://here", counter=pool).params
        self.asked += 1
        window = (int(asked["startTime"]), int(asked["endTime"]))
        page = [row for row in self.rows if window[0] <= row["fundingTime"] <= window[1]]
        return read(msgspec.json.encode(page[: int(asked["limit"])]))


def _events(hours, count, spread_ms):
    rng = random.Random(7)  # noqa: S311 - no secret
    now_ms = 1_741_651_800_000 // 3_600_000 * 3_600_000
    return sorted(
        (
            {
                "symbol": f"S{n:03}USDT",
                "fundingTime": now_ms - hour * 3_600_000 + rng.randrange(spread_ms),
                "fundingRate": "0.00010000",
            }
            for hour in hours
            for n in range(count)
        ),
        key=lambda row: row["fundingTime"],
    )


async def test_no_row_is_lost_between_pages():
    """Of hundreds of symbols that pay in one millisecond each has all its rows, wherever a page ends."""
    exchange = _Exchange(_events(range(0, 24, 4), 700, spread_ms=2))
    pages = AllSymbols(exchange)
    for symbol in ("S000USDT", "S444USDT", "S699USDT"):
        own = [row for row in exchange.rows if row["symbol"] == symbol]
        since = own[2]["fundingTime"] + 1
        found = json.loads(await pages.newest(Series.of("futures", symbol), since))
        assert found == own[1:] or found == own

    assert exchange.asked <= 7
    assert await pages.newest(Series.of("futures", "GONEUSDT"), since) is None


async def test_a_page_of_one_moment_is_no_page():
    """More rows of one millisecond than a page has room for are not believed to be all."""
    pages = AllSymbols(_Exchange(_events([4], 1500, spread_ms=1)))

    assert await pages.newest(Series.of("futures", "S000USDT"), 1_741_651_800_000 - 10**7) is None


async def test_symbols_of_spot_are_asked_for_once(exchange, settings):
    """A universe of many costs one exchangeInfo, and the plan counts it so; of few each is asked for."""
    many = await download(exchange, settings, EVENING, dataset="klines")
    other = settings.replace(cache_dir=settings.cache_dir.with_name("few"))
    few = await download(exchange, other, EVENING, SYMBOLS[:2], dataset="klines")
    infos = [[each for each in asked if "exchangeInfo" in each.path] for asked in (many, few)]
    plans = [
        ares.plan_universe(symbols, "1h", start="2025-02-20", end="2025-03-01", datasets=["klines"])
        for symbols in (SYMBOLS, SYMBOLS[:2])
    ]

    assert [len(each) for each in infos] == [1, 2]
    assert infos[0][0].query == {"showPermissionSets": "false"}
    assert [plan.cost.weight for plan in plans] == [20, 40]


async def test_no_symbol_is_taken_for_another(settings):
    """The trades of a symbol are estimated by its own days, else by what symbols have on average, and measured on demand."""

    def plans():
        window = {"start": "2025-03-01", "end": "2025-03-05", "datasets": ["agg_trades"]}
        return {plan.symbol: plan for plan in ares.plan_universe(["BTCUSDT", "XLMUSDT"], None, **window, settings=settings)}  # fmt: skip

    before = plans()
    await ares.download_agg_trades_data("XLMUSDT", start="2025-03-01", end="2025-03-02", settings=settings)  # fmt: skip
    rows = len(ares.load_agg_trades("XLMUSDT", settings=settings))
    after = plans()
    measured = await ares.plan_universe(["BTCUSDT", "XLMUSDT"], None, start="2025-03-01", end="2025-03-05", datasets=["agg_trades"], settings=settings).measure()  # fmt: skip

    assert before["BTCUSDT"].rows == 4_000_000
    assert before["XLMUSDT"].rows == 4 * 114_000
    assert after["XLMUSDT"].rows == 3 * rows
    assert after["BTCUSDT"].rows == 4_000_000
    assert 1_000 < measured.plans[0].rows < 100_000
