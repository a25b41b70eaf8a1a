"""Whole processes, measured from outside: wall clock, processor time, peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Failed", "Run", "in_turn", "median", "run"]

_LAST_WORDS = 2_000


class Failed(Exception):
    """A program ended badly; says what it said last."""


@dataclass(frozen=True, slots=True)
class Run:
    """
    What one run of a program took.

    Parameters
    ----------
    seconds : float
        Wall clock, from before the start of the process to its end.
    cpu_seconds : float
        User and system, of the program and all that it has waited for.
    peak_bytes : int
        The most memory of the program, or of the largest of its children.
    told : dict
        What the program said of itself in its last line, if that was JSON.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    told: dict[str, Any] = field(default_factory=dict)


def run(command: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> Run:
    """
    Run a program to its end.

    Keep this process small: a child's peak is never less than what its parent held when
    it was started. That is why rows are counted, and markets served, by other processes.

    Parameters
    ----------
    command : sequence of str
    folder : Path
        Where it runs, and where ``stdout.txt`` and ``stderr.txt`` of it are kept.
    environment : mapping of str to str
        All of it.

    Raises
    ------
    Failed
        If it does not end with status 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # What the one before has written is its own affair.
    os.sync()
    said, complained = folder / "stdout.txt", folder / "stderr.txt"
    with said.open("wb") as out, complained.open("wb") as err:
        start = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL,
            stdout=out, stderr=err,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = (complained.read_text(errors="replace") or said.read_text(errors="replace")).strip()
        msg = f"{' '.join(command[:2])} ended with {process.returncode}:\n{last[-_LAST_WORDS:]}"
        raise Failed(msg)
    return Run(
        seconds=seconds,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
        told=_last_line(said.read_text(errors="replace")),
    )


def in_turn(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Whose turn it is: A B C A B C, so that a slow minute of the machine strikes all alike."""
    return ((at, name) for at in range(rounds) for name in names)


def median(values: Sequence[float]) -> float:
    """
    The middle one; of an even number the mean of the middle two.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not values:
        msg = "no median of nothing"
        raise ValueError(msg)
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _last_line(text: str) -> dict[str, Any]:
    """The last line as JSON; nothing if it is none."""
    line = text.strip().rpartition("\n")[2]
    if not line.startswith("{"):
        return {}
    told = json.loads(line)
    return told if isinstance(told, dict) else {}
