"""The command line: the same verbs as in a cell. Exit status 0 done, 1 something failed, 2 usage."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from ares_notebook import __version__
from ares_notebook.cache.coverage import coverage as coverage_table
from ares_notebook.demo import DemoExchange
from ares_notebook.errors import AresError, BadArgument
from ares_notebook.settings import Settings
from ares_notebook.work.carry_out import carry_out
from ares_notebook.work.plan import Plan, plan_downloads
from ares_notebook.work.progress import somebody_looks
from ares_notebook.work.report import DownloadReport

__all__ = ["main"]

_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130
# The demo's end is pinned, so that everybody sees the same numbers.
_DEMO_END = "2025-04-01"
_DEMO_CACHE = "demo_cache"
_DAY_YEARS = 1 / 365.25
_SHOWN = [
    "file",
    "rows",
    "expected",
    "absent",
    "holes",
    "share",
    "first",
    "last",
    "source",
    "final",
]

app = typer.Typer(
    name="ares-notebook",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Symbol = Annotated[str | None, typer.Argument(help="Such as BTCUSDT.", show_default="BTCUSDT")]
Interval = Annotated[
    str | None, typer.Argument(help="Of the k-lines, 1s to 1M.", show_default="1h")
]
Years = Annotated[
    float | None, typer.Option("--years", help="How far back; 0.25 is a quarter.", show_default="1")
]
End = Annotated[
    str | None, typer.Option("--end", help="Nothing at or after this (UTC).", show_default="now")
]
Datasets = Annotated[
    str, typer.Option("--datasets", help="Some of klines,agg_trades,futures; trades are large.")
]
Source = Annotated[
    str | None, typer.Option("--source", help="auto, archive or rest.", show_default="auto")
]
# Text, not a path: Typer would make "" the current folder.
CacheDir = Annotated[
    str | None, typer.Option("--cache-dir", help="The cache folder.", show_default="data_cache")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show every request and decision.")]

_ALL = "klines,agg_trades,futures"


@app.callback(invoke_without_command=True)
def about(
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Crypto market history in a local CSV cache that is complete and can prove it."""
    if version:
        typer.echo(f"ares-notebook {__version__}")
        raise typer.Exit


@app.command()
def download(
    symbol: Symbol = None,
    interval: Interval = None,
    *,
    years: Years = None,
    end: End = None,
    datasets: Datasets = _ALL,
    source: Source = None,
    cache_dir: CacheDir = None,
    verbose: Verbose = False,
) -> None:
    """Bring what is missing into the cache, and say what became of it."""
    _log(verbose=verbose)
    plan = _plan(
        symbol,
        interval,
        years=years,
        end=end,
        datasets=datasets,
        source=source,
        cache_dir=cache_dir,
    )
    if somebody_looks(plan.settings):
        # What it will cost is said before it is spent; trades can be very large.
        typer.echo(f"{plan}\n", err=True)
    report = _carried_out(plan)
    typer.echo(report)
    if not report:
        raise typer.Exit(_FAILED)


@app.command()
def plan(
    symbol: Symbol = None,
    interval: Interval = None,
    *,
    years: Years = None,
    end: End = None,
    datasets: Datasets = _ALL,
    source: Source = None,
    cache_dir: CacheDir = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Ask the archive's listing for exact sizes.")
    ] = False,
) -> None:
    """Say what a download would do, file by file, and why; fetches nothing."""
    made = _plan(
        symbol,
        interval,
        years=years,
        end=end,
        datasets=datasets,
        source=source,
        cache_dir=cache_dir,
    )
    typer.echo(asyncio.run(made.measure()) if exact else made)


@app.command()
def coverage(
    symbol: Annotated[str | None, typer.Argument(help="Only this symbol.")] = None,
    interval: Annotated[str | None, typer.Argument(help="Only this interval's k-lines.")] = None,
    *,
    cache_dir: CacheDir = None,
) -> None:
    """Show what the cache holds, a line a file."""
    _show_coverage(_settings(cache_dir=cache_dir), symbol, interval)


@app.command()
def demo(
    *,
    cache_dir: Annotated[str, typer.Option("--cache-dir", help="The cache folder.")] = _DEMO_CACHE,
) -> None:
    """Try it offline: three months of BTCUSDT from a demo exchange on this machine."""
    with DemoExchange() as exchange:
        typer.echo(f"The demo exchange is at {exchange.url}. Its market is made up.\n")
        settings = exchange.settings(cache_dir=cache_dir)
        # Days of trades are large, so the demo takes three of them, not three months.
        parts = [(90 * _DAY_YEARS, ("klines", "futures")), (3 * _DAY_YEARS, ("agg_trades",))]
        plans = [
            plan_downloads("BTCUSDT", "1h", years, end=_DEMO_END, settings=settings, datasets=names)
            for years, names in parts
        ]
        plans = [asyncio.run(made.measure()) for made in plans]
        for made in plans:
            typer.echo(f"{made}\n")
        reports = [_carried_out(made) for made in plans]
        for report in reports:
            typer.echo(f"{report}\n")
        _show_coverage(settings, "BTCUSDT", "1h")
    typer.echo(f"\nThe files are in {cache_dir}. Run it again: nothing will be fetched.")
    if not all(reports):
        raise typer.Exit(_FAILED)


def _settings(**given: Any) -> Settings:
    """Settings from the environment and what was given on the command line."""
    return Settings(**{name: value for name, value in given.items() if value is not None})


def _plan(
    symbol: str | None,
    interval: str | None,
    *,
    years: float | None,
    end: str | None,
    datasets: str,
    source: str | None,
    cache_dir: str | None,
) -> Plan:
    settings = _settings(source=source, cache_dir=cache_dir)
    return plan_downloads(
        symbol if symbol is not None else settings.symbol,
        interval if interval is not None else settings.interval,
        years if years is not None else settings.lookback_years,
        end=end,
        settings=settings,
        datasets=tuple(name.strip() for name in datasets.split(",") if name.strip()),
    )


def _carried_out(plan: Plan) -> DownloadReport:
    try:
        return asyncio.run(carry_out(plan))
    except KeyboardInterrupt:
        _stop("Stopped. What is done is kept; run the same command to go on.", _INTERRUPTED)


def _show_coverage(settings: Settings, symbol: str | None, interval: str | None) -> None:
    table = coverage_table(symbol, interval, settings=settings)
    shown = table.rename(columns={"confirmed_absent": "absent"})[_SHOWN]
    formats: dict[str, Callable[[Any], str]] = {
        "share": "{:.2%}".format,
        "first": _minute,
        "last": _minute,
    }
    typer.echo(shown.to_string(index=False, formatters=formats))
    typer.echo(
        "\nabsent: asked for, and the exchange has no such rows; holes: still to be asked for"
    )


def _minute(moment: Any) -> str:
    # pandas hands over NaT for a period without a row.
    return f"{moment:%Y-%m-%d %H:%M}" if moment == moment else "-"  # noqa: PLR0124 - NaT is not itself


def _log(*, verbose: bool) -> None:
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("DataDownloader").setLevel(level)


def main() -> None:
    """Run the command line; the exit status says how it went."""
    try:
        app()
    except BadArgument as error:
        _stop(f"ERROR: {error}", _USAGE)
    except AresError as error:
        _stop(f"ERROR: {error}", _FAILED)


def _stop(message: str, status: int) -> NoReturn:
    typer.echo(message, err=True)
    raise SystemExit(status)
