"""What the project wants to reach, held against the figures; nothing here is written by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.contenders import NEKOJIRU
from benchmarks.figures import OURS, Figures

__all__ = ["Target", "reached"]

_FLOOR = "the floor"
_TABLE, _LZ4 = f"{OURS}, an Arrow table", f"{OURS}, LZ4"
_FIRST, _NO_COPIES = f"{OURS}, first load", f"{OURS}, no copies"
_MEBI = 2**20


@dataclass(frozen=True, slots=True)
class Target:
    """
    One thing to reach.

    Parameters
    ----------
    what, reach, came : str
        What is measured, what is wanted, what came out.
    is_met : bool
    """

    what: str
    reach: str
    came: str
    is_met: bool


def reached(figures: Figures) -> list[Target]:
    """
    Hold the figures against all that is wanted; what was not measured is left out.

    Parameters
    ----------
    figures : Figures

    Returns
    -------
    list of Target
    """
    found = [
        *_on_two_cores(figures, "cores", "five years of 1m candles"),
        *_on_two_cores(figures, "trade_cores", "ten days of a million trades"),
        *_one_month(figures),
        *_faster_than_peers(figures),
        *_more_rows_than_parsers(figures),
        *_memory(figures),
        *_rest(figures),
        *_limit(figures),
        *_again(figures),
        *_load(figures),
        *_parts(figures),
        *_coverage(figures),
        *_start(figures),
        *_import(figures),
    ]
    return [each for each in found if each is not None]


def _most(what: str, came: float | None, most: float, unit: str) -> Target | None:
    """Not more than that."""
    if came is None:
        return None
    return Target(what, f"at most {most:g} {unit}", f"{came:.3g} {unit}", came <= most)


def _least(what: str, came: float | None, least: float, unit: str) -> Target | None:
    """Not less than that."""
    if came is None:
        return None
    return Target(what, f"at least {least:g} {unit}", f"{came:.3g} {unit}", came >= least)


def _on_two_cores(figures: Figures, case: str, what: str) -> Iterator[Target | None]:
    """Against the floor, and ahead of all others, those included that check nothing."""
    title, floor = f"{what}, on two cores", "× the floor"
    yield _most(f"{title}, into the cache", figures.ratio(case, OURS, _FLOOR, size="2"), 1.4, floor)
    time = figures.ratio(case, OURS, _FLOOR, "cpu_seconds", "2")
    yield _most(f"{title}, processor time", time, 1.6, floor)
    for name in figures.others(case, peers=True):
        yield _most(title, figures.ratio(case, OURS, name, size="2"), 1, f"× {name}")


def _one_month(figures: Figures) -> Iterator[Target | None]:
    ratio = figures.ratio("months", OURS, NEKOJIRU.name, size="1")
    yield _most("one month of 1m candles", ratio, 1, f"× {NEKOJIRU.name}")


def _start(figures: Figures) -> Iterator[Target | None]:
    bare = figures.middle("start", "nothing", "seconds")
    for name, what in ((OURS, "`plan` of a symbol"), (f"{OURS}, --help", "`--help`")):
        ours = figures.middle("start", name, "seconds")
        if ours is not None and bare is not None:
            yield _most(f"{what}, over a bare interpreter", ours - bare, 0.25, "s")


def _faster_than_peers(figures: Figures) -> Iterator[Target | None]:
    for name in figures.others("klines", peers=True):
        ratio = figures.ratio("klines", name, OURS)
        if ratio is not None:
            came = f"{name} takes {ratio:.3g} × our time"
            yield Target("five years of 1m candles", f"faster than {name}", came, ratio > 1)


def _more_rows_than_parsers(figures: Figures) -> Iterator[Target | None]:
    """A second's correct rows, ours against those of each peer that parses."""
    ours = _rows_a_second(figures, OURS)
    for name in figures.others("trades", peers=True):
        theirs = _rows_a_second(figures, name)
        if figures.contenders("trades")[name]["parses"] and ours and theirs:
            yield _least(
                f"ten days of trades, rows per second against {name}", ours / theirs, 10, "×"
            )


def _rows_a_second(figures: Figures, name: str) -> float | None:
    seconds = figures.middle("trades", name, "seconds")
    correct = figures.contenders("trades").get(name, {}).get("rows", {}).get("correct")
    return correct / seconds if seconds and correct is not None else None


def _memory(figures: Figures) -> Iterator[Target | None]:
    on_two = figures.middle("trade_cores", OURS, "peak_bytes", "2")
    if on_two is not None:
        title = "ten days of trades, on two cores, peak memory"
        yield _most(title, on_two / _MEBI, 160, "MiB")
    ten = figures.middle("trades", OURS, "peak_bytes", "10")
    thirty = figures.middle("trades", OURS, "peak_bytes", "30")
    if ten is None or thirty is None:
        return
    came = f"{thirty / ten:.2f} × ({ten / _MEBI:.0f} MiB, {thirty / _MEBI:.0f} MiB)"
    # A tenth: what an allocator does with two days at once differs from run to run.
    yield Target("peak memory of thirty days against ten", "the same", came, thirty <= 1.1 * ten)


def _rest(figures: Figures) -> Iterator[Target | None]:
    rows = figures.at("rest").get("rows")
    if rows:
        asked, least = figures.asked("rest", OURS, "/api/v3/klines"), math.ceil(rows / 1000)
        reach = f"no more than ⌈rows / 1000⌉ = {least} requests"
        yield Target("REST candles, by the server's count", reach, f"{asked}", asked <= least)
    for name in figures.others("rest", peers=True):
        yield _least(f"REST candles against {name}", figures.ratio("rest", name, OURS), 5, "×")


def _limit(figures: Figures) -> Iterator[Target | None]:
    windows = figures.windows("limit", OURS)
    if not windows:
        return
    allowed = figures.cases["limit"]["extra"]["allowed_weight"]
    used = 100 * sum(windows) / len(windows) / allowed
    yield _least(f"allowed weight used, {len(windows)} whole windows", used, 95, "%")
    refused = figures.refused("limit", OURS)
    yield Target("the same, refused as too many", "none", f"{refused}", refused == 0)


def _again(figures: Figures) -> Iterator[Target | None]:
    one = figures.middle("again", OURS, "work_seconds")
    two = figures.middle("again", OURS, "work_seconds", "2")
    files = figures.at("again").get("count")
    yield _most(f"second run, {files:,} files: work", one, 0.5, "s") if files else None
    if one and two:
        asked = figures.middle("again", OURS, "requests") or 0
        yield Target("second run, requests", "none", f"{asked:g}", asked == 0)
        yield _most("second run, twice the files", two / one, 2, "× the time")


def _load(figures: Figures) -> Iterator[Target | None]:
    title = "load five years of 1m candles"
    pandas = figures.middle("load", "pandas", "work_seconds")
    text = figures.ratio("load", _NO_COPIES, OURS, "work_seconds")
    table = figures.middle("load", _TABLE, "again_seconds")
    whole = figures.middle("load", OURS, "seconds")
    bare = figures.middle("load", "only the imports", "seconds")
    yield _least(
        f"{title}, reading alone",
        figures.ratio("load", "pandas", OURS, "work_seconds"),
        10,
        "× pandas' speed",
    )
    yield _least(f"{title}, reading alone", text, 7, "× the speed without copies")
    if pandas and table:
        yield _least(f"{title} as a table, once more", pandas / table, 80, "× pandas' speed")
    if whole is not None and bare is not None:
        yield _most(f"{title}, over importing pandas and pyarrow", whole - bare, 0.15, "s")
    first = figures.ratio("load", _FIRST, _NO_COPIES, "work_seconds")
    yield _most("the load that makes copies", first, 1.15, "× a load without them")
    for name, most in ((OURS, 0.6), (_LZ4, 0.4)):
        share = figures.middle("load", name, "copy_share")
        yield _most(f"size of the copies, {name}", share, most, "× the CSV")


def _parts(figures: Figures) -> Iterator[Target | None]:
    yield _most(
        "two columns of one month, once more",
        figures.middle("window", OURS, "again_seconds"),
        0.01,
        "s",
    )
    yield _least(
        "a day of a million trades, once more",
        figures.ratio("day", "pandas", OURS, "again_seconds"),
        15,
        "× pandas' speed",
    )
    yield _most(
        "a hundred symbols side by side", figures.middle("wide", OURS, "work_seconds"), 0.5, "s"
    )
    grown, size = (figures.middle("wide", OURS, what) for what in ("grown_bytes", "frame_bytes"))
    if grown is not None and size:
        yield _most("the same, memory", grown / size, 3, "× the frame")


def _coverage(figures: Figures) -> Iterator[Target | None]:
    few, many = figures.at("coverage", "1"), figures.at("coverage")
    small = figures.middle("coverage", OURS, "work_seconds", "1")
    large = figures.middle("coverage", OURS, "work_seconds")
    if small is None or large is None:
        return
    yield _most(f"coverage and gaps of {many['count']:,} files", large, 10, "s")
    ratio = (large / many["count"]) / (small / few["count"])
    came = f"a file costs {ratio:.2f} × what it costs among {few['count']:,}"
    yield Target("the same, how it grows", "linear", came, ratio <= 1.2)  # noqa: PLR2004 - see above


def _import(figures: Figures) -> Iterator[Target | None]:
    ours = figures.middle("import", OURS, "seconds")
    bare = figures.middle("import", "nothing", "seconds")
    if ours is not None and bare is not None:
        yield _most("import, over a bare interpreter", ours - bare, 0.15, "s")
