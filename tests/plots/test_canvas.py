"""The canvas: axes to draw on, and figures as inline SVG."""

from __future__ import annotations

import re
import threading
import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from ares_notebook.plots.figure import as_svg, axes_or_new, new_axes, set_text


def drawn(words: str = "title", colour: str = "#336699"):
    """A figure with a title, ticks, a hatched box and a clipped line."""
    ax = new_axes((4, 3))
    set_text(ax.set_title(""), words)
    ax.add_patch(Rectangle((0, 0), 1, 1, facecolor=colour, hatch="//"))
    ax.plot([0, 1], [0, 1])
    return ax.figure


def test_given_axes_are_drawn_on_and_nothing_is_made():
    """With axes given, pyplot makes no figure."""
    before = plt.get_fignums()
    given = new_axes((2, 2))

    assert axes_or_new(given, (9, 9)) is given
    assert plt.get_fignums() == before


def test_without_axes_there_is_one_new_figure_of_pyplot():
    """Without axes, pyplot has one figure more, of the wanted size: that is what a notebook shows."""
    before = plt.get_fignums()
    ax = axes_or_new(None, (3, 2))

    try:
        assert len(plt.get_fignums()) == len(before) + 1
        assert plt.gcf() is ax.figure
        assert ax.figure.get_size_inches().tolist() == [3, 2]
    finally:
        plt.close(ax.figure)


def test_svg_is_one_element_without_what_a_page_would_suffer_from():
    """There is no prolog, script, style sheet, outside address, and it is well-formed."""
    text = as_svg(drawn(), "a picture")
    root = ET.fromstring(text)  # noqa: S314 - our own text

    assert root.tag.endswith("svg")
    assert not re.search(r"<\?xml|<!DOCTYPE|<script|<style|<metadata|<!--", text)
    assert set(re.findall(r'(?:href|src)="([^#][^"]*)"', text)) == set()
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "a picture"
    assert "width" not in root.attrib
    assert "max-width:384px" in root.attrib["style"]


def test_lettering_takes_the_colour_of_the_page():
    """No text and no line of the frame has a colour of its own; the box keeps its one."""
    text = as_svg(drawn(), "")

    assert "#000000" not in text
    assert "#ffffff" not in text
    assert "stroke: currentColor" in text
    assert 'fill="currentColor"' in text
    assert "#336699" in text
    assert not any("fill:" in style for style in re.findall(r'<text style="([^"]*)"', text))


def test_lettering_takes_it_in_a_dark_style_too():
    """Whoever has set matplotlib's own letters to white gets those of the page all the same."""
    with plt.style.context("dark_background"):
        text = as_svg(drawn(), "")

    assert "#ffffff" not in text
    assert "#000000" not in text


def test_same_figure_same_bytes():
    """Two figures that are alike give the same bytes, today and in another process."""
    assert as_svg(drawn(), "x") == as_svg(drawn(), "x")


def test_names_of_two_pictures_do_not_meet():
    """No name in one picture is in another, and every name that is used is there."""
    one, other = as_svg(drawn(), "one"), as_svg(drawn(colour="#996633"), "other")
    names = [set(re.findall(r' id="([^"]+)"', each)) for each in (one, other)]

    assert names[0]
    assert not names[0] & names[1]
    for text, there in zip((one, other), names, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", text)) != set()
        assert {a or b for a, b in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)} == there


def test_words_are_escaped():
    """What the picture is said to show, and what is written in it, is text, never a tag."""
    nasty = '"><script>alert(1)</script>&'
    text = as_svg(drawn(nasty), nasty)

    assert "<script" not in text
    assert ET.fromstring(text).attrib["aria-label"] == nasty  # noqa: S314 - our own text


def test_letters_of_any_script_are_in_the_svg():
    """What this machine has no font for is still written as it is, for the browser's fonts."""
    text = as_svg(drawn("币安人生USDT <1> $a_b$"), "")

    assert "币安人生USDT &lt;1&gt; $a_b$</text>" in text
    assert "□" not in text


def test_the_settings_of_the_process_stay(monkeypatch):
    """Matplotlib's setting of how text is written is afterwards what it was."""
    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "path")
    as_svg(drawn(), "")

    assert mpl.rcParams["svg.fonttype"] == "path"


@pytest.mark.filterwarnings("error")
def test_a_thread_draws_without_pyplot():
    """Threads draw at one time, get what the main thread gets, and leave no figure with pyplot."""
    before, found = plt.get_fignums(), []
    threads = [
        threading.Thread(target=lambda: found.append(as_svg(drawn(), "x"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [as_svg(drawn(), "x")] * 4
    assert plt.get_fignums() == before
