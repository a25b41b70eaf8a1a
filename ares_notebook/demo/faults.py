"""Faults on request: what goes wrong, with which requests, how many times."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Literal

from ares_notebook.demo.limits import banned, too_much
from ares_notebook.demo.server import HTML, Delivery, Response, error

Cut = Literal["head", "body"]

_WAF_PAGE = (
    b'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">\n<HTML><HEAD><TITLE>ERROR: '
    b"The request could not be satisfied</TITLE></HEAD><BODY><H1>403 ERROR</H1>\n<H2>The request "
    b"could not be satisfied.</H2>\nRequest blocked.\n</BODY></HTML>\n"
)
"""The page of the web application firewall."""

_GEO_BLOCK = (
    b'{\n  "code": 0,\n  "msg": "Service unavailable from a restricted location according to '
    b"'b. Eligibility' in https://www.binance.com/en/terms. Please contact customer service if "
    b'you believe you received this message in error."\n}'
)


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
        # Raised here, a wrong pattern shows where it is written, and not in the thread of the server.
        try:
            re.compile(self.pattern)
        except re.error as error:
            msg = f"pattern={self.pattern!r} is no regular expression: {error}"
            raise ValueError(msg) from error

    def applies_to(self, target: str) -> bool:
        """Count a request if it matches, and tell whether the fault applies to it."""
        if not re.search(self.pattern, target):
            return False
        self.seen += 1
        last = math.inf if self.times is None else self.skip + self.times
        return self.skip < self.seen <= last

    def alter(self, response: Response) -> Response:
        """The response with this fault."""
        if self.status is not None:
            usual = _usual_response(self.status)
            body = self.body.encode() if isinstance(self.body, str) else self.body
            body = usual.body if body is None else body
            response = replace(usual, body=body, headers=response.headers)
        if callable(self.replace_body):
            response = replace(response, body=self.replace_body(response.body))
        elif self.replace_body is not None:
            response = replace(response, body=self.replace_body)
        if self.content_type is not None:
            response = replace(response, content_type=self.content_type)
        headers = {**response.headers, **self.headers}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return replace(response, headers=headers)

    def delivery(self) -> Delivery:
        """How the response is sent."""
        if self.reset == "head":
            return Delivery(self.delay_seconds, has_head=False)
        if self.reset == "body":
            return Delivery(self.delay_seconds, share=0.5, ending="reset")
        if self.short:
            return Delivery(self.delay_seconds, share=0.5, ending="close")
        if self.stall == "body":
            return Delivery(self.delay_seconds, share=0.5, pause_s=self.stall_seconds)
        stall_s = self.stall_seconds if self.stall == "head" else 0.0
        return Delivery(self.delay_seconds + stall_s)


def first_fault(faults: list[Fault], target: str) -> Fault | None:
    """The first fault that applies to a request; later ones do not count the request."""
    return next((fault for fault in tuple(faults) if fault.applies_to(target)), None)


def _usual_response(status: int) -> Response:
    """The response that the exchange gives with a status, when it gives no other reason."""
    known = {
        403: Response(403, _WAF_PAGE, HTML),
        429: too_much(6_000, "1 MINUTE"),
        418: banned(0),
        451: Response(451, _GEO_BLOCK),
        503: Response(503, b"Service Unavailable.", HTML),
    }
    if status in known:
        return known[status]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        text = "Internal error; unable to process your request. Please try again."
        return error(-1001, text, status)
    return error(-1000, "An unknown error occurred while processing the request.", status)
