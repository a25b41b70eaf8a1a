"""Tables and reports, for people or for machines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from ares_notebook.cache.prune import PruneReport
from ares_notebook.cli.options import stop
from ares_notebook.download.report import DownloadReport
from ares_notebook.formatting import size_in_words
from ares_notebook.runtime.loop import STOPPED, answered, leave, status_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "run_shown",
    "show_coverage",
    "show_pruned",
    "show_report",
    "show_runs",
    "show_table",
    "told_as_json",
]

_COVERAGE = [
    "file",
    "rows",
    "expected",
    "absent",
    "holes",
    "share",
    "first",
    "last",
    "source",
    "state",
]
_RUNS = [
    "at",
    "what",
    "symbol",
    "interval",
    "ending",
    "files",
    "failures",
    "rows",
    "received",
    "requests",
    "retries",
    "rate_limited",
    "took",
]
_T = TypeVar("_T")


def run_shown(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of *work*; who interrupts or terminates it hears what was done, and how to go on."""
    struck: list[int] = []
    try:
        return asyncio.run(_stoppable(work, struck))
    except asyncio.CancelledError as error:
        if not struck:
            raise
        stop("\n".join([STOPPED, *getattr(error, "__notes__", ())]), status_of(struck[0]))


async def _stoppable(work: Coroutine[Any, Any, _T], struck: list[int]) -> _T:
    """Let a signal cancel *work*, which then tidies up; a second one is not waited for."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()

    def cancel(number: int) -> None:
        if struck:
            leave(number)
        struck.append(number)
        loop.call_soon_threadsafe(task.cancel)

    with answered(cancel):
        return await task


def show_coverage(table: pd.DataFrame) -> None:
    """What the cache holds, a line a file."""
    show_table(table.rename(columns={"confirmed_absent": "absent"}), _COVERAGE)
    typer.echo(
        "\nabsent: proven that the exchange has no such rows; gaps: gaps that are not proven; "
        "`ares-notebook gaps` says why"
    )


def show_runs(table: pd.DataFrame) -> None:
    """What was done with a cache, a line a run; below, why those that did not end well did not."""
    sizes = table["bytes_received"].map(size_in_words)
    show_table(table.assign(received=sizes, took=table["seconds"].map("{:,.1f} s".format)), _RUNS)
    for run in table[table["error"].astype(bool)].itertuples():
        typer.echo(f"\n{run.at:%Y-%m-%d %H:%M} {run.what} {run.symbol}: {run.error}")


def show_table(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Columns of a table, moments to the minute and shares in percent."""
    # Imported with the first table: pandas is slow to import.
    from ares_notebook.cache.table import in_words  # noqa: PLC0415

    shown = in_words(table, list(columns))
    typer.echo(shown.to_string(index=False, max_colwidth=100))


def show_report(report: DownloadReport, *, as_json: bool) -> None:
    """What became of a download or a repair."""
    if not as_json:
        typer.echo(report)
        return
    told_as_json(
        {
            "complete": report.complete,
            "failed": len(report.failed),
            "rows_written": report.rows_written,
            "requests": report.requests,
            "bytes_received": report.bytes_received,
            "seconds": round(report.seconds, 3),
            "notes": list(report.notes),
            "steps": _records(report.to_frame()),
        }
    )


def show_pruned(report: PruneReport, *, as_json: bool) -> None:
    """What went, or would go."""
    if not as_json:
        typer.echo(report)
        return
    told_as_json(
        {
            "dry_run": report.dry_run,
            "failed": len(report.failed),
            "files": report.files,
            "bytes_freed": report.bytes_freed,
            "bytes_left": report.bytes_left,
            "items": _records(report.to_frame()),
        }
    )


def told_as_json(value: pd.DataFrame | dict[str, Any]) -> None:
    """JSON of a table (a list of objects) or of a value; moments are ISO, UTC."""
    data = value if isinstance(value, dict) else _records(value)
    # In ASCII, which every pipe takes as it is.
    typer.echo(json.dumps(data, indent=1, default=str))


def _records(table: pd.DataFrame) -> Any:
    return json.loads(table.to_json(orient="records", date_format="iso", date_unit="us"))
