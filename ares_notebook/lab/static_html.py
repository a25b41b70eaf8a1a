"""The panel as static HTML, and its style."""

from __future__ import annotations

import traceback

from ares_notebook.errors import AresError, BadArgument
from ares_notebook.formatting import block, folded, line, table, text
from ares_notebook.lab.choice import Choice
from ares_notebook.model.datasets import dataset_named

__all__ = ["STYLE", "face_html", "face_text", "hint_html", "problem_html"]


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
