"""Crowds: several processes on one cache, and several programs on one allowance of the exchange."""

from __future__ import annotations

import signal
import threading
from collections import Counter

import pytest
from crowd import asked_for_data, contents, crowd, ended, holds_nothing, rows_of, said, wants

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.model.time import as_utc

ALL = "klines,agg_trades,futures"
SAME = [wants("BTCUSDT", "1h", 4, "2025-03-15", ALL)] * 4
# Other ends, intervals and datasets; each has files in common with another.
OVERLAPPING = [
    wants("BTCUSDT", "1h", 4, "2025-03-15", ALL),
    wants("BTCUSDT", "1h", 3, "2025-03-12T13:30", "klines,futures"),
    wants("BTCUSDT", "15m", 3, "2025-03-14", ALL),
    wants("BTCUSDT", "15m", 2, "2025-03-15", "agg_trades,klines"),
]
# A time of day in the archive: the rest of that day is in a zip that was fetched before.
IN_WHOLE_DAYS = [[word.replace("T13:30", "") for word in wish] for wish in OVERLAPPING]
WISHES = {
    ("same", "auto"): SAME,
    ("same", "rest"): SAME,
    ("overlapping", "auto"): IN_WHOLE_DAYS,
    ("overlapping", "rest"): OVERLAPPING,
}


@pytest.fixture(scope="module")
def running():
    with DemoExchange(trades_per_day=6_000, weight_limit=10**6, latency_seconds=0.02) as exchange:
        yield exchange


@pytest.fixture
def exchange(running):
    running.faults.clear()
    running.requests.clear()
    yield running
    running.faults.clear()


def alone(settings, wishes):
    """The bytes that are there when one process fulfils all wishes, one after the other."""
    for symbol, interval, _, years, _, end, _, datasets in wishes:
        download = ares.download_all_data(
            symbol,
            interval,
            float(years),
            end=end,
            datasets=tuple(datasets.split(",")),
            settings=settings,
        )
        assert ares.run(download).complete
    return contents(settings.cache_dir)


def twin(settings):
    """The same settings with another cache, of the exchange's archive and REST together."""
    folder = settings.cache_dir.with_name("alone")
    return settings.replace(cache_dir=folder)


def record(record_property, processes, truth, found):
    """For the sum at the end of the run."""
    record_property("processes in crowds", processes)
    record_property("rows lost", rows_of(truth) - rows_of(found))


@pytest.mark.parametrize(("what", "source"), WISHES)
def test_four_processes_on_one_cache(exchange, settings, record_property, what, source):
    """Four processes at once leave the bytes of one, and no zip, checksum or page with rows is asked for twice."""
    wishes = WISHES[what, source]
    own = settings.replace(source=source)
    truth = alone(twin(own), wishes)
    exchange.requests.clear()

    with crowd(own, wishes) as processes:
        results = ended(processes)

    for status, output, log in results:
        assert status == 0, log
        assert output.startswith("complete"), output
    assert contents(own.cache_dir) == truth
    again = [each for each, times in Counter(asked_for_data(exchange)).items() if times > 1]
    assert [each for each in again if not holds_nothing(exchange, each)] == []
    assert list(own.cache_dir.rglob("*.part")) == []
    exchange.requests.clear()
    assert alone(own, wishes) == truth
    assert asked_for_data(exchange) == []
    record(record_property, len(processes), truth, contents(own.cache_dir))


def test_a_killed_holder_is_followed_by_another(exchange, settings, record_property):
    """When the holder of a lock is killed, one of those who wait takes over, and all end whole."""
    wish = wants("BTCUSDT", "1h", 2, "2025-03-15", "klines,agg_trades")
    own = settings.replace(source="rest")
    truth = alone(twin(own), [wish])
    exchange.requests.clear()
    is_stalled = threading.Event()

    def tell(body):
        is_stalled.set()
        return body

    exchange.fail("fromId=", skip=8, stall="body", replace_body=tell)
    with crowd(own, [wish]) as [holder]:
        assert is_stalled.wait(60)
        with crowd(own, [wish] * 3) as heirs:
            lines = said(heirs, "another process is at work on aggtrades")
            holder.kill()
            assert holder.wait(60) == -signal.SIGKILL
            results = ended(heirs)

    for status, output, log in results:
        assert status == 0, log
        assert output.startswith("complete"), output
    assert contents(own.cache_dir) == truth
    assert list(own.cache_dir.rglob("*.part")) == []
    # Only of the file that the holder had in hand is anything asked again.
    in_hand = {line.split("at work on ")[1].split(";")[0] for line in lines}
    days = [truth[name].splitlines()[1:] for name in in_hand]
    ids = {int(row.split(b",")[4]) for day in days for row in day}
    again = [each for each, times in Counter(asked_for_data(exchange)).items() if times > 1]
    pages = [each for each in again if not holds_nothing(exchange, each)]
    assert pages
    assert {int(dict(query)["fromId"]) for _, query in pages} <= ids
    record(record_property, 4, truth, contents(own.cache_dir))


def test_two_kernels_share_the_weight_of_one_address(settings, record_property):
    """Two programs that each know only what the header tells use most of the weight, and are never refused."""
    limit = 120
    wishes = [wants(each, "1m", 58.5, "2025-03-01", "klines") for each in ("BTCUSDT", "ETHUSDT")]
    market = {"now": as_utc("2026-06-01"), "weight_limit": limit, "window_seconds": 2}
    with DemoExchange(**market) as tight:
        places = {name: getattr(tight.settings(), name) for name in PLACES}
        own = settings.replace(**places, source="rest")
        with crowd(own, wishes) as processes:
            results = ended(processes)

    for status, output, log in results:
        assert status == 0, log
        assert output.startswith("complete"), output
    assert {each.status for each in tight.requests} == {200}
    # More than either may use alone.
    assert max(tight.spent.values()) > 0.8 * limit
    record_property("processes in crowds", len(processes))
    table = ares.coverage(settings=own)
    record_property(
        "rows lost", int((table["expected"] - table["rows"] - table["confirmed_absent"]).sum())
    )


PLACES = ("spot_url", "spot_fallback_url", "futures_url", "archive_url", "archive_listing_url")
