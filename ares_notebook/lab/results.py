"""Progress, report and errors in the panel, and the panel as static HTML."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

import ipywidgets as widgets

from ares_notebook.download.report import DownloadReport
from ares_notebook.errors import AresError, BadArgument
from ares_notebook.formatting import block, folded, line, size_in_words, table, text, time_in_words
from ares_notebook.lab.choice import Choice
from ares_notebook.model.datasets import DATASETS, dataset_named
from ares_notebook.quality.report import QualityReport
from ares_notebook.runtime.progress import DatasetProgress, Progress

__all__ = [
    "STYLE",
    "ProgressView",
    "ResultView",
    "face_html",
    "face_text",
    "hint_html",
    "problem_html",
]

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
        for each in self._lines.values():
            each.bar.bar_style = state

    def begin(self, words: str) -> None:
        """Begin anew, with empty bars."""
        self.say(words)
        for each in self._lines.values():
            each.clear()

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


def problem_html(error: BaseException) -> str:
    """An error in words, with its traceback folded away; an alert for screen readers."""
    words = str(error) or type(error).__name__
    if not isinstance(error, AresError):
        # Ours say what to do; of any other at least the kind must be known.
        words = f"{type(error).__name__}: {words}"
    details = ""
    if not isinstance(error, BadArgument):
        # Who is still typing has made no crash.
        trace = "".join(traceback.format_exception(error))
        details = folded("Traceback", f"<pre>{text(trace)}</pre>")
    return f'<div role="alert" class="ares-problem">{line(words)}{details}</div>'


def hint_html(words: str) -> str:
    """A remark that is no error."""
    return f'<div class="ares-hint">{text(words)}</div>' if words else ""


def face_text(choice: Choice) -> str:
    """The choice in a line."""
    end = f", end {choice.end:%Y-%m-%d}" if choice.end else ""
    labels = ", ".join(dataset_named(name).title for name in choice.datasets)
    return f"{', '.join(choice.symbols)} {choice.interval}, {_lookback(choice)}{end}: {labels}"


def _lookback(choice: Choice) -> str:
    return f"{choice.count} {choice.unit.removesuffix('s') if choice.count == 1 else choice.unit}"


def face_html(choice: Choice, estimate: str, cache_view: str) -> str:
    """
    The panel as a page without scripts shows it: what is chosen, its cost, where things stand.
    """
    end = f"{choice.end:%Y-%m-%d}" if choice.end else "now"
    rows = [
        ("Symbols", ", ".join(choice.symbols)),
        ("Interval", choice.interval),
        ("Lookback", f"{_lookback(choice)}, up to {end} (UTC, exclusive)"),
        ("Datasets", ", ".join(dataset_named(name).title for name in choice.datasets)),
        ("Cache folder", choice.settings.cache_dir),
    ]
    code = folded("The code that does the same", f"<pre>{text(choice.code())}</pre>")
    note = line("Run the cell to use the panel: this is its static face.")
    return block("Download panel", table(("", ""), rows), estimate, cache_view, code, note)


# Fallback values are for front ends without JupyterLab's variables.
STYLE = """<style>
.ares-panel{max-width:960px;padding:14px 16px;box-sizing:border-box;overflow:visible;
  border:1px solid var(--jp-border-color2,#ccc);border-radius:6px;
  color:var(--jp-ui-font-color1,inherit);background:var(--jp-layout-color1,transparent)}
.ares-panel .widget-html{margin:0}
.ares-panel .widget-box,.ares-panel .widget-html,.ares-panel .widget-html-content{overflow:visible;height:auto}
.ares-panel .widget-html-content{line-height:1.5;white-space:normal;width:100%}
.ares-panel .ares-row{display:flex;flex-flow:row wrap;gap:10px 16px;align-items:flex-end;margin:0 0 10px}
.ares-panel .ares-field{flex-flow:column;height:auto;margin:0;max-width:100%;align-items:stretch}
.ares-panel .ares-field .widget-label,.ares-panel .ares-code .widget-label{width:auto;max-width:none;
  text-align:left;height:auto;line-height:1.6;padding:0;overflow:visible}
.ares-panel .ares-field input,.ares-panel .ares-field select{width:100%;flex:none;box-sizing:border-box;
  height:28px;line-height:1.4;padding:0 8px;font-family:inherit}
.ares-panel .ares-row .widget-checkbox{width:auto;margin:0;height:28px}
.ares-panel .ares-row .widget-checkbox label{display:flex;align-items:center;gap:6px;height:28px}
.ares-panel .ares-ticks input{margin:0}
body[data-jp-theme-light="false"] .ares-panel{color-scheme:dark}
body[data-jp-theme-light="false"] .ares-panel select{appearance:auto;background-image:none}
.ares-panel .ares-ticks{gap:14px;flex-flow:row wrap}
.ares-panel .ares-row .widget-button{margin:0;width:128px}
.ares-panel .ares-estimate,.ares-panel .ares-result{overflow-x:auto;margin:2px 0 10px}
.ares-panel .ares-bar{display:flex;flex-flow:row wrap;gap:0 10px;align-items:center;overflow:visible}
.ares-panel .ares-bar .widget-html:first-child{width:5em}
.ares-panel .ares-bar .widget-hprogress{width:230px}
.ares-panel .ares-bar .widget-html:last-child{flex:1;min-width:16em;font-variant-numeric:tabular-nums}
.ares-panel .ares-problem{border-left:4px solid var(--jp-error-color1,#b71c1c);padding:4px 10px;margin:6px 0;
  background:var(--jp-layout-color2,#f5f5f5);overflow-wrap:anywhere}
.ares-panel .ares-problem pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:12px;margin:4px 0;
  color:inherit;background:none}
.ares-panel .ares-hint{color:var(--jp-ui-font-color2,#666)}
.ares-panel .ares-coverage svg{max-width:100%;height:auto;display:block}
.ares-panel .ares-gaps{overflow-x:auto}
.ares-panel summary{cursor:pointer}
.ares-panel .ares-code{flex-flow:column;height:auto;width:100%;margin:10px 0 0}
.ares-panel .ares-code textarea{font-family:var(--jp-code-font-family,monospace);width:100%;
  box-sizing:border-box;resize:vertical;flex:none}
</style>"""
"""One element for the panel's first child; every rule begins with the panel's class."""


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
