"""Serve the demo exchange: ``python -m ares_notebook.demo --port 8900``."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from ares_notebook.demo.exchange import DemoExchange


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; print the address as soon as it answers."""
    asked = _parser().parse_args(arguments)
    ended = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: ended.set())
    exchange = DemoExchange(
        asked.replay,
        now=asked.now,
        trades_per_day=asked.trades_per_day,
        latency_seconds=asked.latency_seconds,
        port=asked.port,
    )
    with exchange:
        print(f"demo exchange at {exchange.url}", flush=True)  # noqa: T201 - the one line promised
        # Waiting has a timeout, since a signal may reach a thread of NumPy and not wake this one.
        while not ended.wait(0.2):
            pass
    return 0


def _parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m ares_notebook.demo", description=__doc__)
    parser.add_argument("--port", type=int, default=8900, help="0: any that is free")
    parser.add_argument("--trades-per-day", type=int, default=20_000)
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    parser.add_argument("--now", type=_moment, metavar="ISO", help="stop the exchange's clock")
    parser.add_argument("--replay", metavar="DIR", help="serve recorded files")
    return parser


def _moment(text: str) -> datetime:
    """An ISO time; UTC if it has no zone."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


if __name__ == "__main__":
    sys.exit(main())
