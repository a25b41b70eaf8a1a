"""How a file stands, in a word."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

import ares_notebook as ares
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.gap_reasons import REASONS, STATES, state_of
from ares_notebook.model.facts import Facts, Trouble
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.gaps import Absence

DAY = 1 / 365.25
MONTH = parse_file_name("klines_BTCUSDT_1d_2025-02.csv")
START, END = MONTH.period.start_ms, MONTH.period.end_ms
DAY_MS = 86_400_000
NOW = END + 30 * DAY_MS
WHEN = "2025-06-01T00:00:00+00:00"
FAILED = Trouble("failed", "503", WHEN)


def having(rows: int, **what: object) -> CacheEntry:
    """A month of days of which the first *rows* are there."""
    facts = Facts()
    if rows:
        last = START + (rows - 1) * DAY_MS
        facts = Facts(rows, START, last, START, last + DAY_MS)
    return CacheEntry(MONTH, facts=facts, **what)


def state(entry: CacheEntry, now_ms: int = NOW) -> str:
    """How a file stands, with its gaps up to the end of the month."""
    gaps = entry.gaps(END)
    return state_of(entry, gaps, entry.unexplained(END), now_ms)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (having(28), "complete"),
        (having(20), "not downloaded"),
        (having(20, trouble=FAILED), "failed"),
        (having(20, trouble=replace(FAILED, reason="not yet published")), "not yet published"),
        (having(20, trouble=replace(FAILED, reason="unheard of")), "failed"),
        (having(0, problem="row 3 is not a number"), "corrupt, quarantined"),
        (having(20, absences=(Absence(START, END, "rest", WHEN),)), "confirmed absent upstream"),
        (having(20, absences=(Absence(START, END, "archive", WHEN),)), "unconfirmed"),
        (having(20, absences=(Absence(START, END, "late history", WHEN),)), "unconfirmed"),
        (having(0, absences=(Absence(START, END, "before listing", WHEN),)), "unconfirmed"),
        (having(0, absences=(Absence(START, END, "first rows", WHEN),)), "before listing"),
        (having(20, absences=(Absence(START, END, "first trade", WHEN),)), "before listing"),
        (having(20, absences=(Absence(START, END, "last row", WHEN),)), "after delisting"),
        (having(0, absences=(Absence(START, END, "between listings", WHEN),)), "between listings"),
        (having(28, is_altered=True), "corrupt, quarantined"),
    ],
)
def test_a_state_is_the_first_thing_to_be_said_of_a_file(entry, expected):
    """What is open comes first, then what the exchange does not have, else it is complete."""
    assert state(entry) == expected
    assert expected in STATES


def test_what_is_open_comes_before_what_is_explained():
    """A gap that nobody explained makes the state, however many are explained."""
    reported = Absence(START + 20 * DAY_MS, END - DAY_MS, "rest", WHEN)

    assert state(having(20, absences=(reported,))) == "not downloaded"


def test_answers_about_other_rows_do_not_count():
    """An answer about rows that are there by now says nothing of those that are missing."""
    stale = Absence(START, START + DAY_MS, "rest", WHEN)
    listing = Absence(START + 20 * DAY_MS, END, "first rows", WHEN)

    assert state(having(20, absences=(stale, listing))) == "before listing"


def test_rows_of_the_future_are_not_published():
    """Where nothing lacks but what lies after now, the rest is not yet published."""
    now_ms = START + 20 * DAY_MS

    assert state(having(20), now_ms) == "not yet published"
    assert state(having(20), now_ms + 1) == "not downloaded"


def test_states_are_complete_and_the_reasons_of_files():
    """A file can have any reason of a gap but quiet, in which nothing is missing."""
    assert set(STATES) == {"complete", *REASONS} - {"quiet"}


async def test_coverage_tells_the_state_of_each_file(exchange, settings):
    """In a real cache: complete, a halt, a listing, a gap that failed, a damaged file, a running month."""
    ask = {"end": "2025-03-10", "settings": settings}
    await ares.download_klines_data("BTCUSDT", "1h", 2, **ask)
    await ares.download_klines_data("SOLUSDT", "1d", 0.3, end="2020-09-01", settings=settings)
    damaged = settings.cache_dir / "klines_BTCUSDT_1h_2024-07.csv"
    damaged.write_text("timestamp,open\nnonsense,1\n")
    holed = settings.cache_dir / "klines_BTCUSDT_1h_2024-09.csv"
    lines = holed.read_bytes().splitlines(keepends=True)
    holed.write_bytes(b"".join(lines[:300] + lines[400:]))
    exchange.fail(".", times=None, status=503)
    hasty = settings.replace(max_retries=0)
    assert not await ares.repair_gaps("BTCUSDT", start="2024-09-01", settings=hasty)
    states = ares.coverage(settings=settings).set_index("file")["state"]

    assert states["klines_BTCUSDT_1h_2024-08.csv"] == "complete"
    assert states["klines_BTCUSDT_1h_2023-03.csv"] == "confirmed absent upstream"
    assert states["klines_SOLUSDT_1d_2020-06.csv"] == "before listing"
    assert states["klines_SOLUSDT_1d_2020-08.csv"] == "before listing"
    assert states["klines_BTCUSDT_1h_2024-07.csv"] == "corrupt, quarantined"
    assert states["klines_BTCUSDT_1h_2024-09.csv"] == "failed"
    assert states["klines_BTCUSDT_1h_2025-03.csv"] in ("not downloaded", "failed")
    assert set(states) <= set(STATES)


async def test_a_day_without_a_trade_in_some_hours_is_complete(settings):
    """Quiet hours of a day of trades are no state: nothing is missing in them."""
    await ares.download_agg_trades_data("BTCUSDT", 2 * DAY, end="2025-03-15", settings=settings)
    table = ares.coverage(settings=settings)

    assert "quiet" in set(ares.find_gaps("BTCUSDT", settings=settings)["reason"])
    assert table["state"].tolist() == ["complete", "complete"]
