"""What is there, what is wanted, what is missing: what rows prove, and where rows are missing."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from reading import facts_of

from ares_notebook.model.facts import Facts, Gap
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.gaps import Absence, gaps_in, unasked, unexplained
from ares_notebook.model.rows import schema_of
from ares_notebook.model.time import DAY_MS, as_utc, next_open_ms, to_ms

HOUR_MS = 3_600_000
CANDLES = parse_file_name("klines_BTCUSDT_4h_2025-01.csv")
TRADES = parse_file_name("aggtrades_BTCUSDT_2025-01-15.csv")
FUNDING = parse_file_name("futures_BTCUSDT_2025-01.csv")


def candles(opens):
    columns = [[at * 1000 for at in opens], *[["1"] * len(opens)] * 9]
    columns[7] = [1] * len(opens)
    return pa.table(columns, schema=schema_of(CANDLES.dataset))


def trades(pairs):
    ids = [each[0] for each in pairs]
    words = [["1"] * len(ids)] * 2 + [["True"] * len(ids)]
    columns = [[each[1] * 1000 for each in pairs], *words, ids, ids, ids]
    return pa.table(columns, schema=schema_of(TRADES.dataset))


def funding(stamps):
    columns = [[at * 1000 for at in stamps], ["0.1"] * len(stamps)]
    return pa.table(columns, schema=schema_of(FUNDING.dataset))


def slices(table, cuts):
    edges = [0, *sorted(min(cut, table.num_rows) for cut in cuts), table.num_rows]
    return [table.slice(a, b - a) for a, b in pairwise(edges)]


def assert_apart(gaps):
    for one, other in pairwise(gaps):
        assert one.end_ms <= other.start_ms


opens_had = st.sets(st.integers(0, 185)).map(sorted)
cuts_made = st.lists(st.integers(0, 200), max_size=5)


@settings(deadline=None)
@given(had=opens_had, stray=st.booleans(), until=st.integers(1, 186 * 4))
def test_candles_had_and_missing_are_those_wanted(had, stray, until):
    """Whatever candles are there: those of the window plus those of the gaps are the grid, once each."""
    until_ms = CANDLES.period.start_ms + until * HOUR_MS
    grid = CANDLES.opens(CANDLES.grid_end_ms)
    opens = [grid[at] for at in had]
    # One that opened off the grid proves nothing about the grid.
    rows = sorted({*opens, *([grid[3] + 1_694_789] if stray else [])})

    facts = facts_of(CANDLES, candles(rows)) if rows else Facts()
    gaps = gaps_in(CANDLES, facts, until_ms)

    wanted = list(CANDLES.opens(until_ms))
    there = [at for at in wanted if at in set(opens)]
    missing = [at for at in wanted for gap in gaps if gap.start_ms <= at < gap.end_ms]
    assert sorted(there + missing) == wanted
    assert [gap.rows for gap in gaps] == [
        sum(gap.start_ms <= at < gap.end_ms for at in grid) for gap in gaps
    ]
    assert_apart(gaps)
    assert facts.off_grid == stray
    assert facts.rows == len(rows)


@settings(deadline=None)
@given(had=opens_had, until=st.integers(0, 186 * 4))
def test_no_gap_reaches_beyond_what_is_wanted(had, until):
    """Nothing at or after the end is asked for, whatever later rows are there already."""
    until_ms = CANDLES.period.start_ms + until * HOUR_MS
    grid = CANDLES.opens(CANDLES.grid_end_ms)

    gaps = gaps_in(CANDLES, facts_of(CANDLES, candles([grid[at] for at in had])), until_ms)

    assert all(gap.end_ms <= until_ms for gap in gaps)
    assert sum(gap.rows for gap in gaps) <= len(CANDLES.opens(until_ms))


@pytest.mark.parametrize(
    "name", ["klines_BTCUSDT_1w_2025-03.csv", "klines_BTCUSDT_1mo_2025-03.csv"]
)
def test_long_candles_are_missing_until_they_are_there(name):
    """A candle that closes in another month is missing once it is closed, and no longer once it is had."""
    file = parse_file_name(name)
    opens = list(file.opens(file.grid_end_ms))
    last = opens[-1]

    rows = candles(opens[:-1])
    before = gaps_in(file, facts_of(file, rows), next_open_ms(file.series.interval, last) - 1)
    after = gaps_in(file, facts_of(file, rows), next_open_ms(file.series.interval, last))
    full = gaps_in(file, facts_of(file, candles(opens)), file.grid_end_ms)

    assert (before, full) == ([], [])
    assert [(gap.rows, gap.end_ms) for gap in after] == [(1, file.grid_end_ms)]


@pytest.mark.parametrize("month", ["2024-12", "2025-02"])
def test_rows_of_another_month_prove_nothing_about_this_one(month):
    """A file that holds another month's rows lacks all of its own."""
    other = parse_file_name(f"klines_BTCUSDT_4h_{month}.csv")

    gaps = gaps_in(
        CANDLES,
        facts_of(CANDLES, candles(list(other.opens(other.grid_end_ms)))),
        CANDLES.grid_end_ms,
    )

    assert gaps == [Gap(CANDLES.period.start_ms, CANDLES.period.end_ms, rows=186)]


# Ids and stamps that never fall back; many trades share a millisecond.
tapes = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=40).map(
    lambda steps: [
        (
            100 + sum(step[0] for step in steps[: at + 1]),
            TRADES.period.start_ms + 7 + sum(step[1] for step in steps[: at + 1]),
        )
        for at in range(len(steps))
    ]
)


@settings(deadline=None)
@given(tapes)
def test_trades_had_and_missing_are_those_wanted(tape):
    """Ids that are there plus ids of the gaps are all from first to last, once each; the edges stay open."""
    facts = facts_of(TRADES, trades(tape))
    gaps = gaps_in(TRADES, facts, TRADES.period.end_ms)

    inside = [gap for gap in gaps if gap.rows is not None]
    missing = [at for gap in inside for at in range(gap.after_id + 1, gap.before_id)]
    assert sorted([each[0] for each in tape] + missing) == list(range(tape[0][0], tape[-1][0] + 1))
    assert [gap.rows for gap in inside] == [h.before_id - h.after_id - 1 for h in inside]
    assert (gaps[0].rows, gaps[0].before_id) == (None, tape[0][0])
    assert (gaps[-1].rows, gaps[-1].after_id) == (None, tape[-1][0])
    assert gaps[0].start_ms == TRADES.period.start_ms
    assert gaps[-1].end_ms == TRADES.period.end_ms


@settings(deadline=None)
@given(tapes)
def test_the_gaps_of_trades_reach_into_the_milliseconds_on_both_sides(tape):
    """A missing trade may share the millisecond of its neighbour, so each gap holds both."""
    stamps = dict(tape)

    gaps = gaps_in(TRADES, facts_of(TRADES, trades(tape)), TRADES.period.end_ms)

    for gap in gaps:
        if gap.after_id is not None:
            assert gap.start_ms <= stamps[gap.after_id]
        if gap.before_id is not None:
            assert stamps[gap.before_id] < gap.end_ms


@settings(deadline=None)
@given(st.sets(st.integers(0, 92), min_size=1).map(sorted), st.integers(0, 46))
def test_funding_every_eight_hours_had_and_missing_are_those_wanted(had, late):
    """Events that are there plus those of the gaps are one every eight hours, late or not."""
    assume(len(had) > 1)
    start_ms = FUNDING.period.start_ms

    facts = facts_of(FUNDING, funding([start_ms + at * 8 * HOUR_MS + late for at in had]))
    gaps = gaps_in(FUNDING, replace(facts, pace_ms=8 * HOUR_MS), FUNDING.period.end_ms)

    wanted = range(start_ms, FUNDING.period.end_ms, 8 * HOUR_MS)
    missing = [at for at in wanted for gap in gaps if gap.start_ms <= at < gap.end_ms]
    assert sorted([wanted[at] for at in had] + missing) == list(wanted)
    for gap in gaps:
        if gap.rows is not None:
            assert gap.rows == sum(gap.start_ms <= at < gap.end_ms for at in wanted)
    assert_apart(gaps)


@pytest.mark.parametrize("pace", [1, 4, 8])
def test_the_pace_of_funding_is_read_off_the_events(pace):
    """A wait longer than those beside it hides events, whatever the exchange's interval is."""
    start_ms = FUNDING.period.start_ms
    events = [start_ms + at * pace * HOUR_MS for at in range(20)]
    lost = events[7:9]

    facts = facts_of(FUNDING, funding([at for at in events if at not in lost]))

    assert facts.gaps == (Gap(lost[0], events[9], rows=2),)
    assert facts.pace_ms == pace * HOUR_MS


def test_a_change_of_pace_is_no_gap():
    """Eight hours, then four, then eight again: every event is there."""
    start_ms = FUNDING.period.start_ms
    hours = [0, 8, 16, 24, 28, 32, 36, 40, 48, 56]

    facts = facts_of(FUNDING, funding([start_ms + hour * HOUR_MS for hour in hours]))

    assert facts.gaps == ()


def test_an_event_that_comes_sooner_than_the_pace_so_far_is_asked_for():
    """What is asked for after the last event begins before the next is due, since the pace may rise."""
    start_ms = FUNDING.period.start_ms
    facts = facts_of(FUNDING, funding([start_ms + at * 8 * HOUR_MS for at in range(10)]))

    [gap] = gaps_in(FUNDING, facts, start_ms + 5 * DAY_MS)

    assert gap.start_ms <= start_ms + (72 + 1) * HOUR_MS


@settings(deadline=None)
@given(had=opens_had, cuts=cuts_made)
def test_candles_in_any_blocks_give_the_same_facts(had, cuts):
    """Where a block ends proves nothing."""
    grid = CANDLES.opens(CANDLES.grid_end_ms)
    table = candles([grid[at] + (5 if at % 17 == 0 else 0) for at in had])

    assert facts_of(CANDLES, *slices(table, cuts)) == facts_of(CANDLES, table)


@settings(deadline=None)
@given(tape=tapes, cuts=cuts_made)
def test_trades_in_any_blocks_give_the_same_facts(tape, cuts):
    """Where a block of trades ends proves nothing."""
    table = trades(tape)

    assert facts_of(TRADES, *slices(table, cuts)) == facts_of(TRADES, table)


@settings(deadline=None)
@given(had=st.sets(st.integers(0, 700)).map(sorted), cuts=cuts_made)
def test_funding_in_any_blocks_gives_the_same_facts(had, cuts):
    """Where a block of funding events ends proves nothing."""
    table = funding([FUNDING.period.start_ms + at * HOUR_MS + at % 47 for at in had])

    assert facts_of(FUNDING, *slices(table, cuts)) == facts_of(FUNDING, table)


@pytest.mark.parametrize("file", [CANDLES, TRADES, FUNDING], ids=lambda file: file.name)
def test_a_file_that_is_not_there_is_one_gap(file):
    """Without rows all that is wanted is missing."""
    half = file.period.start_ms + DAY_MS // 2

    [gap] = gaps_in(file, Facts(), half)

    assert (gap.start_ms, gap.end_ms) == (file.period.start_ms, half)
    assert gap.rows == (3 if file is CANDLES else None)
    assert gaps_in(file, Facts(), file.period.start_ms) == []


def absence(start_hour, end_hour, evidence="rest", **ids):
    start_ms = CANDLES.period.start_ms
    return Absence(
        start_ms + start_hour * HOUR_MS,
        start_ms + end_hour * HOUR_MS,
        evidence,
        "2025-02-01",
        **ids,
    )


def test_an_answer_explains_the_part_of_a_gap_that_it_speaks_of():
    """What the exchange has not been heard about stays; its rows are counted anew."""
    start_ms = CANDLES.period.start_ms
    gap = Gap(start_ms, start_ms + 40 * HOUR_MS, rows=10)

    left = unexplained(CANDLES, [gap], [absence(8, 16), absence(30, 60)])

    assert [
        ((h.start_ms - start_ms) // HOUR_MS, (h.end_ms - start_ms) // HOUR_MS, h.rows) for h in left
    ] == [
        (0, 8, 2),
        (16, 30, 4),
    ]
    assert unexplained(CANDLES, [gap], [absence(0, 40)]) == []


def test_the_archives_silence_explains_no_gap():
    """Archives have been published cut short: their silence is no proof, and is not asked for twice."""
    start_ms = CANDLES.period.start_ms
    gap = Gap(start_ms, start_ms + 8 * HOUR_MS, rows=2)
    edge = Gap(TRADES.period.start_ms, TRADES.period.start_ms + 5)
    silence = Absence(edge.start_ms, edge.end_ms, "archive", "2025-02-01")

    assert unexplained(CANDLES, [gap], [absence(0, 8, "archive")]) == [gap]
    assert unasked(CANDLES, [gap], [absence(0, 8, "archive")]) == []
    assert unexplained(TRADES, [edge], [silence]) == [edge]
    assert unasked(TRADES, [edge], [silence]) == []


@pytest.mark.parametrize(
    ("ids", "is_explained"),
    [
        ((10, 20), True),
        ((9, 30), True),
        ((11, 20), False),
        ((10, 19), False),
        ((None, None), False),
    ],
)
def test_a_gap_in_ids_is_explained_by_ids_alone(ids, is_explained):
    """An answer about a stretch of time says nothing of ids that are missing in it."""
    at = to_ms(as_utc("2025-01-15T05:00"))
    gap = Gap(at, at + 1, rows=9, after_id=10, before_id=20)
    heard = Absence(at - 9, at + 9, "rest", "2025-02-01", after_id=ids[0], before_id=ids[1])

    assert unexplained(TRADES, [gap], [heard]) == ([] if is_explained else [gap])
