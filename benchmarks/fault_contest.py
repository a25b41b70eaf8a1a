"""Carries the cases of faults out: spoils, runs, kills, runs again, and counts what is there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import spoil
from benchmarks.contenders import Contender
from benchmarks.contest import PROGRAMS, WrongRows, environment, helped
from benchmarks.fault_cases import FAULT_CASES, FaultCase
from benchmarks.killing import Ended, ended, killed_while_writing
from benchmarks.server import Server
from benchmarks.venvs import python_of

__all__ = ["FaultContest", "Outcome", "is_right", "trouble_in"]

Outcome = dict[str, Any]

_TROUBLE = re.compile(
    r"error|fail|warn|unable|could not|cannot|missing|unavailable|not available|no data"
    r"|exception|corrupt|incomplete|retry|❌|⚠",
    re.IGNORECASE,
)
_LONGEST = 120


def is_right(rows: dict[str, int]) -> bool:
    """Whether all rows are there, each once, and no other."""
    return rows["correct"] == rows["expected"] and not rows["wrong"] and not rows["doubled"]


def trouble_in(said: str, usual: str) -> str:
    r"""
    The last thing that a program says of trouble and that it does not always say.

    Parameters
    ----------
    said : str
        What it wrote in this run.
    usual : str
        What it wrote when nothing was wrong; digits make no difference.

    Returns
    -------
    str
        A line without names of folders; empty if there is none.

    Examples
    --------
    >>> trouble_in("took 3 s\nno data of May", usual="took 4 s")
    'no data of May'
    """
    known = {_plain(line) for line in _lines(usual)}
    found = [line for line in _lines(said) if _TROUBLE.search(line) and _plain(line) not in known]
    return re.sub(r"(/[\w.-]+)+/", "", found[-1])[:_LONGEST] if found else ""


def _lines(text: str) -> list[str]:
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def _plain(line: str) -> str:
    return re.sub(r"\d+", "0", line)


_MOST_LOOKS = 5


@dataclass(frozen=True, slots=True)
class FaultContest:
    """
    All cases before one server.

    Parameters
    ----------
    server : Server
    homes : Path
        Where the peers' venvs are.
    work : Path
        Where programs may write.
    most_kills : int
        How often one is killed at most.
    """

    server: Server
    homes: Path
    work: Path
    most_kills: int = 8
    _truths: dict[str, str] = field(default_factory=dict)
    _usual: dict[str, str] = field(default_factory=dict)

    def outcome(self, case: FaultCase, contender: Contender) -> Outcome:
        """
        Let one stand one case.

        Returns
        -------
        dict
            ``runs``: after each, how it ended, what it said of trouble, how many requests it
            made, and the counted rows.
            After kills the runs are one a kill, and say while ``killed`` writing which file.

        Raises
        ------
        WrongRows
            If ours is not right in the end, or after any kill.
        """
        if case.before == "kill":
            runs = list(self._after_kills(case, contender))
        else:
            runs = list(self._after_faults(case, contender))
        last = runs if case.before == "kill" else runs[-1:]
        if not contender.home and not all(is_right(each["rows"]) for each in last):
            msg = f"{contender.name}, {case.title}: {runs}"
            raise WrongRows(msg)
        return {"runs": runs}

    # --- the cases ---

    def _after_faults(self, case: FaultCase, contender: Contender) -> Iterator[Outcome]:
        """Run with files as they are, while requests go wrong."""
        place = self._fresh(contender, case)
        truth = self._truth(case)
        if case.before != "nothing":
            shutil.copytree(self._whole(contender), place, dirs_exist_ok=True)
            {"hole": spoil.hole, "cut": spoil.cut}[case.before](place / "out")
        for fault in case.faults:
            self.server.fail(**fault)
        if case.withheld:
            self.server.withhold(case.withheld)
        for number in range(case.runs):
            taken = self._run(case, contender, place, repairs=case.before == "hole")
            if not number:
                self.server.release(case.withheld)
            yield self._booked(case, contender, taken, truth)

    def _after_kills(self, case: FaultCase, contender: Contender) -> Iterator[Outcome]:
        """Kill while the first file is written, while the second is, and so on; run again after each."""
        truth = self._truth(case)
        for number in range(self.most_kills):
            # A busy machine may not let us look while the first file is written.
            for _ in range(1 if number else _MOST_LOOKS):
                place = self._fresh(contender, case)
                command = self._command(case, contender, place)
                around = self._around(case, contender)
                name = killed_while_writing(
                    command, number, place / "out", folder=place, environment=around
                )
                if name is not None:
                    break
            if name is None:
                return
            taken = self._run(case, contender, place)
            yield {"killed": name, **self._booked(case, contender, taken, truth)}

    # --- how ---

    def _fresh(self, contender: Contender, case: FaultCase) -> Path:
        """An empty folder; programs write into ``out`` and ``home`` in it."""
        place = self.work / f"{contender.name} {case.name}"
        shutil.rmtree(place, ignore_errors=True)
        (place / "home").mkdir(parents=True)
        return place

    def _whole(self, contender: Contender) -> Path:
        """What one leaves when nothing goes wrong."""
        place = self.work / f"{contender.name} {FAULT_CASES[0].name}"
        if not place.exists():
            self.outcome(FAULT_CASES[0], contender)
        return place

    def _truth(self, case: FaultCase) -> str:
        """Where the rows are that the market has."""
        name = f"{case.task['kind']} {case.task.get('interval')}"
        if name not in self._truths:
            path = str(self.work / f"{name}.npz")
            helped("truth", {**case.task, "url": self.server.url, "out": path}, self.work)
            self._truths[name] = path
        return self._truths[name]

    def _run(self, case: FaultCase, contender: Contender, place: Path, **more: Any) -> Ended:
        command = self._command(case, contender, place, **more)
        self.server.asked()
        return ended(command, folder=place, environment=self._around(case, contender))

    def _command(
        self, case: FaultCase, contender: Contender, place: Path, **more: Any
    ) -> list[str]:
        task = {**case.task, **more, "url": self.server.url, "out": str(place / "out")}
        python = python_of(contender.home, self.homes)
        return [python, str(PROGRAMS / contender.program), json.dumps(task)]

    def _around(self, case: FaultCase, contender: Contender) -> dict[str, str]:
        """The environment: a home of its own, since some keep files there."""
        home = self.work / f"{contender.name} {case.name}" / "home"
        around = environment(package=not contender.home)
        return {**around, "HOME": str(home), "TZ": case.timezone}

    def _booked(self, case: FaultCase, contender: Contender, taken: Ended, truth: str) -> Outcome:
        """How it ended, what it said, and what there is."""
        out = self.work / f"{contender.name} {case.name}" / "out"
        kind = case.task["kind"]
        counted = {"truth": truth, "folder": str(out), "kind": kind, "format": contender.leaves}
        if case is FAULT_CASES[0]:
            self._usual[contender.name] = taken.said
        usual = self._usual.get(contender.name, "")
        return {
            "status": taken.status,
            "told": trouble_in(taken.said, usual),
            "requests": self.server.asked()["requests"],
            "rows": helped("rows", counted, self.work),
        }
