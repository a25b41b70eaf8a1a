"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

ALL_DATASETS = "klines,agg_trades,futures"

Symbol = Annotated[str | None, typer.Argument(help="Such as BTCUSDT.", show_default="BTCUSDT")]
OneSymbol = Annotated[str, typer.Argument(help="Such as BTCUSDT.")]
OnlySymbol = Annotated[str | None, typer.Argument(help="Only this symbol.")]
Interval = Annotated[
    str | None, typer.Argument(help="Of the k-lines, 1s to 1M.", show_default="1h")
]
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
