"""Tell people of a run, over Apprise: each address on its own, and no failure of it costs the run."""

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
_LOOK_SECONDS = 0.05
# Many services take no more; and it fits a pipe, so that nobody waits for a reader.
_MOST_CHARACTERS = 4000


async def notify(event: Event, title: str, body: str, settings: Settings) -> None:
    """
    Tell all of ``settings.notify`` of an event, if it is one of ``settings.notify_on``.

    All are told at once, within ``settings.request_timeout_seconds`` in all. One that cannot be
    told is a warning of the logger ``DataDownloader``, and no error: it must not cost a run. No
    address shows in any log.
    """
    if not settings.notify or event not in settings.notify_on:
        return
    try:
        _check_apprise()
    except MissingExtra as missing:
        _LOGGER.warning("nobody was told of the run (%s): %s", event, missing)
        return
    message = {
        "title": _one_line(title),
        "body": _shortened(body),
        "kind": _KINDS[event],
        "seconds": settings.request_timeout_seconds,
    }
    urls = [secret.get_secret_value() for secret in settings.notify]
    await asyncio.gather(
        *(
            _tell(f"{_kind_of(url)} (number {number} of notify)", {**message, "url": url}, settings)
            for number, url in enumerate(urls, start=1)
        )
    )


def _check_apprise() -> None:
    """Look for it without importing it, which costs half a second."""
    with needing("notify"):
        if importlib.util.find_spec("apprise") is None:
            raise ModuleNotFoundError(name="apprise")


async def _tell(who: str, message: dict[str, object], settings: Settings) -> None:
    """Tell one; whatever goes wrong is a line in the log."""
    seconds = settings.request_timeout_seconds
    try:
        status = await _status_of(json.dumps(message).encode(), seconds)
    except TimeoutError:
        why = f"no answer within {seconds:g} seconds; see whether it is up, or raise request_timeout_seconds"
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost the run
        # By its kind only: the words of a stranger's error could hold the address.
        why = f"its process could not be run ({type(error).__name__}); see whether {sys.executable} runs"
    else:
        if status == 0:
            return
        why = (
            "Apprise cannot make a notifier of this address; compare it with https://appriseit.com/services/"
            if status == BAD_ADDRESS
            else "it was out of reach, or refused; in a shell, apprise -vv -b test ADDRESS says why"
        )
    _LOGGER.warning("%s was not told of the run: %s", who, why)


async def _status_of(message: bytes, seconds: float) -> int:
    """Run the notifier process with *message*; TimeoutError, and its end, if it takes longer."""
    # -P: a module that happens to lie in its folder must not stand for one of the library.
    command = [sys.executable, "-P", str(_NOTIFIER)]
    # What can be imported here shall be there.
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
                # Looked at now and then: asyncio's own processes do not run on the loop that
                # notebooks have under Windows, and a thread that waits cannot be cancelled.
                while process.poll() is None:  # noqa: ASYNC110 - as said
                    await asyncio.sleep(_LOOK_SECONDS)
        finally:
            # Also where we were cancelled: nothing that is slow stays behind.
            process.kill()
    return process.returncode


def _kind_of(url: str) -> str:
    """The scheme of an address, which is no secret; all else may be."""
    found = re.match(r"[A-Za-z][A-Za-z0-9+.-]{0,19}://", url)
    return f"{found[0]}…" if found else "an address without a scheme"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
