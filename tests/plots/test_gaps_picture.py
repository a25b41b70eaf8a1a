"""The gaps on a line of time."""

from __future__ import annotations

import io
from itertools import pairwise

import pandas as pd
import pytest
from matplotlib.colors import to_hex

import ares_notebook as ares
from ares_notebook.plots.coverage import gap_lanes
from ares_notebook.plots.figure import new_axes
from ares_notebook.quality.calendar import STYLES


def gaps(*gaps: tuple[str, str, str], symbol: str = "BTCUSDT") -> pd.DataFrame:
    """Holes from, to, with a reason."""
    stamps = [[pd.Timestamp(each, tz="UTC") for each in gap[:2]] for gap in gaps]
    return pd.DataFrame(
        {
            "dataset": "klines",
            "symbol": symbol,
            "interval": "1h",
            "start": [start for start, _ in stamps],
            "end": [end for _, end in stamps],
            "missing": 2,
            "reason": [reason for *_, reason in gaps],
            "note": "",
        }
    )


HALT = ("2025-03-14T02:00", "2025-03-14T04:00", "confirmed absent upstream")
OLD = ("2020-01-01", "2020-03-01", "before listing")


def test_a_lane_a_series_in_order_of_the_table():
    """Tables of several symbols are put together, each series with a lane and its name."""
    lanes = gap_lanes(pd.concat([gaps(HALT, OLD), gaps(HALT, symbol="ADAUSDT")]))

    assert lanes["lane"].tolist() == [0, 0, 1]
    assert lanes["name"].unique().tolist() == ["BTCUSDT klines 1h", "ADAUSDT klines 1h"]


def test_two_hours_in_five_years_can_be_seen():
    """A short gap is as wide as can be seen, around its middle; a long one has its own width."""
    lanes = gap_lanes(gaps(OLD, HALT)).set_index("reason")
    halt, old = lanes.loc["confirmed absent upstream"], lanes.loc["before listing"]
    span = (pd.Timestamp("2025-03-14T04:00") - pd.Timestamp("2020-01-01")) / pd.Timedelta(days=1)
    middle = (pd.Timestamp("2025-03-14T03:00") - pd.Timestamp(0)) / pd.Timedelta(days=1)

    assert halt["width"] / span == pytest.approx(0.004, rel=0.05)
    assert halt["x0"] + halt["width"] / 2 == pytest.approx(middle)
    assert old["width"] == 60


def test_short_gaps_lie_on_top():
    """Of gaps that overlap the shorter one is drawn later."""
    inside = ("2020-02-01", "2020-02-02", "before listing")
    lanes = gap_lanes(gaps(inside, OLD))

    assert lanes["width"].tolist() == [60, 1]


async def test_a_real_cache_is_drawn(settings):
    """A halt and a month that somebody removed are drawn, each in its look, and counted."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.2, end="2025-04-01", settings=settings)
    (settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv").unlink()
    ax = ares.plot_gaps(ares.find_gaps("BTCUSDT", settings=settings), ax=new_axes((9, 2)))

    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words == ["not downloaded (1)", "confirmed absent upstream (1)"]
    colours = [to_hex(shapes.get_facecolor()[0]) for shapes in ax.collections[:2]]
    assert colours == [STYLES[each.rpartition(" ")[0]].colour for each in words]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["BTCUSDT klines 1h"]


def test_nothing_missing_is_said():
    """An empty table is good news, in words, without an axis."""
    ax = ares.plot_gaps(gaps(HALT).iloc[:0], ax=new_axes((4, 2)))

    assert [text.get_text() for text in ax.texts] == ["Nothing is missing"]
    assert not ax.axison


def test_an_unknown_reason_is_not_left_out():
    """A gap whose reason has no look is an error, and not a gap less."""
    with pytest.raises(ValueError, match="unheard of"):
        ares.plot_gaps(gaps((*HALT[:2], "unheard of")), ax=new_axes((4, 2)))


def test_one_gap_alone_has_a_day_around_it():
    """The axis of a single gap of two hours spans a day."""
    ax = ares.plot_gaps(gaps(HALT), ax=new_axes((9, 2)))
    low, high = ax.get_xlim()

    assert high - low == pytest.approx(1)


def test_five_symbols_are_not_crowded():
    """Five lanes with names of any script and dollars: no name touches another or is cut off."""
    names = ("BTCUSDT", "1000SATSUSDT", "币安人生USDT", "A$B$USDT", "ETHUSDT")
    ax = ares.plot_gaps(pd.concat([gaps(HALT, OLD, symbol=name) for name in names]))
    ax.figure.savefig(io.BytesIO())
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]

    assert [label.get_text() for label in ax.get_yticklabels()][3] == "A$B$USDT klines 1h"
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert all(box.x0 >= 0 for box in boxes)
