"""Try again after a passing fault: how often, and after which wait."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import aiohttp

from ares_notebook.errors import (
    AresError,
    BadAnswer,
    ChecksumMismatch,
    RateLimited,
    ServerFault,
    Unreachable,
)
from ares_notebook.model.time import utc
from ares_notebook.runtime.progress import count
from ares_notebook.settings import Settings, settings_given

_LOGGER = logging.getLogger("DataDownloader")
_T = TypeVar("_T")

_LONGEST_WAIT_SECONDS = 60.0
# A longer ban is an error at once.
LONGEST_BAN_SECONDS = 600.0
_PASSING = (
    ServerFault,
    RateLimited,
    BadAnswer,
    ChecksumMismatch,
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    ConnectionError,
    TimeoutError,
)
# What a caller's own function raises for a fault of the connection; those of ccxt, httpx, urllib3 and
# others derive from nothing that all know, but their names say it.
_SAYS_NETWORK = re.compile("Network|Connect|Timeout|Transport|Protocol")
_OF_FILES = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


_SECONDS_UNTIL_SHOWN = 1.0


@dataclass(slots=True)
class Wait:
    """A request without a whole answer yet, and what it waits for."""

    host: str
    tries: int
    attempt: int = 1
    # Of the last byte that went out or came in; None before the request is sent.
    since: float | None = None
    problem: str = ""

    def progressed(self) -> None:
        """A byte went out or came in."""
        self.since = time.monotonic()

    def seconds_until_allowed(self, seconds: float) -> None:
        """The request limit allows it only in so many *seconds*."""
        self.since = None
        if seconds > _SECONDS_UNTIL_SHOWN:
            until = utc(int((time.time() + seconds) * 1000))
            self.problem = f"the request limit of {self.host} is used up until {until:%H:%M:%S} UTC"

    def failed(self, error: AresError) -> None:
        """A try failed, and another may follow."""
        self.attempt, self.since = self.attempt + 1, time.monotonic()
        if isinstance(error, RateLimited):
            self.problem = f"{self.host} refuses requests for a while"
        elif isinstance(error, Unreachable):
            self.problem = f"no answer from {self.host}"
        else:
            self.problem = f"an error from {self.host}"

    @property
    def text(self) -> str:
        """What has been waited for longer than a second; empty if nothing."""
        is_long = self.since is None or time.monotonic() - self.since > _SECONDS_UNTIL_SHOWN
        if self.attempt > 1:
            return f"{self.problem}, try {min(self.attempt, self.tries)} of {self.tries}"
        if self.since is None:
            return self.problem
        return f"waiting for {self.host}" if is_long else ""


def is_passing(error: BaseException) -> bool:
    """Whether another try of a request may help."""
    return isinstance(error, _PASSING)


def _is_passing_of_caller(error: BaseException) -> bool:
    """The same for a caller's own function, which may raise errors of any library."""
    if isinstance(error, (AresError, *_OF_FILES)):
        return is_passing(error)
    names = (kind.__name__ for kind in type(error).__mro__)
    return isinstance(error, OSError) or is_passing(error) or any(map(_SAYS_NETWORK.search, names))


def seconds_before_retry(
    error: BaseException,
    attempt: int,
    settings: Settings,
    passing: Callable[[BaseException], bool] = is_passing,
) -> float | None:
    """
    Seconds to wait after failed *attempt* (1-based); None if another try is no use.

    The wait doubles up to a minute, plus up to a quarter by chance, so that many clients do not
    return at once. A wait that the exchange names is obeyed, but for a ban of over ten minutes.
    """
    if attempt > settings.max_retries or not passing(error):
        return None
    if isinstance(error, RateLimited) and error.retry_after_seconds is not None:
        named = error.retry_after_seconds
        return named if named <= LONGEST_BAN_SECONDS else None
    backoff = settings.retry_delay_seconds * 2.0 ** (attempt - 1)
    return min(_LONGEST_WAIT_SECONDS, backoff) * random.uniform(1.0, 1.25)  # noqa: S311 - no secret


async def retried(
    api_call: Callable[[], Awaitable[_T]],
    description: str,
    settings: Settings,
    passing: Callable[[BaseException], bool] = is_passing,
) -> _T:
    """Await ``api_call()`` until it succeeds or another try is no use; all within the timeout."""
    timeout_seconds = settings.operation_timeout_seconds
    timeout = asyncio.timeout(timeout_seconds)
    attempt = 1
    try:
        async with timeout:
            while True:
                try:
                    return await api_call()
                except Exception as error:
                    wait_seconds = seconds_before_retry(error, attempt, settings, passing)
                    if wait_seconds is None:
                        raise
                    failure = str(error)
                attempt += 1
                count(retries=1)
                tries = (attempt, settings.max_retries + 1, wait_seconds)
                _LOGGER.info(
                    "%s failed (%s); try %d of %d in %.1f seconds", description, failure, *tries
                )
                await _sleep(wait_seconds)
    except TimeoutError as error:
        if not timeout.expired():
            raise
        msg = (
            f"{description} timed out after {timeout_seconds:g} seconds, all its tries included; "
            f"run again: what is done is kept; or raise operation_timeout_seconds"
        )
        raise Unreachable(msg) from error


async def _sleep(seconds: float) -> None:
    # A kernel's stop button takes effect only when the loop wakes, so it wakes each second.
    while seconds > 0:
        # Shows that the work goes on.
        count()
        await asyncio.sleep(min(seconds, 1.0))
        seconds -= 1.0


async def download_with_retry(
    api_call: Callable[[], Awaitable[_T]],
    description: str,
    *,
    settings: Settings | None = None,
) -> _T:
    """
    Await ``api_call()``, and again after a passing fault, as often as *settings* allow.

    Passing faults are those of the connection and of the server: timeouts, dropped
    connections, 5xx, 429 and 418; any ``OSError`` but those of files; and errors of other libraries that call
    themselves ones of network, connection, transport, protocol or timeout, such as ccxt's
    ``NetworkError``. Any other error, such as a 404, is raised at once. When the tries are
    used up the last error is raised: a failure never looks like an empty answer.

    Parameters
    ----------
    api_call : callable
        Takes nothing, returns an awaitable; called anew for each try.
    description : str
        What is requested, for the log and the error.
    settings : Settings, optional
        ``max_retries``, ``retry_delay_seconds``; each try may take
        ``request_timeout_seconds``.

    Returns
    -------
    object
        What the call returned.

    Raises
    ------
    ServerFault
        If the last try timed out, by itself or by ``request_timeout_seconds``.
    Exception
        Anything else that the last try raised, as it was.

    Examples
    --------
    >>> from ares_notebook import run
    >>> async def answer():
    ...     return 42
    >>> run(download_with_retry(answer, "the answer"))
    42
    """
    chosen = settings_given(settings)

    async def bounded() -> _T:
        try:
            async with asyncio.timeout(chosen.request_timeout_seconds):
                return await api_call()
        except TimeoutError as error:
            msg = (
                f"{description} timed out after {chosen.request_timeout_seconds:g} seconds; "
                f"check the connection, or raise request_timeout_seconds"
            )
            raise ServerFault(msg) from error

    return await retried(bounded, description, chosen, _is_passing_of_caller)
