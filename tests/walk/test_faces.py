"""Any cache, any damage, any window: what the faces say without asking anybody is true, and they agree."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import faces
import harm
import pytest
from faces import Cache, Window
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from places import BY_NAME, TRADES_PER_DAY, Place
from truth import microseconds

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.errors import AresError, NeverDownloaded

NUMBERS = st.integers(0, 11)
BYTES = st.tuples(st.sampled_from(sorted(harm.BYTES)), NUMBERS, st.integers(0, 10_000))
ROT = st.tuples(st.just("rot"), NUMBERS, st.integers(0, 10_000))
RECEIPTS = st.tuples(st.sampled_from(sorted(harm.RECEIPTS)), NUMBERS, st.just(0))
FOLDER = st.tuples(st.sampled_from(("gone", "times", "stray")), NUMBERS, st.just(0))


@lru_cache
def whole(place: Place, end: int, source: str) -> tuple[Path, int]:
    """A cache that was filled up to a moment, made once; and that moment."""
    folder = Path(tempfile.mkdtemp(prefix="walk-cache-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    until = place.moments()[::-1][end % len(place.moments())]
    with DemoExchange(trades_per_day=TRADES_PER_DAY, weight_limit=10**6) as exchange:
        own = exchange.settings(
            cache_dir=folder, source=source, progress=False, retry_delay_seconds=0
        )
        asyncio.run(
            ares.download_all_data(
                place.symbol,
                place.interval or "1h",
                place.years(until),
                end=until,
                datasets=[place.dataset],
                settings=own,
            )
        )
    return folder, microseconds(until)


def spoil(cache: Cache, place: Place, kind: str, number: int, at: int) -> None:
    """Do one thing to a cache; what nobody could ever find out is not done."""
    there = [file.name for file in place.files if cache.path(file.name)]
    if kind == "times":
        harm.reset_times(cache.folder)
        cache.hidden.clear()
    elif kind == "stray":
        harm.put_stray(cache.folder, number)
    if not there:
        return
    name = there[number % len(there)]
    path = cache.path(name)
    receipt = harm.receipt_of(cache.folder, name)
    if kind == "gone":
        path.unlink()
    elif kind in harm.RECEIPTS and receipt.exists() and not cache.harmed:
        harm.RECEIPTS[kind](receipt)
    elif kind in harm.BROKEN or (kind in harm.BYTES and _is_vouched_for(cache, name)):
        harm.harm(path, kind, at)
        cache.harmed.add(name)
        cache.hidden.discard(name)
    elif kind == "rot":
        can_rot = name not in cache.harmed and _is_vouched_for(cache, name)
        if can_rot and harm.harm_unseen(path, "a digit", at):
            cache.harmed.add(name)
            cache.hidden.add(name)


def _is_vouched_for(cache: Cache, name: str) -> bool:
    return harm.is_vouched_for(cache.folder, name, cache.path(name))


def look_at_every_byte(cache: Cache, window: Window) -> None:
    """What those who take the sha256 say."""
    place = window.place
    options = {"dataset": place.dataset, "settings": cache.settings}
    with contextlib.suppress(AresError):
        made = ares.fingerprint(
            place.symbol, place.interval or None, window.start, window.end, **options
        )
        faces.check_fingerprint(window, made)
    with contextlib.suppress(NeverDownloaded):
        faces.check_validate(cache, ares.validate_cache(settings=cache.settings))
        cache.hidden.clear()


@pytest.mark.timeout(600)
@settings(
    max_examples=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    name=st.sampled_from(sorted(BY_NAME)),
    end=NUMBERS,
    source=st.sampled_from(("auto", "archive", "rest")),
    damage=st.lists(st.one_of(BYTES, ROT, RECEIPTS, FOLDER), max_size=3),
    borders=st.tuples(NUMBERS, NUMBERS),
)
def test_no_face_is_deceived(name, end, source, damage, borders):
    """Whatever was done to a cache, no face calls wrong rows complete or there ones absent, and all agree on every window."""
    place = BY_NAME[name]
    folder, until_us = whole(place, end, source)
    ends = [place.start, *place.borders()]
    first, last = sorted(each % len(ends) for each in borders)
    with tempfile.TemporaryDirectory() as there:
        shutil.copytree(folder, Path(there) / "cache")
        own = Settings(cache_dir=Path(there) / "cache", market="demo", progress=False)
        cache = Cache(own, (place,), asked_until_us={place: until_us})
        for each in damage:
            spoil(cache, place, *each)
        faces.check_all(cache)
        window = Window(place, ends[first], ends[last])
        if first < last:
            faces.check_faces(cache, window)
            look_at_every_byte(cache, window)
            faces.check_all(cache)
