"""Words on a picture: any script, no formula, no warning."""

from __future__ import annotations

import io

import pytest

from ares_notebook.plots.figure import new_axes, set_text, set_ticks

WORDS = ["币安人生USDT", "$BTC$_{x}", "a\nb\x00c", "", "مرحبا", "\ud800", "_hidden"]


@pytest.mark.parametrize("words", WORDS)
def test_any_words_can_be_drawn(words):
    """Letters without a font, formulas that are none, broken letters: all are drawn, without a warning."""
    ax = new_axes((3, 2))
    text = set_text(ax.text(0.5, 0.5, ""), words)
    ax.figure.savefig(io.BytesIO())

    assert text.get_text().isprintable()
    assert not text.get_parse_math()


def test_two_names_without_a_font_stay_two():
    """Letters that no font of the machine has are written as escapes, so that names stay apart."""
    ax = new_axes((3, 2))
    names = [set_text(ax.text(0, 0, ""), words).get_text() for words in ("\U0010ffff", "\x00")]

    assert names == [r"\U0010ffff", r"\x00"]


def test_known_letters_stay():
    """What the font has is written as it is."""
    text = set_text(new_axes((3, 2)).text(0, 0, ""), "Größe µ €")

    assert text.get_text() == "Größe µ €"


@pytest.mark.parametrize("weight", ["normal", "bold"])
def test_a_font_of_the_machine_is_taken(weight):
    """Letters that the text's font lacks come from a font that has them, before they are escaped."""
    ax = new_axes((3, 2))
    # Computer Modern, which comes with matplotlib, has no Cyrillic.
    text = set_text(ax.text(0, 0, "", fontfamily="cmr10", fontweight=weight), "Ж-USDT")
    ax.figure.savefig(io.BytesIO())

    assert text.get_text() == "Ж-USDT"
    assert text.get_fontfamily()[0] == "cmr10"


def test_ticks_are_lettered():
    """Labels along an axis stand where they should, and are kept when the axis is drawn."""
    ax = new_axes((3, 2))
    set_ticks(ax.yaxis, [0, 1, 2], ["A$B$", "\x07USDT", "plain"])
    ax.figure.savefig(io.BytesIO())
    labels = ax.get_yticklabels()

    assert ax.get_yticks().tolist() == [0, 1, 2]
    assert [label.get_text() for label in labels] == ["A$B$", r"\x07USDT", "plain"]
