"""What became of the panel's work: its state in words, an error in place, and the report."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from ares_notebook.download.report import DownloadReport
from ares_notebook.errors import AresError
from ares_notebook.formatting import folded
from ares_notebook.lab.progress_view import ProgressView
from ares_notebook.lab.static_html import problem_html
from ares_notebook.quality.report import QualityReport

__all__ = ["ResultView"]


class ResultView:
    """Shows how work went; the state is told last, when everything else is there."""

    def __init__(self, progress_view: ProgressView) -> None:
        self._gauge = progress_view
        self.alert, self.result = widgets.HTML(), widgets.HTML()
        self.result.add_class("ares-result")
        self.error: BaseException | None = None
        self._symbols = ""

    def begin(self, doing: str, symbols: str) -> None:
        """Forget the last error and report; what follows is told of *symbols*."""
        self.error, self.alert.value, self.result.value = None, "", ""
        self._symbols = symbols
        self._gauge.begin(f"{doing} {symbols} …")

    def show_cancelled(self, verb: str) -> None:
        """Somebody has stopped it."""
        self._gauge.say(f"{verb}: cancelled ({self._symbols}); what is done is kept.", "warning")

    def show_problem(self, verb: str, error: BaseException) -> None:
        """It failed, or could not be begun."""
        self.error = error
        self.alert.value = problem_html(error)
        told = f" ({self._symbols})" if self._symbols else ""
        self._gauge.say(f"{verb}: failed{told}.", "danger")

    def show_report(self, verb: str, report: DownloadReport) -> None:
        """A download or a repair has ended; failed files are a problem."""
        headline, _, _ = str(report).partition("\n")
        self.result.value = folded(f"Report: {headline}", report._repr_html_())
        try:
            report.raise_for_failures()
        except AresError as error:
            self.show_problem(verb, error)
            return
        state = "complete" if report.complete else "done, with gaps left"
        self._gauge.say(
            f"{verb}: {state} ({self._symbols}).", "success" if report.complete else "warning"
        )

    def show_quality(self, verb: str, reports: Sequence[QualityReport]) -> None:
        """A validation has ended."""
        errors = sum(len(report.errors) for report in reports)
        words = f"errors found: {errors:,}" if errors else "no error found"
        self.result.value = "".join(report._repr_html_() for report in reports)
        self._gauge.say(f"{verb}: {words} ({self._symbols}).", "danger" if errors else "success")
