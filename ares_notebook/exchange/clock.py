"""The exchange's clock, as its own answers tell it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ares_notebook.market.periods import to_ms

__all__ = ["ExchangeClock", "date_of"]

# The exchange opened in July 2017; a clock that says otherwise is none.
_EARLIEST_MS = 1_498_867_200_000


class ExchangeClock:
    """
    What time it is, never later than the exchange says.

    A clock of this machine that is fast would take a candle that is still open for closed.
    Each answer of the API carries a time, so that to know better costs no request.

    Examples
    --------
    >>> clock = ExchangeClock()
    >>> clock.hear(1_735_689_600_000)
    >>> clock.now_ms() - 1_735_689_600_000 < 1000
    True
    """

    def __init__(self) -> None:
        # The exchange's time minus that of a clock which nobody can set: the two earliest claims.
        self._ahead_ms: list[float] = []

    def hear(self, exchange_ms: float) -> None:
        """
        Learn from an answer; of several that disagree the second earliest counts.

        So one answer that is wrong, such as of a cache between, stops nothing.
        """
        if exchange_ms >= _EARLIEST_MS:
            self._ahead_ms = sorted([*self._ahead_ms, exchange_ms - _steady_ms()])[:2]

    def hear_headers(self, headers: Mapping[str, str]) -> None:
        """The same from the ``Date`` of an answer, which is cut to the second."""
        moment = date_of(headers)
        if moment is not None:
            self.hear(to_ms(moment))

    def now_ms(self) -> int:
        """Now, in milliseconds since the epoch; by the clock of this machine until one has been heard."""
        ours_ms = time.time() * 1000
        if not self._ahead_ms:
            return int(ours_ms)
        return int(min(ours_ms, _steady_ms() + self._ahead_ms[-1]))


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """
    When an answer was made, as its ``Date`` tells, to the second; None where it tells nothing.

    Examples
    --------
    >>> date_of({"Date": "Sat, 01 Mar 2025 00:00:00 GMT"}).isoformat()
    '2025-03-01T00:00:00+00:00'
    """
    try:
        moment = parsedate_to_datetime(headers.get("Date", ""))
        # One of no zone is UTC [RFC 5322, 3.3].
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _steady_ms() -> float:
    return time.monotonic() * 1000
