"""The figures that were kept, and how they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.measure import median

__all__ = ["OURS", "Figures"]

OURS = "ares_notebook"
"""The name that we go by in every case."""


@dataclass(frozen=True, slots=True)
class Figures:
    """
    All cases that were measured.

    Parameters
    ----------
    cases : dict
        What `contest.carry_out` gave, by the case's name.
    """

    cases: dict[str, dict[str, Any]]

    def at(self, case: str, size: str | None = None) -> dict[str, Any]:
        """One size of a case; the main one unless told otherwise; empty if not measured."""
        known = self.cases.get(case)
        if known is None:
            return {}
        sized: dict[str, Any] = known["sizes"].get(size or known["main"], {})
        return sized

    def contenders(self, case: str, size: str | None = None) -> dict[str, dict[str, Any]]:
        """Those who took part, by name."""
        found: dict[str, dict[str, Any]] = self.at(case, size).get("contenders", {})
        return found

    def values(self, case: str, name: str, what: str, size: str | None = None) -> list[float]:
        """One figure of each run: ``seconds``, ``cpu_seconds``, ``peak_bytes``, or what it told."""
        runs = self.contenders(case, size).get(name, {}).get("runs", [])
        every = [run.get(what, run["told"].get(what)) for run in runs]
        return [each for each in every if each is not None]

    def middle(self, case: str, name: str, what: str, size: str | None = None) -> float | None:
        """The median over the runs; None if there is none."""
        values = self.values(case, name, what, size)
        return median(values) if values else None

    def ratio(
        self, case: str, name: str, other: str, what: str = "seconds", size: str | None = None
    ) -> float | None:
        """How many times the *other*'s figure one's is; None if either has none."""
        own, others = self.middle(case, name, what, size), self.middle(case, other, what, size)
        return own / others if own is not None and others else None

    def at_every_size(self, case: str) -> list[str]:
        """Names of those who were measured at each size of a case."""
        return [
            name
            for name in self.contenders(case)
            if all(self.values(case, name, "seconds", size) for size in self.cases[case]["sizes"])
        ]

    def others(self, case: str, *, peers: bool) -> list[str]:
        """Names of those who are not us: peers, or those who are none."""
        return [
            name
            for name, each in self.contenders(case).items()
            if name != OURS and each["is_peer"] == peers and each["runs"]
        ]

    def asked(self, case: str, name: str, path: str) -> int:
        """How often the server was asked for a path, in the run where it was asked most."""
        runs = self.contenders(case).get(name, {}).get("runs", [])
        return max((run["asked"]["paths"].get(path, 0) for run in runs), default=0)

    def windows(self, case: str, name: str) -> list[int]:
        """Weight of each window of the server's that one had from its beginning to its end."""
        runs = self.contenders(case).get(name, {}).get("runs", [])
        return [weight for run in runs for _, weight in run["asked"]["spent"][1:-1]]

    def refused(self, case: str, name: str) -> int:
        """How many requests were refused as too many, over all runs."""
        runs = self.contenders(case).get(name, {}).get("runs", [])
        statuses = [run["asked"]["statuses"] for run in runs]
        return sum(each.get("429", 0) + each.get("418", 0) for each in statuses)
