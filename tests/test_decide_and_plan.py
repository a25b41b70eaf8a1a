"""Decide before the network is touched, and say why."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry, Source
from ares_notebook.cache.store import Store
from ares_notebook.demo import DemoExchange
from ares_notebook.download.decide import decide, whole_days
from ares_notebook.download.estimate import check_disk
from ares_notebook.download.plan import plan_downloads
from ares_notebook.errors import BadArgument, NotEnoughDisk
from ares_notebook.model.facts import Facts, Gap
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.gaps import Absence
from ares_notebook.model.measure import Measure
from ares_notebook.model.rows import lines_of, schema_of
from ares_notebook.model.time import DAY_MS, as_utc, to_ms, utc
from ares_notebook.settings import Settings

HOUR_MS = 3_600_000
HOURS = parse_file_name("klines_BTCUSDT_1h_2025-01.csv")
SECONDS = parse_file_name("klines_BTCUSDT_1s_2025-01.csv")
WEEKS = parse_file_name("klines_BTCUSDT_1w_2025-01.csv")
TRADES = parse_file_name("aggtrades_BTCUSDT_2025-01-15.csv")
FUNDING = parse_file_name("futures_BTCUSDT_2025-01.csv")
ALL = [HOURS, SECONDS, WEEKS, TRADES, FUNDING]


def candles(*hours):
    """What is had of the month where these hours of it are there."""
    start = HOURS.period.start_ms
    opens = np.array([start + hour * HOUR_MS for hour in hours], np.int64)
    measure = Measure(HOURS)
    measure.add(opens * 1000, opens)
    return CacheEntry(HOURS, facts=measure.facts())


def absence(start_ms, end_ms, evidence="rest"):
    return Absence(start_ms, end_ms, evidence, "2026-02-01T00:00:00+00:00")


def end_of(file):
    return file.grid_end_ms


# --- actions and reasons ---


@pytest.mark.parametrize("file", ALL, ids=lambda file: file.name)
def test_what_is_not_there_is_fetched(file):
    """A file that nobody asked for yet is to be brought whole."""
    step = decide(CacheEntry(file), end_of(file), "auto")

    assert (step.action, step.reason) == ("fetch", "not downloaded")
    assert step.rows > 0
    assert step.requests > 0
    assert step.bytes_received > 0
    assert step.bytes_stored > 0


def test_a_whole_file_is_skipped():
    """All candles there: nothing to do, nothing to ask."""
    step = decide(candles(*range(744)), end_of(HOURS), "auto")

    assert (step.action, step.reason, step.gaps, step.sources) == ("skip", "complete", (), ())
    assert (step.rows, step.requests, step.bytes_received) == (0, 0, 0)


def test_a_growing_file_is_extended_from_where_it_ends():
    """Only the tail is asked for, and the reason says from when."""
    step = decide(candles(*range(240)), HOURS.period.start_ms + 250 * HOUR_MS, "auto")

    assert (step.action, step.reason, step.sources) == (
        "extend",
        "goes on from 2025-01-11 00:00",
        ("rest",),
    )
    assert [gap.rows for gap in step.gaps] == [10]


def test_gaps_are_closed_one_by_one():
    """What is there stays; the reason counts what is missing."""
    step = decide(candles(*range(5), *range(8, 20), *range(21, 744)), end_of(HOURS), "auto")

    assert (step.action, step.reason) == ("extend", "rows missing inside: 4, gaps: 2")


def test_an_open_candle_is_not_wanted():
    """Half an hour after the last one nothing is due."""
    until = HOURS.period.start_ms + 240 * HOUR_MS + HOUR_MS // 2

    assert decide(candles(*range(240)), until, "auto").action == "skip"


def test_what_the_exchange_does_not_have_is_not_asked_for_again():
    """A gap that REST has confirmed is explained, and the file is skipped."""
    entry = candles(*range(5), *range(8, 744))
    start = HOURS.period.start_ms
    heard = absence(start + 5 * HOUR_MS, start + 8 * HOUR_MS)

    step = decide(replace(entry, absences=(heard,)), end_of(HOURS), "auto")

    assert (step.action, step.reason) == (
        "skip",
        "complete but for what the exchange does not have",
    )


@pytest.mark.parametrize(
    ("source", "action"), [("auto", "extend"), ("rest", "extend"), ("archive", "skip")]
)
def test_the_archives_silence_is_enough_only_where_nobody_else_is_asked(source, action):
    """A gap that only the archive has is asked of REST, unless REST is not to be asked."""
    start = HOURS.period.start_ms
    heard = absence(start + 5 * HOUR_MS, start + 8 * HOUR_MS, "archive")
    entry = replace(candles(*range(5), *range(8, 744)), absences=(heard,))

    assert decide(entry, end_of(HOURS), source).action == action


def test_an_absent_file_with_an_answer_is_skipped():
    """Before the listing there is nothing, the exchange has said so, and the reason repeats it."""
    heard = absence(HOURS.period.start_ms, HOURS.period.end_ms)

    step = decide(CacheEntry(HOURS, absences=(heard,)), end_of(HOURS), "auto")

    assert (step.action, step.reason) == ("skip", "confirmed absent upstream: no file")


def test_an_answer_of_the_same_day_is_asked_for_once_more():
    """A row may come out late: what was heard within a day of the moment is not the last word."""
    day = HOURS.period.end_ms
    early = Absence(HOURS.period.start_ms, day, "rest", utc(day + 3_600_000).isoformat())
    late = Absence(HOURS.period.start_ms, day, "rest", utc(day + 25 * 3_600_000).isoformat())

    assert decide(CacheEntry(HOURS, absences=(early,)), end_of(HOURS), "auto").action == "fetch"
    assert decide(CacheEntry(HOURS, absences=(late,)), end_of(HOURS), "auto").action == "skip"


def test_a_broken_file_is_fetched_anew():
    """A file that cannot be read is replaced by a whole one; none of its rows counts."""
    step = decide(CacheEntry(HOURS, problem="it is torn"), end_of(HOURS), "auto")

    assert (step.action, step.reason) == (
        "fetch",
        "damaged; put aside and replaced by a whole one",
    )
    assert sum(gap.rows for gap in step.gaps) == 744


@pytest.mark.parametrize("file", [HOURS, FUNDING], ids=lambda file: file.name)
def test_an_old_file_is_replaced_whole(file):
    """A file of the original downloader proves nothing, however many rows it has."""
    step = decide(CacheEntry(file, facts=Facts(rows=5), legacy=True), end_of(file), "auto")

    assert step.action == "fetch"
    assert "no receipt tells where it came from" in step.reason


@pytest.mark.parametrize("file", ALL, ids=lambda file: file.name)
def test_nothing_at_or_after_the_end_is_asked_for(file):
    """No gap of a step ends after what is wanted."""
    until = file.period.start_ms + DAY_MS // 2 + 7

    step = decide(CacheEntry(file), until, "auto")

    assert all(gap.end_ms <= until for gap in step.gaps)


# --- sources ---


@pytest.mark.parametrize(
    ("file", "sources"),
    [
        (HOURS, ("monthly archive", "daily archive", "rest")),
        (SECONDS, ("monthly archive", "daily archive", "rest")),
        (WEEKS, ("monthly archive", "rest")),
        (TRADES, ("daily archive", "rest")),
        (FUNDING, ("monthly archive", "rest")),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_closed_period_comes_from_the_archive(file, sources):
    """The ladder goes from the largest zip down to REST."""
    assert decide(CacheEntry(file), end_of(file), "auto").sources == sources


@pytest.mark.parametrize("file", ALL, ids=lambda file: file.name)
@pytest.mark.parametrize("source", ["rest", "archive"])
def test_only_the_road_that_was_named_is_taken(file, source):
    """source= closes the other source, whatever it costs."""
    sources = decide(CacheEntry(file), end_of(file), source).sources

    assert sources
    assert ("rest" in sources) is (source == "rest")
    assert (len(sources) == 1) or source == "archive"


@pytest.mark.parametrize(
    ("file", "sources"),
    [
        (HOURS, ("daily archive",)),
        (TRADES, ("daily archive",)),
        (WEEKS, ("monthly archive",)),
        (FUNDING, ("monthly archive",)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_gaps_are_closed_without_rest_too(file, sources):
    """With source="archive" gaps are closed from days, or from the month where the archive has no days."""
    start_ms = file.period.start_ms
    facts = Facts(1, start_ms, start_ms, start_ms, start_ms + 1, first_id=5, last_id=5)

    step = decide(CacheEntry(file, facts=facts), end_of(file), "archive")

    assert step.action == "extend"
    assert step.sources == sources


@pytest.mark.parametrize(
    ("file", "days", "first"),
    [
        (HOURS, 10, "rest"),
        (SECONDS, 10, "daily archive"),
        (SECONDS, 0.5, "rest"),
        (FUNDING, 10, "rest"),
        (TRADES, 0.5, "rest"),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_running_period_takes_the_cheaper_road(file, days, first):
    """Ten days of hours are one page; ten days of seconds are 864 pages, or ten zips."""
    step = decide(CacheEntry(file), int(file.period.start_ms + days * DAY_MS), "auto")

    assert step.sources[0] == first


@pytest.mark.parametrize(("known", "first"), [(False, "daily archive"), (True, "rest")])
def test_a_day_that_came_from_its_zip_is_not_fetched_from_it_again(known, first):
    """What a zip did not have at first it will not have at the second time."""
    start = TRADES.period.start_ms
    sources = (Source("daily archive", "u", "t"),) if known else (Source("rest", "u", "t"),)
    facts = Facts(
        rows=2,
        first_ms=start,
        last_ms=start + 9,
        covered_from_ms=start,
        covered_until_ms=start + 9,
        first_id=0,
        last_id=90_000,
        gaps=(Gap(start, start + 9, 89_999, after_id=0, before_id=90_000),),
    )

    step = decide(CacheEntry(TRADES, facts=facts, sources=sources), end_of(TRADES), "auto")

    assert step.action == "extend"
    assert step.sources[0] == first


@pytest.mark.parametrize(
    ("start", "end", "days"), [(0, 3, 3), (0.5, 3, 2), (0.1, 0.9, 0), (0.5, 1.5, 0), (1, 1, 0)]
)
def test_whole_days_of_a_gap(start, end, days):
    """Only days that lie in the gap from midnight to midnight count."""
    gap = Gap(int(start * DAY_MS), int(end * DAY_MS))

    assert whole_days(gap) == days


# --- plans ---


@pytest.fixture
def shop():
    with DemoExchange(now=as_utc("2026-06-01T12:00"), trades_per_day=6_000) as running:
        yield running


@pytest.fixture
def plan(shop, tmp_path):
    settings = shop.settings(cache_dir=tmp_path / "cache", retry_delay_seconds=0, max_retries=0)

    def make(**changes):
        fields = {"end": "2025-03-05T06:00", "settings": settings, **changes}
        return plan_downloads("btcusdt", "1h", 0.1, **fields)

    return make


def test_a_plan_touches_neither_network_nor_disk(shop, plan, tmp_path):
    """Making and printing a plan asks nobody and creates nothing."""
    text = str(plan())

    assert text
    assert shop.requests == []
    assert list(tmp_path.iterdir()) == []


def test_a_plan_has_a_step_a_file(plan):
    """Months of candles and funding, days of trades, from the start of the first file to the end."""
    made = plan()

    names = [step.file.name for step in made.steps]
    assert names[:3] == [f"klines_BTCUSDT_1h_2025-0{at}.csv" for at in (1, 2, 3)]
    assert names[3] == "aggtrades_BTCUSDT_2025-01-27.csv"
    assert names[-4] == "aggtrades_BTCUSDT_2025-03-05.csv"
    assert names[-3:] == [f"futures_BTCUSDT_2025-0{at}.csv" for at in (1, 2, 3)]
    assert len(made) == len(names) == 3 + 38 + 3
    assert (made.symbol, made.interval) == ("BTCUSDT", "1h")


def test_a_plan_prints_what_it_will_do(plan):
    """Action, count, first and last file, reason and source stand in a line; the last line sums up."""
    lines = str(plan(datasets=("klines",))).splitlines()

    assert lines[0].startswith(
        "Plan for BTCUSDT 1h: 2025-01-27 17:24 → 2025-03-05 06:00 UTC, end exclusive, 36.5 days "
        "(whole files, from 2025-01-01); into "
    )
    assert "fetch" in lines[1]
    assert "2 files" in lines[1]
    assert "klines_BTCUSDT_1h_2025-01" in lines[1]
    assert "not downloaded, by monthly archive" in lines[1]
    assert "by rest" in lines[2]
    assert lines[-1].startswith("To do: 3 of 3 files, about 1,518 rows, ")


def test_a_plan_with_nothing_to_do_says_so(plan):
    """When all is there the plan says that there is nothing to do."""
    made = dataclasses.replace(
        plan(datasets=("klines",)), steps=(decide(candles(*range(744)), end_of(HOURS), "auto"),)
    )

    assert str(made).splitlines()[-1] == "Nothing to do: all 1 files are there."
    assert made.to_do == ()


def test_a_plan_sums_its_steps(plan):
    """Rows, bytes and requests are the sums of the steps, in the frame as in the properties."""
    made = plan()
    frame = made.to_frame()

    assert frame["rows"].sum() == made.rows
    assert frame["bytes_received"].sum() == made.bytes_received
    assert frame["bytes_stored"].sum() == made.bytes_stored
    assert frame["requests"].sum() == made.requests
    assert frame["file"].tolist() == [step.file.name for step in made.steps]
    assert set(frame["road"]) == {"monthly archive", "daily archive", "rest"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"datasets": ()}, "datasets is empty"),
        ({"datasets": ("ticks",)}, "'ticks'"),
        ({"end": "2999-01-01"}, "in the future"),
        ({"end": "soon"}, "end="),
    ],
)
def test_arguments_that_cannot_be_meant(plan, changes, words):
    """A plan is refused with the name of the argument before anything else happens."""
    with pytest.raises(BadArgument, match=words):
        plan(**changes)


def test_candles_need_an_interval():
    """Without an interval there are trades and funding, and no candles."""
    with pytest.raises(BadArgument, match="interval="):
        plan_downloads("BTCUSDT", None, 1, end="2025-01-01")
    made = plan_downloads("BTCUSDT", None, 0.01, end="2025-01-01", datasets=("futures",))

    assert made.interval is None


async def test_a_plan_can_be_made_exact(shop, plan):
    """The archive's listing tells the size of each zip, and the estimate gives way to it."""
    made = plan(datasets=("klines",))

    exact = await made.measure()

    first = [step for step in exact.steps if step.sources[0] == "monthly archive"]
    sizes = {r.path for r in shop.requests}
    assert len(first) == 2
    assert all(
        one.bytes_received != other.bytes_received
        for one, other in zip(made.steps[:2], first, strict=True)
    )
    assert made.steps[2] == exact.steps[2]
    assert sizes == {"/data.binance.vision"}


@pytest.mark.parametrize("fault", [{"status": 503}, {"replace_body": b"<html></html>"}], ids=str)
async def test_a_listing_that_fails_leaves_the_estimate(shop, plan, fault):
    """Without a listing the plan is what it was."""
    shop.fail("prefix=", times=None, **fault)
    made = plan(datasets=("klines",))

    assert await made.measure() == made


def test_trades_that_do_not_fit_are_refused_before_they_are_begun(tmp_path):
    """Terabytes of trades are refused with the numbers and the ways out; candles never are."""
    settings = Settings(cache_dir=tmp_path)
    trades = replace(decide(CacheEntry(TRADES), end_of(TRADES), "auto"), bytes_stored=10**18)
    candle = decide(CacheEntry(HOURS), end_of(HOURS), "auto")

    with pytest.raises(NotEnoughDisk, match=r'1000000000\.0 GB.*cache_dir.*compression="zstd"'):
        check_disk([trades, candle], settings)
    check_disk([candle], settings)


def test_a_whole_cache_is_planned_as_skip(plan):
    """What the store proves complete is skipped by the plan."""
    entry = candles(*range(744))
    store = Store(plan().settings)
    store.prepare()
    start = HOURS.period.start_ms
    columns = [[(start + hour * HOUR_MS) * 1000 for hour in range(744)], *[["1"] * 744] * 9]
    columns[7] = [1] * 744
    with store.writer(HOURS) as part:
        part.write_lines(
            lines_of(HOURS.dataset, pa.table(columns, schema=schema_of(HOURS.dataset)))
        )
        source = Source("rest", "/api/v3/klines", "2025-02-01T00:00:00+00:00")
        store.commit(part, sources=(source,), absences=(), final=True)

    [first, *_] = plan(datasets=("klines",)).steps

    assert (first.action, first.entry.facts) == ("skip", entry.facts)
    assert to_ms(as_utc("2025-02-01")) == first.until_ms
