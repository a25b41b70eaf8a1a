"""The looks of states: told apart in grey, and by the colour-blind."""

from __future__ import annotations

from itertools import combinations

import pytest

from ares_notebook.cache.gap_reasons import REASONS, STATES
from ares_notebook.quality.calendar import STYLES


def linear(colour: str) -> list[float]:
    """Red, green and blue as amounts of light."""
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels
    ]


def luminance(colour: str) -> float:
    """The amount of light, from 0 to 1."""
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def lightness(colour: str) -> float:
    """How light it looks, from 0 to 100: CIE L*."""
    return 116 * luminance(colour) ** (1 / 3) - 16


def contrast(one: str, other: str) -> float:
    """As WCAG reckons it, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


PAIRS = list(combinations(STYLES, 2))
# Viénot, Brettel and Mollon 1999: what is left of red and green.
BLIND = {
    "protan": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deutan": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
}


def test_every_state_and_reason_has_a_look():
    """There is a look for all that can be drawn, and for nothing else."""
    assert set(STYLES) == {*STATES, *REASONS}


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_looks_differ_in_grey(one, other):
    """Any two looks differ in their hatch or by a fifth of the way from black to white."""
    first, second = STYLES[one], STYLES[other]
    apart = abs(lightness(first.colour) - lightness(second.colour))

    assert first.hatch != second.hatch or apart >= 19


@pytest.mark.parametrize("state", [each for each in STYLES if each != "complete"])
def test_complete_is_unlike_all_others_in_grey(state):
    """What is there differs in lightness from all that is not, hatch or no hatch."""
    apart = abs(lightness(STYLES["complete"].colour) - lightness(STYLES[state].colour))

    assert apart >= 14


@pytest.mark.parametrize("state", [each for each, look in STYLES.items() if look.hatch])
def test_a_hatch_is_seen_on_its_ground(state):
    """The ink of a hatch differs from its ground as letters would have to, roughly."""
    assert contrast(STYLES[state].colour, STYLES[state].ink) >= 2.3


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_looks_differ_for_the_colour_blind(kind, one, other):
    """Who does not see red or green sees another colour or another hatch."""
    seen = [
        [
            sum(
                weight * part for weight, part in zip(row, linear(STYLES[each].colour), strict=True)
            )
            for row in BLIND[kind]
        ]
        for each in (one, other)
    ]
    apart = max(abs(first - second) for first, second in zip(*seen, strict=True))

    assert STYLES[one].hatch != STYLES[other].hatch or apart >= 0.15


@pytest.mark.parametrize("state", STYLES)
@pytest.mark.parametrize("page", ["#ffffff", "#111111"])
def test_looks_are_seen_on_white_and_on_black(state, page):
    """Ground or ink of each look stands out from the page, light or dark."""
    look = STYLES[state]
    inks = [look.colour, *([look.ink] if look.hatch else [])]

    assert max(contrast(page, ink) for ink in inks) >= 1.3
