"""Run the work of a command, and print its result as text or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

import click

from ares_notebook.cli.options import Given
from ares_notebook.formatting import (
    IN_PYTHON,
    TIMES,
    call,
    cell_in_words,
    head_in_words,
    in_columns,
    many,
    size_in_words,
)
from ares_notebook.model.window import window_in_words, window_of
from ares_notebook.runtime.signals import STOPPED, answered, leave, status_of

if TYPE_CHECKING:
    import pandas as pd

    from ares_notebook.download.plan import Plan
    from ares_notebook.download.universe import UniversePlan

DONE, FAILED, USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143
EXIT_STATUSES = {
    DONE: "all is done, and nothing is wrong",
    FAILED: "something failed, differs, or is below a threshold",
    USAGE: "the command is wrong; nothing was done",
    INTERRUPTED: "interrupted (Ctrl-C); what is done is kept",
    TERMINATED: "terminated (SIGTERM); what is done is kept",
}
"""What each exit status means."""
_T = TypeVar("_T")


def stop(message: str, status: int, kind: str) -> NoReturn:
    """Print *message* to standard error, with ``--json`` also as JSON to standard output, and exit."""
    click.echo(message, err=True)
    if wants_json():
        said = message.removeprefix("ERROR: ")
        print_json({"error": {"kind": kind, "message": said, "exit_status": status}})
    raise SystemExit(status)


def wants_json() -> bool:
    """Whether the command line asks for JSON: also where it is wrong, and its options are not known."""
    return "--json" in sys.argv[1:]


def run_command(work: Coroutine[Any, Any, _T]) -> _T:
    """Run *work*; SIGINT and SIGTERM cancel it, print what was done, and exit."""
    import asyncio

    signals: list[int] = []
    try:
        return asyncio.run(_cancelled_by_signals(work, signals))
    except asyncio.CancelledError as error:
        if not signals:
            raise
        said = "\n".join([STOPPED, *getattr(error, "__notes__", ())])
        stop(said, status_of(signals[0]), "Interrupted")


async def _cancelled_by_signals(work: Coroutine[Any, Any, _T], signals: list[int]) -> _T:
    """Let a signal cancel *work*, which then cleans up; a second signal ends the process."""
    import asyncio

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
    from ares_notebook.cache.table import in_words

    click.echo(in_words(table, columns.split()).to_string(index=False, max_colwidth=100))


def print_coverage(rows: Sequence[Mapping[str, Any]], given: Given) -> None:
    """Print one line per cache file, and below them what the columns mean; times are in milliseconds."""
    from ares_notebook.model.time import utc

    names = [
        "file",
        "rows",
        "expected",
        "confirmed_absent",
        "holes",
        "share",
        "first",
        "last",
        "source",
        "state",
    ]
    heads = [head_in_words(name).removeprefix("confirmed_") for name in names]
    cells = [
        [
            cell_in_words(
                name, utc(row[name]) if name in TIMES and row[name] is not None else row[name]
            )
            for name in names
        ]
        for row in rows
    ]
    click.echo(in_columns([heads, *cells]))
    words = (given.symbol, given.interval)
    why = call(IN_PYTHON("find_gaps", *words), "gaps", *words, datasets=given.names)
    click.echo(
        "\nabsent: rows that the exchange is proven not to have; holes: gaps that are not proven; "
        f"`{why}` says why"
    )
    _print_window(given)


def print_gaps(table: pd.DataFrame, given: Given) -> None:
    """Print one line per gap, and below them what the reasons mean and what closes open gaps."""
    from ares_notebook.cache.gap_reasons import EXPLAINED, REASONS
    from ares_notebook.download.repair import repair_call
    from ares_notebook.model.files import Series

    if table.empty:
        of = "" if given.symbol is None else f" of {given.symbol.upper()}"
        click.echo(f"Nothing is missing{of}.")
        return
    of_which = "" if given.symbol is not None else "symbol "
    print_table(table, f"dataset {of_which}interval start end missing reason note")
    click.echo("")
    for reason in table["reason"].unique():
        click.echo(f"{reason}: {REASONS[reason]}")
    left = table[~table["reason"].isin(EXPLAINED)]
    if len(left):
        names = zip(left["dataset"], left["symbol"], left["interval"], strict=True)
        series = {Series.of(dataset, symbol, grid or None) for dataset, symbol, grid in names}
        others = left["symbol"].nunique() - 1
        more = f" (and so with {many(others, 'other symbol')})" if others else ""
        click.echo(f"\nTo close what is open: {repair_call(series)}{more}")
    _print_window(given)


def print_audit_plan(table: pd.DataFrame) -> None:
    """Print one line per file, and below them how much would be fetched whole."""
    print_table(table, "file compared_with rows")
    whole = table[table["compared_with"] != "checksum"]
    click.echo(
        f"\n{many(len(table), 'file')} to compare; {many(int(whole['rows'].sum()), 'row')} of "
        f"{many(len(whole), 'file')} would be fetched, of the others only a checksum"
    )


def _print_window(given: Given) -> None:
    """Print the window, if it was limited at its start."""
    if given.begin is not None:
        click.echo(f"\n{window_in_words(*window_of(None, given.begin, given.end))}")


def print_plan(made: Plan | UniversePlan, *, as_json: bool) -> None:
    """Print a plan; as JSON that of a symbol is an object with its steps, of many a list of symbols."""
    if not as_json:
        click.echo(made)
    elif hasattr(made, "plans"):
        print_json(made.to_frame())
    else:
        print_json(_plan_data(made))


def _plan_data(made: Plan) -> dict[str, Any]:
    return {
        "symbol": made.symbol,
        "interval": made.interval,
        "start": made.start.isoformat(),
        "end": made.end.isoformat(),
        "cache_dir": made.settings.cache_dir,
        "files": len(made),
        "to_do": len(made.to_do),
        "rows": made.rows,
        "requests": made.requests,
        "bytes_received": made.bytes_received,
        "bytes_stored": made.bytes_stored,
        "steps": records(made.to_frame()),
    }


def print_runs(table: pd.DataFrame) -> None:
    """Print one line per run, and below them the errors of those that failed."""
    sizes = table["bytes_received"].map(size_in_words)
    print_table(
        table.assign(received=sizes, took=table["seconds"].map("{:,.1f} s".format)),
        "at what symbol interval ending files failures rows received requests retries "
        "rate_limited took",
    )
    for run in table[table["error"].astype(bool)].itertuples():
        click.echo(f"\n{run.at:%Y-%m-%d %H:%M} {run.what} {run.symbol}: {run.error}")


class _Report(Protocol):
    """A result that is false where something failed."""

    def __bool__(self) -> bool: ...

    def to_frame(self) -> pd.DataFrame: ...


def print_report(report: _Report, *, as_json: bool) -> None:
    """Print a report; exit with status 1 if something failed."""
    print_json(report_data(report)) if as_json else click.echo(report)
    if not report:
        raise SystemExit(FAILED)


def report_data(report: _Report) -> Any:
    """The sums of a download or of pruning, with its rows; of any other report its rows alone."""
    from ares_notebook.cache.prune_report import PruneReport
    from ares_notebook.download.report import DownloadReport

    rows = records(report.to_frame())
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
    data = records(value) if hasattr(value, "to_json") else value
    click.echo(json.dumps(data, indent=1, default=str))


def records(table: pd.DataFrame) -> Any:
    """A table as a list of objects that JSON can hold."""
    return json.loads(table.to_json(orient="records", date_format="iso", date_unit="us"))
