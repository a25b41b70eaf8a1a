"""
The verbs of the command line: the same functions as in a cell of a notebook.

What only some verbs need is imported by these, since each import is waited for.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import ares_notebook as ares
from ares_notebook.cli.main_options import MAIN_OPTIONS
from ares_notebook.cli.options import FROM_SETTINGS, Given, Verb, Verbs, split, verb
from ares_notebook.cli.output import (
    DONE,
    EXIT_STATUSES,
    FAILED,
    USAGE,
    print_audit_plan,
    print_coverage,
    print_gaps,
    print_json,
    print_plan,
    print_report,
    print_runs,
    records,
    report_data,
    run_command,
    stop,
    wants_json,
)
from ares_notebook.errors import AresError, BadArgument, PoorQuality
from ares_notebook.formatting import many, speaking_shell
from ares_notebook.model.markets import SPOT
from ares_notebook.model.symbols import datasets_meant, validate_symbol
from ares_notebook.model.window import Lookback

if TYPE_CHECKING:
    from ares_notebook.download.plan import Plan
    from ares_notebook.download.report import DownloadReport
    from ares_notebook.download.universe import UniversePlan
    from ares_notebook.settings import Settings

GET, LOOK, PROVE, KEEP = "Get", "Look", "Prove", "Keep"
# The demo's end is pinned, so that everybody sees the same numbers.
_DEMO_END = "2025-04-01"
_DEMO_CACHE = "demo_cache"
# Days of trades are large, so the demo takes three of them, not three months.
_DEMO_DAYS = {"klines,futures": "90d", "agg_trades": "3d"}

_HELP = "Crypto market history in a local CSV cache that is complete and can prove it."

# A paragraph that begins with this mark is not filled.
_STATUSES = "\b\nExit status:\n" + "\n".join(
    f"  {status:<4} {meaning}" for status, meaning in EXIT_STATUSES.items()
)

app = Verbs("ares-notebook", no_args_is_help=True, help=_HELP, epilog=_STATUSES)
app.params += MAIN_OPTIONS


def serve() -> None:
    """Run the command line; the exit status says how it ended."""
    try:
        # Click prints what is wrong with a command by itself, but not as JSON.
        raise SystemExit(app(prog_name="ares-notebook", standalone_mode=not wants_json()) or DONE)
    except click.ClickException as error:
        stop(f"ERROR: {error.format_message()}", error.exit_code, type(error).__name__)
    except BadArgument as error:
        stop(f"ERROR: {error}", USAGE, type(error).__name__)
    except AresError as error:
        stop(f"ERROR: {error}", FAILED, type(error).__name__)


def _window(given: Given, settings: Settings) -> tuple[Lookback | None, dict[str, Any]]:
    """The lookback of a verb that gets data, by default that of the settings, and its keywords."""
    lookback = given.lookback
    if lookback is None and given.start is None:
        lookback = settings.lookback_years
    return lookback, {"start": given.start, "end": given.end, "datasets": given.names}


def _plan(given: Given, settings: Settings) -> Plan:
    lookback, keywords = _window(given, settings)
    symbol, interval = given.symbol or settings.symbol, given.interval or settings.interval
    if given.names is None:
        keywords["datasets"] = datasets_meant(validate_symbol(symbol), SPOT)
    return ares.plan_downloads(symbol, interval, lookback, settings=settings, **keywords)


def _run_plan(what: str, made: Plan) -> Coroutine[Any, Any, DownloadReport]:
    from ares_notebook.download.run_info import RunInfo, record_run
    from ares_notebook.download.run_plans import run_plan

    return record_run(RunInfo.of(what, made), run_plan(made))


def _carry_out(
    made: Plan | UniversePlan, work: Coroutine[Any, Any, DownloadReport], *, as_json: bool
) -> None:
    """Print the estimated cost, run the download, and print its report."""
    from ares_notebook.runtime.progress import somebody_looks

    if somebody_looks(made.settings):
        # Before anything is fetched; trades can be very large.
        click.echo(f"{made}\n", err=True)
    print_report(run_command(work), as_json=as_json)


_WANTED = "symbol interval years start end datasets source"


@verb(
    app,
    GET,
    f"{_WANTED} dry_run",
    example="download BTCUSDT 1h --start 2025-01-01 --end 2025-03-01",
    shown=FROM_SETTINGS,
)
def download(given: Given, settings: Settings) -> None:
    """Download what the cache lacks of a symbol, and report what was done."""
    from ares_notebook.download.run_info import RunInfo, planned

    make = partial(_plan, given, settings)
    if given.dry_run:
        print_plan(make(), as_json=given.json)
        return
    symbol, interval = given.symbol or settings.symbol, given.interval or settings.interval
    made = run_command(planned(RunInfo("download", settings, symbol, interval), make))
    _carry_out(made, _run_plan("download", made), as_json=given.json)


@verb(
    app,
    GET,
    "interval symbols market quote listed_on years start end datasets source dry_run",
    example="universe 1d --symbols BTCUSDT,ETHUSDT --years '6 months' --dry-run",
    shown=FROM_SETTINGS,
)
def universe(given: Given, settings: Settings) -> None:
    """Download many symbols: those that are named, or all that were listed."""
    from ares_notebook.download.universe import planned_universe, run_universe

    is_filtered = not (given.quote is None and given.listed_on is None)
    if (given.symbols is None) != is_filtered:
        msg = "say which symbols: --symbols A,B; or those of a --quote, such as USDT, or --listed-on a day, or both"
        raise BadArgument(msg)
    if given.symbols is not None and given.market != "spot":
        msg = "--market chooses among all that were listed; beside --symbols it says nothing"
        raise BadArgument(msg)
    lookback, keywords = _window(given, settings)
    wanted = (
        ares.Universe(given.quote, given.listed_on, given.market)
        if given.symbols is None
        else split(given.symbols)
    )
    interval = given.interval or settings.interval
    made = run_command(planned_universe(wanted, interval, lookback, settings=settings, **keywords))
    if given.dry_run:
        print_plan(made, as_json=given.json)
    else:
        _carry_out(made, run_universe(made), as_json=given.json)


@verb(
    app, GET, "end datasets source dry_run", example="update --dry-run", shown={"datasets": "all"}
)
def update(given: Given, settings: Settings) -> None:
    """Bring all that the cache holds up to now, as one run."""
    from ares_notebook.download.update import planned_update, run_update

    if given.dry_run:
        made = ares.plan_update(end=given.end, settings=settings, datasets=given.names)
        print_plan(made, as_json=given.json)
        return
    made = run_command(planned_update(given.end, settings, given.names))
    _carry_out(made, run_update(made), as_json=given.json)


@verb(
    app,
    GET,
    f"{_WANTED} recheck dry_run",
    example="repair BTCUSDT 1h --dry-run",
    needs="symbol",
    shown={"datasets": "all but trades; klines if an interval is given"},
)
def repair(given: Given, settings: Settings) -> None:
    """Close the gaps inside what the cache holds, and download nothing else."""
    from ares_notebook.download.run_info import RunInfo, planned

    symbol, interval = str(given.symbol), given.interval
    make = partial(
        ares.plan_repair,
        symbol,
        interval,
        start=given.begin,
        end=given.end,
        settings=settings,
        recheck=given.recheck,
        datasets=given.names,
    )
    if given.dry_run:
        print_plan(make(), as_json=given.json)
        return
    run_info = RunInfo("repair", settings, symbol, interval or "", ",".join(given.names or ()))
    made = run_command(planned(run_info, make))
    _carry_out(made, _run_plan("repair", made), as_json=given.json)


def demo(*, cache_dir: str, json: bool) -> None:
    """Try it offline: three months of BTCUSDT from a demo exchange on this machine."""
    from ares_notebook.cache.coverage import coverage_rows

    say = (lambda _: None) if json else click.echo
    given = Given("BTCUSDT", cache_dir=cache_dir, demo=True)
    with speaking_shell(*given.common), given.settings() as settings:
        say(f"The demo exchange is at {settings.spot_url}. Its market is made up.\n")
        plans = []
        for datasets, years in _DEMO_DAYS.items():
            part = replace(given, interval="1h", years=years, end=_DEMO_END, datasets=datasets)
            plans.append(run_command(_plan(part, settings).measure()))
            say(f"{plans[-1]}\n")
        reports = [run_command(_run_plan("download", made)) for made in plans]
        if json:
            held = records(ares.coverage("BTCUSDT", settings=settings))
            print_json({"downloads": [report_data(each) for each in reports], "coverage": held})
        else:
            for report in reports:
                say(f"{report}\n")
            print_coverage(coverage_rows("BTCUSDT", settings=settings)[0], given)
    say(f"\nThe files are in {cache_dir}. Run it again: nothing will be fetched.")
    if not all(reports):
        raise SystemExit(FAILED)


app.add_command(
    Verb(
        "demo",
        GET,
        callback=demo,
        help=demo.__doc__,
        epilog="Example: ares-notebook demo --cache-dir demo_cache",
        params=[
            click.Option(
                ["--cache-dir"], default=_DEMO_CACHE, show_default=True, help="The cache folder."
            ),
            click.Option(["--json"], is_flag=True, help="Print JSON, for programs."),
        ],
    )
)


@verb(
    app,
    LOOK,
    f"{_WANTED} exact",
    example="plan BTCUSDT 1h --years 1 --json",
    shown=FROM_SETTINGS,
)
def plan(given: Given, settings: Settings) -> None:
    """Show what a download would do, file by file, and why; it fetches nothing."""
    made = _plan(given, settings)
    print_plan(run_command(made.measure()) if given.exact else made, as_json=given.json)


_HELD = "symbol interval years start end datasets"


@verb(app, LOOK, _HELD, example="coverage BTCUSDT 1h --start 2025-01-01")
def coverage(given: Given, settings: Settings) -> None:
    """Show what the cache holds, a line a file."""
    words: dict[str, Any] = {
        "start": given.begin,
        "end": given.end,
        "settings": settings,
        "datasets": given.names,
    }
    if given.json:
        print_json(ares.coverage(given.symbol, given.interval, **words))
        return
    from ares_notebook.cache.coverage import coverage_rows

    rows, _ = coverage_rows(given.symbol, given.interval, **words)
    print_coverage(rows, given)


@verb(app, LOOK, _HELD, example="gaps BTCUSDT 1h --start 2025-01-01")
def gaps(given: Given, settings: Settings) -> None:
    """Show where rows are missing, and why."""
    table = ares.find_gaps(
        given.symbol,
        given.interval,
        start=given.begin,
        end=given.end,
        settings=settings,
        datasets=given.names,
    )
    print_json(table) if given.json else print_gaps(table, given)


@verb(
    app,
    LOOK,
    "market quote listed_on",
    example="symbols --quote FDUSD --listed-on 2024-01-01",
)
def symbols(given: Given, settings: Settings) -> None:
    """Show every symbol that ever traded, delisted ones too, with its first and last day."""
    filters: dict[str, Any] = {"quote": given.quote, "listed_on": given.listed_on}
    work = ares.list_symbols(given.market, **filters, settings=settings)
    table = run_command(work)
    days = table.assign(**{each: table[each].dt.strftime("%Y-%m-%d") for each in ("first", "last")})
    if given.json:
        print_json(days)
    elif days.empty:
        click.echo("0 symbols: the archive's listing has none of these")
    else:
        until = table.attrs["until"]
        click.echo(days.to_string(index=False))
        click.echo(f"\n{many(len(days), 'symbol')}, by the archive's listing up to {until}")


@verb(app, LOOK, "last", example="runs --last 5")
def runs(given: Given, settings: Settings) -> None:
    """Show what was done with the cache, a line a run."""
    table = ares.load_runs(settings=settings).tail(given.last)
    print_json(table) if given.json else print_runs(table)


@verb(
    app,
    PROVE,
    "symbol interval datasets save",
    example="validate BTCUSDT 1h --save certificate.html",
)
def validate(given: Given, settings: Settings) -> None:
    """Check what the cache holds, and count what is wrong; repairs nothing."""
    try:
        report = run_command(
            ares.assure_quality(
                given.symbol, given.interval, settings=settings, datasets=given.names
            )
        )
    except PoorQuality as error:
        report = error.report
    print_json(report.to_frame()) if given.json else click.echo(report)
    if given.save is not None:
        click.echo(f"The certificate is {report.save(Path(given.save))}.", err=given.json)
    for each in report.shortfalls:
        click.echo(f"below threshold: {each}", err=True)
    if report.shortfalls:
        click.echo(f"What to do: {report.remedy}.", err=True)
        raise SystemExit(FAILED)
    if not report:
        click.echo("The thresholds of the settings allow these errors.", err=True)


@verb(app, PROVE, f"{_HELD} update source dry_run", example="audit BTCUSDT 1h --update")
def audit(given: Given, settings: Settings) -> None:
    """Compare the cache with what the exchange says today."""
    window: dict[str, Any] = {"start": given.begin, "end": given.end, "datasets": given.names}
    if given.dry_run:
        table = ares.plan_audit(given.symbol, given.interval, **window, settings=settings)
        print_json(table) if given.json else print_audit_plan(table)
        return
    work = ares.audit_cache(
        given.symbol, given.interval, **window, settings=settings, update=given.update
    )
    print_report(run_command(work), as_json=given.json)


@verb(
    app,
    PROVE,
    "symbol interval dataset years start end save",
    example="fingerprint BTCUSDT 1h --start 2025-01-01 --end 2025-03-01 --save data.json",
    needs="symbol",
    shown={"interval": "the only one in the cache"},
)
def fingerprint(given: Given, settings: Settings) -> None:
    """Print one sha256 over the content of a dataset, the same on every machine."""
    made = ares.fingerprint(
        str(given.symbol),
        given.interval,
        given.begin,
        given.end,
        dataset=given.dataset,
        settings=settings,
    )
    click.echo(made.to_json() if given.json else made)
    if given.save is not None:
        click.echo(f"Saved to {made.save(Path(given.save))}.", err=given.json)


@verb(app, PROVE, "path", example="verify data.json", needs="path")
def verify(given: Given, settings: Settings) -> None:
    """Compare the cache with a saved fingerprint, and say exactly what differs."""
    report = ares.verify_fingerprint(Path(given.path), settings=settings)
    print_report(report, as_json=given.json)


@verb(app, PROVE, "", example="doctor --json")
def doctor(given: Given, settings: Settings) -> None:
    """Check whether downloads can work here; the table can be pasted into an issue."""
    print_report(run_command(ares.doctor(settings=settings)), as_json=given.json)


@verb(
    app,
    KEEP,
    "symbol interval datasets keep_days max_bytes dry_run yes",
    example="prune BTCUSDT --datasets agg_trades --keep-days 30",
)
def prune(given: Given, settings: Settings) -> None:
    """Delete what is old and what does not fit; without --yes it only shows what would go."""
    from ares_notebook.runtime.tasks import cancellable

    if given.yes and given.dry_run:
        msg = "--yes deletes and --dry-run does not; give one of them"
        raise BadArgument(msg)
    limits: dict[str, Any] = {"keep": given.keep_days, "max_bytes": given.max_bytes}
    work = cancellable(
        ares.prune_cache,
        given.symbol,
        given.interval,
        **limits,
        dry_run=not given.yes,
        settings=settings,
        datasets=given.names,
    )
    print_report(run_command(work), as_json=given.json)


@verb(
    app,
    KEEP,
    "folder symbol interval datasets decimal",
    example="parquet demo_lake BTCUSDT 1h",
    needs="folder",
)
def parquet(given: Given, settings: Settings) -> None:
    """Write what the cache holds as a Parquet dataset; only what is new."""
    from ares_notebook.runtime.tasks import cancellable

    # In a thread that a signal stops at the next row group.
    work = cancellable(
        ares.to_parquet,
        given.folder,
        given.symbol,
        given.interval,
        decimal=given.decimal,
        settings=settings,
        datasets=given.names,
    )
    print_report(run_command(work), as_json=given.json)
