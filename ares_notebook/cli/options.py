"""The words that the verbs of the command line share, and what they become."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Any, NoReturn

import typer

from ares_notebook.settings import Settings

__all__ = [
    "ALL_DATASETS",
    "FAILED",
    "CacheDir",
    "Datasets",
    "End",
    "Json",
    "ListedOn",
    "Market",
    "OneInterval",
    "OneSymbol",
    "OnlyInterval",
    "OnlySymbol",
    "Quote",
    "Source",
    "Start",
    "Verbose",
    "Years",
    "log",
    "settings_of",
    "stop",
    "words_of",
]

FAILED = 1

OneSymbol = Annotated[str, typer.Argument(help="Such as BTCUSDT.")]
OnlySymbol = Annotated[str | None, typer.Argument(help="Only this symbol.")]
OneInterval = Annotated[str | None, typer.Argument(help="Of the k-lines, 1s to 1M.")]
OnlyInterval = Annotated[str | None, typer.Argument(help="Only this interval's k-lines.")]
Start = Annotated[
    str | None, typer.Option("--start", help="Nothing before this (UTC).", show_default="all")
]
End = Annotated[
    str | None, typer.Option("--end", help="Nothing at or after this (UTC).", show_default="now")
]
Years = Annotated[
    float | None, typer.Option("--years", help="How far back; 0.25 is a quarter.", show_default="1")
]
Datasets = Annotated[
    str, typer.Option("--datasets", help="Some of klines,agg_trades,futures; trades are large.")
]
ALL_DATASETS = "klines,agg_trades,futures"
Quote = Annotated[
    str | None, typer.Option("--quote", help="Only what is quoted in this, such as USDT.")
]
ListedOn = Annotated[
    str | None, typer.Option("--listed-on", help="Only what was listed on this day (UTC).")
]
Market = Annotated[str, typer.Option("--market", help="spot or futures.")]
Source = Annotated[
    str | None, typer.Option("--source", help="auto, archive or rest.", show_default="auto")
]
# Text, not a path: Typer would make "" the current folder.
CacheDir = Annotated[
    str | None, typer.Option("--cache-dir", help="The cache folder.", show_default="data_cache")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show every request and decision.")]


def settings_of(**given: Any) -> Settings:
    """Settings from the environment and what was given on the command line."""
    return Settings(**{name: value for name, value in given.items() if value is not None})


def words_of(text: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def log(*, verbose: bool) -> None:
    """Let warnings, or all, go to standard error."""
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("DataDownloader").setLevel(level)


def stop(message: str, status: int) -> NoReturn:
    """End the program with a sentence."""
    typer.echo(message, err=True)
    raise SystemExit(status)
