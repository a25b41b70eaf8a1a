"""
From a walk that failed to the shortest one that fails alike.

Hypothesis shrinks what it drew, which takes hundreds of walks; this leaves out step after step of
the sequence itself, which takes a few dozen.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from machine import Walk

_CHECK = "nothing_is_untrue"
_OURS = {_CHECK, "teardown"}


@dataclass(frozen=True)
class Step:
    """A rule, and what was drawn for it."""

    name: str
    drawn: dict[str, Any]

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.drawn.items())
        return f"state.{self.name}({given})"


def steps_of(notes: str) -> list[Step]:
    """The steps in what Hypothesis tells of a failure."""
    lines = textwrap.dedent(notes).splitlines()
    first, last = lines.index("state = Walk()"), lines.index("state.teardown()")
    calls = [each.value for each in ast.parse("\n".join(lines[first + 1 : last])).body]
    made = [
        Step(call.func.attr, {each.arg: ast.literal_eval(each.value) for each in call.keywords})
        for call in calls
    ]
    return [each for each in made if each.name not in _OURS]


def name_of(error: BaseException) -> str:
    """What does not hold, in a word."""
    return str(error).partition(":")[0] if type(error).__name__ == "Broken" else repr(error)[:60]


def replay(steps: list[Step], *, to_the_end: bool = True) -> BaseException | None:
    """Take these steps; what does not hold, if anything. Steps that may not be taken are left out."""
    walk = Walk()
    try:
        for step in steps:
            method = getattr(walk, step.name)
            reported = getattr(method, "hypothesis_stateful_rule", None)
            if reported is None or all(may(walk) for may in reported.preconditions):
                method(**step.drawn)
                walk.nothing_is_untrue()
        if to_the_end:
            walk.end_well()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
        return error
    finally:
        walk.close()
    return None


def shortened(steps: list[Step], error: BaseException) -> tuple[list[Step], BaseException]:
    """The fewest steps and the smallest draws that were found to fail alike."""
    name = name_of(error)
    is_late = name.startswith("I5") or name_of(replay(steps, to_the_end=False) or error) != name

    def fails(chosen: list[Step]) -> BaseException | None:
        found = replay(chosen, to_the_end=is_late)
        return found if found is not None and name_of(found) == name else None

    for attempts in (_without_many, _without_one, _with_smaller):
        steps, error = _tried(steps, error, attempts, fails)
    return steps, error


def _tried(
    steps: list[Step],
    error: BaseException,
    attempts: Callable[[list[Step]], Iterator[list[Step]]],
    fails: Callable[[list[Step]], BaseException | None],
) -> tuple[list[Step], BaseException]:
    """Take what fails alike, until nothing of the attempts does."""
    tried: set[str] = set()
    is_shorter = True
    while is_shorter:
        is_shorter = False
        for attempt in attempts(steps):
            reported = "\n".join(map(str, attempt))
            found = None if reported in tried else fails(attempt)
            tried.add(reported)
            if found is not None:
                steps, error, is_shorter = attempt, found, True
                break
    return steps, error


def _without_many(steps: list[Step]) -> Iterator[list[Step]]:
    """Without a half, a quarter or an eighth; the first step, which begins, stays."""
    for size in (len(steps) // 2, len(steps) // 4, len(steps) // 8):
        if size > 1:
            for start in range(1, len(steps), size):
                yield [*steps[:start], *steps[start + size :]]


def _without_one(steps: list[Step]) -> Iterator[list[Step]]:
    for at in range(len(steps) - 1, 0, -1):
        yield [*steps[:at], *steps[at + 1 :]]


def _with_smaller(steps: list[Step]) -> Iterator[list[Step]]:
    for at, step in enumerate(steps):
        for name, value in step.drawn.items():
            for smaller in _smaller(value):
                drawn = {**step.drawn, name: smaller}
                yield [*steps[:at], replace(step, drawn=drawn), *steps[at + 1 :]]


def _smaller(value: Any) -> Iterator[Any]:
    if isinstance(value, list) and len(value) > 1:
        yield from ([each] for each in value)
    elif isinstance(value, bool) and value:
        yield False
    elif isinstance(value, int) and value:
        yield from chain([0], [value // 2] if abs(value) > 1 else [])
    elif value == "rest":
        yield "auto"
