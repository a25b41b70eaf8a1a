"""The options of the command line, each declared once, and how a verb takes its share of them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, fields
from datetime import datetime
from difflib import get_close_matches
from inspect import Parameter, Signature
from itertools import zip_longest
from typing import Annotated, Any, cast, get_args, get_type_hints

import typer
from typer.core import TyperCommand

import ares_notebook as ares
from ares_notebook.errors import BadArgument
from ares_notebook.formatting import speaking_shell
from ares_notebook.model.datasets import DATASETS, DEFAULT_DATASETS
from ares_notebook.model.markets import MARKETS
from ares_notebook.model.window import Lookback, window_of
from ares_notebook.settings import Settings

FROM_SETTINGS = {
    "symbol": "BTCUSDT",
    "interval": "1h",
    "years": "1",
    "datasets": f"{','.join(DEFAULT_DATASETS)}; of a contract, its candles and funding",
}
"""Defaults to show for verbs that take what is not given from the settings."""
# As written in help; docs/datasets.md describes them.
_DATASETS = ", ".join(each.name for each in DATASETS)
_MARKETS = ", ".join(f"{each.name} ({each.label})" for each in MARKETS)
_EVERY_VERB = "cache_dir demo json verbose"


def _option(help_text: str, *, default: str | bool = False) -> Any:
    """An option whose name is that of its field; *default* in words is only shown."""
    return typer.Option(help=help_text, show_default=default)


@dataclass(frozen=True)
class Given:
    """What was given on the command line: a field an option."""

    symbol: Annotated[
        str | None, typer.Argument(help="Such as BTCUSDT or BTCUSD_PERP.", show_default="all")
    ] = None
    interval: Annotated[
        str | None, typer.Argument(help="Of candles, 1s to 1M.", show_default="all")
    ] = None
    folder: Annotated[str, typer.Argument(help="The folder of the Parquet dataset.")] = ""
    path: Annotated[str, typer.Argument(help="The file that `fingerprint --save` wrote.")] = ""
    years: Annotated[
        str | None,
        typer.Option(
            "--years",
            "--lookback",
            help="How far back: years such as 0.25, or '6 months', 90d, 1y.",
            show_default="all",
        ),
    ] = None
    start: Annotated[str | None, _option("Where to begin instead (UTC): 2024-09-01.")] = None
    end: Annotated[str | None, _option("Nothing at or after this (UTC).", default="now")] = None
    datasets: Annotated[
        str | None,
        _option(
            f"Some, with commas between, of {_DATASETS}; trades are large.",
            default="all; klines if an interval is given",
        ),
    ] = None
    dataset: Annotated[str, _option(f"One of {_DATASETS}.", default=True)] = "klines"
    symbols: Annotated[str | None, _option("Names with commas between: BTCUSDT,ETHUSDT.")] = None
    market: Annotated[str, _option(f"One of {_MARKETS}; futures is um.", default=True)] = "spot"
    quote: Annotated[str | None, _option("Only symbols quoted in this, such as USDT.")] = None
    listed_on: Annotated[str | None, _option("Only symbols listed on this day (UTC).")] = None
    source: Annotated[str | None, _option("auto, archive or rest.", default="auto")] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done and what it costs.")
    ] = False
    exact: Annotated[
        bool, typer.Option("--exact", help="Ask the archive's listing for exact sizes.")
    ] = False
    recheck: Annotated[
        bool, typer.Option("--recheck", help="Ask again for what was confirmed absent.")
    ] = False
    update: Annotated[
        bool, typer.Option("--update", help="Take over what the exchange has replaced.")
    ] = False
    save: Annotated[str | None, _option("Write it to this file.")] = None
    last: Annotated[
        int, typer.Option("--last", help="The number of newest runs to show.", min=1)
    ] = 20
    keep_days: Annotated[
        float | None, _option("Delete what ended this many days ago or earlier.", default="all")
    ] = None
    max_bytes: Annotated[
        str | None,
        _option("Then delete the oldest until this is left, such as '20 GB'.", default="any"),
    ] = None
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete; without it only show what would be deleted.")
    ] = False
    decimal: Annotated[
        bool, typer.Option("--decimal", help="Numbers as exact decimals, not as floats.")
    ] = False
    # Text, not a path: Typer would make "" the current folder.
    cache_dir: Annotated[
        str | None, _option("The cache folder.", default="data_cache, with --demo demo_cache")
    ] = None
    demo: Annotated[
        bool, typer.Option("--demo", help="Use a demo exchange on this machine, offline.")
    ] = False
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every request and decision.")
    ] = False

    @property
    def names(self) -> tuple[str, ...] | None:
        """The datasets that were named."""
        return None if self.datasets is None else split(self.datasets)

    @property
    def lookback(self) -> Lookback | None:
        """The lookback: a number of years, or text such as ``6 months``."""
        if self.years is None:
            return None
        if self.start is not None:
            msg = "--start and --years both say where to begin; give one of them"
            raise BadArgument(msg)
        try:
            return float(self.years)
        except ValueError:
            return self.years

    @property
    def begin(self) -> datetime | str | None:
        """Where the window of a verb that looks begins; None where neither option is given."""
        lookback = self.lookback
        return self.start if lookback is None else window_of(lookback, None, self.end).start

    @property
    def common(self) -> tuple[str, ...]:
        """The words that a further command needs to be about the same cache."""
        folder = () if self.cache_dir is None else ("--cache-dir", self.cache_dir)
        return (*folder, *(("--demo",) if self.demo else ()))

    @contextmanager
    def settings(self) -> Iterator[Settings]:
        """Settings of the environment and of these options; a demo exchange runs meanwhile."""
        options = {"source": self.source, "cache_dir": self.cache_dir}
        own = {name: value for name, value in options.items() if value is not None}
        if not self.demo:
            yield Settings(**own)
            return
        with ares.DemoExchange() as exchange:
            yield exchange.settings(**own)


def split(text: str) -> tuple[str, ...]:
    """Words with commas between."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


_TRUTHS = {"true", "false", "yes", "no", "on", "off", "1", "0"}


class Verb(TyperCommand):
    """A command that refuses unknown options with a suggestion, and values after flags."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Check the words, then parse them."""
        if not ctx.resilient_parsing:
            self._check(args)
        return super().parse_args(ctx, args)

    def _check(self, args: list[str]) -> None:
        options = {name: each for each in self.params for name in each.opts}
        known = [*(name for name in options if name.startswith("-")), "--help"]
        for word, following in zip_longest(args, args[1:], fillvalue=""):
            name = word.partition("=")[0]
            if word == "--":
                return
            if name.startswith("--") and name not in known:
                close = get_close_matches(name, known, n=1, cutoff=0.5)
                msg = (
                    f"{self.name} has no option {name}; {f'did you mean {close[0]}? ' if close else ''}"
                    f"`ares-notebook {self.name} --help` shows all"
                )
                raise BadArgument(msg)
            if getattr(options.get(word), "is_flag", False) and following.lower() in _TRUTHS:
                # It would be taken for a symbol.
                msg = f"{word} takes no value; leave {following!r} out"
                raise BadArgument(msg)


def verb(
    app: typer.Typer,
    group: str,
    options: str,
    *,
    example: str,
    needs: str = "",
    shown: Mapping[str, str] | None = None,
) -> Callable[[Callable[[Given, Settings], None]], None]:
    """Make a function a verb of *group* that takes these fields of `Given`; *needs* have no default."""

    def register(body: Callable[[Given, Settings], None]) -> None:
        def run(**words: Any) -> None:
            given = Given(**words)
            _log(verbose=given.verbose)
            with speaking_shell(*given.common), given.settings() as settings:
                body(given, settings)

        names = f"{options} {_EVERY_VERB}".split()
        cast("Any", run).__signature__ = Signature(
            [_parameter(name, needs.split(), shown or {}) for name in names]
        )
        run.__doc__ = body.__doc__
        epilog = f"Example: ares-notebook {example}"
        app.command(body.__name__, cls=Verb, rich_help_panel=group, epilog=epilog)(run)

    return register


_FIELDS = {each.name: each for each in fields(Given)}
_HINTS = get_type_hints(Given, include_extras=True)


def _parameter(name: str, needs: list[str], shown: Mapping[str, str]) -> Parameter:
    """A field of `Given` as a parameter of a command."""
    (kind, info), default = get_args(_HINTS[name]), _FIELDS[name].default
    info = copy(info)
    if name in shown:
        info.show_default = shown[name]
    if name in needs:
        default, info.show_default = Parameter.empty, False
    annotation = cast("Any", Annotated)[kind, info]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _log(*, verbose: bool) -> None:
    """Log warnings, or everything, to standard error."""
    logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("DataDownloader").setLevel(logging.DEBUG if verbose else logging.WARNING)
