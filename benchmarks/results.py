"""The page of results: Markdown, from the kept figures alone."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.figures import OURS, Figures
from benchmarks.targets import Target, reached

__all__ = ["page", "table"]

_FLOOR = "the floor"
_LETTERS = string.ascii_uppercase
_MEBI = 2**20
_INTRODUCTION = (
    "Written by `make bench` from `results.json`; what people have to say besides is in "
    "`remarks.md`. What is compared and how is in [README.md](README.md)."
)
_ROUGH = (
    "**A rough run**: it shows that all works and which rows are right, not how fast anything "
    "is. Titles and texts name the full sizes, whatever was run."
)


def page(kept: dict[str, Any], remarks: str, *, is_rough: bool = False) -> str:
    """
    The whole page.

    Parameters
    ----------
    kept : dict
        ``cases``, as they were kept, each with its ``machine``.
    remarks : str
        What people have to say besides; put at the end as it is.
    is_rough : bool
        Whether sizes or rounds were too small for figures to mean anything.

    Returns
    -------
    str
    """
    figures = Figures(kept["cases"])
    targets = reached(figures)
    parts = [
        "# Results",
        _ROUGH if is_rough else _INTRODUCTION,
        "## Machine",
        _machines(figures),
        "## What was to be reached",
        _targets(targets),
        *(part for name in figures.cases for part in _case(figures, name)),
        "## Where we fall short",
        "\n".join(f"* {line}" for line in _confessions(figures, targets)) or "Nowhere.",
    ]
    if remarks.strip():
        parts += ["## Remarks", remarks.strip()]
    return "\n\n".join(parts) + "\n"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """
    A Markdown table; columns in which nobody has anything are left out.

    Parameters
    ----------
    heads : sequence of str
    rows : sequence of sequences of str

    Returns
    -------
    str
    """
    kept = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    lines = [[heads[at] for at in kept], ["---"] * len(kept)]
    lines += [[row[at] for at in kept] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _distinct(figures: Figures) -> list[dict[str, str]]:
    """The machines, with their versions, on which one case or another was measured."""
    machines: list[dict[str, str]] = []
    for case in figures.cases.values():
        if case["machine"] not in machines:
            machines.append(case["machine"])
    return machines


def _machines(figures: Figures) -> str:
    """What was measured on; within a case all are on one machine, so that ratios hold."""
    machines = _distinct(figures)
    heads = ["", *(_LETTERS[: len(machines)] if len(machines) > 1 else [""])]
    return table(heads, [[name, *(each[name] for each in machines)] for name in machines[0]])


def _targets(targets: Sequence[Target]) -> str:
    rows = [
        [each.what, each.reach, each.came, "yes" if each.is_met else "**no**"] for each in targets
    ]
    return table(["what", "reach", "came out", "met"], rows)


def _case(figures: Figures, name: str) -> Iterator[str]:
    """The section of one case."""
    case = figures.cases[name]
    yield f"## {case['title']}"
    yield case["about"]
    if name == "stages":
        yield _stages(figures)
        return
    yield _field(figures, name)
    machines = _distinct(figures)
    on = f"; machine {_LETTERS[machines.index(case['machine'])]}" if len(machines) > 1 else ""
    yield f"Runs of each: {case['rounds']}, in turn{on}; {case['measured']}."
    if len(figures.at_every_size(name)) > 1:
        yield "Seconds at each size, and × the floor:"
        yield _grid(figures, name)
    elif len(case["sizes"]) > 1:
        yield "How the cost grows, ours:"
        yield _growth(figures, name)


# --- tables ---


def _field(figures: Figures, case: str) -> str:
    """All contenders at the main size."""
    heads = [
        "", "version", "seconds, median (min to max)", "× the floor", "× ours", "work s", "again s", "CPU s",
        "peak MiB", "correct rows", "requests", "what it does",
    ]  # fmt: skip
    rows = [_line(figures, case, name) for name in figures.contenders(case)]
    return table(heads, rows)


def _line(figures: Figures, case: str, name: str) -> list[str]:
    each = figures.contenders(case)[name]
    if not each["runs"]:
        return [name, each["version"], f"failed: {each.get('failed', '')}", *[""] * 8, each["says"]]
    return [
        f"**{name}**" if name == OURS else name,
        each["version"],
        _spread(figures.values(case, name, "seconds"), figures.middle(case, name, "seconds")),
        _number(figures.ratio(case, name, _FLOOR), ".2f"),
        "" if name == OURS else _number(figures.ratio(case, name, OURS), ".2f"),
        _number(figures.middle(case, name, "work_seconds"), ".3f"),
        _number(figures.middle(case, name, "again_seconds"), ".4f"),
        _number(figures.middle(case, name, "cpu_seconds"), ".2f"),
        _number((figures.middle(case, name, "peak_bytes") or 0) / _MEBI, ".0f"),
        _rows(each.get("rows")),
        _requests(each),
        each["says"],
    ]


def _spread(values: Sequence[float], middle: float | None) -> str:
    return f"{middle:.2f} ({min(values):.2f} to {max(values):.2f})"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _rows(rows: dict[str, int] | None) -> str:
    """Correct rows of those expected, and what is wrong with the others."""
    if rows is None:
        return ""
    faults = [f"{rows[each]:,} {each}" for each in ("wrong", "missing", "doubled") if rows[each]]
    told = f"{rows['correct']:,} of {rows['expected']:,}"
    return f"{told}, {', '.join(faults)}" if faults else told


def _requests(each: dict[str, Any]) -> str:
    counts = [run["asked"]["requests"] for run in each["runs"] if "asked" in run]
    return f"{max(counts):,}" if counts else ""


def _growth(figures: Figures, case: str) -> str:
    """What ours costs at each size."""
    # Where it tells its work apart, that is what grows; starting Python does not.
    works = figures.middle(case, OURS, "work_seconds") is not None
    what = "work_seconds" if works else "seconds"
    first = next(iter(figures.cases[case]["sizes"]))
    base = figures.middle(case, OURS, what, first)
    rows = []
    for size, sized in figures.cases[case]["sizes"].items():
        seconds = figures.middle(case, OURS, what, size)
        if seconds is None or not base:
            continue
        peak = (figures.middle(case, OURS, "peak_bytes", size) or 0) / _MEBI
        amount = f"{sized['rows']:,}" if sized["rows"] else ""
        rows.append([f"{size} ×", f"{sized['count']:,}", amount, f"{seconds:.2f}",
                     f"{seconds / base:.2f}", f"{peak:.0f}"])  # fmt: skip
    head = "work s" if works else "seconds"
    return table(["size", "files", "rows", head, f"× those of {first} ×", "peak MiB"], rows)


def _grid(figures: Figures, case: str) -> str:
    """The seconds of all who were measured at every size, or on every number of cores."""
    sizes = list(figures.cases[case]["sizes"])
    rows = []
    for name in figures.at_every_size(case):
        seconds = [figures.middle(case, name, "seconds", size) for size in sizes]
        ratios = [figures.ratio(case, name, _FLOOR, size=size) for size in sizes]
        cells = [
            f"{_number(own, '.2f')} ({_number(ratio, '.2f')} ×)"
            for own, ratio in zip(seconds, ratios, strict=True)
        ]
        rows.append([name, *cells])
    return table(["", *sizes], rows)


def _stages(figures: Figures) -> str:
    """Nanoseconds a row of each stage."""
    kinds = {name: each["runs"] for name, each in figures.contenders("stages").items()}
    best = {
        name: {stage: min(run["told"]["nanoseconds"][stage] for run in runs)
               for stage in runs[0]["told"]["nanoseconds"]}
        for name, runs in kinds.items()
    }  # fmt: skip
    stages = list(next(iter(best.values())))
    # What stands in brackets is how else it could be done, and no part of it.
    parts = [stage for stage in stages if not stage.startswith("(")]
    sums = {name: sum(each[stage] for stage in parts) for name, each in best.items()}
    shares = [
        [
            part,
            *(f"{each[part]:.0f} ({each[part] / sums[name]:.0%})" for name, each in best.items()),
        ]
        for part in parts
    ]
    others = [
        [stage, *(f"{each[stage]:.0f}" for each in best.values())]
        for stage in stages
        if stage not in parts
    ]
    rows = [*shares, ["all", *(f"{each:.0f}" for each in sums.values())], *others]
    return table(["nanoseconds a row, the best of the runs", *best], rows)


# --- what must be said ---


def _confessions(figures: Figures, targets: Sequence[Target]) -> Iterator[str]:
    """Where a target is missed, and where a peer is better at anything."""
    for each in targets:
        if not each.is_met:
            yield f"Missed: {each.what}: {each.reach} was wanted, {each.came} came out."
    for case in figures.cases:
        title = figures.cases[case]["title"]
        for name in figures.others(case, peers=True):
            yield from (f"{title}: {line}" for line in _wins(figures, case, name))


def _wins(figures: Figures, case: str, name: str) -> Iterator[str]:
    """At what a peer beats us."""
    words = {
        "seconds": "is faster",
        "cpu_seconds": "needs less processor time",
        "peak_bytes": "needs less memory",
    }
    for what, verb in words.items():
        ratio = figures.ratio(case, name, OURS, what)
        if ratio is not None and ratio < 1:
            each = figures.contenders(case)[name]
            rows = each.get("rows", {})
            is_whole = rows.get("correct") == rows.get("expected")
            but = "" if is_whole else ", with rows missing or wrong"
            how = f" ({each['says']})" if each["says"] else ""
            yield f"{name} {verb}: {ratio:.2f} × ours{but}{how}."
