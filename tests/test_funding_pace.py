"""The pace of funding: what the archive's own column says, and what waits alone can tell."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from contextlib import ExitStack
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.binance.parse import lines_of_csv, lines_of_json
from ares_notebook.model.datasets import FUTURES
from ares_notebook.model.facts import Facts, Gap
from ares_notebook.model.files import Series, parse_file_name
from ares_notebook.model.gaps import gaps_in
from ares_notebook.model.measure import Measure
from ares_notebook.model.rows import Lines
from ares_notebook.model.time import DAY_MS, as_utc, to_ms

DAY = 1 / 365.25
HOUR_MS = 3_600_000
FILE = parse_file_name("futures_BTCUSDT_2025-01.csv")
MS = FILE.start_ms
HOURS = 31 * 24
NAME = "BTCUSDT-fundingRate-2025-01"


def month(*changes, without=()):
    """Hours of a month's events, each with the pace by which it was due: from an hour on, every so many."""
    events = []
    for (start, pace), end in zip(
        changes, [*(each[0] for each in changes[1:]), HOURS], strict=True
    ):
        for hour in (hour for hour in range(start, end) if hour % pace == 0):
            is_last_of_old = hour == start and events and hour - events[-1][0] == events[-1][1]
            events.append((hour, events[-1][1] if is_last_of_old else pace))
    return [(hour, pace) for hour, pace in events if hour not in without]


# What the exchange has done, each a whole month: hourly to 14:00 and then 16:00, 20:00 (TREEUSDT);
# 4 h, then 2 h; 1 h, then 4 h, and back; hours with one wait of four (OMGUSDT); extra payments for
# half a day among eight hours; one change at each edge.
CHANGES = {
    "1 to 4": month((0, 1), (30 * 24 + 15, 4)),
    "4 to 2": month((0, 4), (13 * 24 + 4, 2)),
    "8 to 4": month((0, 8), (100, 4)),
    "8 to 1 off its grid": month((0, 8), (107, 1)),
    "1 to 8": month((0, 1), (107, 8)),
    "1, 4, 1": month((0, 1), (200, 4), (300, 1)),
    "half a day of hours": month((0, 8), (112, 1), (124, 8)),
    "at the head": month((0, 8), (7, 1)),
    "at the tail": month((0, 1), (HOURS - 8, 8)),
    "12 hours": month((0, 8), (240, 12)),
}
LAST = {"at the tail": 8}
# Among hours one wait of four, of which the column tells.
CHANGES["one wait of four"] = [
    (hour, 4 if hour == 304 else pace) for hour, pace in month((0, 1), without=(301, 302, 303))
]
# The column may speak of the time before an event, as above, or of that after it.
AFTER = {
    name: [
        (hour, pace)
        for (hour, _), (_, pace) in pairwise([*events, (HOURS, LAST.get(name, events[-1][1]))])
    ]
    for name, events in CHANGES.items()
}
MONTHS = [
    pytest.param(events, id=f"{name}, {when}")
    for when, months in (("told before", CHANGES), ("told after", AFTER))
    for name, events in months.items()
    # Of the time behind the last event a column that speaks of that before it says nothing,
    # and one that speaks of the time ahead does not know of a change within it.
    if (name, when)
    not in {
        ("at the tail", "told before"),
        ("8 to 1 off its grid", "told after"),
        ("at the head", "told after"),
    }
]
# By waits alone an end of the pace so far, and a wait among equal ones, look like rows that are missing.
PLAIN_BY_REST = [
    name for name in CHANGES if name not in ("one wait of four", "12 hours", "at the tail")
]


def text_of(events):
    """A month of the archive."""
    lines = [f"{MS + hour * HOUR_MS + hour % 9},{pace},0.0001{hour:04}\n" for hour, pace in events]
    return "calc_time,funding_interval_hours,last_funding_rate\n" + "".join(lines)


@pytest.fixture
def market(tmp_path):
    """An exchange that has these events by REST and, where others are given, those by the archive."""
    with ExitStack() as stack:

        def serve(by_rest, by_archive=None):
            folder = tmp_path / "recorded"
            for name, text in (
                ("funding/BTCUSDT-fundingRate-2025.csv", text_of(by_rest)),
                (
                    "klines/spot/BTCUSDT/1d/BTCUSDT-1d-2025-01.csv",
                    f"{MS},1,1,1,1,1,{MS + DAY_MS - 1},1,1,1,1,0\n",
                ),
            ):
                (folder / name).parent.mkdir(parents=True)
                (folder / name).write_text(text)
            exchange = stack.enter_context(DemoExchange(folder))
            if by_archive is not None:
                packed = io.BytesIO()
                with zipfile.ZipFile(packed, "w") as archive:
                    archive.writestr(f"{NAME}.csv", text_of(by_archive))
                words = f"{hashlib.sha256(packed.getvalue()).hexdigest()}  {NAME}.zip".encode()
                exchange.fail(f"{NAME}.zip.CHECKSUM$", times=None, replace_body=words)
                exchange.fail(f"{NAME}.zip$", times=None, replace_body=packed.getvalue())
            return exchange.settings(
                cache_dir=tmp_path / "cache", retry_delay_seconds=0, progress=False
            )

        yield serve


def facts_of(events, *, reported=True):
    """What events prove, with and without the archive's column."""
    measure = Measure(FILE)
    hours = np.array([hour for hour, _ in events], np.int64)
    paces = np.array([pace for _, pace in events], np.int64)
    stamps = MS + hours * HOUR_MS
    measure.add(stamps // HOUR_MS, stamps, paces if reported else None)
    return measure.facts()


async def fetch(settings, source):
    own = settings.replace(source=source, cache_dir=settings.cache_dir / source)
    report = await ares.download_futures_data("BTCUSDT", 31 * DAY, end="2025-02-01", settings=own)
    return report, own


@pytest.mark.parametrize("source", ["auto", "archive"])
@pytest.mark.parametrize("events", MONTHS)
async def test_a_month_that_changes_its_pace_is_whole(
    exchange, settings, publish_anew, events, source
):
    """Whatever way the pace changes, a month of the archive is complete, with no gap and nothing odd."""
    publish_anew(NAME, text_of(events))
    exchange.fail("v1/fundingRate", times=None, status=503)

    report, own = await fetch(settings, source)
    gaps = ares.find_gaps("BTCUSDT", settings=own)
    found = ares.validate_cache("BTCUSDT", settings=own)

    assert report.complete
    assert list(gaps["reason"]) == []
    assert not [finding for finding in found.findings if "funding" in str(finding)]
    assert (own.cache_dir / FILE.name).read_text().count("\n") == len(events) + 1


@pytest.mark.parametrize(
    "lost",
    [[(14 * 24, 8)], [(16, 8)], [(HOURS - 8, 8)], [(0, 8)], [(112 + 8 * at, 8) for at in range(4)]],
)
async def test_what_the_pace_wants_is_asked_for(market, lost):
    """An event that is due by the column and not in the zip is asked of REST, at the edges too."""
    whole = month((0, 8))
    settings = market(whole, [each for each in whole if each not in lost])

    report, own = await fetch(settings, "auto")
    by_archive, alone = await fetch(settings, "archive")

    assert report.complete
    assert (own.cache_dir / FILE.name).read_text().count("\n") == len(whole) + 1
    assert not by_archive.complete
    assert len(lost) == sum(ares.find_gaps("BTCUSDT", settings=alone)["missing"])


async def test_the_pace_that_was_told_outlives_a_patch(market):
    """Where REST has filled a gap of the zip, the waits that the column explains are no gaps still."""
    whole = CHANGES["one wait of four"]
    settings = market(whole, [each for each in whole if each[0] != 100])

    report, own = await fetch(settings, "auto")

    assert report.complete
    assert (own.cache_dir / FILE.name).read_text().count("\n") == len(whole) + 1
    assert list(ares.find_gaps("BTCUSDT", settings=own)["reason"]) == []


@pytest.mark.parametrize("name", PLAIN_BY_REST)
async def test_by_rest_a_change_of_pace_hides_nothing(market, name):
    """Where REST alone speaks, a change of the pace is no gap, and the month is complete."""
    report, own = await fetch(market(CHANGES[name]), "rest")
    gaps = ares.find_gaps("BTCUSDT", settings=own)

    assert report.complete
    assert list(gaps["reason"]) == []


def test_both_neighbours_must_agree():
    """Without the column a wait hides events only beside two that are equal and shorter, or if it is over 8 hours."""

    def gaps(*hours):
        return [
            ((gap.start_ms - MS) // HOUR_MS, (gap.end_ms - MS) // HOUR_MS, gap.rows)
            for gap in facts_of([(hour, 0) for hour in hours], reported=False).gaps
        ]

    assert gaps(0, 4, 12, 16) == [(8, 12, 1)]
    assert gaps(0, 4, 12) == []
    assert gaps(0, 8, 10) == []
    assert gaps(0, 4, 10, 12) == []
    assert gaps(12, 13, 14, 16, 20) == []
    assert gaps(0, 1, 2, 6, 7, 8) == [(3, 6, 3)]
    assert gaps(0, 24) == [(8, 24, 2)]
    assert gaps(0, 4, 16, 17) == [(5, 16, 1)]


@pytest.mark.parametrize("pace", [1, 2, 4, 8])
def test_the_edges_are_counted_by_their_own_pace(pace):
    """Head and tail are counted by the grid of their own pace, and nothing is missing where nothing is due."""
    events = [(hour, pace) for hour in range(48, 96) if hour % pace == 0]
    facts = facts_of(events)
    last = events[-1][0]

    def gaps(end_hour, facts=facts):
        return [gap.rows for gap in gaps_in(FILE, facts, MS + end_hour * HOUR_MS)]

    assert (facts.first_pace_ms, facts.pace_ms) == (pace * HOUR_MS, pace * HOUR_MS)
    assert gaps(96) == [48 // pace]
    assert gaps(last + pace) == [48 // pace]
    assert gaps_in(FILE, facts, MS + (last + pace) * HOUR_MS + 1)[-1].rows == 1
    assert gaps(96 + 24) == [48 // pace, 24 // pace]
    assert facts_of(events, reported=False).pace_ms == facts.pace_ms


def test_an_edge_without_a_pace_is_left_open():
    """Where nothing tells the pace, whether an event is missing at an edge is asked, not counted."""
    facts = facts_of([(8, 0), (16, 0), (20, 0)], reported=False)

    assert (facts.first_pace_ms, facts.pace_ms) == (None, None)
    assert [gap.rows for gap in gaps_in(FILE, facts, MS + 24 * HOUR_MS)] == [None, None]


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(8, 60)), min_size=1, max_size=6),
    st.data(),
)
def test_a_pace_that_is_told_leaves_no_false_gap_and_no_true_one(steps, data):
    """However the pace changes, nothing is missing of all events; of the ones between two of one pace each is."""
    events, start = [], 0
    for pace, length in steps:
        events += [(hour, pace) for hour in range(start, start + length) if hour % pace == 0]
        start += length
    assert facts_of(events).gaps == ()
    inner = [
        at
        for at in range(1, len(events) - 1)
        if {pace for _, pace in events[at - 1 : at + 2]} == {events[at][1]}
        and events[at + 1][0] - events[at - 1][0] == 2 * events[at][1]
    ]
    if inner:
        lost = data.draw(st.sampled_from(inner))
        [gap] = facts_of(events[:lost] + events[lost + 1 :]).gaps
        at_ms = MS + events[lost][0] * HOUR_MS
        assert gap.start_ms <= at_ms < gap.end_ms
        assert gap.rows == 1


def test_the_hours_go_with_their_lines():
    """The pace that the archive tells stays with its row when rows are left out; REST tells none."""
    lines = lines_of_csv(
        FUTURES, text_of([(0, 8), (8, 8), (12, 4), (16, 4)]).partition("\n")[2].encode(), "x"
    )
    exponent = lines_of_csv(FUTURES, f"{MS},8,1.8E-7\n{MS + 8 * HOUR_MS},4,0.1\n".encode(), "x")
    body = json.dumps(
        [
            {"symbol": "BTCUSDT", "fundingTime": MS + at * 8 * HOUR_MS, "fundingRate": "0.1"}
            for at in (0, 1)
        ]
    ).encode()
    by_rest = lines_of_json(Series.of("futures", "BTCUSDT"), body, "x")

    assert lines.between(MS + 8 * HOUR_MS, MS + 16 * HOUR_MS).hours.tolist() == [8, 4]
    assert lines.only(np.array([True, False, False, True])).hours.tolist() == [8, 4]
    assert lines.after(lines.only(np.array([True, False, False, False]))).hours.tolist() == [
        8,
        4,
        4,
    ]
    assert exponent.hours.tolist() == [8, 4]
    assert not by_rest.hours.any()
    assert Lines.none().hours is None


def test_rows_that_are_not_there_say_nothing():
    """Without rows there is no pace, and the whole period is one gap."""
    assert Facts().first_pace_ms is None
    assert gaps_in(FILE, Facts(), FILE.end_ms) == [Gap(FILE.start_ms, FILE.end_ms)]


@pytest.mark.parametrize(
    ("hours", "odd"),
    [
        ([13, 14, 16, 20], 0),
        ([0, 4, 6, 8, 10], 0),
        ([0, 8, 9, 10, 11, 12, 16], 0),
        ([0, 3, 4], 0),
        ([0, 5, 8], 0),
        ([1, 3], 1),
        ([2, 5], 1),
        ([6, 9], 1),
        ([0, 8, 15, 23], 1),
    ],
)
async def test_a_wait_is_odd_only_where_no_pace_explains_it(market, hours, odd):
    """What goes from one grid of 1, 2, 4 or 8 hours to the next is no finding; other waits of up to 8 hours are."""
    _, own = await fetch(market([(hour, 0) for hour in hours]), "rest")

    found = ares.validate_cache("BTCUSDT", settings=own).findings

    assert sum(finding.count for finding in found if finding.check == "funding interval") == odd


def test_months_are_made_as_they_are_meant():
    """The events of these tests are those of a whole month of January."""
    assert len(month((0, 8))) == 93
    assert [hour for hour, _ in CHANGES["1 to 4"]][-3:] == [734, 736, 740]
    assert to_ms(as_utc("2025-01-01")) == MS
