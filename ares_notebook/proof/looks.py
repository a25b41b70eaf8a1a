"""
What a state looks like in every picture: a colour, and a hatch that tells it without colour.

The colours are those of Okabe and Ito, a shade lighter or darker, so that they differ
for the colour-blind; what is of like lightness differs in its hatch, so that they
differ on grey paper too. All can be seen on white and on black.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ares_notebook.cache.reasons import (
    AFTER_DELISTING,
    BEFORE_LISTING,
    BETWEEN_LISTINGS,
    COMPLETE,
    CONFIRMED,
    CORRUPT,
    FAILED,
    NOT_DOWNLOADED,
    NOT_PUBLISHED,
    QUIET,
    UNCONFIRMED,
)

__all__ = ["LOOKS", "Look"]

Hatch = Literal["", "/", "\\", "x", "-", "."]


@dataclass(frozen=True, slots=True)
class Look:
    r"""
    How something is drawn.

    Parameters
    ----------
    colour : str
        Of its ground, ``#rrggbb``.
    hatch : {"", "/", "\\", "x", "-", "."}
    ink : str
        Of the hatch.
    """

    colour: str
    hatch: Hatch = ""
    ink: str = "#7a7a7a"


LOOKS = {
    COMPLETE: Look("#0b62a4"),
    CONFIRMED: Look("#56b0e4"),
    BEFORE_LISTING: Look("#dcdcdc"),
    AFTER_DELISTING: Look("#b9b9b9", "\\", "#5c5c5c"),
    BETWEEN_LISTINGS: Look("#cbcbcb", "-", "#6b6b6b"),
    UNCONFIRMED: Look("#e4d4fb", ".", "#4a2a6b"),
    NOT_DOWNLOADED: Look("#f5e663", "/", "#8a6d00"),
    NOT_PUBLISHED: Look("#d58ab4", ".", "#5e1f45"),
    FAILED: Look("#d95f02", "x", "#ffe3cc"),
    CORRUPT: Look("#4a2040", "\\", "#f3d9ee"),
    QUIET: Look("#2aa884", "-", "#d9f5ec"),
}
"""The look of each state of a file and each reason of a gap."""
