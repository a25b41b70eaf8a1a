"""Walks of a seed, and what is told of one that ends in untruth."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import Walk
from shorten import name_of, shortened, steps_of


@dataclass(frozen=True)
class Failure:
    """
    A walk that ended in untruth.

    Parameters
    ----------
    seed : int
    name : str
        What does not hold, in a word.
    words : str
        The same in a sentence.
    steps : str
        The shortest sequence that was found, as a program.
    """

    seed: int
    name: str
    words: str
    steps: str

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.words}\n\n{self.steps}"


def walked(number: int, runs: int, steps: int) -> Failure | None:
    """Take some walks; the first that fails, as short as can be."""
    chosen = settings(
        max_examples=runs,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            run_state_machine_as_test(seed(number)(Walk), settings=chosen)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
        found, cause = shortened(steps_of("\n".join(error.__notes__)), error)
        program = "\n".join(["state = Walk()", *map(str, found)])
        words = f"{type(cause).__name__}: {cause}"
        return Failure(number, name_of(cause), words, program)
    return None
