"""Notifications of a run over Apprise; their failure never fails the run."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

from ares_notebook.errors import MissingExtra
from ares_notebook.extras import needing
from ares_notebook.runtime.notifier import BAD_ADDRESS
from ares_notebook.settings import Event, Settings

_LOGGER = logging.getLogger("DataDownloader")

_NOTIFIER = Path(__file__).with_name("notifier.py")
_KINDS: dict[Event, str] = {
    "finished": "success",
    "failed": "failure",
    "below threshold": "warning",
}
_POLL_SECONDS = 0.05
# Many services take no more; and it fits a pipe, so that writing never blocks.
_MOST_CHARACTERS = 4000


async def notify(event: Event, title: str, body: str, settings: Settings) -> None:
    """
    Notify all of ``settings.notify`` concurrently, if the event is in ``settings.notify_on``.

    A failure is a warning in the log that does not show the address.
    """
    if not settings.notify or event not in settings.notify_on:
        return
    try:
        _check_apprise()
    except MissingExtra as missing:
        _LOGGER.warning("no notification was sent of the run (%s): %s", event, missing)
        return
    message = {
        "title": " ".join(title.split()),
        "body": body if len(body) <= _MOST_CHARACTERS else f"{body[:_MOST_CHARACTERS]}…",
        "kind": _KINDS[event],
        "seconds": settings.request_timeout_seconds,
    }
    urls = [secret.get_secret_value() for secret in settings.notify]
    await asyncio.gather(
        *(
            _send(f"{_kind_of(url)} (number {number} of notify)", {**message, "url": url}, settings)
            for number, url in enumerate(urls, start=1)
        )
    )


def _check_apprise() -> None:
    """Check that it is installed without importing it, which takes half a second."""
    with needing("notify"):
        if importlib.util.find_spec("apprise") is None:
            raise ModuleNotFoundError(name="apprise")


async def _send(who: str, message: dict[str, object], settings: Settings) -> None:
    """Notify one; any failure is logged."""
    seconds = settings.request_timeout_seconds
    try:
        status = await _status_of(json.dumps(message).encode(), seconds)
    except TimeoutError:
        why = f"no answer within {seconds:g} seconds; see whether it is up, or raise request_timeout_seconds"
    except Exception as error:  # noqa: BLE001 - no failure may fail the run
        # Only its type: the text of a foreign error could hold the address.
        why = f"its process could not be run ({type(error).__name__}); see whether {sys.executable} runs"
    else:
        if status == 0:
            return
        why = (
            "Apprise cannot make a notifier of this address; compare it with https://appriseit.com/services/"
            if status == BAD_ADDRESS
            else "it was out of reach, or refused; in a shell, apprise -vv -b test ADDRESS shows why"
        )
    _LOGGER.warning("%s got no notification of the run: %s", who, why)


async def _status_of(message: bytes, seconds: float) -> int:
    """Exit status of a notifier process for *message*; `TimeoutError` if it takes too long."""
    # -P: modules of its folder must not shadow the standard library.
    command = [sys.executable, "-P", str(_NOTIFIER)]
    # It can import what this process can.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(  # noqa: ASYNC220, S603 - see below; our own program
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            async with asyncio.timeout(seconds):
                assert process.stdin is not None  # noqa: S101 - for mypy: it is a pipe
                process.stdin.write(message)
                process.stdin.close()
                # Polled, since asyncio's subprocesses do not run on the loop that notebooks have
                # under Windows, and a waiting thread cannot be cancelled.
                while process.poll() is None:  # noqa: ASYNC110 - as said
                    await asyncio.sleep(_POLL_SECONDS)
        finally:
            # Also after a timeout or a cancel.
            process.kill()
    return process.returncode


def _kind_of(url: str) -> str:
    """The scheme of an address, the only part that is never secret."""
    found = re.match(r"[A-Za-z][A-Za-z0-9+.-]{0,19}://", url)
    return f"{found[0]}…" if found else "an address without a scheme"
