"""Downloads, drawn: what came when, and by which source."""

from __future__ import annotations

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.plots.downloads import download_marks
from ares_notebook.plots.figure import new_axes


def history(*sources: str, at: str | None = "2025-06-01T12:00") -> pd.DataFrame:
    """A source by each of these sources, a month each."""
    starts = pd.date_range("2025-01-01", periods=len(sources) + 1, freq="MS", tz="UTC")
    return pd.DataFrame(
        {
            "at": pd.to_datetime([at] * len(sources), utc=True),
            "file": [f"f{number}.csv" for number in range(len(sources))],
            "start": starts[:-1],
            "end": starts[1:],
            "road": sources,
        }
    )


def legend(ax) -> list[str]:
    """What the legend says."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_marks_are_moments_and_periods():
    """A mark lies at the moment of its download, over the period of its file."""
    [mark] = download_marks(history("rest")).to_dict("records")
    day = pd.Timedelta(days=1)

    assert mark["x"] == (pd.Timestamp("2025-06-01T12:00") - pd.Timestamp(0)) / day
    assert (mark["low"], mark["high"]) == tuple(
        (pd.Timestamp(each) - pd.Timestamp(0)) / day for each in ("2025-01-01", "2025-02-01")
    )


def test_roads_have_one_order():
    """The archive's sources come first, then REST, then others; whatever the table's order is."""
    sources = ["a new source", "rest", "daily archive", "monthly archive"]

    assert download_marks(history(*sources))["road"].tolist() == sources[::-1]


def test_files_are_counted_a_road():
    """The legend names each source that occurs, with its files, and a mark for each source is drawn."""
    ax = ares.plot_downloads(
        history("monthly archive", "rest", "monthly archive"), ax=new_axes((9, 4))
    )

    assert legend(ax) == ["monthly archive (2 files)", "rest (1 file)"]
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 1]
    assert len({line.get_marker() for line in ax.lines}) == 2


def test_a_road_from_outside_is_drawn():
    """A source that nobody knows has a mark, and its name is no formula."""
    ax = ares.plot_downloads(history("by $mule$"), ax=new_axes((9, 4)))

    assert legend(ax) == ["by $mule$ (1 file)"]
    assert ax.lines[0].get_marker() == "x"


def test_one_moment_has_a_minute_around_it():
    """What came all at once is in the middle of a minute, not of four years."""
    ax = ares.plot_downloads(history("rest"), ax=new_axes((9, 4)))
    low, high = ax.get_xlim()

    assert (high - low) * 24 * 60 == pytest.approx(1)


@pytest.mark.parametrize("table", [history("rest").iloc[:0], history("rest", at=None)])
def test_nothing_is_said(table):
    """Of no download, or none of which it is known when it was, there is a sentence."""
    ax = ares.plot_downloads(table, ax=new_axes((4, 2)))

    assert [text.get_text() for text in ax.texts] == ["Nothing was downloaded"]


async def test_a_real_cache_is_drawn(settings):
    """Closed months came by the archive, the running one by REST and daily archives."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.2, end="2025-03-10", settings=settings)
    table = ares.download_history(settings=settings)
    ax = ares.plot_downloads(table, ax=new_axes((9, 4)))

    assert sum(len(line.get_xdata()) for line in ax.lines) == len(table)
    assert {words.rpartition(" (")[0] for words in legend(ax)} == set(table["road"])
