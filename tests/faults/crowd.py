"""Processes of a crowd: real ones, each a download of its own, and none that outlives its test."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from reading import changed

from ares_notebook import DemoExchange, Settings

PATIENCE_SECONDS = 90

Asked = tuple[str, tuple[tuple[str, str], ...]]


def wants(symbol: str, interval: str, days: float, end: str, datasets: str) -> list[str]:
    """What a process is told to bring, as its command line says it."""
    years = f"{days / 365.25:.6f}"
    return [symbol, interval, "--years", years, "--end", end, "--datasets", datasets]


@contextmanager
def crowd(
    settings: Settings, wishes: Sequence[Sequence[str]]
) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that download, all begun at once; what still runs at the end is killed."""
    reported = {f"ARES_{name.upper()}": str(value) for name, value in changed(settings).items()}
    command = [sys.executable, "-m", "ares_notebook", "download"]
    processes: list[subprocess.Popen[str]] = []
    try:
        processes.extend(
            subprocess.Popen(  # noqa: S603 - our own command
                [*command, *wish, "--verbose"],
                env={**os.environ, **reported},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
            for wish in wishes
        )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def ended(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Status, output and log of each process, once they have ended; that they do is bounded."""

    def reported(process: subprocess.Popen[str]) -> tuple[int, str, str]:
        output, log = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, output, log

    # Side by side: one that nobody reads would wait with a lock in its hand.
    with ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(reported, processes))


def said(processes: Sequence[subprocess.Popen[str]], words: str) -> list[str]:
    """The line of each process's log that has *words*, once it is there; that it comes is bounded."""

    def line_of(process: subprocess.Popen[str]) -> str:
        bound = threading.Timer(PATIENCE_SECONDS, process.kill)
        bound.start()
        try:
            return next(line for line in process.stderr or () if words in line)
        finally:
            bound.cancel()

    with ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(line_of, processes))


def contents(folder: Path) -> dict[str, bytes]:
    """The cache files by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}


def rows_of(files: dict[str, bytes]) -> int:
    """How many rows the files have, but for their headers."""
    return sum(text.count(b"\n") - 1 for text in files.values())


def asked_for_data(exchange: DemoExchange) -> list[Asked]:
    """
    The zips, checksums and pages that the exchange was asked for.

    All but what each process must ask itself: the clock, what the exchange says of its
    symbols, the archive's listing; and where the ids of a day begin and end.
    """
    return [
        (each.path, tuple(sorted(each.query.items())))
        for each in exchange.requests
        if not each.path.endswith(("/time", "/exchangeInfo"))
        and "prefix" not in each.query
        and each.query.get("limit") != "1"
    ]


def holds_nothing(exchange: DemoExchange, asked: Asked) -> bool:
    """Whether the answer is an empty page: that is asked for twice before it is believed."""
    path, query = asked
    with urllib.request.urlopen(f"{exchange.url}{path}?{urlencode(query)}") as answer:  # noqa: S310 - loopback
        return answer.read() == b"[]"
