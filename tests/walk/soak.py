"""
The walk for an hour: seed after seed until the time is over; what was walked, and what failed, as a page.

    python tests/walk/soak.py --minutes 60 --page benchmarks/SOAK.md
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from walking import Failure, walked
from world import TALLY

_REPOSITORY = Path(__file__).parents[2]


def page(tally: Mapping[str, int], seeds: Sequence[int], failures: Sequence[Failure]) -> str:
    """The whole page."""
    faults = {name: count for name, count in tally.items() if ": " in name}
    rules = Counter()
    for name, count in tally.items():
        rules[name.partition(": ")[0]] += count
    runs, steps = rules.pop("runs", 0), rules.pop("steps", 0)
    span = f"{seeds[0]} to {seeds[-1]}" if seeds else "none"
    reported = [
        f"### Seed {each.seed}\n\n{each.words}\n\n```python\n{each.steps}\n```" for each in failures
    ]
    parts = [
        "# Soak: random walks over everything",
        _INTRODUCTION,
        (
            f"Run {datetime.now(UTC):%Y-%m-%d}, of commit {_commit()}: seeds {span}, {runs:,} walks, "
            f"{steps:,} steps, {len(failures)} failures."
        ),
        "## Rules",
        _table("rule", rules),
        "## Faults and damage",
        _table("kind", faults),
        "## Failures",
        "\n\n".join(reported) or "None.",
    ]
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """\
Written by `make soak` from what it ran; nothing on this page is written by hand. A walk is a sequence of rules of
[machine.py](../tests/walk/machine.py): downloads, repairs, audits and all other verbs, an exchange that withholds,
shortens, loses and refuses, a clock that steps, kills, and damage of every kind to files and receipts. After each
step what every face of the cache says is held against the truth, and against what the others say
([faces.py](../tests/walk/faces.py)). A failure is shown as the shortest sequence that was found; the seed finds it again:
`python tests/walk/soak.py --seed 7 --minutes 0.01`, of the same commit."""


def _table(name: str, counts: Mapping[str, int]) -> str:
    rows = [f"| {each} | {counts[each]:,} |" for each in sorted(counts)]
    return "\n".join([f"| {name} | times |", "| --- | ---: |", *rows])


def _commit() -> str:
    words = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(words, cwd=_REPOSITORY, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    return done.stdout.strip() or "unknown"


def main() -> int:
    """Walk until the time is over; 1 if something failed."""
    wish = argparse.ArgumentParser(description=__doc__)
    wish.add_argument("--minutes", type=float, default=60)
    wish.add_argument("--seed", type=int, default=1, help="the first one")
    wish.add_argument("--runs", type=int, default=20, help="walks a seed")
    wish.add_argument("--steps", type=int, default=30, help="steps a walk, at most")
    wish.add_argument("--go-on", action="store_true", help="look no more for what has failed once")
    wish.add_argument("--page", type=Path, help="where to write what was walked")
    asked = wish.parse_args()
    # What goes wrong here is told by the walk.
    logging.disable(logging.CRITICAL)
    ends_at = time.monotonic() + 60 * asked.minutes
    seeds: list[int] = []
    failures: list[Failure] = []
    while time.monotonic() < ends_at:
        seeds.append(asked.seed + len(seeds))
        failure = walked(seeds[-1], asked.runs, asked.steps)
        line = f"seed {seeds[-1]}: {TALLY['runs']:,} walks, {TALLY['steps']:,} steps"
        sys.stdout.write(f"{line}\n")
        if failure is not None:
            failures.append(failure)
            sys.stdout.write(f"{failure.words}\n{failure.steps}\n")
            if asked.go_on:
                os.environ["WALK_EXCEPT"] = f"{os.environ.get('WALK_EXCEPT', '')},{failure.name}"
        sys.stdout.flush()
        if asked.page is not None:
            asked.page.write_text(page(TALLY, seeds, failures), encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
