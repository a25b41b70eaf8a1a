"""Scripted misbehaviour: what goes wrong, with which requests, how many times."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from ares_notebook.demo.answers import Answer, by_status

Cut = Literal["head", "body"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an answer travels. The server does this to the letter and knows no faults."""

    # Pause before anything is sent.
    wait_s: float = 0.0
    # Part of the body that is sent at first; less than all of it is followed by *pause_s* and
    # *ending*. The length of the whole body is declared in any case.
    share: float = 1.0
    # Pause after that part.
    pause_s: float = 0.0
    # What follows: the rest of the body, an orderly end of the line, or a reset.
    ending: Literal["whole", "close", "reset"] = "whole"
    # Without a head, nothing of the answer is sent, and *ending* comes at once.
    has_head: bool = True


PLAIN = Delivery()


@dataclass
class Fault:
    """
    Something that goes wrong.

    Parameters
    ----------
    pattern : str
        Regular expression, looked for in ``path?query`` (decoded).
    times : int, optional
        How many requests suffer; None: all of them, for ever.
    skip : int
        How many matching requests pass before.
    status : int, optional
        Answer with this status, and the exchange's usual body for it.
    body : bytes or str, optional
        A body for *status*.
    content_type : str, optional
        Its type.
    headers : dict
        More headers for the answer.
    retry_after : int, optional
        Seconds, for the header of that name.
    reset : {"head", "body"}, optional
        Reset the connection before the head, or in the middle of the body.
    short : bool
        Declare the whole length, send half of the body, close in an orderly manner.
    stall : {"head", "body"}, optional
        Fall silent there for *stall_seconds*, then go on.
    stall_seconds : float
        How long.
    replace_body : bytes or callable, optional
        Another body in place of the true one, or a function that makes it of that.
    delay_seconds : float
        Answer so much later.

    Raises
    ------
    ValueError
        If *pattern* is no regular expression.

    Examples
    --------
    >>> Fault("/api/v3/klines", status=429, retry_after=2)  # doctest: +ELLIPSIS
    Fault(pattern='/api/v3/klines', times=1, ...)
    """

    pattern: str
    times: int | None = 1
    skip: int = 0
    status: int | None = None
    body: bytes | str | None = None
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    retry_after: int | None = None
    reset: Cut | None = None
    short: bool = False
    stall: Cut | None = None
    stall_seconds: float = 3_600.0
    replace_body: bytes | Callable[[bytes], bytes] | None = None
    delay_seconds: float = 0.0
    seen: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        # A wrong one is told where it is written, not at a request that nobody watches.
        try:
            re.compile(self.pattern)
        except re.error as error:
            msg = f"pattern={self.pattern!r} is no regular expression: {error}"
            raise ValueError(msg) from error

    def strikes(self, target: str) -> bool:
        """Count a request if it matches, and tell whether it suffers."""
        if not re.search(self.pattern, target):
            return False
        self.seen += 1
        last = math.inf if self.times is None else self.skip + self.times
        return self.skip < self.seen <= last

    def spoil(self, answer: Answer) -> Answer:
        """What becomes of the true answer."""
        if self.status is not None:
            answer = self._with_status(answer, self.status)
        if callable(self.replace_body):
            answer = replace(answer, body=self.replace_body(answer.body))
        elif self.replace_body is not None:
            answer = replace(answer, body=self.replace_body)
        if self.content_type is not None:
            answer = replace(answer, content_type=self.content_type)
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return replace(answer, headers={**answer.headers, **headers})

    def delivery(self) -> Delivery:
        """How the answer travels."""
        made = PLAIN
        if self.reset == "head":
            made = Delivery(has_head=False, ending="reset")
        elif self.reset == "body":
            made = Delivery(share=0.5, ending="reset")
        elif self.short:
            made = Delivery(share=0.5, ending="close")
        elif self.stall == "body":
            made = Delivery(share=0.5, pause_s=self.stall_seconds)
        elif self.stall == "head":
            made = Delivery(wait_s=self.stall_seconds)
        return replace(made, wait_s=made.wait_s + self.delay_seconds)

    def _with_status(self, answer: Answer, status: int) -> Answer:
        """The exchange's usual answer with a status, or the scripted body."""
        usual = by_status(status)
        body = self.body.encode() if isinstance(self.body, str) else self.body
        return replace(usual, body=usual.body if body is None else body, headers=answer.headers)


def first_that_strikes(faults: list[Fault], target: str) -> Fault | None:
    """The first fault in the list that a request suffers; later ones do not see it."""
    return next((fault for fault in tuple(faults) if fault.strikes(target)), None)
