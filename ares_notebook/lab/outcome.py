"""What became of the panel's work: its state in words, an error in place, and the report."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from ares_notebook.errors import AresError
from ares_notebook.lab.face import problem_html
from ares_notebook.lab.gauge import Gauge
from ares_notebook.markup import folded
from ares_notebook.proof.quality import QualityReport
from ares_notebook.work.report import DownloadReport

__all__ = ["Outcome"]


class Outcome:
    """
    Shows how work went; the state is told last, when everything else is there.

    Parameters
    ----------
    gauge : Gauge
        Tells the state.

    Attributes
    ----------
    alert, result : ipywidgets.HTML
        An error, and a report.
    error : BaseException or None
        The error that is shown.
    """

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self.alert, self.result = widgets.HTML(), widgets.HTML()
        self.result.add_class("ares-result")
        self.error: BaseException | None = None

    def begin(self, doing: str) -> None:
        """Forget the last error; the last report stays until there is a new one."""
        self.error, self.alert.value = None, ""
        self._gauge.begin(f"{doing} …")

    def show_cancelled(self, verb: str) -> None:
        """Somebody has stopped it."""
        self._gauge.say(f"{verb}: cancelled; what is done is kept.", "warning")

    def show_problem(self, verb: str, error: BaseException) -> None:
        """It failed, or could not be begun."""
        self.error = error
        self.alert.value = problem_html(error)
        self._gauge.say(f"{verb}: failed.", "danger")

    def show_report(self, verb: str, report: DownloadReport) -> None:
        """A download or a repair has ended; failed files are a problem."""
        headline, _, _ = str(report).partition("\n")
        self.result.value = folded(f"Report: {headline}", report._repr_html_())
        try:
            report.raise_for_failures()
        except AresError as error:
            self.show_problem(verb, error)
            return
        state = "complete" if report.complete else "done, with holes left"
        self._gauge.say(f"{verb}: {state}.", "success" if report.complete else "warning")

    def show_quality(self, verb: str, reports: Sequence[QualityReport]) -> None:
        """A validation has ended."""
        errors = sum(len(report.errors) for report in reports)
        words = f"errors found: {errors:,}" if errors else "no error found"
        self.result.value = "".join(report._repr_html_() for report in reports)
        self._gauge.say(f"{verb}: {words}.", "danger" if errors else "success")
