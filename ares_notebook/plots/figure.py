"""Figures: axes, boxes, legends, text, and their export."""

from __future__ import annotations

import hashlib
import html
import io
import re
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import dates, font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from ares_notebook.quality.calendar import Style

__all__ = [
    "GID",
    "as_svg",
    "axes_or_new",
    "days_of",
    "draw_boxes",
    "in_time_order",
    "legend_below",
    "message_only",
    "new_axes",
    "padded",
    "set_text",
    "set_ticks",
    "show_times",
    "size_inches",
    "time_axis",
    "widened",
]

GID = "words:"
"""How the id of a text with boxes begins; its words follow."""
# Shown for a character that no installed font has.
_BOX = "□"


def set_text(text: Text, words: str) -> Text:
    """
    Set *words* as the content of a text; a dollar begins no formula.

    Characters that its font lacks come from another installed font; without one each becomes a box,
    and `as_svg` restores the characters, since a browser has fonts of its own.
    """
    text.set_parse_math(False)
    clean = "".join(each if each.isprintable() else _BOX for each in words)
    own = _letters(font_manager.findfont(text.get_fontproperties()))
    foreign = frozenset(clean) - own
    family = _family_with(foreign, _number(text.get_fontweight())) if foreign else None
    if family is not None:
        text.set_fontfamily([*text.get_fontfamily(), family])
    elif foreign:
        text.set_gid(GID + clean)
        clean = "".join(_BOX if each in foreign else each for each in clean)
    text.set_text(clean)
    return text


def set_ticks(axis: Axis, at: Iterable[float], words: Iterable[str]) -> None:
    """Label an axis with *words* at the given positions."""
    names = list(words)
    axis.set_ticks(list(at), labels=names)
    labels = axis.get_ticklabels()
    for label, name in zip(labels, names, strict=True):
        set_text(label, name)
    # The axis writes its labels anew whenever it is drawn, and keeps all else of them.
    axis.set_ticklabels([label.get_text() for label in labels])


@cache
def _letters(path: str) -> frozenset[str]:
    return frozenset(chr(code) for code in FT2Font(path).get_charmap())


@cache
def _family_with(letters: frozenset[str], weight: int) -> str | None:
    """An installed font that has all of these characters, of the nearest weight."""
    # Last Resort has a box for every character.
    upright = (
        entry
        for entry in font_manager.fontManager.ttflist
        if entry.style == "normal" and "Last Resort" not in entry.name
    )
    for entry in sorted(upright, key=lambda each: abs(_number(each.weight) - weight)):
        if letters <= _letters(entry.fname):
            return str(entry.name)
    return None


def _number(weight: str | float) -> int:
    """A font weight from 0 to 1000."""
    return font_manager.weight_dict.get(weight, 400) if isinstance(weight, str) else int(weight)


_PAGE_FONT = "system-ui,sans-serif"
# How matplotlib writes text in SVG is a setting of the whole process.
_SETTING = threading.Lock()
_VIEW = re.compile(r'<svg [^>]*viewBox="0 0 (\S+) ([^\s"]+)"')
_USE = re.compile(r'(?:(?<=url\(#)|(?<=href="#))[^)"]+')
_MARK = "\0"
_NAMED_TEXT = re.compile(rf'<g id="{GID}([^"]*)">(.*?<text [^>]*>)[^<]*(?=</text>)', re.DOTALL)


def new_axes(size: tuple[float, float]) -> Axes:
    """Axes on a figure that pyplot does not know: for a thread, a file, or `as_svg`."""
    return Figure(figsize=size, layout="constrained").subplots()


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The given axes, or those of a new figure of pyplot, which a notebook shows."""
    if ax is not None:
        return ax
    # Not with axes given: pyplot keeps figures, and belongs to the main thread.
    from matplotlib import pyplot as plt  # noqa: PLC0415

    return plt.subplots(figsize=size, layout="constrained")[1]


def as_svg(figure: Figure, words: str) -> str:
    """
    A figure as an ``svg`` element to be put into a page of HTML.

    The background is transparent and text has the colour of the text around it, so it suits a dark
    theme. It has no script, no style for the rest of the page, and ids of its own; the same figure
    gives the same bytes. Any thread may call it, for a figure of its own.
    """
    written = _written(figure)
    text = _body(written)
    text = _page_coloured(_NAMED_TEXT.sub(r'<g id="\1">\2\1', text))
    [(width, height)] = _VIEW.findall(written)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(words)}" '
        f'fill="currentColor" style="display:block;width:100%;max-width:{float(width) * 4 / 3:.0f}px;'
        f'height:auto;font-family:{_PAGE_FONT};stroke-linejoin:round;stroke-linecap:butt">'
    )
    return _with_own_ids(f"{head}{text}</svg>")


def _written(figure: Figure) -> str:
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _SETTING:
        before = mpl.rcParams["svg.fonttype"]
        mpl.rcParams["svg.fonttype"] = "none"
        try:
            figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
        finally:
            mpl.rcParams["svg.fonttype"] = before
    return stream.getvalue()


def _body(text: str) -> str:
    """The content without metadata, style sheets, comments and fonts."""
    inside = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    for superfluous in (
        r"<metadata>.*?</metadata>",
        r"<style\b.*?</style>",
        r"<!--.*?-->",
        r"font-family: [^\"]*?(?=[;\"])",
    ):
        inside = re.sub(superfluous, "", inside, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", inside)


def _page_coloured(text: str) -> str:
    """Replace the colours of text and lines, as the user has set them, by the page's."""
    style = mpl.rcParams
    inks = (style["text.color"], style["axes.labelcolor"], style["axes.edgecolor"])
    ticks = (style["xtick.color"], style["ytick.color"])
    for ink in ("black", *inks, *ticks):
        text = text.replace(to_hex(ink), "currentColor")
    return text


def _with_own_ids(text: str) -> str:
    """Prefix the ids that are used with a hash of this picture; remove the others."""
    # Matplotlib's own are by chance: numbers first, so that the mark is the picture's.
    numbers = {name: f"{_MARK}{at}" for at, name in enumerate(dict.fromkeys(_USE.findall(text)))}

    def named(match: re.Match[str]) -> str:
        return f' id="{numbers[match[1]]}"' if match[1] in numbers else ""

    text = re.sub(r' id="([^"]*)"', named, text)
    text = _USE.sub(lambda match: numbers[match[0]], text)
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    return text.replace(_MARK, f"p{mark}-")


_ENTRY_INCHES = 2.2
_DAY_NS = 86_400_000_000_000
Numbers = npt.NDArray[np.float64]


Boxes = tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]
"""Left, bottom, width and height of rectangles; a number holds for all of them."""


def draw_boxes(ax: Axes, boxes: Boxes, style: Style) -> PolyCollection:
    """Draw rectangles in one style, as one collection."""
    x, y, width, height = np.broadcast_arrays(*(np.asarray(each, np.float64) for each in boxes))
    right, top = x + width, y + height
    corners: Any = np.stack([x, y, x, top, right, top, right, y], axis=-1).reshape(-1, 4, 2)
    shapes = PolyCollection(corners, **_options(style))
    ax.add_collection(shapes, autolim=False)
    return shapes


def _options(style: Style) -> dict[str, Any]:
    # A hatch has the colour of the edge, also where the edge is not drawn.
    return {
        "facecolor": style.colour,
        "edgecolor": style.ink,
        "hatch": style.hatch * 4 or None,
        "linewidth": 0,
    }


def legend_below(ax: Axes, entries: Sequence[tuple[str, Any]]) -> None:
    """A legend below the axes, where it covers nothing: of styles, or of matplotlib's artists."""
    if not entries:
        return
    has_times = ax.xaxis.get_visible() and ax.xaxis.get_ticks_position() != "top"
    legend = ax.legend(
        [Patch(**_options(each)) if isinstance(each, Style) else each for _, each in entries],
        ["" for _ in entries],
        loc="upper left",
        bbox_to_anchor=(0, 0),
        borderaxespad=4.2 if has_times else 0.6,
        borderpad=0,
        ncols=min(max(int(size_inches(ax).width / _ENTRY_INCHES), 1), 3),
        frameon=False,
        fontsize="small",
    )
    for label, (words, _) in zip(legend.get_texts(), entries, strict=True):
        set_text(label, words)


def size_inches(ax: Axes) -> Bbox:
    """The extent of the axes in inches."""
    return ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())


def show_times(axis: Axis) -> None:
    """Label an axis with times in UTC, as short as they are unambiguous."""
    untyped: Any = dates
    locator = untyped.AutoDateLocator(tz=UTC, minticks=3, maxticks=9)
    axis.set_major_locator(locator)
    axis.set_major_formatter(untyped.ConciseDateFormatter(locator, tz=UTC))


def padded(low: float, high: float, share: float = 0.01, least: float = 0.0) -> tuple[float, float]:
    """Limits of an axis from *low* to *high* with a margin."""
    margin = max(share * (high - low), least)
    return low - margin, high + margin


def time_axis(ax: Axes, limits: tuple[float, float], label: str = "UTC") -> None:
    """Make the x axis one of times."""
    ax.set_xlim(*limits)
    show_times(ax.xaxis)
    ax.set_xlabel(label, loc="left", fontsize="small")


def days_of(moments: pd.Series | pd.DatetimeIndex) -> Numbers:
    """Times in matplotlib's unit: days since 1970, UTC."""
    stamps = pd.DatetimeIndex(moments).tz_convert("UTC").tz_localize(None)
    return (stamps.as_unit("ns").asi8 / _DAY_NS).astype(np.float64)


def widened(x0: Numbers, width: Numbers, least: float) -> tuple[Numbers, Numbers]:
    """Intervals, those narrower than *least* widened around their middle."""
    wide = np.maximum(width, least)
    return x0 - (wide - width) / 2, wide


def message_only(ax: Axes, words: str) -> Axes:
    """Show a message on axes that have nothing to draw."""
    ax.set_axis_off()
    set_text(ax.text(0.5, 0.5, "", transform=ax.transAxes, ha="center", va="center"), words)
    return ax


def in_time_order(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows in order of time, without duplicated times."""
    return frame[~frame.index.duplicated()].sort_index()
