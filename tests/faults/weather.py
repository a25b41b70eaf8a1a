"""Random faults, the same at each run: whether a request suffers is drawn from what it asks for."""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass, field

from ares_notebook.demo.faults import Fault

SHARE = 0.05
"""Of the requests that suffer, whatever they suffer."""

_HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
_KINDS = (
    {"status": 429},
    {"status": 500},
    {"status": 503},
    {"status": 403},
    {"reset": "head"},
    {"reset": "body"},
    {"short": True},
    {"stall": "head"},
    {"stall": "body"},
    {"replace_body": _HTML, "content_type": "text/html"},
    {"replace_body": b""},
    {"replace_body": lambda body: body[: len(body) // 2]},
)


@dataclass
class Chance(Fault):
    """
    A fault that strikes by chance.

    The order in which requests come is no part of it, since that is never the same.

    Parameters
    ----------
    share : float
        Of the requests that suffer it.
    name : str
        Makes its chances others than those of another fault.
    """

    share: float = 0.0
    name: str = ""
    times_seen: Counter[str] = field(default_factory=Counter)

    def strikes(self, target: str) -> bool:
        """Draw."""
        self.times_seen[target] += 1
        drawn = zlib.crc32(f"{self.name} {target} {self.times_seen[target]}".encode())
        struck = drawn < self.share * 2**32
        self.seen += struck
        return struck


def bad_weather(seed: int) -> list[Chance]:
    """Faults for an exchange, all kinds alike."""
    share = SHARE / len(_KINDS)
    return [
        Chance("", share=share, name=f"{seed} {number}", **kind)
        for number, kind in enumerate(_KINDS)
    ]
