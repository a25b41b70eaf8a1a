"""A universe, drawn: a line a symbol, a column a month, and names as far as there is room."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest
from matplotlib.colors import to_hex

import ares_notebook as ares
from ares_notebook.errors import BadArgument
from ares_notebook.plots.figure import new_axes
from ares_notebook.plots.universe import month_shares, unlisted_months
from ares_notebook.quality.calendar import STYLES


def covered(*files: tuple[str, str, float], dataset: str = "klines") -> pd.DataFrame:
    """A file a row: symbol, where its period begins, and the share that is there."""
    symbols, starts, shares = zip(*files, strict=True) if files else ((), (), ())
    return pd.DataFrame(
        {
            "dataset": [dataset] * len(files),
            "symbol": pd.Series(symbols, dtype="str"),
            "interval": ["1h" if dataset == "klines" else ""] * len(files),
            "start": pd.to_datetime(list(starts), utc=True),
            "share": pd.Series(shares, dtype="float"),
        }
    )


def many(count: int, months: int = 24) -> pd.DataFrame:
    """So many symbols, all complete."""
    starts = pd.date_range("2023-01-01", periods=months, freq="MS").strftime("%Y-%m-%d")
    return covered(*((f"S{at:03d}USDT", start, 1.0) for at in range(count) for start in starts))


def test_a_month_that_lacks_between_two_is_a_column():
    """Columns run from the first month of any symbol to the last of any, without a leap."""
    shares = month_shares(covered(("A", "2024-11-01", 1.0), ("B", "2025-02-01", 0.5)))

    assert [str(each) for each in shares.columns] == ["2024-11", "2024-12", "2025-01", "2025-02"]
    assert shares.loc["A"].tolist()[0] == 1.0
    assert shares.loc["B"].tolist()[3] == 0.5
    assert shares.isna().sum().sum() == 6


def test_days_make_up_a_month():
    """A day that is not there counts as nothing, and days beyond the table's are not expected."""
    days = [("A", f"2025-01-{day:02d}", 1.0) for day in range(1, 32) if day > 15]
    days += [("B", f"2025-01-{day:02d}", 1.0) for day in range(1, 32)]
    days += [("B", "2025-02-01", 1.0), ("B", "2025-02-02", 0.5)]

    shares = month_shares(covered(*days, dataset="agg_trades"))

    assert shares.loc["A"].tolist()[0] == pytest.approx(16 / 31)
    assert shares.loc["B"].tolist() == pytest.approx([1.0, 0.75])


async def test_months_around_a_listing_are_complete_or_light(settings):
    """A month in which a symbol was listed is complete, and one before it is no share but not listed."""
    await ares.download_klines_data("BTCFDUSD", "1h", 0.25, end="2023-10-01", settings=settings)
    table = ares.coverage(settings=settings)
    ax = ares.plot_universe(table, ax=new_axes((6, 2)))
    shares = month_shares(table).loc["BTCFDUSD"]

    assert table["share"].between(0.01, 0.99).sum() == 1
    assert shares.tolist()[1:] == [1.0, 1.0]
    assert shares.isna().tolist() == [True, False, False]
    assert unlisted_months(table).to_numpy().tolist() == [[True, False, False]]
    assert legend(ax) == ["all rows", "not listed, no rows exist"]
    colours = [to_hex(shapes.get_facecolor()[0]) for shapes in ax.collections]
    assert STYLES["before listing"].colour in colours


async def test_days_before_a_listing_are_not_expected(settings):
    """Of a month of trades the days before the listing count neither as there nor as missing."""
    await ares.download_agg_trades_data(
        "BTCFDUSD", start="2023-08-02", end="2023-08-07", settings=settings
    )
    table = ares.coverage(settings=settings)
    shares = month_shares(table)
    lacking = month_shares(table[table["start"] != "2023-08-05"])

    assert (table["rows"] == 0).sum() >= 1
    assert shares.to_numpy().tolist() == [[1.0]]
    listed = int((table["rows"] > 0).sum())
    assert lacking.to_numpy().tolist() == [[pytest.approx((listed - 1) / listed)]]


def legend(ax) -> list[str]:
    """What the legend says."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_two_series_of_a_symbol_are_refused():
    """Candles beside funding have no one share a month; the message says how to take one."""
    table = pd.concat([covered(("A", "2025-01-01", 1.0)),
                       covered(("A", "2025-01-01", 1.0), dataset="futures")])  # fmt: skip

    with pytest.raises(BadArgument, match="klines 1h, futures; take one"):
        ares.plot_universe(table, ax=new_axes((4, 2)))


def test_the_legend_has_the_classes_that_are_there():
    """Complete is only what lacks nothing; what is not drawn is not explained."""
    shares = [1.0, 0.9999, 0.95, 0.5, 0.1, 0.0]
    files = [("A", f"2025-{month:02d}-01", share) for month, share in enumerate(shares, start=1)]
    ax = ares.plot_universe(covered(*files), ax=new_axes((9, 3)))
    words = [text.get_text() for text in ax.get_legend().get_texts()]

    assert [each.split(":")[0] for each in words] == [
        "all rows", "99 % or more", "90 % or more", "half or more", "less than half", "none"
    ]  # fmt: skip
    assert [len(each.get_paths()) for each in ax.collections] == [1] * 6
    # The months stand above, so that nothing is left free below for them.
    assert ax.get_legend().borderaxespad < 1
    assert len(ares.plot_universe(many(2), ax=new_axes((9, 2))).get_legend().get_texts()) == 1


@pytest.mark.parametrize("count", [5, 300])
def test_names_stand_apart(count):
    """Each of few symbols has its name, of many every so many, and none lies on another."""
    ax = ares.plot_universe(many(count, 3), ax=new_axes((9, 6)))
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]

    assert len(boxes) == 5 if count == 5 else 20 < len(boxes) < 60
    tops = sorted(boxes, key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 for low, high in pairwise(tops))


def test_neighbours_of_many_are_one_shape():
    """Of many symbols a stretch of like months is one box, or the picture would be too large."""
    ax = ares.plot_universe(many(60), ax=new_axes((9, 6)))

    assert [len(each.get_paths()) for each in ax.collections if each.get_paths()] == [60]


@pytest.mark.parametrize(
    ("months", "names"),
    [(3, ["2023-01", "2023-02", "2023-03"]), (8, ["2023-01", "2023-04", "2023-07"]),
     (36, ["2023", "2024", "2025"])],
)  # fmt: skip
def test_time_is_named_by_what_there_is_room_for(months, names):
    """Few months are named each, then quarters, then years."""
    ax = ares.plot_universe(many(2, months), ax=new_axes((9, 2)))

    assert [label.get_text() for label in ax.get_xticklabels()] == names


def test_nothing_is_said():
    """Of an empty table there is a sentence."""
    ax = ares.plot_universe(covered(), ax=new_axes((4, 2)))

    assert [text.get_text() for text in ax.texts] == ["The cache holds nothing"]
