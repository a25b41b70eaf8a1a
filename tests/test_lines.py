"""Lines of a cache file: cut by time, and freed of what is there twice."""

from __future__ import annotations

import numpy as np
import pytest

from ares_notebook.model.rows import Lines

HOUR_US = 3_600_000_000


def lines(*pairs):
    """Lines of these (hour, text) pairs."""
    hours = np.array([hour for hour, _ in pairs], np.int64)
    text = "".join(f"{hour},{word}\n" for hour, word in pairs).encode()
    return Lines(hours, hours * HOUR_US, np.frombuffer(text, np.uint8))


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (0, 9, b"1,a\n2,bb\n4,\n"),
        (1, 4, b"1,a\n2,bb\n"),
        (2, 5, b"2,bb\n4,\n"),
        (3, 4, b""),
    ],
)
def test_a_window_has_its_lines_and_no_other(start, end, text):
    """The window is half-open, and keys, stamps and text are cut alike."""
    cut = lines((1, "a"), (2, "bb"), (4, "")).between(start * 3_600_000, end * 3_600_000)

    assert cut.text.tobytes() == text
    assert [f"{key}" for key in cut.keys] == [line.split(",")[0] for line in text.decode().split()]
    assert (cut.stamps_us == cut.keys * HOUR_US).all()


def test_a_line_that_comes_again_is_left_out():
    """The last line of one block and the first of the next may be one row."""
    assert lines((2, "b"), (3, "c")).after(lines((1, "a"), (2, "b"))).text.tobytes() == b"3,c\n"


def test_another_line_of_the_same_key_stays():
    """Two rows that disagree are not one: whoever writes them shall see both."""
    assert len(lines((2, "c"), (3, "c")).after(lines((2, "b")))) == 2


@pytest.mark.parametrize(
    ("columns", "text"), [(1, b"1\n2\n"), (2, b"1,a\n2,\n"), (3, b"1,a,x\n2,,yy\n")]
)
def test_lines_are_cut_to_their_first_cells(columns, text):
    """An old file is given only the columns that it has, whole lines with their ends."""
    cut = lines((1, "a,x"), (2, ",yy")).narrowed(columns)

    assert cut.text.tobytes() == text
    assert cut.keys.tolist() == [1, 2]


def test_no_lines_are_no_text():
    """What has no row has no byte, and nothing can be before or behind it."""
    assert Lines.none().text.tobytes() == b""
    assert len(Lines.none().after(lines((1, "a")))) == 0
    assert len(lines((1, "a")).after(Lines.none())) == 1
