"""
The demo exchange in a process of its own, with files made ahead; told what to do line by line.

The benchmark starts it with `Server`; what follows ``if __name__`` is the process itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import IO, Any, Self

__all__ = ["Server"]

_WARMERS = 8


class Server:
    """
    A demo exchange in another process; a context manager.

    Parameters
    ----------
    **options
        Of `ares_notebook.DemoExchange`; ``now`` as ISO text.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.server", json.dumps(self._options)]
        self._process = subprocess.Popen(  # noqa: S603 - this very module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = self._ask("url")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            # The end of its input is the end of it.
            self._process.communicate()
            self._process = None

    def warm(self, keys: Iterable[str]) -> None:
        """Have archive files made ahead of time, so that serving them costs nothing."""
        # A file is made for its checksum, of which little comes over the line.
        with ThreadPoolExecutor(_WARMERS) as pool:
            list(pool.map(self._make, keys))

    def _make(self, key: str) -> None:
        with urllib.request.urlopen(f"{self.url}/{key}.CHECKSUM") as answer:
            answer.read()

    def asked(self) -> dict[str, Any]:
        """
        What it was asked since the last call: its own count.

        Returns
        -------
        dict
            ``requests`` in all, ``paths`` and ``statuses`` with a count each, and ``spent``:
            pairs of a window's start (s since the epoch) and the weight spent in it.
        """
        told: dict[str, Any] = self._ask("asked")
        return told

    def fail(self, **fault: Any) -> None:
        """Have requests go wrong: the arguments of `DemoExchange.fail`."""
        self._ask("fail", **fault)

    def withhold(self, pattern: str) -> None:
        """Have archive files not be published whose keys match."""
        self._ask("withhold", pattern=pattern)

    def release(self, pattern: str) -> None:
        """Publish what was withheld by the same pattern, and let no more go wrong."""
        self._ask("release", pattern=pattern)

    def _ask(self, verb: str, **arguments: Any) -> Any:
        """Send a line, get a line."""
        lines, answers = self._pipes()
        lines.write(f"{json.dumps([verb, arguments])}\n")
        lines.flush()
        answer = answers.readline()
        if not answer:
            msg = "the benchmark's server has ended"
            raise RuntimeError(msg)
        return json.loads(answer)

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            msg = "the benchmark's server is not running; use `with Server() as server:`"
            raise RuntimeError(msg)
        return process.stdin, process.stdout


def _serve(options: dict[str, Any]) -> None:
    """Serve until the input ends."""
    # Here and not above: the benchmark itself stays small, see `measure.run`.
    from datetime import datetime  # noqa: PLC0415

    from ares_notebook import DemoExchange  # noqa: PLC0415

    if "now" in options:
        options["now"] = datetime.fromisoformat(options["now"])
    with DemoExchange(**options) as exchange:
        before: dict[int, int] = {}
        for line in sys.stdin:
            verb, arguments = json.loads(line)
            answer: Any = None
            if verb == "url":
                answer = exchange.url
            elif verb == "asked":
                spent = exchange.spent
                answer, before = _summary(exchange, spent, before), spent
            elif verb == "release":
                exchange.faults.clear()
                exchange.release(**arguments)
            elif verb == "withhold":
                exchange.withhold(**arguments)
            else:
                exchange.fail(**arguments)
            print(json.dumps(answer), flush=True)


def _summary(exchange: Any, now: dict[int, int], before: dict[int, int]) -> dict[str, Any]:
    """What has been asked, which then is forgotten."""
    asked, exchange.requests = exchange.requests, []
    spent = {at: weight - before.get(at, 0) for at, weight in now.items()}
    return {
        "requests": len(asked),
        "paths": Counter(_kind(each.path) for each in asked),
        "statuses": Counter(str(each.status) for each in asked),
        "spent": [[at, weight] for at, weight in sorted(spent.items()) if weight],
    }


def _kind(path: str) -> str:
    """The endpoint, or what kind of file of the archive."""
    if not path.startswith("/data/"):
        return path
    return "archive checksum" if path.endswith(".CHECKSUM") else "archive zip"


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
