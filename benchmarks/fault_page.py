"""The page of faults: Markdown, from the outcomes alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.contenders import OURS
from benchmarks.fault_cases import CONTENDERS, FAULT_CASES, FaultCase
from benchmarks.fault_contest import is_right
from benchmarks.results import table
from benchmarks.venvs import pinned

__all__ = ["page", "summed_up"]

Outcomes = Mapping[str, Mapping[str, Any]]

_INTRODUCTION = """\
Written by `make bench-faults` from what it ran; nothing on this page is written by hand. Each peer is of the
version in [peers](peers), in a venv of its own, and is asked by its program in [programs](programs), against the
package's demo exchange on the same machine.

*Right*: every row that the market has is there, each once, with its values, and no other. *Silent*: it ended with
status 0 and wrote no word of trouble that it does not write when nothing is wrong (`trouble_in` in
[fault_contest.py](fault_contest.py)). binance-vision returns lists of what is missing and what failed; its program ends
with status 1 if there is anything in them. "–" is a case that does not apply. What is wrong after the last run stays
until somebody finds it."""


def page(outcomes: Mapping[str, Outcomes], measured: str) -> str:
    """
    The whole page.

    Parameters
    ----------
    outcomes : mapping
        By case and contender, see `FaultContest.outcome`.
    measured : str
        When.

    Returns
    -------
    str
    """
    cases = [case for case in FAULT_CASES if case.name in outcomes]
    names = [each.name for each in CONTENDERS if any(each.name in outcomes[c.name] for c in cases)]
    short = [[_named(name), *(_cell(case, outcomes, name) for case in cases)] for name in names]
    details = [line for case in cases for line in _details(case, outcomes[case.name])]
    parts = [
        "# Faults: ours and the peers on the same cases",
        _INTRODUCTION,
        table(["", *(case.title for case in cases)], short),
        f"Run {measured}.",
        "## The cases",
        "\n".join(f"* **{case.title}**: {case.about}" for case in cases),
        "## Counted",
        table(
            ["case", "", "run", "correct", "wrong", "missing", "doubled", "requests", "status", "what it said of trouble"],
            details,
        ),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def summed_up(case: FaultCase, outcome: Mapping[str, Any]) -> str:
    """
    An outcome in a few words.

    Parameters
    ----------
    case : FaultCase
    outcome : mapping

    Returns
    -------
    str
    """
    runs = outcome["runs"]
    if case.before == "kill":
        if not runs:
            return "never caught writing"
        bad = sum(not is_right(run["rows"]) for run in runs)
        worst = min(runs, key=lambda run: run["rows"]["correct"] - run["rows"]["wrong"])
        return f"after {bad or 'all'} of {len(runs)}: {_words(worst)}"
    first, last = _words(runs[0]), _words(runs[-1])
    return first if first == last else f"{first}; again: {last}"


def _words(run: Mapping[str, Any]) -> str:
    """What one run came to."""
    rows = run["rows"]
    if is_right(rows):
        return "right"
    parts = [f"{rows[what]:,} {what}" for what in ("missing", "wrong", "doubled") if rows[what]]
    text = ", ".join(["no row"] if rows["missing"] == rows["expected"] else parts)
    return f"{text}, told" if run["status"] or run["told"] else f"**{text}, silent**"


def _named(name: str) -> str:
    version = {each.name: pinned(each.home).get(name, "") for each in CONTENDERS if each.home}
    return f"**{name}**" if name == OURS.name else f"{name} {version[name]}"


def _cell(case: FaultCase, outcomes: Mapping[str, Outcomes], name: str) -> str:
    if name in case.apart:
        return f"– ({case.apart[name]})"
    outcome = outcomes[case.name].get(name)
    return summed_up(case, outcome) if outcome is not None else ""


def _details(case: FaultCase, outcomes: Outcomes) -> Iterator[list[str]]:
    """Lines of the long table."""
    for name, outcome in outcomes.items():
        for number, run in enumerate(outcome["runs"], 1):
            rows = run["rows"]
            what = f"after kill {number}" if "killed" in run else str(number)
            counts = [f"{rows[each]:,}" for each in ("correct", "wrong", "missing", "doubled")]
            told = f"`{run['told']}`".replace("|", "/") if run["told"] else ""
            asked = f"{run['requests']:,}"
            yield [case.title, name, what, *counts, asked, str(run["status"]), told]
