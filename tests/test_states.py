"""What is to be done with a cache file: each state of it, with each kind of what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

from ares_notebook.cache.entry import CacheEntry, Source
from ares_notebook.download.decide import COUNTED, STATES, TABLE, decide, source_instead
from ares_notebook.model.files import CacheFile, parse_file_name
from ares_notebook.model.gaps import Absence
from ares_notebook.model.measure import Measure

HOUR_MS = 3_600_000
AT = "2026-02-01T00:00:00+00:00"
CANDLES = parse_file_name("klines_BTCUSDT_1h_2025-01.csv")
TRADES = parse_file_name("aggtrades_BTCUSDT_2025-01-15.csv")
START = CANDLES.period.start_ms
END = CANDLES.grid_end_ms
PAGE = Path(__file__).parent.parent / "docs" / "states.md"
KINDS = ("nothing", "explained", "unconfirmed", "weaker", "tail", "inside", "edges", "all")


def measured(file: CacheFile, keys: list[int], stamps_ms: list[int]) -> CacheEntry:
    """A stored file of these rows."""
    measure = Measure(file)
    measure.add(np.array(keys, np.int64), np.array(stamps_ms, np.int64))
    return CacheEntry(file, on_disk="x", has_provenance=True, facts=measure.facts())


def candles(*hours: int) -> CacheEntry:
    """A stored month with these hours of it."""
    opens = [START + hour * HOUR_MS for hour in hours]
    return measured(CANDLES, [each * 1000 for each in opens], opens)


def heard(first_hour: int, end_hour: int, evidence: str = "rest") -> tuple[Absence]:
    """An answer about these hours."""
    return (Absence(START + first_hour * HOUR_MS, START + end_hour * HOUR_MS, evidence, AT),)


class Case(NamedTuple):
    """An entry, and what is wanted of it."""

    entry: CacheEntry
    until_ms: int = END
    source: Literal["auto", "archive", "rest"] = "auto"


TORN = candles(*range(5), *range(8, 744))
SHORT = candles(*range(700))
DAY = measured(TRADES, [7, 8], [TRADES.start_ms + HOUR_MS, TRADES.start_ms + 2 * HOUR_MS])
WITH_ROWS = {
    "nothing": Case(candles(*range(744))),
    "explained": Case(replace(TORN, absences=heard(5, 8))),
    "unconfirmed": Case(replace(TORN, absences=heard(5, 8, "archive")), END, "archive"),
    "weaker": Case(replace(TORN, absences=heard(5, 8, "archive"))),
    "tail": Case(SHORT),
    "inside": Case(TORN),
    "edges": Case(DAY, TRADES.grid_end_ms),
}


def altered(entry: CacheEntry) -> CacheEntry:
    """The same, where the receipt tells of ten more rows, up to the end."""
    return replace(
        entry,
        is_altered=True,
        recorded_rows=entry.facts.rows + 10,
        recorded_end_ms=entry.file.grid_end_ms,
    )


def of_no_rows(empty: CacheEntry, with_rows: CacheEntry) -> dict[str, Case]:
    """The kinds of what is missing of a file whose rows do not count, or that has none."""
    return {
        "nothing": Case(empty, START),
        "explained": Case(replace(with_rows, absences=heard(0, 10)), START + 10 * HOUR_MS),
        "unconfirmed": Case(replace(with_rows, absences=heard(0, 744, "archive")), END, "archive"),
        "weaker": Case(replace(with_rows, absences=heard(0, 10, "archive"))),
        "all": Case(with_rows),
    }


NONE = CacheEntry(CANDLES)
FIVE = candles(*range(5))
SALVAGED = (Source("salvaged", CANDLES.name, AT),)
BROKEN = CacheEntry(CANDLES, on_disk="x", problem="it is torn")
DELETED = replace(NONE, recorded_rows=5)
SILENT = replace(NONE, absences=heard(0, 5))
CASES = {
    "restorable": {
        kind: case._replace(entry=altered(case.entry))
        for kind, case in WITH_ROWS.items()
        if kind not in ("nothing", "explained", "unconfirmed")
    },
    "stray": {
        "nothing": Case(replace(FIVE, is_altered=True, absences=heard(0, 744)), START),
        "explained": Case(replace(FIVE, is_altered=True, absences=heard(0, 744))),
    },
    "damaged": of_no_rows(BROKEN, BROKEN),
    "altered": of_no_rows(
        replace(NONE, on_disk="x", is_altered=True), replace(FIVE, is_altered=True)
    ),
    "salvaged": of_no_rows(replace(NONE, sources=SALVAGED), replace(FIVE, sources=SALVAGED)),
    "unverified": of_no_rows(replace(NONE, on_disk="x"), replace(FIVE, has_provenance=False)),
    "stored": WITH_ROWS,
    "deleted": of_no_rows(DELETED, DELETED),
    "empty": {**of_no_rows(SILENT, NONE), "all": Case(SILENT)},
    "absent": {"nothing": Case(NONE, START), "all": Case(NONE)},
}
# What a run does, by what is missing; a stray or damaged file is put aside in any case.
ACTIONS = {
    **{kind: {"skip"} for kind in ("nothing", "explained", "unconfirmed")},
    **{kind: {"extend"} for kind in ("tail", "inside", "edges")},
    "weaker": {"extend", "fetch"},
    "all": {"fetch"},
}
CELLS = [(state, kind) for state, kinds in TABLE.items() for kind in kinds]


def test_there_is_a_case_for_each_cell():
    """The table has the states in their order, and each of its cells has a case here and no other."""
    assert list(TABLE) == list(STATES)
    assert [(state, kind) for state, kinds in CASES.items() for kind in kinds] == CELLS


@pytest.mark.parametrize(("state", "kind"), CELLS)
def test_what_is_done_is_what_the_table_says(state, kind):
    """A file in a state, of which something is missing, gets the action and the reason of its cell."""
    case = CASES[state][kind]
    action, reason = TABLE[state][kind]

    step = decide(case.entry, case.until_ms, case.source)

    assert (step.action, step.reason) == (
        action,
        reason.format(
            reasons="confirmed absent upstream",
            tail=np.datetime64(START + 700 * HOUR_MS, "ms").item(),
            rows=3,
            gaps=1,
        ),
    )
    assert action in ACTIONS[kind] or state in ("stray", "damaged")
    assert (action == "extend") <= (state in COUNTED)
    assert bool(step.gaps) == (kind not in ("nothing", "explained", "unconfirmed"))


def test_the_page_shows_the_table():
    """docs/states.md has the table, a line for each state and kind, as it is in the code."""
    lines = ["| state | missing | action | reason |", "|---|---|---|---|"]
    for state, kinds in TABLE.items():
        for kind, (action, reason) in kinds.items():
            lines.append(
                f"| {state} | {kind} | {action} | {reason.replace('{reasons}', 'the proven reason')} |"
            )
    page = PAGE.read_text(encoding="utf-8")

    assert "\n".join(lines) in page
    assert [kind for kind in KINDS if f"*{kind}*" not in page] == []


@pytest.mark.parametrize(
    ("name", "source", "instead"),
    [
        ("aggtrades_BTCUSDT_2025-01-15.csv", "daily archive", ("monthly archive",)),
        ("aggtrades_BTCUSDT_2025-01-15.csv", "monthly archive", ()),
        ("klines_BTCUSDT_1h_2025-01.csv", "daily archive", ()),
        ("futures_BTCUSDT_2025-01.csv", "monthly archive", ()),
    ],
)
def test_what_is_asked_instead_of_a_zip_that_is_not_published(name, source, instead):
    """Only for a day of trades another zip is asked for where its own is not published: that of its month."""
    assert source_instead(parse_file_name(name), source) == instead
