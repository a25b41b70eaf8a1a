"""Rules of the walk: the package's verbs, to their end, cancelled and killed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import warnings
from datetime import UTC, datetime

import faces
from faces import Window, hold
from hypothesis import strategies as st
from hypothesis.stateful import precondition
from killing import kill_at_deed
from truth import frame_of, microseconds
from world import SMALL, SOURCES, World, runs, step

import ares_notebook as ares
from ares_notebook.cached_window import IncompleteData
from ares_notebook.errors import AresError, NeverDownloaded

_SILENT = logging.getLogger("walk")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class Verbs(World):
    """What a user does."""

    @step(
        at=SMALL, end=SMALL, source=SOURCES, retries=st.sampled_from((2, 0)), packed=st.booleans()
    )
    def download(self, at: int, end: int, source: str, retries: int, packed: bool) -> None:  # noqa: FBT001
        """Bring a place up to a moment."""
        place, until = self.until(at, end)
        self.expect(place, until)
        settings = self.settings(source, retries, "zstd" if packed else None)
        report = self.done(self.download_of(place, until, settings))
        if report is not None:
            closed_us = min(microseconds(until), self.now_us())
            self.cache.look_around()
            faces.check_report(self.cache, place, report, closed_us)

    @runs("kills")
    @step(at=SMALL, end=SMALL, requests=st.integers(0, 15), source=SOURCES)
    def cancel(self, at: int, end: int, requests: int, source: str) -> None:
        """Cancel a download when so many requests have come."""
        place, until = self.until(at, end)
        self.expect(place, until)
        asked = len(self.exchange.requests) + requests

        async def cancelled() -> None:
            work = asyncio.create_task(self.download_of(place, until, self.settings(source)))
            while len(self.exchange.requests) < asked and not work.done():  # noqa: ASYNC110 - it counts, and waits for nothing
                await asyncio.sleep(0)
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

        self.done(cancelled())

    @runs("kills")
    @precondition(lambda _: hasattr(os, "fork"))
    @step(at=SMALL, end=SMALL, deed=st.integers(0, 40), source=SOURCES)
    def kill(self, at: int, end: int, deed: int, source: str) -> None:
        """Have SIGKILL strike a download before one of its deeds on the disk."""
        place, until = self.until(at, end)
        self.expect(place, until)
        kill_at_deed(self.settings(source), self.wanted(place, until), deed)

    @step(at=SMALL, source=SOURCES, recheck=st.booleans(), end=st.none() | SMALL)
    def repair(self, at: int, source: str, recheck: bool, end: int | None) -> None:  # noqa: FBT001
        """Close the gaps."""
        place = self.place(at)
        until = None if end is None else self.until(at, end)[1]
        verb = ares.repair_gaps(
            place.symbol,
            place.interval or None,
            end=until,
            settings=self.settings(source),
            recheck=recheck,
            datasets=[place.dataset],
        )
        report = self.done(verb)
        if report is not None and report.complete:
            for name in {step.file_name for step in report.steps}:
                wrong = self.wrong_in(name)
                hold("I1/repair", not wrong, f"{name} is repaired, and has {wrong[:2]}")
        if until is None and report is not None:
            self.seen(place)

    @step(update=st.booleans(), source=SOURCES)
    def audit(self, update: bool, source: str) -> None:  # noqa: FBT001
        """Compare with what the exchange says today."""
        verb = ares.audit_cache(settings=self.settings(source), update=update)
        report = self.done(verb)
        for each in report.files if report is not None else ():
            if each.verdict in {"unchanged", "same rows", "replaced"}:
                wrong = self.wrong_in(each.file)
                words = f"{each.file} is {each.verdict}, and has {wrong[:2]}"
                hold("I1/audit", not wrong, words)
            if each.verdict != "failed":
                self.cache.hidden.discard(each.file)

    @step()
    def validate(self) -> None:
        """Check every row and every byte."""
        with contextlib.suppress(NeverDownloaded):
            report = ares.validate_cache(settings=self.settings())
            faces.check_validate(self.cache, report)
            self.cache.hidden.clear()

    @step(at=SMALL, start=SMALL, end=SMALL)
    def fingerprint(self, at: int, start: int, end: int) -> None:
        """Take the sha256 of a window."""
        place, first, last = self.window(at, start, end)
        window = Window(place, first, last)
        options = {"dataset": place.dataset, "settings": self.settings()}
        with contextlib.suppress(AresError):
            made = ares.fingerprint(place.symbol, place.interval or None, first, last, **options)
            faces.check_fingerprint(window, made)
            self.cache.hidden -= {file.name for file in window.files}

    @step(at=SMALL, start=SMALL, end=SMALL, given=st.integers(-1, 3), source=SOURCES)
    def fetch(self, at: int, start: int, end: int, given: int, source: str) -> None:
        """Have a frame filled up, of which a part is given."""
        place, first, last = self.window(at, start, end)
        self.expect(place, last)
        true = frame_of(place, first, last)
        part = None if given < 0 or true is None else true.iloc[given :: given + 1].reset_index()
        settings, window = self.settings(source), Window(place, first, last)
        verb = ares.fetch_missing_data(
            place.symbol,
            microseconds(first) // 1000,
            microseconds(last) // 1000,
            {place.dataset: part},
            _SILENT,
            interval=place.interval or None,
            settings=settings,
        )
        frames = self.done(verb)
        if frames is None or self.cache.is_hidden(window):
            return
        frame = frames[place.dataset]
        is_complete = frame.attrs["complete"]
        if is_complete:
            expected = 0 if true is None else len(true)
            words = f"{window}: complete with {len(frame)} of {expected} rows"
            hold("I1/fetch", len(frame) == expected, words)
        if part is None:
            by_load = faces.check_load(self.cache, window)
            words = f"{window}: fetch_missing_data says {is_complete}, load {by_load}"
            hold("I3/fetch", is_complete == by_load, words)

    @step(at=SMALL, start=SMALL, end=SMALL, source=SOURCES)
    def get(self, at: int, start: int, end: int, source: str) -> None:
        """Have a window brought and loaded."""
        place, first, last = self.window(at, start, end)
        self.expect(place, last)
        window, interval = Window(place, first, last), place.interval or None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IncompleteData)
            frame = self.done(
                ares.rows(
                    place.dataset,
                    place.symbol,
                    interval,
                    first,
                    last,
                    settings=self.settings(source),
                )
            )
        self.cache.look_around()
        if frame is not None and not self.cache.is_hidden(window):
            is_complete = frame.attrs["complete"]
            by_load = faces.check_load(self.cache, window)
            words = f"{window}: rows says {is_complete}, load {by_load}"
            hold("I3/get", is_complete == by_load, words)

    @step(at=SMALL, end=SMALL)
    def prune(self, at: int, end: int) -> None:
        """Delete what is older than a moment."""
        _, until = self.until(at, end)
        keep = datetime.now(UTC) - until
        with contextlib.suppress(NeverDownloaded):
            ares.prune_cache(keep=keep, dry_run=False, settings=self.settings())

    @step(at=SMALL, start=SMALL, end=SMALL)
    def load(self, at: int, start: int, end: int) -> None:
        """Look at a window of any size."""
        window = Window(*self.window(at, start, end))
        self.cache.look_around()
        faces.check_faces(self.cache, window)
