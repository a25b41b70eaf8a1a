"""A chart of candles as a picture, for pages on which widgets do not run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ares_notebook.formatting import text
from ares_notebook.lab.candle_levels import Bars
from ares_notebook.model.time import utc

_WIDTH, _HEIGHT, _VOLUME = 860, 300, 56
_RIGHT, _TOP, _BOTTOM = 74, 26, 20
# On white and on black alike at least 3 to 1.
_UP, _DOWN, _GAP, _QUIET = "#0a8f80", "#d0463b", "#b07a00", "#7d858e"
_STYLE = (
    "max-width:100%;height:auto;display:block;font:11px var(--jp-ui-font-family,system-ui,sans-serif);"
    "color:var(--jp-ui-font-color1,#444)"
)
_BODY = 0.7


def chart_svg(
    bars: Bars,
    step_ms: int,
    window_ms: tuple[int, int],
    gaps: Sequence[Sequence[Any]],
    words: str,
) -> str:
    """Candles, volume and gaps of a window; *words* are its title, and what a screen reader says."""
    parts = [f'<text x="0" y="14" font-weight="600">{text(words)}</text>']
    parts += _times(window_ms)
    is_empty = not len(bars.open_ms) or bool(np.isnan(bars.low).all())
    if not is_empty:
        parts += _gap_areas(gaps, window_ms)
        parts += _candles(bars, step_ms, window_ms)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" style="{_STYLE}" fill="currentColor" '
        f'viewBox="0 0 {_WIDTH} {_TOP + _HEIGHT + _BOTTOM}" role="img" '
        f'aria-label="{text(words)}">{"".join(parts)}</svg>'
    )


def _x(moment_ms: float, window_ms: tuple[int, int]) -> float:
    start, end = window_ms
    share = min(max((moment_ms - start) / (end - start), 0.0), 1.0)
    return share * (_WIDTH - _RIGHT)


def _times(window_ms: tuple[int, int]) -> Iterator[str]:
    """Some moments of the window, at its bottom."""
    start, end = window_ms
    is_long = end - start > 3 * 86_400_000
    for at in range(1, 6):
        moment = start + (end - start) * at // 6
        words = f"{utc(moment):%Y-%m-%d}" if is_long else f"{utc(moment):%m-%d %H:%M}"
        x = _x(moment, window_ms)
        yield f'<text x="{x:.0f}" y="{_TOP + _HEIGHT + 15}" text-anchor="middle">{words}</text>'


def _gap_areas(gaps: Sequence[Sequence[Any]], window_ms: tuple[int, int]) -> Iterator[str]:
    for start, end, _rows, reason, _note in gaps:
        x = _x(start, window_ms)
        width = max(_x(end, window_ms) - x, 1.5)
        yield (
            f'<rect x="{x:.1f}" y="{_TOP}" width="{width:.1f}" height="{_HEIGHT}" fill="{_GAP}" '
            f'fill-opacity=".3"><title>{text(reason)}</title></rect>'
            f'<rect x="{x:.1f}" y="{_TOP}" width="{width:.1f}" height="3" fill="{_GAP}"/>'
        )


def _candles(bars: Bars, step_ms: int, window_ms: tuple[int, int]) -> Iterator[str]:
    """One path for each colour: the picture is part of a notebook, and must be small."""
    low, high = float(np.nanmin(bars.low)), float(np.nanmax(bars.high))
    height, room = _HEIGHT - _VOLUME - 8, high - low or abs(high) or 1.0

    def y(price: float) -> float:
        return _TOP + 4 + (high - price) / room * (height - 8)

    for price in np.linspace(low, high, 4):
        yield (
            f'<path d="M0 {y(price):.1f}H{_WIDTH - _RIGHT}" stroke="{_QUIET}" stroke-opacity=".3"/>'
            f'<text x="{_WIDTH - _RIGHT + 5}" y="{y(price) + 4:.1f}">{price:,.6g}</text>'
        )
    width = step_ms / (window_ms[1] - window_ms[0]) * (_WIDTH - _RIGHT)
    most = float(np.nanmax(bars.volume)) if not np.isnan(bars.volume).all() else 0.0
    paths: dict[bool, list[str]] = {True: [], False: []}
    volumes = []
    for at, opened, top, bottom, closed, volume in zip(*bars, strict=True):
        if np.isnan(opened) or at < window_ms[0] - step_ms or at >= window_ms[1]:
            continue
        x = _x(at + step_ms / 2, window_ms)
        body = sorted((y(opened), y(closed)))
        half = max(width * _BODY / 2, 0.4)
        paths[bool(closed >= opened)].append(
            f"M{x:.1f} {y(top):.1f}V{y(bottom):.1f}"
            f"M{x - half:.1f} {body[0]:.1f}h{2 * half:.1f}v{max(body[1] - body[0], 0.8):.1f}h{-2 * half:.1f}z"
        )
        if most and volume > 0:
            tall = volume / most * _VOLUME
            volumes.append(f"M{x:.1f} {_TOP + _HEIGHT}v{-tall:.1f}")
    for is_up, colour in ((True, _UP), (False, _DOWN)):
        fill = "none" if is_up else colour
        yield f'<path d="{"".join(paths[is_up])}" fill="{fill}" stroke="{colour}"/>'
    if volumes:
        stroke = max(width * _BODY, 0.8)
        yield f'<path d="{"".join(volumes)}" stroke="{_QUIET}" stroke-width="{stroke:.1f}"/>'
