"""Runs, drawn: when they began, how long they took, how they ended."""

from __future__ import annotations

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.plots.downloads import run_marks
from ares_notebook.plots.figure import new_axes


def history(*runs: tuple[str, str, float | None]) -> pd.DataFrame:
    """A run a day: verb, ending, seconds."""
    at = pd.date_range("2025-06-01T02:00", periods=len(runs), freq="D", tz="UTC")
    what, ending, seconds = zip(*runs, strict=True) if runs else ((), (), ())
    return pd.DataFrame(
        {"at": at.astype("datetime64[ms, UTC]"), "what": what, "ending": ending, "seconds": seconds}
    )


def legend(ax) -> list[str]:
    """What the legend says."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("seconds", [0.0, 0.0001])
def test_a_short_run_can_be_seen(seconds):
    """A run of no time is drawn on the axis, at its lowest duration."""
    ax = ares.plot_runs(
        history(("download", "done", 10), ("download", "done", seconds)), ax=new_axes((9, 4))
    )
    [line] = ax.lines
    low, high = ax.get_ylim()

    assert line.get_ydata().tolist() == [10, 0.01]
    assert low <= 0.01
    assert high > 10


def test_a_run_of_unknown_length_has_no_place():
    """A run of which it is not known how long it took is not drawn as a short one."""
    marks = run_marks(history(("download", "done", 10), ("download", "done", None)))

    assert marks["seconds"].tolist() == [10]


def test_endings_and_verbs_are_counted_in_one_order():
    """The legend counts each ending, the good ones first, and each verb; both can be told apart."""
    ax = ares.plot_runs(
        history(("download", "failed", 1), ("download", "done", 1), ("by $mule$", "done", 1)),
        ax=new_axes((9, 4)),
    )

    assert legend(ax) == [
        "done (2 runs)", "failed (1 run)", "download (2 runs)", "by $mule$ (1 run)"
    ]  # fmt: skip
    assert len({line.get_color() for line in ax.lines}) == 2
    assert len({line.get_marker() for line in ax.lines}) == 2


def test_the_axis_has_durations_with_their_units():
    """Runs of two seconds and of two hours lie between named durations."""
    ax = ares.plot_runs(
        history(("download", "done", 2), ("download", "done", 7200)), ax=new_axes((9, 4))
    )
    ax.figure.canvas.draw()

    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "1 s", "10 s", "1 min", "10 min", "1 h", "10 h"
    ]  # fmt: skip
    assert ax.get_ylim() == (1, 36_000)
    assert ax.get_xlabel() == "began at, UTC"


def test_an_ending_from_outside_is_drawn():
    """An ending that nobody knows has a mark."""
    ax = ares.plot_runs(history(("download", "exploded", 1)), ax=new_axes((9, 4)))

    assert legend(ax) == ["exploded (1 run)", "download (1 run)"]
    assert len(ax.lines) == 1


@pytest.mark.parametrize(
    "table",
    [history(), history(("download", "done", 1)).assign(at=pd.to_datetime([None], utc=True))],
)
def test_nothing_is_said(table):
    """Of no run, or none of which it is known when it was, there is a sentence."""
    ax = ares.plot_runs(table, ax=new_axes((4, 2)))

    assert [text.get_text() for text in ax.texts] == ["Nothing was run"]


async def test_a_real_history_is_drawn(settings):
    """What load_runs returns can be drawn as it is."""
    for _ in range(2):
        await ares.download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings)
    ax = ares.plot_runs(ares.load_runs(settings=settings), ax=new_axes((9, 4)))

    assert legend(ax) == ["done (2 runs)", "download (2 runs)"]
