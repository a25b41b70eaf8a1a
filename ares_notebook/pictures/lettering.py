"""Words on a picture: of any script, never taken for a formula, never a warning."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager
from matplotlib.axis import Axis
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

__all__ = ["GID", "letter", "letter_ticks"]

GID = "words:"
"""How the id of a text begins that shows a stand-in; the words themselves follow."""
# What stands for a letter that no font of this machine has.
_BOX = "□"


def letter(text: Text, words: str) -> Text:
    """
    Write *words* on a text.

    A dollar begins no formula. Letters that the text's font lacks come from a font of
    this machine that has them; where none has, a box stands for each, and `as_svg`
    puts the letters themselves back, since a browser has fonts of its own.

    Parameters
    ----------
    text : Text
    words : str

    Returns
    -------
    Text
        The same.

    Examples
    --------
    >>> letter(Text(), "PRICE $A$").get_parse_math()
    False
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
    """
    Write *words* along an axis, each at its place.

    Parameters
    ----------
    axis : Axis
    at : iterable of float
    words : iterable of str
    """
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
