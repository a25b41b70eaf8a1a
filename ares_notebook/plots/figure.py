"""Figures: axes, boxes, legends, letters, and their export."""

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
from matplotlib.transforms import Transform

from ares_notebook.quality.calendar import Style

__all__ = [
    "GID",
    "around",
    "as_svg",
    "axes_or_new",
    "days_of",
    "draw_boxes",
    "explain",
    "in_time_order",
    "legend_below",
    "letter",
    "letter_ticks",
    "new_axes",
    "patch_of",
    "say_only",
    "show_times",
    "widened",
]

GID = "words:"
"""How the id of a text begins that shows a stand-in; the words themselves follow."""
# What stands for a letter that no font of this machine has.
_BOX = "□"


def letter(text: Text, words: str) -> Text:
    """
    Write *words* on a text.

    A dollar begins no formula. Letters that the text's font lacks come from a font of this machine
    that has them; where none has, a box stands for each, and `as_svg` puts the letters themselves
    back, since a browser has fonts of its own.
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


def letter_ticks(axis: Axis, at: Iterable[float], words: Iterable[str]) -> None:
    """Write *words* along an axis, each at its place."""
    names = list(words)
    axis.set_ticks(list(at), labels=names)
    labels = axis.get_ticklabels()
    for label, name in zip(labels, names, strict=True):
        letter(label, name)
    # The axis writes its labels anew whenever it is drawn, and keeps all else of them.
    axis.set_ticklabels([label.get_text() for label in labels])


@cache
def _letters(path: str) -> frozenset[str]:
    return frozenset(chr(code) for code in FT2Font(path).get_charmap())


@cache
def _family_with(letters: frozenset[str], weight: int) -> str | None:
    """A font of this machine that has all of these letters, best of the wanted weight."""
    # The last resort has a box for every letter, and is no font for words.
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
    """A weight from 0 to 1000, whichever way it is written."""
    return font_manager.weight_dict.get(weight, 400) if isinstance(weight, str) else int(weight)


_PAGE_FONT = "system-ui,sans-serif"
# Matplotlib has its way of writing text in SVG as a setting of the whole process.
_SETTING = threading.Lock()
_VIEW = re.compile(r'<svg [^>]*viewBox="0 0 (\S+) ([^\s"]+)"')
_USE = re.compile(r'(?:(?<=url\(#)|(?<=href="#))[^)"]+')
_MARK = "\0"
_NAMED_TEXT = re.compile(rf'<g id="{GID}([^"]*)">(.*?<text [^>]*>)[^<]*(?=</text>)', re.DOTALL)


def new_axes(size: tuple[float, float]) -> Axes:
    """Axes on a figure that nobody else knows: for a thread, a file, or `as_svg`."""
    return Figure(figsize=size, layout="constrained").subplots()


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """The given axes; without any, those of a new figure of pyplot's, which a notebook shows."""
    if ax is not None:
        return ax
    # Not for who brings axes: pyplot keeps figures, and belongs to the main thread.
    from matplotlib import pyplot as plt  # noqa: PLC0415

    return plt.subplots(figsize=size, layout="constrained")[1]


def as_svg(figure: Figure, words: str) -> str:
    """
    A figure as an ``svg`` element to be put into a page of HTML.

    Its ground is transparent and its lettering takes the colour of the text around it, so it suits
    a dark theme too; it is as wide as its place allows, up to its own size. No script, no style
    that reaches beyond it, names that meet no other picture's, and the same bytes for the same
    figure. Any thread may call it, for a figure of its own.
    """
    written = _written(figure)
    text = _body(written)
    text = _NAMED_TEXT.sub(r'<g id="\1">\2\1', text)
    text = _inked(text)
    [(width, height)] = _VIEW.findall(written)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(words)}" '
        f'fill="currentColor" style="display:block;width:100%;max-width:{float(width) * 4 / 3:.0f}px;'
        f'height:auto;font-family:{_PAGE_FONT};stroke-linejoin:round;stroke-linecap:butt">'
    )
    return _named_apart(f"{head}{text}</svg>")


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
    """What is inside, without what would reach beyond it, and without remarks."""
    inside = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    for superfluous in (
        r"<metadata>.*?</metadata>",
        r"<style\b.*?</style>",
        r"<!--.*?-->",
        r"font-family: [^\"]*?(?=[;\"])",
    ):
        inside = re.sub(superfluous, "", inside, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", inside)


def _inked(text: str) -> str:
    """The colours of lettering and lines, as the user has set them, become the page's own."""
    style = mpl.rcParams
    inks = (style["text.color"], style["axes.labelcolor"], style["axes.edgecolor"])
    ticks = (style["xtick.color"], style["ytick.color"])
    for ink in ("black", *inks, *ticks):
        text = text.replace(to_hex(ink), "currentColor")
    return text


def _named_apart(text: str) -> str:
    """Names that are used, with a mark of this picture before them; others go."""
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
_HALF_A_MINUTE = 30 / 86_400
Numbers = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]
"""Left, bottom, width, height."""


def draw_boxes(
    ax: Axes, boxes: Sequence[Box], look: Style, *, transform: Transform | None = None
) -> PolyCollection:
    """Draw rectangles in one look, as one shape with many parts."""
    corners = [
        ((x, y), (x, y + height), (x + width, y + height), (x + width, y))
        for x, y, width, height in boxes
    ]
    options: dict[str, Any] = {} if transform is None else {"transform": transform}
    shapes = PolyCollection(corners, **_style(look), **options)
    ax.add_collection(shapes, autolim=False)
    return shapes


def _style(look: Style) -> dict[str, Any]:
    # A hatch is drawn in the colour of the edge, also where the edge is not drawn.
    return {
        "facecolor": look.colour,
        "edgecolor": look.ink,
        "hatch": look.hatch * 4 or None,
        "linewidth": 0,
    }


def explain(ax: Axes, entries: Iterable[tuple[str, Style]]) -> None:
    """A legend below the axes, where it covers nothing."""
    legend_below(ax, [(words, patch_of(look)) for words, look in entries])


def patch_of(look: Style) -> Patch:
    """A look as it stands in a legend."""
    return Patch(**_style(look))


def legend_below(ax: Axes, entries: Sequence[tuple[str, Any]]) -> None:
    """The same, of any handles."""
    if not entries:
        return
    has_times = ax.xaxis.get_visible() and ax.xaxis.get_ticks_position() != "top"
    legend = ax.legend(
        [handle for _, handle in entries],
        ["" for _ in entries],
        loc="upper left",
        bbox_to_anchor=(0, 0),
        borderaxespad=4.2 if has_times else 0.6,
        borderpad=0,
        ncols=_columns(ax),
        frameon=False,
        fontsize="small",
    )
    for text, (words, _) in zip(legend.get_texts(), entries, strict=True):
        letter(text, words)


def _columns(ax: Axes) -> int:
    """How many entries fit beside one another."""
    inches = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted()).width
    return min(max(int(inches / _ENTRY_INCHES), 1), 3)


def show_times(axis: Axis) -> None:
    """Write the moments of an axis in UTC, no more words than needed."""
    untyped: Any = dates
    locator = untyped.AutoDateLocator(tz=UTC, minticks=3, maxticks=9)
    axis.set_major_locator(locator)
    axis.set_major_formatter(untyped.ConciseDateFormatter(locator, tz=UTC))


def around(ax: Axes, x: pd.Series[float]) -> None:
    """
    Let the x axis reach from the first of some moments to the last, with a margin; a minute at
    least.
    """
    low, high = x.min(), x.max()
    margin = max(0.03 * (high - low), _HALF_A_MINUTE)
    ax.set_xlim(low - margin, high + margin)
    show_times(ax.xaxis)


def days_of(moments: pd.Series | pd.DatetimeIndex) -> Numbers:
    """Moments as matplotlib counts them: in days since 1970, UTC."""
    stamps = pd.DatetimeIndex(moments).tz_convert("UTC").tz_localize(None)
    return (stamps.as_unit("ns").asi8 / _DAY_NS).astype(np.float64)


def widened(x0: Numbers, width: Numbers, least: float) -> tuple[Numbers, Numbers]:
    """Stretches of which none is narrower than *least*, each around its own middle."""
    wide = np.maximum(width, least)
    return x0 - (wide - width) / 2, wide


def say_only(ax: Axes, words: str) -> Axes:
    """Axes that say one thing, where there is nothing to draw."""
    ax.set_axis_off()
    letter(ax.text(0.5, 0.5, "", transform=ax.transAxes, ha="center", va="center"), words)
    return ax


def in_time_order(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows by time and each moment once, however somebody has sorted or stacked them."""
    return frame[~frame.index.duplicated()].sort_index()
