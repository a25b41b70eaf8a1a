"""How far the panel's work is: a bar in all and one a dataset, each told in words as well."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from ares_notebook.formatting import size_in_words, text, time_in_words
from ares_notebook.model.datasets import DATASETS, dataset_named
from ares_notebook.runtime.progress import DatasetProgress, Progress

__all__ = ["ProgressView"]

_FULL = 1_000
_TENTH = 0.1


class ProgressView:
    """
    Bars for eyes, sentences for screen readers.

    ipywidgets' bars have no role and no value that a reader could say, so each has its numbers
    beside it, and the state as a whole is a live region. That one is renewed only where the state
    changes and every tenth of the way: a reader is not to be talked to ten times a second.
    """

    def __init__(self) -> None:
        self.status = widgets.HTML()
        self._lines = {name: _Line() for name in ("", *(dataset.name for dataset in DATASETS))}
        self.box = widgets.VBox([self.status, *(line.box for line in self._lines.values())])
        self._told = -1
        self.say("Ready")

    def say(self, words: str, state: str = "") -> None:
        """Tell the state."""
        self._told = -1
        self.status.value = _live(words)
        for line in self._lines.values():
            line.bar.bar_style = state

    def begin(self, words: str) -> None:
        """Begin anew, with empty bars."""
        self.say(words)
        for line in self._lines.values():
            line.clear()

    def show(self, progress: Progress, verb: str) -> None:
        """Show how far it is."""
        tenths = int(progress.share / _TENTH)
        if tenths != self._told:
            # No count of files: it would stand still beside one that runs.
            self.status.value = _live(f"{verb} {progress.steps_total:,} files: {tenths * 10}%")
            self._told = tenths
        self._lines[""].show("In all", progress.share, _whole(progress))
        parts: Sequence[DatasetProgress] = progress.parts if len(progress.parts) > 1 else ()
        for part in parts:
            self._lines[part.dataset].show(
                dataset_named(part.dataset).title, part.share, _part(part)
            )


class _Line:
    """A label, a bar, and the same in words."""

    def __init__(self) -> None:
        self._label = widgets.HTML()
        self.bar = widgets.IntProgress(max=_FULL)
        self._words = widgets.HTML()
        self.box = widgets.HBox([self._label, self.bar, self._words])
        self.box.add_class("ares-bar")
        self.clear()

    def clear(self) -> None:
        self.bar.value = 0
        self.box.layout.display = "none"

    def show(self, label: str, share: float, words: str) -> None:
        self._label.value = text(label)
        self.bar.value = round(share * _FULL)
        self._words.value = text(words)
        self.box.layout.display = ""


def _live(words: str) -> str:
    return f'<div role="status" aria-live="polite">{text(words)}</div>'


def _whole(progress: Progress) -> str:
    words = [
        f"{progress.share:.0%}",
        f"{progress.steps_done:,} of {progress.steps_total:,} files",
    ]
    if progress.rows:
        words.append(f"{progress.rows:,} rows")
    if progress.bytes_received:
        words.append(f"{size_in_words(progress.bytes_per_second)}/s")
    if progress.seconds_left:
        words.append(f"{time_in_words(progress.seconds_left)} left")
    return " · ".join(words)


def _part(part: DatasetProgress) -> str:
    rows = f" · {part.rows:,} rows" if part.rows else ""
    return f"{part.share:.0%} · {part.steps_done:,} of {part.steps_total:,} files{rows}"
