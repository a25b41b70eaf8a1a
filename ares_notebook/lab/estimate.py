"""What a choice will cost, as the panel says it: a table, and what is there already."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from ares_notebook.market.datasets import dataset_named
from ares_notebook.markup import block, line, table
from ares_notebook.quantities import size_in_words, time_in_words
from ares_notebook.settings import Settings
from ares_notebook.work.cost import Cost
from ares_notebook.work.plan import Plan

__all__ = ["cost_of", "estimate_html"]

_NAMES = ("", "files", "there already", "rows to come", "to fetch", "on disk", "requests")


def cost_of(plans: Sequence[Plan]) -> Cost:
    """The cost of all *plans*, which are of one choice."""
    steps = [step for plan in plans for step in plan.steps]
    return Cost.of(steps, plans[0].settings)


def estimate_html(plans: Sequence[Plan], notes: Sequence[str] = ()) -> str:
    """
    The cost as a table with a line a dataset, and in all.

    Parameters
    ----------
    plans : sequence of Plan
        One a symbol; at least one.
    notes : sequence of str
        Sentences to be told under it.

    Returns
    -------
    str
        HTML; all text is escaped.
    """
    whole, settings = cost_of(plans), plans[0].settings
    steps = [step for plan in plans for step in plan.steps]
    names = dict.fromkeys(step.file.dataset.name for step in steps)
    parts = [
        (
            dataset_named(name).title,
            Cost.of((s for s in steps if s.file.dataset.name == name), settings),
        )
        for name in names
    ]
    lines = [*parts, ("In all", whole)] if len(parts) > 1 else parts
    rows = [(label, *_numbers(cost)) for label, cost in lines]
    told = table(_NAMES, rows, numbers=_NAMES[1:])
    return block(_headline(whole), told, line(_beside(whole, settings)), *map(line, notes))


def _headline(cost: Cost) -> str:
    if not cost.files_to_do:
        return f"Nothing to fetch: all {cost.files:,} files are there"
    return (
        f"To fetch: {cost.files_to_do:,} of {cost.files:,} files, about {cost.rows:,} rows, "
        f"in about {time_in_words(cost.seconds)}"
    )


def _numbers(cost: Cost) -> tuple[str, ...]:
    return (
        f"{cost.files:,}",
        f"{cost.files_there:,}",
        f"{cost.rows:,}",
        size_in_words(cost.bytes_received),
        size_in_words(cost.bytes_stored),
        f"{cost.requests:,}",
    )


def _beside(cost: Cost, settings: Settings) -> str:
    free = f"{size_in_words(_free_bytes(settings.cache_dir))} free in {settings.cache_dir}"
    weight = f"Request weight about {cost.weight:,}; " if cost.weight else ""
    return f"{weight}{free}."


def _free_bytes(folder: Path) -> int:
    """Of the disk on which *folder* is, or will be."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free
