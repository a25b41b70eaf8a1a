"""A cache folder, and what we know about it: what it may hold, what was done to it, what it lacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import harm
from places import Place
from truth import Story, microseconds, story_of

from ares_notebook import Settings
from ares_notebook.model.files import CacheFile


class Window(NamedTuple):
    """A window of a place, ``[start, end)``."""

    place: Place
    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.place} {self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M}"

    @property
    def files(self) -> list[CacheFile]:
        """Those that it needs."""
        return [
            file
            for file in self.place.files
            if file.period.start < self.end and self.start < file.period.end
        ]

    @property
    def is_of_whole_files(self) -> bool:
        """Whether it begins and ends where files do."""
        files = self.files
        return (self.start, self.end) == (files[0].period.start, files[-1].period.end)


@dataclass
class Cache:
    """
    A cache folder, and what we know about it.

    Parameters
    ----------
    settings : Settings
        To read it with.
    places : tuple of Place
        What it may hold.
    harmed : set of str
        Files that we have damaged, and nobody has mended.
    hidden : set of str
        Those of them of which size and time are as before, and nobody has taken the sha256 since.
    asked_until_us : dict of Place to int
        The latest end that anybody has asked for.
    """

    settings: Settings
    places: tuple[Place, ...]
    harmed: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    asked_until_us: dict[Place, int] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.settings.cache_dir

    def path(self, name: str) -> Path | None:
        """Where a file lies."""
        paths = [self.folder / name, self.folder / f"{name}.zst"]
        return next((path for path in paths if path.exists()), None)

    def text(self, name: str) -> bytes | None:
        """What a file says; None if it is not there, or no text at all."""
        path = self.path(name)
        try:
            return None if path is None else harm.read(path)
        except OSError:
            return b""

    def rows(self, name: str) -> list[bytes]:
        """The rows of a file, as they stand there but for the ends of their lines."""
        lines = (self.text(name) or b"").splitlines()[1:]
        return [line.strip() + b"\n" for line in lines if line.strip()]

    def look_around(self) -> None:
        """Forget what we did to files that are sound again, or gone."""
        for place in self.places:
            for file in place.files:
                text = self.text(file.name)
                is_whole = text is not None and text.endswith(b"\n")
                if text is None or (is_whole and _true_text(place, file.name).startswith(text)):
                    self.hidden.discard(file.name)
                    self.harmed.discard(file.name)

    def untrue(self, place: Place, name: str) -> list[bytes]:
        """Rows of a file that the exchange does not have, or not there, or not twice."""
        true = _true_text(place, name)
        if true.startswith(self.text(name) or b""):
            return []
        rows, known = self.rows(name), set(true.splitlines(keepends=True)[1:])
        doubled = len(rows) - len(set(rows))
        return [row for row in rows if row not in known] or rows[:doubled]

    def lacking(self, window: Window, until_us: int | None = None) -> list[bytes]:
        """True rows of a window that are not there; those that are not closed then do not lack."""
        start_us, end_us = microseconds(window.start), microseconds(window.end)
        if until_us is not None:
            end_us = min(end_us, until_us - window.place.step_us + (window.place.step_us > 0))
        there = {row for file in window.files for row in self.rows(file.name)}
        true = story_of(window.place).between(start_us, end_us)
        return [row for row in true if row not in there]

    def is_hidden(self, window: Window) -> bool:
        """Whether a file of the window is damaged, and nobody can have seen it."""
        return not self.hidden.isdisjoint(file.name for file in window.files)

    def windows(self, place: Place) -> list[Window]:
        """Whole, each file, and up to what was asked for."""
        files = [Window(place, file.period.start, file.period.end) for file in place.files]
        asked_us = self.asked_until_us.get(place, 0)
        asked = [
            end for end in place.borders() if place.start < end and microseconds(end) <= asked_us
        ]
        ends = {place.end, *asked[-1:]}
        return [*files, *(Window(place, place.start, end) for end in sorted(ends))]


def _true_text(place: Place, name: str) -> bytes:
    """What a file says when all is there."""
    return story_of(place).files.get(name, b"")


def is_ours(text: bytes, story: Story) -> bool:
    """Whether it is a text that the package may have written of these rows."""
    return (
        text.startswith(story.header)
        and text.endswith(b"\n")
        and b"\r" not in text
        and b"\n\n" not in text
    )
