"""
What the faces of a cache say, held against the truth and against each other.

A check is a function that takes the cache and raises `Broken` with the name of the invariant.
Names in ``WALK_EXCEPT``, with commas between them, are not held.
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
from known import Cache, Window, is_ours
from places import Place
from truth import frame_of, load, microseconds, stamp_of, story_of

import ares_notebook as ares
from ares_notebook import Settings
from ares_notebook.cache.contents import CacheContents
from ares_notebook.cache.gap_reasons import COMPLETE
from ares_notebook.errors import AresError, CorruptFile, NeverDownloaded
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.time import utc

ABSENT = frozenset(
    {"confirmed absent upstream", "before listing", "after delisting", "between listings"}
)
"""Reasons that say: the exchange has no row there."""
EXPLAINED = ABSENT | {"quiet"}
GOOD_STATES = ABSENT | {"complete"}
_MILLISECOND = timedelta(milliseconds=1)


class Broken(AssertionError):
    """An invariant does not hold."""


def hold(name: str, holds: object, words: object = "") -> None:
    """Raise unless it *holds*, or is not to be held."""
    if not holds and name not in os.environ.get("WALK_EXCEPT", "").split(","):
        msg = f"{name}: {words}"
        raise Broken(msg)


# --- I1: nothing wrong is called complete, nothing wrong is stored ---


def check_disk(cache: Cache) -> None:
    """No file has a row that the exchange does not have, unless we put it there."""
    for place in cache.places:
        for file in place.files:
            if file.name not in cache.harmed:
                wrong = cache.untrue(place, file.name)
                hold("I1/disk", not wrong, f"{file.name} has {wrong[:2]}, which is not true")


def check_asked(cache: Cache) -> None:
    """No file is there that nobody asked for, none with a row that was not closed at the latest end."""
    known = {file.name for place in cache.places for file in place.files}
    names = {path.name.removesuffix(".zst") for path in cache.folder.glob("*.csv*")}
    foreign = {name for name in names - known if parse_file_name(name)}
    hold("I1/asked", not foreign, f"nobody asked for {sorted(foreign)[:3]}")
    for place in cache.places:
        until_us = cache.asked_until_us.get(place, 0)
        for file in place.files:
            rows = [] if file.name in cache.harmed else cache.rows(file.name)
            if rows:
                end_us = stamp_of(rows[-1]) + place.step_us
                is_asked = end_us <= until_us if place.step_us else end_us < until_us
                words = f"{file.name} ends with {rows[-1]}; asked until {utc(until_us // 1000)}"
                hold("I1/asked", is_asked, words)


def check_load(cache: Cache, window: Window) -> bool:
    """A frame that says that it is complete has every row of the truth, cell by cell."""
    try:
        frame = load(window.place, window.start, window.end, cache.settings)
    except AresError as error:
        if isinstance(error, CorruptFile):
            # Somebody has seen it.
            cache.hidden -= {name for name in cache.hidden if name in str(error)}
        return False
    if frame is None or not frame.attrs["complete"]:
        return False
    if not cache.is_hidden(window):
        hold("I1/load", *_same(frame, window))
        hold("I1/altered", not frame.attrs.get("altered"), f"{window}: complete, {frame.attrs}")
    return True


def _same(frame: pd.DataFrame, window: Window) -> tuple[bool, str]:
    """Whether a frame is the truth, and where it is not."""
    true = frame_of(*window)
    if true is None or true.empty:
        return frame.empty, f"{window}: {len(frame)} rows where the exchange has none"
    if len(frame) != len(true):
        return False, f"{window}: complete with {len(frame)} of {len(true)} rows"
    is_same = frame.equals(true) and list(frame.columns) == list(true.columns)
    return is_same, f"{window}: complete, and a cell is wrong" if not is_same else ""


def check_coverage(cache: Cache, window: Window) -> bool:
    """A file that is called complete or final has every row of the truth."""
    place = window.place
    table = _asked(ares.coverage, window, cache.settings)
    for row in table.to_dict("records"):
        one = Window(place, max(window.start, row["start"]), min(window.end, row["end"]))
        if row["file"] in cache.hidden or one.start >= one.end:
            continue
        if row["state"] in GOOD_STATES or row["final"]:
            lacking = cache.lacking(one) or cache.untrue(place, row["file"])
            words = f"{one}: {row['state']}, final={row['final']}, and not so: {lacking[:2]}"
            hold("I1/coverage", not lacking, words)
    return len(table) == len(window.files) and all(table["state"].isin(GOOD_STATES))


def _asked(verb: Any, window: Window, settings: Settings) -> pd.DataFrame:
    """What a table says of a window of its series alone."""
    place = window.place
    options = {"start": window.start, "end": window.end, "settings": settings}
    try:
        table = verb(place.symbol, place.interval or None, **options)
    except NeverDownloaded:
        return pd.DataFrame({name: [] for name in ("dataset", "state", "reason", "file")})
    return table[(table["dataset"] == place.dataset) & (table["interval"] == place.interval)]


def check_report(cache: Cache, place: Place, report: Any, until_us: int) -> None:
    """A download that says that it is complete has left every row that was closed before its end."""
    if report.complete:
        window = Window(place, place.start, place.end)
        names = {step.file_name for step in report.steps}
        wrong = [row for name in names - cache.hidden for row in cache.untrue(place, name)]
        lacking = wrong or [row for row in cache.lacking(window, until_us) if not cache.hidden]
        words = f"{place} until {utc(until_us // 1000)}: complete, and not so: {lacking[:2]}"
        hold("I1/report", not lacking, f"{words}; {report}")


def check_validate(cache: Cache, report: Any) -> None:
    """A cache that is found sound has no wrong row, and none is missing between two others."""
    if not report.ok:
        return
    for place in cache.places:
        names = [file.name for file in place.files if cache.path(file.name)]
        for file in place.files:
            if file.name not in names:
                continue
            wrong = cache.untrue(place, file.name)
            hold("I1/validate", not wrong, f"{file.name} is sound, and has {wrong[:2]}")
            last = stamp_of(cache.rows(file.name)[-1]) + 1 if file.name == names[-1] else None
            end = file.period.end if last is None else utc(last // 1000 + 1)
            lacking = cache.lacking(Window(place, file.period.start, min(end, file.period.end)))
            hold("I1/validate", not lacking, f"{file.name} is sound, and lacks {lacking[:2]}")


def check_fingerprint(window: Window, made: Any) -> None:
    """A fingerprint that says that it is complete is that of the true rows."""
    story = story_of(window.place)
    lines = story.between(microseconds(window.start), microseconds(window.end))
    true = hashlib.sha256(b"".join([story.header, *lines])).hexdigest()
    if made.complete:
        hold("I1/fingerprint", made.sha256 == true, f"{window}: {made.rows} rows of {len(lines)}")


# --- I2: what is called absent is absent ---


def check_gaps(cache: Cache, window: Window) -> bool:
    """Where the exchange is said to have nothing it has nothing; tell whether no gap is open."""
    gaps = _asked(ares.find_gaps, window, cache.settings)
    for row in gaps.to_dict("records"):
        # Between trades a gap begins and ends in the milliseconds of those beside it.
        neighbours = _MILLISECOND * (window.place.dataset == "agg_trades")
        one = Window(window.place, row["start"] + neighbours, row["end"] - neighbours)
        if row["reason"] in ABSENT:
            lacking = cache.lacking(one)
            hold("I2/absent", not lacking, f"{one}: {row['reason']}, and there is {lacking[:2]}")
    is_known = not _asked(ares.coverage, window, cache.settings).empty
    is_closed = is_known and gaps["reason"].isin(EXPLAINED).all()
    if is_closed and not cache.is_hidden(window):
        lacking = cache.lacking(window)
        hold("I1/gaps", not lacking, f"{window}: no open gap, and there is {lacking[:2]}")
    return bool(is_closed)


# --- I3: the faces agree ---


def check_faces(cache: Cache, window: Window) -> None:
    """Loader, gaps and coverage say the same of one window."""
    by_load = check_load(cache, window)
    by_gaps = check_gaps(cache, window)
    if cache.is_hidden(window):
        return
    hold("I3/gaps", by_load == by_gaps, f"{window}: load says {by_load}, find_gaps {by_gaps}")
    by_coverage = check_coverage(cache, window)
    if window.is_of_whole_files:
        words = f"{window}: load says {by_load}, coverage {by_coverage}"
        hold("I3/coverage", by_load == by_coverage, words)


def check_contents(cache: Cache) -> None:
    """A series that the cache shows as complete loads as complete, from its first file to its last row."""
    shown = {each.series: each for each in CacheContents.of(cache.settings).series}
    for place in cache.places:
        held = shown.get(place.series)
        is_hidden = any(file.name in cache.hidden for file in place.files)
        if held is not None and held.state == COMPLETE and not is_hidden:
            frame = load(place, None, None, cache.settings)
            words = f"{place} is shown as complete, and loads with {frame.attrs if frame is not None else 'nothing'}"
            hold("I3/contents", frame is not None and frame.attrs["complete"], words)
            hold("I3/contents", len(frame) == held.rows, f"{words}; {held.rows} rows are shown")


# --- I4: nothing is half a file ---


def check_whole(cache: Cache) -> None:
    """A file that is no text of ours is told of as damaged."""
    for place in cache.places:
        for file in place.files:
            text = cache.text(file.name)
            if text is None or is_ours(text, story_of(place)) or file.name in cache.hidden:
                continue
            window = Window(place, file.period.start, file.period.end)
            table = _asked(ares.coverage, window, cache.settings)
            hold("I4/whole", file.name in cache.harmed, f"{file.name} is no file of ours")
            states = set(table["state"])
            reported = not states <= GOOD_STATES
            hold("I4/told", reported, f"{file.name} is no file of ours, and called {states}")


def check_all(cache: Cache) -> None:
    """All of it, for every window of every place."""
    cache.look_around()
    check_disk(cache)
    check_asked(cache)
    for place in cache.places:
        for window in cache.windows(place):
            check_faces(cache, window)
    check_contents(cache)
    check_whole(cache)


def now_us() -> int:
    """By the local clock."""
    return microseconds(datetime.now(UTC))
