"""Request weight: what a host still lets us ask."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_notebook.binance.http import Transport
from ares_notebook.binance.rate_limit import Budget
from ares_notebook.binance.rest import Rest
from ares_notebook.demo import DemoExchange
from ares_notebook.model.facts import Gap
from ares_notebook.model.files import Series
from ares_notebook.model.markets import SPOT
from ares_notebook.model.time import DAY_MS, as_utc, to_ms

# The host's clock is what its Date says; far ahead of ours, so that ours has no part in it.
AHEAD = (int(time.time()) // 60 + 1_000) * 60


def reported(used, second=0, name="X-MBX-USED-WEIGHT-1M"):
    """Headers of an answer, so many seconds into the host's window."""
    return {"Date": formatdate(AHEAD + second, usegmt=True), name: str(used)}


async def rounds():
    """Let the loop go round; no time passes that anybody could have waited for."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("used", "weight", "waits"),
    [(0, 80, False), (78, 2, False), (79, 2, True), (80, 1, True), (200, 1, True), (80, 0, False)],
)
def test_weight_is_kept_under_our_share_of_the_limit(used, weight, waits):
    """What is used, by whomever, plus what is asked stays within the share."""
    budget = Budget(100, 60, 0.8)

    budget.learn(reported(used), 1)

    assert (budget.wait_seconds(weight) > 0) is waits


@pytest.mark.parametrize(("shared_by", "goes"), [(1, True), (4, True), (5, False), (100, False)])
def test_many_programs_ask_less_before_they_are_heard(shared_by, goes):
    """Beyond four programs each may have less of the limit under way that nobody has told of."""
    budget = Budget(100, 60, 0.8, shared_by=shared_by)
    budget.learn(reported(10), 1)
    budget._pending = 3

    assert (budget.wait_seconds(2) == 0) is goes


@pytest.mark.parametrize(("shared_by", "goes"), [(1, True), (2, True), (3, False)])
def test_a_budget_that_nobody_tells_of_is_divided(shared_by, goes):
    """What the header does not speak of is counted by each program for itself, and each has its part."""
    budget = Budget(100, 60, 0.8, is_reported=False, shared_by=shared_by)
    budget.learn(reported(0), 30)

    assert (budget.wait_seconds(1) == 0) is goes


def test_the_wait_is_to_the_end_of_the_hosts_window():
    """A window is the host's calendar minute, whatever our clock says."""
    budget = Budget(100, 60, 0.8)

    budget.learn(reported(90, second=20), 1)

    assert 38 < budget.wait_seconds(2) <= 40


def test_what_a_host_tells_counts_though_our_clock_is_ahead_of_its():
    """Where our clock is 1,000 minutes ahead of the host's, its first answer's sum still counts."""
    budget = Budget(100, 60, 0.8)
    assert budget.wait_seconds(2) == 0
    headers = {**reported(80), "Date": formatdate(AHEAD - 2_000 * 60, usegmt=True)}

    budget.learn(headers, 1)

    assert 58 < budget.wait_seconds(2) <= 60


def test_a_step_of_our_clock_ends_no_window(monkeypatch):
    """Where our clock is set an hour ahead after an answer, what was used still counts."""
    budget = Budget(100, 60, 0.8)
    budget.learn(reported(80), 1)

    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 3_600)

    assert budget.wait_seconds(2) > 0


@pytest.mark.parametrize("zone", ["GMT", "-0000", ""])
def test_a_date_of_no_zone_is_utc(monkeypatch, zone):
    """A window is told right by a date without a zone, wherever we are."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    budget = Budget(100, 60, 0.8)
    budget.learn(reported(10, second=60), 1)
    headers = reported(80, second=60)

    budget.learn({**headers, "Date": headers["Date"].replace("GMT", zone).strip()}, 1)
    monkeypatch.undo()
    time.tzset()

    assert budget.wait_seconds(2) > 0


@pytest.mark.parametrize(
    "name", ["x-mbx-used-weight-1m", "X-MBX-USED-WEIGHT-1M", "x-mbx-used-weight-10S"]
)
def test_the_header_counts_what_others_spent(name):
    """The host's sum is believed over our own, in any spelling."""
    budget = Budget(100, 60, 0.8)

    budget.learn(reported(95, name=name), 1)

    assert budget.wait_seconds(1) > 0


def test_a_new_window_is_empty():
    """What was used in the minute before does not count in the next."""
    budget = Budget(100, 60, 0.8)
    budget.learn(reported(100), 1)

    budget.learn(reported(2, second=60), 1)

    assert budget.wait_seconds(70) == 0


def test_an_answer_that_was_overtaken_changes_nothing():
    """A smaller sum, or one of the window before, is an older answer."""
    budget = Budget(100, 60, 0.8)
    budget.learn(reported(10, second=60), 1)
    budget.learn(reported(79, second=61), 1)

    budget.learn(reported(30, second=61), 1)
    budget.learn(reported(100, second=59), 1)

    assert budget.wait_seconds(1) == 0
    assert budget.wait_seconds(2) > 0


@pytest.mark.parametrize("headers", [{}, {"X-MBX-USED-WEIGHT-1M": "many"}, {"Date": "soon"}])
def test_without_the_header_we_count_ourselves(headers):
    """A host that tells nothing is not asked without end."""
    budget = Budget(10, 3_600, 0.8)
    budget.wait_seconds(1)

    for _ in range(4):
        budget.learn(headers, 2)

    assert budget.wait_seconds(1) > 0


def test_a_budget_that_the_header_does_not_speak_of_is_counted():
    """Requests for funding are counted by us: the header tells another sum."""
    budget = Budget(10, 60, 0.8, is_reported=False)

    for _ in range(8):
        budget.learn(reported(2_000), 1)
    full = budget.wait_seconds(1)
    fresh = Budget(10, 60, 0.8, is_reported=False)
    fresh.learn(reported(2_000), 1)

    assert full > 0
    assert fresh.wait_seconds(1) == 0


def test_one_request_alone_always_goes():
    """A limit smaller than a request does not stop everything for ever."""
    assert Budget(10, 60, 0.1).wait_seconds(20) == 0


def test_the_archive_has_no_limit():
    """Without a limit nothing waits, whatever was used."""
    budget = Budget(None)
    budget.learn(reported(10**6), 10**6)

    assert budget.wait_seconds(10**6) == 0


async def test_weight_under_way_counts():
    """What was sent and not yet answered is spent already, and given back if it fails."""
    budget = Budget(100, 60, 0.8)
    budget.learn(reported(10), 1)

    async with budget.spending(60):
        during = budget.wait_seconds(20)
    with pytest.raises(ZeroDivisionError):
        async with budget.spending(60):
            1 / 0  # noqa: B018 - anything that fails

    assert during > 0
    assert budget.wait_seconds(60) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 9)), max_size=200))
def test_four_programs_do_not_exceed_the_limit(deeds):
    """Whoever of four programs asks when, and however late and in whatever order answers come, the host has no more to count than its limit."""
    budgets, used = [Budget(100, 60) for _ in range(4)], 0
    for budget in budgets:
        budget.learn(reported(0), 0)
    under_way = [[] for _ in budgets]
    for who, is_answer, which in deeds:
        budget = budgets[who]
        if is_answer and under_way[who]:
            budget.learn(reported(under_way[who].pop(which % len(under_way[who]))), 2)
            budget._pending -= 2
        while not is_answer and budget.wait_seconds(2) == 0:
            used += 2
            budget._pending += 2
            under_way[who].append(used)

    assert used <= 100


async def test_who_waits_to_be_heard_goes_when_an_answer_comes():
    """A twentieth of the limit is under way at most, and the next request goes with the answer, not with the next window."""
    budget = Budget(100, 3_600, 0.8)
    budget.learn(reported(0), 0)
    order = []

    async def spend():
        async with budget.spending(4):
            order.append("second")

    async with budget.spending(4):
        waiting = asyncio.create_task(spend())
        await rounds()
        order.append("first")
    await rounds()

    assert order == ["first", "second"]
    await waiting


async def test_a_wait_can_be_cancelled():
    """Who waits for weight and is cancelled spends none."""
    budget = Budget(100, 60, 0.8)
    budget.pause(60)

    async def spend():
        async with budget.spending(60):
            pytest.fail("it was paused")

    task = asyncio.create_task(spend())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_longer_pause_is_not_shortened():
    """Of two Retry-After the later end holds, also where there is no limit."""
    budget = Budget(None)

    budget.pause(30)
    budget.pause(5)

    assert 29 < budget.wait_seconds(0) <= 30


def test_a_limit_of_another_window_is_taken_over():
    """Limit and window become what the host says, and its windows are counted by the new length."""
    budget = Budget(6_000, 60, 1.0)
    budget.learn(reported(50), 1)

    budget.allow(100, 10)
    budget.learn(reported(100, second=9), 1)
    full = budget.wait_seconds(1)
    budget.learn(reported(3, second=10), 1)

    assert 0 < full <= 10
    assert budget.wait_seconds(90) == 0


async def test_the_exchange_never_has_to_refuse_us():
    """With a tight limit, and somebody else who spends, all pages come and not one is a 429."""
    series = Series.of("klines", "BTCUSDT", "1m")
    start_ms = to_ms(as_utc("2025-02-05"))
    with DemoExchange(now=as_utc("2026-06-01"), weight_limit=60, window_seconds=2) as exchange:
        async with Transport(exchange.settings(max_retries=0)) as transport:
            rest = Rest(transport)
            await rest.knows(SPOT, "BTCUSDT")
            exchange.spend(10)
            gap = Gap(start_ms, start_ms + 15 * DAY_MS)
            rows = [len(page) async for page in rest.lines(series, gap)]

    assert sum(rows) == 15 * 1440
    assert {request.status for request in exchange.requests} == {200}
