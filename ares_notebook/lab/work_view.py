"""Progress, report and errors of the panel's work."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from ares_notebook.download.report import DownloadReport, StepReport
from ares_notebook.errors import AresError
from ares_notebook.formatting import folded, line, many, size_in_words, text, time_in_words
from ares_notebook.lab.cache_state import CacheState
from ares_notebook.lab.choice import Choice
from ares_notebook.lab.views import error_html
from ares_notebook.model.datasets import DATASETS, dataset_named
from ares_notebook.quality.report import QualityReport
from ares_notebook.runtime.progress import DatasetProgress, Progress

_FULL = 1_000
_TENTHS = 10
_WAITS = "Waiting for the first answer of the exchange …"


class WorkView:
    """
    Progress, report and errors of the panel's work, for eyes and for screen readers.

    A screen reader cannot read the bars of ipywidgets: each has its numbers in words, and the
    state as a whole is a live region, renewed at every tenth only, since all of it is read aloud.
    """

    def __init__(self, cancel: widgets.Button) -> None:
        self.status, self.remark, self.waiting = (widgets.HTML() for _ in range(3))
        self.bars = {name: _Bar() for name in ("", *(dataset.name for dataset in DATASETS))}
        self.alert, self.result = widgets.HTML(), widgets.HTML()
        self.result.add_class("ares-result")
        bars = (bar.box for bar in self.bars.values())
        self.box = widgets.VBox(
            [self.remark, self._head(cancel), *bars, self.waiting, self.alert, self.result]
        )
        self.box.add_class("ares-work")
        self.error: BaseException | None = None
        self._choice: Choice | None = None
        self._shown_tenths = -1
        self._say("Ready")

    def _head(self, cancel: widgets.Button) -> widgets.HBox:
        head = widgets.HBox([self.status, cancel])
        head.add_class("ares-row")
        return head

    def begin(self, doing: str, choice: Choice) -> None:
        """Remove the last report and error, and empty the bars; the work is on *choice*."""
        self.error, self.alert.value, self.result.value = None, "", ""
        self._choice = choice
        self.compare(choice)
        self._say(f"{doing} {choice} …")
        self.waiting.value = line(_WAITS)
        for bar in self.bars.values():
            bar.clear()

    def compare(self, choice: Choice | None) -> None:
        """Show in grey what does not belong to *choice*, that of the form; None is no choice."""
        is_old = self._choice is not None and self._choice != choice
        self.remark.value = ""
        if is_old and self._choice is not None:
            folder = self._choice.settings.cache_dir
            self.remark.value = line(f"For {self._choice} in {folder}; the form has changed.")
            self.alert.value = ""
        (self.box.add_class if is_old else self.box.remove_class)("ares-old")

    def show_progress(self, progress: Progress, doing: str) -> None:
        """Show how much is done, and what is waited for."""
        tenths = int(progress.share * _TENTHS)
        if tenths != self._shown_tenths:
            # Without the number of files done, which is renewed more often below.
            self.status.value = _live(
                f"{doing} {many(progress.steps_total, 'file')}: {tenths * 10}%"
            )
            self._shown_tenths = tenths
        is_answered = progress.steps_done or progress.bytes_received
        waits = getattr(progress, "waiting", "") or ("" if is_answered else _WAITS)
        self.waiting.value = line(waits or " · ".join(_rate_words(progress)))
        self._show_bars(progress, progress.parts)

    def show_cancelled(self, verb: str) -> None:
        """Show that the work was cancelled."""
        self._say(f"{verb}: cancelled ({self._choice}); what is done is kept.")
        self._colour("warning")

    def show_problem(self, verb: str, error: BaseException, *, is_at_field: bool = False) -> None:
        """Show why the work failed, or could not begin, unless the words stand at a field."""
        self.error = error
        self.alert.value = "" if is_at_field else error_html(error)
        self._say(f"{verb}: failed{f' ({self._choice})' if self._choice else ''}.")
        self._colour("danger")

    def show_report(
        self, verb: str, report: DownloadReport, state: CacheState, *, is_at_field: bool
    ) -> None:
        """Show the report of a download or a repair, and how the cache stands now."""
        headline, _, _ = str(report).partition("\n")
        left = len(state.left)
        gaps = f"{many(left, 'gap')} left to close" if left else "no gap is left to close"
        lines = (
            f"Report: {headline}",
            f"Cache: {state.counts}",
            f"Proof: {gaps}, {many(len(state.explained), 'gap')} explained by the exchange",
        )
        self.result.value = "".join(map(line, lines)) + folded("Each file", report._repr_html_())
        try:
            report.raise_for_failures()
        except AresError as error:
            self.show_problem(verb, error, is_at_field=is_at_field)
        else:
            outcome = "complete" if state.is_complete else f"done; {state.counts}"
            self._say(f"{verb}: {outcome} ({self._choice}).")
        self._show_ends(report.steps)

    def show_quality(self, verb: str, reports: Sequence[QualityReport]) -> None:
        """Show the reports of a validation."""
        errors = sum(len(report.errors) for report in reports)
        words = f"errors found: {errors:,}" if errors else "no error found"
        self.result.value = "".join(report._repr_html_() for report in reports)
        self._say(f"{verb}: {words} ({self._choice}).")
        # The reports count the files that are there; the bars counted those that are wanted.
        for bar in self.bars.values():
            bar.clear()

    def _show_ends(self, steps: Sequence[StepReport]) -> None:
        """Show of each dataset which share of the files came: red if one failed, else green."""
        to_do = [step for step in steps if step.action != "skip"]
        if to_do:
            names = dict.fromkeys(step.dataset for step in to_do)
            groups = [(name, [step for step in to_do if step.dataset == name]) for name in names]
            self._colour("success")
            self._show_bars(_end("", to_do), [_end(name, own) for name, own in groups])

    def _show_bars(
        self, whole: Progress | DatasetProgress, parts: Sequence[DatasetProgress]
    ) -> None:
        """Show a bar for each dataset, and one for all if there are several."""
        label = dataset_named(parts[0].dataset).title if len(parts) == 1 else "In all"
        self.bars[""].show(label, whole)
        for part in parts if len(parts) > 1 else ():
            self.bars[part.dataset].show(dataset_named(part.dataset).title, part)

    def _say(self, words: str) -> None:
        self._shown_tenths = -1
        self.waiting.value = ""
        self.status.value = _live(words)

    def _colour(self, style: str) -> None:
        for bar in self.bars.values():
            bar.bar.bar_style = style


def _live(words: str) -> str:
    return f'<div role="status" aria-live="polite">{text(words)}</div>'


class _Bar:
    """A label, a bar, and the same in words."""

    def __init__(self) -> None:
        self.label, self.words = widgets.HTML(), widgets.HTML()
        self.bar = widgets.IntProgress(max=_FULL)
        self.box = widgets.HBox([self.label, self.bar, self.words])
        self.box.add_class("ares-bar")
        self.clear()

    def clear(self) -> None:
        self.bar.value, self.bar.bar_style = 0, ""
        self.box.layout.display = "none"

    def show(self, label: str, part: Progress | DatasetProgress) -> None:
        """Show the share of what came: a file that failed is done with, and did not come."""
        came = part.steps_done - part.steps_failed
        share = came / part.steps_total if part.steps_failed else part.share
        words = [f"{int(share * 100)}%", f"{came:,} of {many(part.steps_total, 'file')}"]
        if part.steps_failed:
            words.append(f"{part.steps_failed:,} failed")
            self.bar.bar_style = "danger"
        if part.rows:
            words.append(many(part.rows, "row"))
        self.label.value = text(label)
        self.bar.value = round(share * _FULL)
        words_html = text(" · ".join(words))
        is_red = part.steps_failed > 0
        self.words.value = (
            f'<span class="ares-failed">{words_html}</span>' if is_red else words_html
        )
        self.box.layout.display = ""


def _end(name: str, steps: Sequence[StepReport]) -> DatasetProgress:
    """The progress of a dataset whose steps have ended."""
    failed = sum(step.error is not None for step in steps)
    rows = sum(step.rows for step in steps)
    return DatasetProgress(name, len(steps), len(steps), rows, steps_failed=failed)


def _rate_words(progress: Progress) -> list[str]:
    words = []
    if progress.bytes_received:
        words.append(f"{size_in_words(progress.bytes_per_second)}/s")
    if progress.seconds_left:
        words.append(f"{time_in_words(progress.seconds_left)} left")
    return words
