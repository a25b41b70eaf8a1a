"""
The command: ``python -m benchmarks.bench [--small] [--only NAME ...] [--rounds N]``.

At full size the figures go into ``results.json`` and from there into ``RESULTS.md``; small,
or of no more than a few rounds, into ``.bench``, so that nothing rough is ever committed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, readme, results, venvs
from benchmarks.cases import CASES, SMALL, Case
from benchmarks.contest import carry_out

_HERE = Path(__file__).parent
_SCRATCH = _HERE.parent / ".bench"
_LEAST_ROUNDS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, keep, print."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    cases = [each for each in (SMALL if asked.small else CASES) if each.name in asked.only]
    is_rough = asked.small or (asked.rounds or _LEAST_ROUNDS) < _LEAST_ROUNDS
    place = _SCRATCH if is_rough else _HERE
    place.mkdir(exist_ok=True)
    if asked.report and not (place / "results.json").exists():
        parser.error(f"nothing has been measured yet: there is no {place / 'results.json'}")
    if not asked.report:
        _measure(cases, place / "results.json", asked.rounds)
    kept = json.loads((place / "results.json").read_text())
    text = results.page(kept, (_HERE / "remarks.md").read_text(), is_rough=is_rough)
    (place / "RESULTS.md").write_text(text)
    if not is_rough:
        readme.main()
    print(text)
    return 0


def _measure(cases: Sequence[Case], path: Path, rounds: int | None) -> None:
    """Carry the cases out, and keep each as soon as it is there."""
    for home in sorted({each.home for case in cases for each in case.contenders} - {""}):
        venvs.make(home, _SCRATCH / "venvs")
    for case in cases:
        start = time.monotonic()
        print(f"{case.title} …", flush=True)
        figures = carry_out(case, _SCRATCH, rounds)
        _keep(path, case.name, figures)
        print(f"  {time.monotonic() - start:.0f} s in all", flush=True)


def _keep(path: Path, name: str, figures: dict[str, Any]) -> None:
    """Put a case's figures, and what they were measured on, to those of the other cases."""
    kept = json.loads(path.read_text()) if path.exists() else {"cases": {}}
    known = {**kept["cases"], name: {**figures, "machine": machine.describe()}}
    ordered = {each.name: known[each.name] for each in CASES if each.name in known}
    # A line a case: figures are compared by the page, not by their digits.
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in ordered.items())
    path.write_text(f'{{"cases": {{\n{lines}\n}}}}\n')


def _count(text: str) -> int:
    """A number of runs: one at least."""
    if not text.isdecimal() or not int(text):
        msg = f"{text!r} is no number of runs"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _parser() -> argparse.ArgumentParser:
    names = [each.name for each in CASES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--small", action="store_true", help="small, ours alone, one round: for CI")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME",
                        help=f"of {', '.join(names)}")  # fmt: skip
    parser.add_argument("--rounds", type=_count, help="runs of each, instead of the case's own")
    parser.add_argument(
        "--report", action="store_true", help="measure nothing, write the page anew"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
