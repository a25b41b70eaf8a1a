"""Carries one case out: serves, prepares, lets all run in turn, and counts what they left."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cases import Case
from benchmarks.contenders import Contender
from benchmarks.measure import Failed, Run, in_turn, run
from benchmarks.server import Server
from benchmarks.venvs import pinned, python_of

__all__ = ["PROGRAMS", "WrongRows", "carry_out", "environment", "helped"]

_ROOT = Path(__file__).parents[1]
PROGRAMS = Path(__file__).parent / "programs"
"""Where contenders' programs are."""
Figures = dict[str, Any]


class WrongRows(Exception):
    """One of ours delivered other rows than the market has."""


def carry_out(case: Case, folder: Path, rounds: int | None = None) -> Figures:
    """
    Measure a case at all its sizes.

    Parameters
    ----------
    case : Case
    folder : Path
        Where venvs are, and where programs may write for the time being.
    rounds : int, optional
        Instead of the case's own.

    Returns
    -------
    dict
        Plain figures, for JSON: ``title``, ``about``, ``main``, ``measured`` and ``sizes``.

    Raises
    ------
    Failed
        If one of ours ends badly; a peer that does is put on record.
    WrongRows
        If one of ours delivers other rows than the market has.
    """
    with ExitStack() as stack:
        work = stack.enter_context(TemporaryDirectory(prefix="work-", dir=folder))
        server = stack.enter_context(Server(**case.market)) if case.market is not None else None
        contest = _Contest(case, folder / "venvs", Path(work), rounds or case.rounds, server)
        contest.warm()
        return {
            "title": case.title,
            "about": case.about,
            "main": case.main,
            "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "rounds": contest.rounds,
            "extra": {key: value for key, value in case.extra.items() if isinstance(value, int)},
            "sizes": {size: contest.at(size) for size in case.sizes},
        }


@dataclass(frozen=True, slots=True)
class _Contest:
    """A case in course."""

    case: Case
    homes: Path
    work: Path
    rounds: int
    server: Server | None

    def warm(self) -> None:
        """Have the server make the files that will be asked for, so that serving costs nothing."""
        if self.server is None:
            return
        wanted = [*self.case.sizes.values(), {"files": self.case.warm}]
        keys = {key for task in wanted for key in task.get("files", ())}
        keys |= {key for each in self.case.extra.values() if isinstance(each, list) for key in each}
        self.server.warm(sorted(keys))
        print(f"  {len(keys)} archive files made", flush=True)

    def at(self, size: str) -> Figures:
        """Measure one size."""
        shutil.rmtree(self.work / "cache", ignore_errors=True)
        contenders = {
            each.name: each for each in self.case.contenders if each.grows or size == self.case.main
        }
        task = self._prepared(size)
        figures: dict[str, Figures] = {
            name: self._introduced(each) for name, each in contenders.items()
        }
        for number, name in in_turn(list(contenders), self.rounds):
            if "failed" not in figures[name]:
                self._turn(contenders[name], task, figures[name], is_first=number == 0)
        return {
            "rows": task.get("rows"),
            "count": task.get("count", len(task.get("files", ()))),
            "contenders": figures,
        }

    def _introduced(self, contender: Contender) -> Figures:
        """What is known of one beforehand."""
        version = pinned(contender.home).get(contender.name, "") if contender.is_peer else ""
        return {
            "says": contender.says,
            "version": version,
            "is_peer": contender.is_peer,
            "parses": contender.parses,
            "runs": [],
        }

    # --- before ---

    def _prepared(self, size: str) -> dict[str, Any]:
        """The task, with the truth to hold rows against, and the cache that is read."""
        task = dict(self.case.sizes[size])
        if self.server is not None:
            task["url"] = self.server.url
        if self.server is not None and any(each.leaves for each in self.case.contenders):
            truth = {**task, "out": str(self.work / "truth.npz")}
            task |= helped("truth", truth, self.work)
            task["truth"] = truth["out"]
        if self.case.prepare:
            task["cache"] = str(self.work / "cache")
            command = [sys.executable, str(PROGRAMS / self.case.prepare)]
            asked = {**task, "out": task["cache"]}
            run([*command, json.dumps(asked)], folder=self.work, environment=environment())
        return task

    # --- during ---

    def _turn(
        self, contender: Contender, task: dict[str, Any], figures: Figures, *, is_first: bool
    ) -> None:
        """Let one run once, and book it."""
        out = self.work / "out"
        shutil.rmtree(out, ignore_errors=True)
        asked = {**task, **contender.asks, "out": str(out)}
        if contender.name in self.case.extra:
            asked["files"] = self.case.extra[contender.name]
        if self.server is not None:
            self.server.asked()
        try:
            taken = self._run(contender, asked)
            if is_first and contender.leaves:
                figures["rows"] = self._counted(contender, asked)
        except Failed as error:
            if not contender.is_peer:
                raise
            print(error, file=sys.stderr)
            figures["failed"] = re.sub(r"(/[\w.-]+)+/", "", str(error).rpartition("\n")[2])
            return
        if is_first:
            figures["left_bytes"] = _bytes_in(out)
        if contender is self.case.contenders[0] and "text_bytes" in task:
            # What the floor has to write: as much as we did.
            task["written_share"] = _bytes_in(out) / task["text_bytes"]
        figures["runs"].append(self._booked(taken))
        print(f"  {contender.name}: {taken.seconds:.2f} s {figures.get('rows', '')}", flush=True)

    def _run(self, contender: Contender, asked: dict[str, Any]) -> Run:
        python = python_of(contender.home, self.homes)
        if contender.program.startswith("-c "):
            command = [python, "-c", contender.program.removeprefix("-c ")]
        else:
            command = [python, str(PROGRAMS / contender.program), json.dumps(asked)]
        if "cores" in asked:
            cores = sorted(os.sched_getaffinity(0))[: asked["cores"]]
            command = ["taskset", "-c", ",".join(map(str, cores)), *command]
        around = environment(package=not contender.home)
        return run(command, folder=self.work, environment=around)

    def _booked(self, taken: Run) -> Figures:
        booked: Figures = {
            "seconds": round(taken.seconds, 4),
            "cpu_seconds": round(taken.cpu_seconds, 4),
            "peak_bytes": taken.peak_bytes,
            "told": taken.told,
        }
        if self.server is not None:
            booked["asked"] = self.server.asked()
        return booked

    # --- after ---

    def _counted(self, contender: Contender, asked: dict[str, Any]) -> dict[str, int]:
        """Count the correct rows; one of ours must have them all."""
        if "reader" in asked:
            # A frame is gone with its process, so it is read once more, and kept.
            kept = {**asked, "keep": str(self.work / "out" / "frame.feather")}
            (self.work / "out").mkdir()
            self._run(contender, kept)
        rows = helped(
            "rows",
            {
                "truth": asked["truth"],
                "folder": asked["out"],
                "kind": asked["kind"],
                "format": contender.leaves,
            },
            self.work,
        )
        if not contender.is_peer and (rows["correct"] != rows["expected"] or rows["doubled"]):
            msg = f"{contender.name} delivered {rows}"
            raise WrongRows(msg)
        return rows


def helped(module: str, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Let a module of the benchmark do something in a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{module}", json.dumps(task)]
    return run(command, folder=folder, environment=environment()).told


def environment(*, package: bool = True) -> dict[str, str]:
    """The same for all, whatever the user's is: UTC, plain text, our package for ours alone."""
    home = os.environ.get("HOME", "/")
    fixed = {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8", "TZ": "UTC"}
    return {**fixed, "PYTHONPATH": str(_ROOT)} if package else fixed


def _bytes_in(folder: Path) -> int:
    """Bytes of all files that one left, what is hidden left out (our receipts, which are small)."""
    if not folder.exists():
        return 0
    files = (each for each in folder.rglob("*") if each.is_file())
    return sum(
        each.stat().st_size
        for each in files
        if not any(part.startswith(".") for part in each.relative_to(folder).parts)
    )
