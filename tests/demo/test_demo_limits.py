"""Who asks for too much is told so, and then sent away."""

from __future__ import annotations

import pytest
from conftest import NOW, ask_of

from ares_notebook.demo import DemoExchange
from ares_notebook.demo.limits import WeightCounter

# A window that began long ago on all clocks, and does not end while a test runs.
LONG = 1_000_000


def test_weights_add_up_in_the_headers() -> None:
    """k-lines cost 2, trades 4, exchangeInfo 20, an error 1; the header has the sum."""
    with DemoExchange(now=NOW, window_seconds=LONG) as exchange:
        used = []
        for path in ("klines?symbol=BTCUSDT&interval=1d", "aggTrades?symbol=BTCUSDT",
                     "exchangeInfo", "klines", "ping"):  # fmt: skip
            reply = ask_of(exchange, f"/api/v3/{path}", {})
            assert reply.headers["x-mbx-used-weight"] == reply.headers[f"x-mbx-used-weight-{LONG}s"]
            used.append(int(reply.headers["x-mbx-used-weight"]))

        assert used == [2, 6, 26, 27, 28]
        assert [request.weight for request in exchange.requests] == [2, 4, 20, 1, 1]


def test_the_archive_costs_no_weight() -> None:
    """Requests to the archive leave the API's budget alone."""
    with DemoExchange(now=NOW, weight_limit=1, window_seconds=LONG) as exchange:
        for _ in range(3):
            assert ask_of(exchange, "/data/spot/x.zip", {}).status == 404


def test_too_much_is_429_and_going_on_is_418() -> None:
    """Beyond the limit comes 429 with Retry-After, three times; who goes on is banned."""
    with DemoExchange(now=NOW, weight_limit=10, window_seconds=LONG) as exchange:
        replies = [ask_of(exchange, "/api/v3/aggTrades?symbol=BTCUSDT", {}) for _ in range(6)]
        banned = ask_of(exchange, "/api/v3/ping", {})
        rates = [request.status for request in exchange.requests]

    assert rates == [200, 200, 429, 429, 429, 418, 418]
    wait = int(replies[2].headers["retry-after"])
    assert 0 < wait <= LONG
    # Windows go by the time in the answers' head, which began at that of the market.
    assert abs(LONG - NOW.timestamp() % LONG - wait) < 5
    assert replies[2].json["code"] == -1003
    assert replies[2].json["msg"].startswith("Too much request weight used; current limit is 10 ")
    assert int(replies[5].headers["retry-after"]) > wait
    assert banned.json["msg"].startswith("Way too much request weight used; IP banned until 1")


def test_others_at_the_same_address_count() -> None:
    """Weight that another program spends is in the header, and brings on the 429."""
    with DemoExchange(now=NOW, window_seconds=LONG) as exchange:
        exchange.spend(5_997)
        first = ask_of(exchange, "/api/v3/ping", {})
        second = ask_of(exchange, "/api/v3/aggTrades?symbol=BTCUSDT", {})

    assert first.headers["x-mbx-used-weight"] == "5998"
    assert second.status == 429


def test_exchange_info_tells_the_limit() -> None:
    """RateLimits names the limit and the window that hold here, which by default are Binance's."""
    with DemoExchange(now=NOW, weight_limit=99, window_seconds=10) as exchange:
        spot = ask_of(exchange, "/api/v3/exchangeInfo?symbol=BTCUSDT", {})
        futures = ask_of(exchange, "/fapi/v1/exchangeInfo", {})
    with DemoExchange(now=NOW) as exchange:
        usual = [ask_of(exchange, f"{api}/exchangeInfo", {}) for api in ("/api/v3", "/fapi/v1")]
    assert spot.json["rateLimits"][0] == {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "SECOND",
        "intervalNum": 10,
        "limit": 99,
    }
    assert "x-mbx-used-weight-10s" in spot.headers
    assert futures.json["rateLimits"][0]["limit"] == 99
    assert [each.json["rateLimits"][0]["limit"] for each in usual] == [6000, 2400]


def test_futures_have_a_budget_of_their_own() -> None:
    """Spot's budget used up leaves futures alone."""
    with DemoExchange(now=NOW, weight_limit=20, window_seconds=LONG) as exchange:
        exchange.spend(20)
        assert ask_of(exchange, "/api/v3/exchangeInfo", {}).status == 429
        assert ask_of(exchange, "/fapi/v1/klines?symbol=BTCUSDT&interval=1h", {}).status == 200


def test_funding_has_a_count_of_its_own() -> None:
    """Funding allows 500 requests in five minutes, whatever the weight."""
    budget = WeightCounter(500, 300)

    verdicts = [budget.charge(1, 1_000_000_000.0) for _ in range(501)]

    assert verdicts[499:] == ["ok", "slow_down"]


@pytest.mark.parametrize(("now", "wait"), [(120.0, 60.0), (179.5, 0.5)])
def test_windows_are_multiples_of_their_length(now: float, wait: float) -> None:
    """A window ends at the next multiple of its length, and then all is forgiven."""
    budget = WeightCounter(5, 60)

    assert budget.charge(6, now) == "slow_down"
    assert budget.wait_s(now) == wait
    assert budget.charge(5, now + wait) == "ok"


def test_what_each_window_saw_is_remembered() -> None:
    """Spent weight is kept by the start of its window, what was refused left out."""
    budget = WeightCounter(5, 60)

    for weight, now in ((2, 120.0), (3, 179.0), (1, 179.5), (4, 180.0)):
        budget.charge(weight, now)

    assert budget.spent == {120: 5, 180: 4}


def test_an_exchange_tells_what_was_spent() -> None:
    """An exchange tells the weight of its spot windows, futures left out."""
    with DemoExchange(now=NOW, window_seconds=LONG) as exchange:
        ask_of(exchange, "/api/v3/klines?symbol=BTCUSDT&interval=1d", {})
        ask_of(exchange, "/fapi/v1/ping", {})

        assert list(exchange.spent.values()) == [2]


def test_windows_can_be_ended():
    """After `end_windows` what was spent, and a ban, counts no more."""
    with DemoExchange(weight_limit=4) as exchange:
        wanted = "/api/v3/klines?symbol=BTCUSDT&interval=1h&limit=1"
        asked = [ask_of(exchange, wanted, {}).status for _ in range(9)]
        exchange.end_windows()

        assert asked[-1] == 418
        assert ask_of(exchange, wanted, {}).status == 200
