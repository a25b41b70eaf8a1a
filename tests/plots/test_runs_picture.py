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


def test_each_verb_has_a_lane():
    """The verb that was run first has the highest lane, and a mark stands in that of its verb."""
    marks = run_marks(
        history(("download", "done", 2), ("validate", "done", 1), ("download", "done", 1))
    )

    assert marks["lane"].tolist() == [1, 0, 1]
    assert (marks["top"] - marks["lane"]).between(0.01, 0.99).all()


def test_stems_are_as_high_as_runs_are_long():
    """Within a lane a run of half the time has half the height, whatever other lanes hold."""
    marks = run_marks(
        history(("download", "done", 2), ("download", "done", 1), ("audit", "done", 900))
    )
    heights = (marks["top"] - marks["lane"]).tolist()

    assert heights[0] == pytest.approx(2 * heights[1])
    assert heights[2] == heights[0]


@pytest.mark.parametrize("seconds", [0.0, None, 0.0001])
def test_a_short_run_can_be_seen(seconds):
    """A run of no time, or of which it is not known, has a stem all the same."""
    marks = run_marks(history(("download", "done", 10), ("download", "done", seconds)))

    assert (marks["top"] - marks["lane"]).min() >= 0.05


def test_endings_are_counted_in_one_order():
    """The legend counts each ending, the good ones first, each with a form of its own."""
    ax = ares.plot_runs(
        history(("download", "failed", 1), ("download", "done", 1), ("validate", "done", 1)),
        ax=new_axes((9, 4)),
    )

    assert legend(ax) == ["done (2 runs)", "failed (1 run)"]
    assert len({(line.get_marker(), line.get_color()) for line in ax.lines[:2]}) == 2


def test_lanes_name_the_verb_and_its_longest_run():
    """At the left stands what a lane is of, at the right what its height means."""
    ax = ares.plot_runs(
        history(("download", "done", 75), ("download", "done", 1), ("by $mule$", "done", 3)),
        ax=new_axes((9, 4)),
    )
    ax.figure.canvas.draw()

    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["by $mule$", "download"]
    assert [text.get_text() for text in ax.texts] == ["up to 3.0 s", "up to 1 min 15 s"]


def test_an_ending_from_outside_is_drawn():
    """An ending that nobody knows has a mark."""
    ax = ares.plot_runs(history(("download", "exploded", 1)), ax=new_axes((9, 4)))

    assert legend(ax) == ["exploded (1 run)"]
    assert ax.lines[0].get_marker() == "x"


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

    assert legend(ax) == ["done (2 runs)"]
