"""The benchmarks' own arithmetic: nothing here is timed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import results, rows, truth
from benchmarks.cases import CASES, SMALL, Case
from benchmarks.contenders import Contender
from benchmarks.contest import WrongRows, carry_out
from benchmarks.figures import Figures
from benchmarks.measure import Failed, in_turn, median, run
from benchmarks.targets import reached
from benchmarks.tasks import months_of_candles, pages_of_seconds

PROGRAMS = Path(__file__).parents[1] / "benchmarks" / "programs"
LACKING = """
import json, pathlib, sys, urllib.request
task = json.loads(sys.argv[1])
query = "symbol=BTCUSDT&interval=1s&limit=999&startTime=1740787200000"
with urllib.request.urlopen(f"{task['url']}/api/v3/klines?{query}") as answer:
    rows = json.load(answer)
out = pathlib.Path(task["out"])
out.mkdir()
(out / "all.csv").write_text("".join(",".join(map(str, row)) + "\\n" for row in rows))
"""
KEYS = np.arange(100, 105)
VALUES = np.arange(10).reshape(5, 2)


def took(seconds: float, **reported: Any) -> dict[str, Any]:
    """What is kept of one run."""
    return {
        "seconds": seconds,
        "cpu_seconds": seconds,
        "peak_bytes": 2**20,
        "told": reported,
        "asked": {"requests": 3, "paths": {}, "statuses": {}, "spent": []},
    }


def one(*runs: dict[str, Any], is_peer: bool = False, **more: Any) -> dict[str, Any]:
    """What is kept of one contender."""
    return {
        "says": "", "version": "", "is_peer": is_peer, "parses": True, "runs": list(runs), **more,
    }  # fmt: skip


def kept(**contenders: dict[str, Any]) -> dict[str, Any]:
    """Figures of the case of candles alone; ``floor`` stands for the floor, ``ours`` for us."""
    names = {"ours": "ares_notebook", "floor": "the floor"}
    named = {names.get(name, name): each for name, each in contenders.items()}
    sizes = {"10": {"rows": 5, "count": 1, "contenders": named}}
    case = {"title": "Candles", "about": "Some.", "main": "10", "measured": "", "rounds": 1,
            "extra": {}, "sizes": sizes}  # fmt: skip
    return {"cases": {"klines": {**case, "machine": {"cores": "2"}}}}


# --- measuring ---


@pytest.mark.parametrize(("values", "middle"), [([3, 1, 2], 2), ([4, 1, 2, 3], 2.5), ([7], 7)])
def test_the_median_is_the_middle(values, middle):
    """Of an odd number the middle one, of an even one the mean of two, in any order."""
    assert median(values) == middle


def test_of_nothing_there_is_no_median():
    """No run, no figure: that is an error and not a nought."""
    with pytest.raises(ValueError, match="nothing"):
        median([])


def test_contenders_run_in_turn():
    """A B A B, never A A B B."""
    assert list(in_turn(["A", "B"], 2)) == [(0, "A"), (0, "B"), (1, "A"), (1, "B")]


def test_a_whole_process_is_measured(tmp_path):
    """What a program tells in its last line is kept, and its memory is its own."""
    program = "x = bytearray(200 << 20)\nprint('so far')\nprint('{\"rows\": 5}')"

    taken = run([sys.executable, "-c", program], folder=tmp_path, environment={})

    assert taken.told == {"rows": 5}
    assert taken.peak_bytes > 200 << 20
    assert taken.cpu_seconds > 0


def test_a_program_that_fails_says_why(tmp_path):
    """A bad end is an error with the program's last words."""
    with pytest.raises(Failed, match="ended with 3:\nno rows"):
        run([sys.executable, "-c", "import sys; sys.stderr.write('no rows'); sys.exit(3)"],
            folder=tmp_path, environment={})  # fmt: skip


def test_ours_that_fails_ends_the_benchmark(tmp_path):
    """If one of ours ends badly no figures are kept."""
    case = Case("x", "X", "", (Contender("ares_notebook", "-c import no_such"),), {"1": {}}, "1")

    with pytest.raises(Failed, match="no_such"):
        carry_out(case, tmp_path, 1)


def test_ours_that_lacks_a_row_ends_the_benchmark(tmp_path):
    """Of a thousand candles that the server has one is lacking: no figures are kept."""
    program = tmp_path / "lacking.py"
    program.write_text(LACKING)
    case = Case(
        "x", "X", "", (Contender("ares_notebook", str(program), leaves="raw"),),
        {"1": pages_of_seconds(1)}, "1", market={"now": "2025-03-20T00:00:00+00:00"},
    )  # fmt: skip

    with pytest.raises(WrongRows, match="'correct': 999, 'wrong': 0, 'missing': 1"):
        carry_out(case, tmp_path, 1)


# --- correct rows ---


def test_all_rows_right_in_any_order():
    """The order in which rows are delivered is free."""
    counted = rows.count(KEYS, VALUES, KEYS[::-1], VALUES[::-1])

    assert counted == rows.Count(5, correct=5, wrong=0, missing=0, doubled=0, beyond=0)


def test_a_wrong_value_is_seen():
    """A row with one other value is wrong, neither correct nor missing."""
    delivered = VALUES.copy()
    delivered[2, 1] += 1

    counted = rows.count(KEYS, VALUES, KEYS, delivered)

    assert counted == rows.Count(5, correct=4, wrong=1, missing=0, doubled=0, beyond=0)


def test_a_missing_row_is_seen():
    """A row that was not delivered is missing, at the end as well."""
    counted = rows.count(KEYS, VALUES, KEYS[:-1], VALUES[:-1])

    assert counted == rows.Count(5, correct=4, wrong=0, missing=1, doubled=0, beyond=0)


def test_a_doubled_row_is_seen():
    """A row that was delivered twice is correct once, and doubled."""
    twice = [0, 1, 2, 2, 3, 4]

    counted = rows.count(KEYS, VALUES, KEYS[twice], VALUES[twice])

    assert counted == rows.Count(5, correct=5, wrong=0, missing=0, doubled=1, beyond=0)


def test_rows_that_nobody_asked_for_are_no_fault():
    """What lies before or after the truth is beyond it."""
    keys, values = np.array([99, *KEYS, 200]), np.zeros((7, 2), int)
    values[1:-1] = VALUES

    counted = rows.count(KEYS, VALUES, keys, values)

    assert counted == rows.Count(5, correct=5, wrong=0, missing=0, doubled=0, beyond=2)


def test_a_right_value_at_a_wrong_time_is_not_correct():
    """A row of the first one's values under a key before it stands for nothing."""
    keys = np.array([99, *KEYS[1:]])

    counted = rows.count(KEYS, VALUES, keys, VALUES)

    assert counted == rows.Count(5, correct=4, wrong=0, missing=1, doubled=0, beyond=1)


def test_nothing_delivered_is_all_missing():
    """Who leaves nothing has no correct row."""
    counted = rows.count(KEYS, VALUES, np.empty(0, int), np.empty((0, 2), int))

    assert counted == rows.Count(5, correct=0, wrong=0, missing=5, doubled=0, beyond=0)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("cache", "timestamp,open,high,low,close,volume\n2025-01-01 00:00:00,0.10,2,3,4,0.00000001\n"),
        ("raw", "1735689600000000,0.10000000,2.0,3.0,4.0,1e-8,1735689659999999,9,1,1,1,0\n"),
        ("raw", "1735689600000,0.1,2.0,3.0,4.0,0.00000001\n"),
        ("named", "open_time,open,high,low,close,volume,ignore\n1735689600000000,0.1,2,3,4,0.00000001,0\n"),
    ],
    ids=["cache", "archive", "list", "named"],
)  # fmt: skip
def test_forms_of_one_candle_are_alike(tmp_path, form, text):
    """The cache's text, the archive's microseconds and a list's floats are the same candle."""
    (tmp_path / "klines.csv").write_text(text)

    [(keys, values)] = rows.READERS[form](tmp_path, "klines")

    assert keys.tolist() == [1_735_689_600_000]
    assert values.tolist() == [[10_000_000, 200_000_000, 300_000_000, 400_000_000, 1]]


@pytest.mark.parametrize(("cell", "units"), [("0.1", 10**7), ("7", 7 * 10**8), ("0.00000001", 1)])
def test_the_truth_has_no_floats(cell, units):
    """A decimal is a whole number of units of the eighth decimal."""
    assert truth.whole(cell) == units


# --- the page ---


def on_two_cores(**contenders: dict[str, Any]) -> dict[str, Any]:
    """Figures of the candles on one core and on two, alike."""
    case = kept(**contenders)["cases"]["klines"]
    sized = case["sizes"]["10"]
    return {"cases": {"cores": {**case, "main": "2", "sizes": {"1": sized, "2": sized}}}}


def test_a_target_is_met_or_missed_by_the_figures():
    """1.5 times the floor misses 1.4 times in seconds, and meets 1.6 times in processor time, and 0.75 of a rival is first."""
    figures = on_two_cores(
        ours=one(took(9), took(1.5), took(1)), floor=one(took(1)), rival=one(took(2), is_peer=True)
    )

    assert [(each.came, each.is_met) for each in reached(Figures(figures["cases"]))] == [
        ("1.5 × the floor", False),
        ("1.5 × the floor", True),
        ("0.75 × rival", True),
    ]


def test_who_was_measured_at_every_size_is_shown_so():
    """The page has the seconds of each contender at each size, and how many times the floor's they are."""
    text = results.page(on_two_cores(ours=one(took(1.5)), floor=one(took(1))), "")

    assert "|  | 1 | 2 |" in text
    assert "| ares_notebook | 1.50 (1.50 ×) | 1.50 (1.50 ×) |" in text


def test_a_peer_that_is_faster_is_named():
    """Where a peer wins the page says so, with how much, and with what its rows lack."""
    lacking = {"expected": 5, "correct": 4, "wrong": 0, "missing": 1, "doubled": 0}
    text = results.page(kept(ours=one(took(2)), rival=one(took(1), is_peer=True, rows=lacking)), "")

    assert "rival is faster: 0.50 × ours, with rows missing or wrong." in text
    assert "4 of 5, 1 missing" in text
    assert "Missed: five years of 1m candles: faster than rival was wanted" in text


def test_a_peer_that_is_slower_is_no_confession():
    """Where no peer wins and no target is missed the page says: nowhere."""
    text = results.page(kept(ours=one(took(2)), rival=one(took(4), is_peer=True)), "")

    assert "rival takes 2 × our time | yes" in text
    assert "## Where we fall short\n\nNowhere." in text


def test_a_peer_that_failed_is_on_the_page():
    """A contender that ended badly has a line that says how, and no figures."""
    text = results.page(kept(ours=one(took(2)), rival=one(is_peer=True, failed="no memory")), "")

    assert "| rival | failed: no memory |" in text


def test_remarks_survive():
    """What people wrote stands at the end as it is."""
    text = results.page(kept(ours=one(took(2))), "* The moon was full.\n")

    assert text.endswith("## Remarks\n\n* The moon was full.\n")


def test_each_case_says_on_which_machine_it_was_measured():
    """Where cases are of two machines, both are shown, and each case names its own."""
    measured = kept(ours=one(took(2)))
    other = {**measured["cases"]["klines"], "title": "Trades", "machine": {"cores": "64"}}
    text = results.page({"cases": {**measured["cases"], "trades": other}}, "")

    assert "|  | A | B |\n| --- | --- | --- |\n| cores | 2 | 64 |" in text
    assert "machine A" in text.partition("## Candles")[2].partition("## Trades")[0]
    assert "machine B" in text.partition("## Trades")[2]
    assert "machine A" not in results.page(measured, "")


def test_a_column_of_nothing_is_left_out():
    """A table has only columns in which somebody has something."""
    assert results.table(["a", "b", "c"], [["1", "", "2"]]) == "| a | c |\n| --- | --- |\n| 1 | 2 |"


# --- the cases ---


@pytest.mark.parametrize("case", [*CASES, *SMALL], ids=lambda case: case.name)
def test_each_case_can_be_carried_out(case):
    """Programs are there, names are used once, the main size is one of the sizes, ours comes first."""
    names = [each.name for each in case.contenders]
    programs = {each.program for each in case.contenders if not each.program.startswith("-c ")}

    assert case.main in case.sizes
    assert len(set(names)) == len(names)
    assert all((PROGRAMS / each).exists() for each in programs)
    assert not any(each.is_peer or each.home for each in case.contenders[:1])


def test_the_small_suite_is_the_whole_suite():
    """Each case has a small one, which needs no venv of a peer."""
    assert [case.name for case in SMALL] == [case.name for case in CASES]
    assert not any(each.home for case in SMALL for each in case.contenders)


def test_sizes_are_what_was_promised():
    """Five years are 60 months from January 2020 on; a hundred pages end within one month."""
    months, pages = months_of_candles(60), pages_of_seconds(100)

    assert (months["start"], len(months["files"])) == ("2020-01-01", 60)
    assert (pages["end"], len(pages["files"])) == ("2025-03-02 03:46:40", 2)


def test_what_parses_is_no_unzipper():
    """Only a peer that parses is held against our rows per second."""
    trades = next(case for case in CASES if case.name == "trades")

    assert [each.name for each in trades.contenders if each.is_peer and each.parses] == [
        "binance-vision",
        "freqtrade",
    ]
