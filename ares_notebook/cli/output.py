"""Run the work of a command, and print its result as text or JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

import typer

from ares_notebook.cache.prune import PruneReport
from ares_notebook.download.report import DownloadReport
from ares_notebook.formatting import size_in_words
from ares_notebook.runtime.loop import STOPPED, answered, leave, status_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FAILED",
    "print_coverage",
    "print_json",
    "print_report",
    "print_runs",
    "print_table",
    "run_command",
    "stop",
]

FAILED = 1
_T = TypeVar("_T")


def stop(message: str, status: int) -> NoReturn:
    """Print *message* to standard error, and exit with *status*."""
    typer.echo(message, err=True)
    raise SystemExit(status)


def run_command(work: Coroutine[Any, Any, _T]) -> _T:
    """Run *work*; SIGINT and SIGTERM cancel it, print what was done, and exit."""
    signals: list[int] = []
    try:
        return asyncio.run(_cancelled_by_signals(work, signals))
    except asyncio.CancelledError as error:
        if not signals:
            raise
        stop("\n".join([STOPPED, *getattr(error, "__notes__", ())]), status_of(signals[0]))


async def _cancelled_by_signals(work: Coroutine[Any, Any, _T], signals: list[int]) -> _T:
    """Let a signal cancel *work*, which then cleans up; a second signal ends the process."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()

    def cancel(number: int) -> None:
        if signals:
            leave(number)
        signals.append(number)
        loop.call_soon_threadsafe(task.cancel)

    with answered(cancel):
        return await task


def print_table(table: pd.DataFrame, columns: str) -> None:
    """Print the named columns; times to the minute, shares in percent."""
    # Imported with the first table: pandas is slow to import.
    from ares_notebook.cache.table import in_words  # noqa: PLC0415

    typer.echo(in_words(table, columns.split()).to_string(index=False, max_colwidth=100))


def print_coverage(table: pd.DataFrame) -> None:
    """Print one line per cache file."""
    print_table(
        table.rename(columns={"confirmed_absent": "absent"}),
        "file rows expected absent holes share first last source state",
    )
    typer.echo(
        "\nabsent: proven that the exchange has no such rows; gaps: gaps that are not proven; "
        "`ares-notebook gaps` says why"
    )


def print_runs(table: pd.DataFrame) -> None:
    """Print one line per run, and below them the errors of those that failed."""
    sizes = table["bytes_received"].map(size_in_words)
    print_table(
        table.assign(received=sizes, took=table["seconds"].map("{:,.1f} s".format)),
        "at what symbol interval ending files failures rows received requests retries "
        "rate_limited took",
    )
    for run in table[table["error"].astype(bool)].itertuples():
        typer.echo(f"\n{run.at:%Y-%m-%d %H:%M} {run.what} {run.symbol}: {run.error}")


class _Report(Protocol):
    """A result that is false where something failed."""

    def __bool__(self) -> bool: ...

    def to_frame(self) -> pd.DataFrame: ...


def print_report(report: _Report, *, as_json: bool) -> None:
    """Print a report; exit with status 1 if something failed."""
    print_json(_report_data(report)) if as_json else typer.echo(report)
    if not report:
        raise typer.Exit(FAILED)


def _report_data(report: _Report) -> Any:
    """The sums of a download or of pruning, with its rows; of any other report its rows alone."""
    rows = _records(report.to_frame())
    if isinstance(report, DownloadReport):
        return {
            "complete": report.complete,
            "failed": len(report.failed),
            "rows_written": report.rows_written,
            "requests": report.requests,
            "bytes_received": report.bytes_received,
            "seconds": round(report.seconds, 3),
            "notes": report.notes,
            "steps": rows,
        }
    if isinstance(report, PruneReport):
        return {
            "dry_run": report.dry_run,
            "failed": len(report.failed),
            "files": report.files,
            "bytes_freed": report.bytes_freed,
            "bytes_left": report.bytes_left,
            "items": rows,
        }
    return rows


def print_json(value: Any) -> None:
    """Print *value*, of a table a list of objects, in ASCII; times are ISO 8601 in UTC."""
    data = _records(value) if hasattr(value, "to_json") else value
    typer.echo(json.dumps(data, indent=1, default=str))


def _records(table: pd.DataFrame) -> Any:
    return json.loads(table.to_json(orient="records", date_format="iso", date_unit="us"))
