"""
The command: ``python -m benchmarks.faults [--small] [--only NAME ...] [--peers NAME ...]``.

Ours and the peers on the same faults, into ``FAULTS.md``; small, which is ours alone, or
only a part of it, into ``.bench``. It fails if ours is not right in any case.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import fault_page, venvs
from benchmarks.contenders import Contender
from benchmarks.fault_cases import CONTENDERS, FAULT_CASES, FaultCase
from benchmarks.fault_contest import FaultContest, Outcome
from benchmarks.server import Server
from benchmarks.tasks import NOW

_HERE = Path(__file__).parent
_SCRATCH = _HERE.parent / ".bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, count, write the page."""
    asked = _parser().parse_args(arguments)
    cases = [case for case in FAULT_CASES if case.name in asked.only]
    wanted = [] if asked.small else asked.peers
    contenders = [each for each in CONTENDERS if not each.home or each.name in wanted]
    _SCRATCH.mkdir(exist_ok=True)
    for each in contenders:
        if each.home:
            venvs.make(each.home, _SCRATCH / "venvs")
    outcomes = _carry_out(cases, contenders)
    text = fault_page.page(outcomes, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    is_whole = len(cases) == len(FAULT_CASES) and len(contenders) == len(CONTENDERS)
    (_HERE if is_whole else _SCRATCH).joinpath("FAULTS.md").write_text(text)
    print(text)
    return 0


def _carry_out(
    cases: Sequence[FaultCase], contenders: Sequence[Contender]
) -> dict[str, dict[str, Outcome]]:
    """Each case, and in it one after the other."""
    outcomes: dict[str, dict[str, Outcome]] = {case.name: {} for case in cases}
    with ExitStack() as stack:
        work = Path(stack.enter_context(TemporaryDirectory(prefix="faults-", dir=_SCRATCH)))
        server = stack.enter_context(Server(now=NOW))
        contest = FaultContest(server, _SCRATCH / "venvs", work)
        for case in cases:
            for each in contenders:
                if each.name in case.apart:
                    continue
                start = time.monotonic()
                outcome = contest.outcome(case, each)
                outcomes[case.name][each.name] = outcome
                came = fault_page.summed_up(case, outcome)
                took = time.monotonic() - start
                print(f"{case.title}: {each.name}: {came} ({took:.0f} s)", flush=True)
    return outcomes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--small", action="store_true", help="ours alone, without venvs")
    names = [case.name for case in FAULT_CASES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="CASE",
                        help=f"of {', '.join(names)}")  # fmt: skip
    peers = [each.name for each in CONTENDERS if each.home]
    parser.add_argument("--peers", nargs="+", choices=peers, default=peers, metavar="PEER",
                        help=f"of {', '.join(peers)}")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
