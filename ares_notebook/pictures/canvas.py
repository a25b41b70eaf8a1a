"""The canvas of every picture: axes to draw on, and the figure as an inline SVG, light or dark."""

from __future__ import annotations

import hashlib
import html
import io
import re
import threading

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ares_notebook.pictures.lettering import GID

__all__ = ["as_svg", "axes_or_new", "new_axes"]

_PAGE_FONT = "system-ui,sans-serif"
# Matplotlib has its way of writing text in SVG as a setting of the whole process.
_SETTING = threading.Lock()
_VIEW = re.compile(r'<svg [^>]*viewBox="0 0 (\S+) ([^\s"]+)"')
_USE = re.compile(r'(?:(?<=url\(#)|(?<=href="#))[^)"]+')
_MARK = "\0"
_NAMED_TEXT = re.compile(rf'<g id="{GID}([^"]*)">(.*?<text [^>]*>)[^<]*(?=</text>)', re.DOTALL)


def new_axes(size: tuple[float, float]) -> Axes:
    """
    Axes on a figure that nobody else knows: for a thread, a file, or `as_svg`.

    Parameters
    ----------
    size : tuple of float
        Width and height in inches.

    Examples
    --------
    >>> new_axes((4, 3)).figure.get_size_inches().tolist()
    [4.0, 3.0]
    """
    return Figure(figsize=size, layout="constrained").subplots()


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """
    The given axes; without any, those of a new figure of pyplot's, which a notebook shows.

    Parameters
    ----------
    ax : Axes, optional
    size : tuple of float
        Of a new figure, in inches.
    """
    if ax is not None:
        return ax
    # Not for who brings axes: pyplot keeps figures, and belongs to the main thread.
    from matplotlib import pyplot as plt  # noqa: PLC0415

    return plt.subplots(figsize=size, layout="constrained")[1]


def as_svg(figure: Figure, words: str) -> str:
    """
    A figure as an ``svg`` element to be put into a page of HTML.

    Its ground is transparent and its lettering takes the colour of the text around it,
    so it suits a dark theme too; it is as wide as its place allows, up to its own size.
    No script, no style that reaches beyond it, names that meet no other picture's, and
    the same bytes for the same figure. Any thread may call it, for a figure of its own.

    Parameters
    ----------
    figure : Figure
        Such as the one of `new_axes`.
    words : str
        What it shows, for who cannot see it.

    Returns
    -------
    str

    Examples
    --------
    >>> drawn = as_svg(new_axes((2, 1)).figure, "nothing")
    >>> drawn[:4], 'aria-label="nothing"' in drawn, "currentColor" in drawn
    ('<svg', True, True)
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
