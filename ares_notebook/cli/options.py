"""The options of the command line, each declared once, and how a verb takes its share of them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime
from difflib import get_close_matches
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import click

import ares_notebook as ares
from ares_notebook.errors import BadArgument
from ares_notebook.formatting import speaking_shell
from ares_notebook.model.datasets import DATASETS, DEFAULT_DATASETS
from ares_notebook.model.markets import MARKETS
from ares_notebook.model.window import Lookback, window_of

if TYPE_CHECKING:
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


def _argument(help_text: str, default: str | None = None, *, shown: str = "") -> Any:
    """A word without a name; *shown* is its default in words."""
    return field(default=default, metadata={"help": help_text, "shown": shown})


def _option(
    help_text: str, *names: str, default: object = None, shown: str | bool = False, kind: Any = None
) -> Any:
    """An option, whose name is that of its field unless *names* are given."""
    about = {"help": help_text, "names": names, "shown": shown, "kind": kind}
    return field(default=default, metadata={**about, "is_option": True})


def _flag(help_text: str, *names: str) -> Any:
    """An option without a value."""
    return _option(help_text, *names, default=False)


@dataclass(frozen=True)
class Given:
    """What was given on the command line: a field an option."""

    symbol: str | None = _argument("Such as BTCUSDT or BTCUSD_PERP.", shown="all")
    interval: str | None = _argument("Of candles, 1s to 1M.", shown="all")
    folder: str = _argument("The folder of the Parquet dataset.", "")
    path: str = _argument("The file that `fingerprint --save` wrote.", "")
    years: str | None = _option(
        "How far back: years such as 0.25, or '6 months', 90d, 1y.",
        "--years",
        "--lookback",
        shown="all",
    )
    start: str | None = _option("Where to begin instead (UTC): 2024-09-01.")
    end: str | None = _option("Nothing at or after this (UTC).", shown="now")
    datasets: str | None = _option(
        f"Some, with commas between, of {_DATASETS}; trades are large.",
        shown="all; klines if an interval is given",
    )
    dataset: str = _option(f"One of {_DATASETS}.", default="klines", shown=True)
    symbols: str | None = _option("Names with commas between: BTCUSDT,ETHUSDT.")
    market: str = _option(f"One of {_MARKETS}; futures is um.", default="spot", shown=True)
    quote: str | None = _option("Only symbols quoted in this, such as USDT.")
    listed_on: str | None = _option("Only symbols listed on this day (UTC).")
    source: str | None = _option("auto, archive or rest.", shown="auto")
    dry_run: bool = _flag("Only show what would be done and what it costs.")
    exact: bool = _flag("Ask the archive's listing for exact sizes.")
    recheck: bool = _flag("Ask again for what was confirmed absent.")
    update: bool = _flag("Take over what the exchange has replaced.")
    save: str | None = _option("Write it to this file.")
    last: int = _option(
        "The number of newest runs to show.", default=20, shown=True, kind=click.IntRange(min=1)
    )
    keep_days: float | None = _option(
        "Delete what ended this many days ago or earlier.", shown="all", kind=float
    )
    max_bytes: str | None = _option(
        "Then delete the oldest until this is left, such as '20 GB'.", shown="any"
    )
    yes: bool = _flag("Delete; without it only show what would be deleted.")
    decimal: bool = _flag("Numbers as exact decimals, not as floats.")
    cache_dir: str | None = _option("The cache folder.", shown="data_cache, with --demo demo_cache")
    demo: bool = _flag("Use a demo exchange on this machine, offline.")
    json: bool = _flag("Print JSON, for programs.")
    verbose: bool = _flag("Show every request and decision.", "--verbose", "-v")

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
            yield ares.Settings(**own)
            return
        with ares.DemoExchange() as exchange:
            yield exchange.settings(**own)


def split(text: str) -> tuple[str, ...]:
    """Words with commas between."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


_TRUTHS = {"true", "false", "yes", "no", "on", "off", "1", "0"}


class Verb(click.Command):
    """
    A command that refuses unknown options with a suggestion, and values after flags.

    Parameters
    ----------
    name : str
    group : str
        The heading under which the main help shows it.
    **attributes
        As `click.Command` takes them.
    """

    def __init__(self, name: str, group: str, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self.group = group

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


class Verbs(click.Group):
    """The main command, whose help shows the verbs in their groups."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section a group, each verb with its whole first sentence."""
        del ctx
        verbs = [each for each in self.commands.values() if isinstance(each, Verb)]
        for group in dict.fromkeys(each.group for each in verbs):
            with formatter.section(group):
                formatter.write_dl(
                    [(str(each.name), each.help or "") for each in verbs if each.group == group]
                )


def verb(
    app: Verbs,
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
        command = Verb(
            body.__name__,
            group,
            callback=run,
            help=body.__doc__,
            epilog=f"Example: ares-notebook {example}",
            params=[_parameter(name, needs.split(), shown or {}) for name in names],
        )
        app.add_command(command)

    return register


_FIELDS = {each.name: each for each in fields(Given)}


def _parameter(name: str, needs: list[str], shown: Mapping[str, str]) -> click.Parameter:
    """A field of `Given` as a parameter of a command."""
    default, about = _FIELDS[name].default, _FIELDS[name].metadata
    if "is_option" not in about:
        if name in needs:
            return click.Argument([name], help=about["help"])
        words = f"{about['help']}  [default: {shown.get(name, about['shown'])}]"
        return click.Argument([name], required=False, default=default, help=words)
    return click.Option(
        [name, *(about["names"] or (f"--{name.replace('_', '-')}",))],
        default=default,
        show_default=shown.get(name, about["shown"]),
        type=about["kind"],
        is_flag=default is False,
        help=about["help"],
    )


def _log(*, verbose: bool) -> None:
    """Log warnings, or everything, to standard error."""
    logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("DataDownloader").setLevel(logging.DEBUG if verbose else logging.WARNING)
