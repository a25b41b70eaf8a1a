"""Which errors are worth another try, and after how long."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiohttp
import tenacity

from ares_notebook.errors import BadAnswer, ChecksumMismatch, RateLimited, ServerFault, Unreachable
from ares_notebook.runtime.progress import count
from ares_notebook.settings import Settings

__all__ = ["LONGEST_BAN_SECONDS", "download_with_retry", "retrying", "seconds_before_retry"]

_LOGGER = logging.getLogger("DataDownloader")
_LONGEST_WAIT_SECONDS = 60.0
LONGEST_BAN_SECONDS = 600.0
"""Nobody sits out a longer ban; it is told at once."""
_PASSING = (ServerFault, RateLimited, BadAnswer, ChecksumMismatch)
# What a caller's own function may raise for a passing fault of the line.
_FOREIGN = (
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    ConnectionError,
    TimeoutError,
)

_T = TypeVar("_T")


def seconds_before_retry(error: BaseException, attempt: int, settings: Settings) -> float | None:
    """
    Seconds to wait after failed *attempt* (1-based), or None if trying again is no use.

    The wait doubles from ``retry_delay_seconds`` up to a minute, and up to a
    quarter is added by chance, so that many clients do not return at once. A wait
    that the exchange names is obeyed, unless it is a ban of over ten minutes:
    nobody sits that out.
    """
    if attempt > settings.max_retries or not isinstance(error, _PASSING + _FOREIGN):
        return None
    if isinstance(error, RateLimited) and error.retry_after_seconds is not None:
        named = error.retry_after_seconds
        return named if named <= LONGEST_BAN_SECONDS else None
    backoff = settings.retry_delay_seconds * 2.0 ** (attempt - 1)
    return min(_LONGEST_WAIT_SECONDS, backoff) * random.uniform(1.0, 1.25)  # noqa: S311 - no secret


async def retrying(
    api_call: Callable[[], Awaitable[_T]], description: str, settings: Settings
) -> _T:
    """
    Await ``api_call()`` until it succeeds or trying again is no use; the last error comes out.

    All tries and waits together take ``operation_timeout_seconds`` at most.
    """

    def wait_seconds(state: tenacity.RetryCallState) -> float:
        return _wait(state) or 0.0

    def is_worth_it(state: tenacity.RetryCallState) -> bool:
        return _wait(state) is not None

    def _wait(state: tenacity.RetryCallState) -> float | None:
        error = state.outcome.exception() if state.outcome else None
        return seconds_before_retry(error, state.attempt_number, settings) if error else None

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        count(retries=1)
        _LOGGER.info(
            "%s failed (%s); try %d of %d in %.1f seconds",
            description,
            error,
            state.attempt_number + 1,
            settings.max_retries + 1,
            state.upcoming_sleep,
        )

    # No bound here but the predicate's: attempts and waits are both its own.
    tries = tenacity.AsyncRetrying(
        retry=is_worth_it, wait=wait_seconds, before_sleep=tell, reraise=True, sleep=_nap
    )
    seconds = settings.operation_timeout_seconds
    bound = asyncio.timeout(seconds)
    try:
        async with bound:
            return await tries(api_call)
    except TimeoutError as error:
        if not bound.expired():
            raise
        msg = (
            f"{description} timed out after {seconds:g} seconds, all its tries included; run again: "
            f"what is done is kept; or raise operation_timeout_seconds"
        )
        raise Unreachable(msg) from error


async def _nap(seconds: float) -> None:
    # A kernel's stop button is heard only when the loop wakes, so it wakes each second.
    while seconds > 0:
        # To wait for the exchange is to be at work.
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
    Await ``api_call()``, and again after a passing fault, as patiently as *settings* say.

    Passing faults are those of the line and of the server: timeouts, dropped
    connections, 5xx, 429 and 418. Everything else, a typo or a 404, comes out at
    once, since asking again would not help. When the tries are used up the last
    error itself comes out: a failure never looks like an empty answer.

    Parameters
    ----------
    api_call : callable
        Takes nothing, returns an awaitable; called anew for each try.
    description : str
        What is being asked, for the log and the error.
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
    chosen = settings or Settings()

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

    return await retrying(bounded, description, chosen)
