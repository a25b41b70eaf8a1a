"""The coverage calendar, drawn."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

import ares_notebook as ares
from ares_notebook.plots.figure import new_axes
from ares_notebook.quality.calendar import STYLES

DAY = 1 / 365.25


def months(count: int, **columns: object) -> pd.DataFrame:
    """Coverage of some months of candles."""
    starts = pd.date_range("2020-04-01", periods=count + 1, freq="MS", tz="UTC")
    data = {
        "dataset": "klines",
        "symbol": "BTCUSDT",
        "interval": "1h",
        "file": "f.csv",
        "start": starts[:-1],
        "end": starts[1:],
        "rows": 744,
        "expected": 744,
        "share": 1.0,
        "state": "complete",
    }
    return pd.DataFrame(data | columns)


def legend(ax) -> list[str]:
    """What the legend says."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def drawn(ax) -> dict[str, int]:
    """How many pieces there are of each colour."""
    return {to_hex(shapes.get_facecolor()[0]): len(shapes.get_paths()) for shapes in ax.collections}


async def test_a_real_cache_is_drawn(settings):
    """Of three months with a halt and two days of trades each file is drawn, and two states explained."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.2, end="2025-04-01", settings=settings)
    await ares.download_agg_trades_data("BTCUSDT", 2 * DAY, end="2025-03-20", settings=settings)
    ax = ares.plot_coverage(ares.coverage(settings=settings), ax=new_axes((9, 3)))

    assert legend(ax) == ["complete", "confirmed absent upstream"]
    assert drawn(ax) == {
        # March is one piece before its halt, and one after it.
        STYLES["complete"].colour: 6,
        STYLES["confirmed absent upstream"].colour: 1,
    }
    assert [label.get_text() for label in ax.get_yticklabels()] == ["2025-03", "2025"]
    titles = [text.get_text() for text in ax.texts if text.get_weight() == "bold"]
    assert titles == ["BTCUSDT agg_trades", "BTCUSDT klines 1h"]


@pytest.mark.parametrize("size", [(9, 2), (3, 2)])
async def test_forty_minutes_can_be_seen_where_they_are(settings, size):
    """Forty minutes that are missing are drawn in the middle of their month, some pixels wide."""
    await ares.download_klines_data("BTCUSDT", "1m", 0.05, end="2025-02-28", settings=settings)
    path = settings.cache_dir / "klines_BTCUSDT_1m_2025-02.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:20161] + lines[20201:]), encoding="utf-8")
    (settings.cache_dir / ".ares" / "receipts" / f"{path.name}.json").unlink()
    ax = ares.plot_coverage(ares.coverage(end="2025-02-28", settings=settings), ax=new_axes(size))
    ax.figure.savefig(io.BytesIO())
    there, lacks = (
        [path.get_extents(ax.transData) for path in shapes.get_paths()] for shapes in ax.collections
    )
    month = ax.transData.transform([[1 / 12, 0], [2 / 12, 0]])[:, 0]

    assert len(there) == 2
    [gap] = lacks
    assert (gap.x0 + gap.x1) / 2 == pytest.approx(month.mean(), abs=2)
    assert 1.5 <= gap.width <= 6


def test_gaps_are_given_beside_tables_that_were_put_together():
    """With the gaps of `find_gaps` each is drawn at its place, also where the table carries none."""
    table = months(1, share=0.5, state="failed")
    at = pd.Timestamp("2020-04-10", tz="UTC")
    names = {"dataset": "klines", "symbol": "BTCUSDT", "interval": "1h"}
    gap = {**names, "start": at, "end": at + pd.Timedelta(days=15), "missing": 360}
    gaps = pd.DataFrame([{**gap, "reason": "failed", "note": ""}])
    ax = ares.plot_coverage(table, gaps=gaps, ax=new_axes((9, 2)))
    there, lacks = ax.collections

    assert (there.get_hatch(), lacks.get_hatch()) == (None, "xxxx")
    widths = [
        sum(path.get_extents().width for path in shapes.get_paths()) for shapes in (there, lacks)
    ]
    assert widths[0] == pytest.approx(widths[1])
    assert legend(ax) == ["complete", "failed"]


@pytest.mark.parametrize("size", [(3, 2), (9, 4), None])
def test_more_series_than_fit_are_counted_and_plot_universe_is_named(size):
    """Of fifty series some are drawn, none over another, and the others are counted."""
    table = pd.concat([months(60, symbol=f"S{at:02d}USDT") for at in range(50)])
    ax = ares.plot_coverage(table, ax=size and new_axes(size))
    try:
        ax.figure.savefig(io.BytesIO())
        titles = [text for text in ax.texts if text.get_weight() == "bold"]
        more = f"and {50 - len(titles)} more series: use plot_universe"
        assert more in [text.get_text() for text in ax.texts]
        boxes = [each.get_window_extent() for each in (*ax.get_yticklabels(), *ax.texts)]
        assert not any(
            one.overlaps(other) for at, one in enumerate(boxes) for other in boxes[at + 1 :]
        )
    finally:
        plt.close(ax.figure)


@pytest.mark.parametrize("series", [1, 3])
def test_five_years_are_not_crowded(series):
    """Five years of one series or of three: no label touches another, nothing is outside the figure."""
    tables = [months(60, interval=name) for name in ("1h", "4h", "1d")[:series]]
    ax = ares.plot_coverage(pd.concat(tables))
    figure = ax.figure
    figure.savefig(io.BytesIO())
    plt.close(figure)
    boxes = [each.get_window_extent() for each in (*ax.get_yticklabels(), *ax.texts)]

    assert not any(one.overlaps(other) for at, one in enumerate(boxes) for other in boxes[at + 1 :])
    inside = figure.bbox
    assert all(box.x0 >= 0 and box.y0 >= 0 for box in boxes)
    assert all(box.x1 <= inside.x1 + 1 and box.y1 <= inside.y1 + 1 for box in boxes)
    assert ax.get_legend().get_window_extent().y0 >= 0


def test_many_days_are_few_shapes():
    """Eighteen hundred days of trades are drawn as a shape a year."""
    starts = pd.date_range("2020-01-01", periods=1801, tz="UTC")
    table = months(1).loc[[0] * 1800].reset_index(drop=True)
    table = table.assign(dataset="agg_trades", interval="", start=starts[:-1], end=starts[1:])
    ax = ares.plot_coverage(table, ax=new_axes((9, 3)))

    assert sum(len(shapes.get_paths()) for shapes in ax.collections) == 5


def test_an_empty_table_says_so():
    """Of no file there is no calendar, and a sentence."""
    ax = ares.plot_coverage(months(1).iloc[:0], ax=new_axes((4, 2)))

    assert [text.get_text() for text in ax.texts] == ["The cache holds nothing"]
    assert ax.get_legend() is None


def test_given_axes_are_used_and_returned():
    """With axes given there is no other figure; without them pyplot has one, as a notebook shows."""
    before = plt.get_fignums()
    given = new_axes((9, 2))
    assert ares.plot_coverage(months(3), ax=given) is given
    assert plt.get_fignums() == before

    made = ares.plot_coverage(months(3))
    assert len(plt.get_fignums()) == len(before) + 1
    plt.close(made.figure)
