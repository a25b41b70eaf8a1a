"""Answers to requests, and the bodies that Binance and S3 have for errors."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from xml.sax.saxutils import escape

JSON = "application/json;charset=UTF-8"
XML = "application/xml"
HTML = "text/html"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over the wire."""

    # Status code.
    status: int
    # The whole body.
    body: bytes
    # Its type.
    content_type: str = JSON
    # Other headers.
    headers: dict[str, str] = field(default_factory=dict)
    # Request weight that the request cost.
    weight: int = 0

    def having(self, **headers: str) -> Answer:
        """The same with more headers; underscores in their names stand for hyphens."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **more})


def error(code: int, message: str, status: int = 400, weight: int = 1) -> Answer:
    """An API error in Binance's form."""
    text = json.dumps({"code": code, "msg": message}, ensure_ascii=False, separators=(",", ":"))
    return Answer(status, text.encode(), weight=weight)


def no_such_path() -> Answer:
    """What the API says to a path that it does not have."""
    return Answer(404, b"<html><body><h2>404 Not found</h2></body></html>", HTML, weight=1)


def no_such_key(key: str) -> Answer:
    """What S3 says to a key that it does not have."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message>"
        f"<Key>{escape(key)}</Key><RequestId>DEM0DEM0DEM0DEM0</RequestId>"
        "<HostId>ZGVtbyBleGNoYW5nZTogYSBsb2NhbCBCaW5hbmNl</HostId></Error>"
    )
    return Answer(404, text.encode(), XML, {"Server": "AmazonS3"})


FORBIDDEN = (
    b'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">\n<HTML><HEAD><TITLE>ERROR: '
    b"The request could not be satisfied</TITLE></HEAD><BODY><H1>403 ERROR</H1>\n<H2>The request "
    b"could not be satisfied.</H2>\nRequest blocked.\n</BODY></HTML>\n"
)
"""The web application firewall's page: no JSON."""

GEO_BLOCK = (
    b'{\n  "code": 0,\n  "msg": "Service unavailable from a restricted location according to '
    b"'b. Eligibility' in https://www.binance.com/en/terms. Please contact customer service if "
    b'you believe you received this message in error."\n}'
)
"""The body of a 451."""


def too_much(limit: int, window: str) -> Answer:
    """The answer to a request beyond the weight limit."""
    return error(
        -1003,
        f"Too much request weight used; current limit is {limit} request weight per {window}. "
        "Please use WebSocket Streams for live updates to avoid polling the API.",
        status=429,
    )


def banned(until_ms: int) -> Answer:
    """The answer to one that went on asking after that."""
    return error(
        -1003,
        f"Way too much request weight used; IP banned until {until_ms}. "
        "Please use WebSocket Streams for live updates to avoid bans.",
        status=418,
    )


def by_status(status: int, *, limit: int = 6_000, until_ms: int = 0) -> Answer:
    """The answer that the exchange gives with a status, when it gives no other reason."""
    known = {
        403: Answer(403, FORBIDDEN, HTML),
        429: too_much(limit, "1 MINUTE"),
        418: banned(until_ms),
        451: Answer(451, GEO_BLOCK),
        503: Answer(503, b"Service Unavailable.", HTML),
    }
    if status in known:
        return known[status]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return error(
            -1001,
            "Internal error; unable to process your request. Please try again.",
            status,
        )
    return error(-1000, "An unknown error occurred while processing the request.", status)
