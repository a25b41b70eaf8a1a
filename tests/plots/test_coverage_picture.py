"""The coverage calendar, drawn."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

import ares_notebook as ares
from ares_notebook.plots.coverage import draw_coverage
from ares_notebook.plots.figure import as_svg, new_axes
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
        STYLES["complete"].colour: 5,
        STYLES["confirmed absent upstream"].colour: 1,
    }
    assert [label.get_text() for label in ax.get_yticklabels()] == ["2025-03", "2025"]
    titles = [text.get_text() for text in ax.texts if text.get_weight() == "bold"]
    assert titles == ["BTCUSDT agg_trades", "BTCUSDT klines 1h"]


def test_a_cell_shows_its_share_and_its_reason():
    """A month of which half is there is drawn as two pieces, the second hatched by its reason."""
    ax = ares.plot_coverage(months(1, share=0.5, state="failed"), ax=new_axes((9, 2)))
    there, lacks = ax.collections

    assert (there.get_hatch(), lacks.get_hatch()) == (None, "xxxx")
    widths = [shapes.get_paths()[0].get_extents().width for shapes in (there, lacks)]
    assert widths[0] == pytest.approx(widths[1])
    assert legend(ax) == ["complete", "failed"]


@pytest.mark.parametrize("series", [1, 3])
def test_five_years_are_not_crowded(series):
    """Five years of one series or of three: no label touches another, nothing is outside the figure."""
    tables = [months(60, interval=name) for name in ("1h", "4h", "1d")[:series]]
    figure = draw_coverage(pd.concat(tables))
    figure.savefig(io.BytesIO())
    [ax] = figure.axes
    boxes = [each.get_window_extent() for each in (*ax.get_yticklabels(), *ax.texts)]

    assert not any(one.overlaps(other) for at, one in enumerate(boxes) for other in boxes[at + 1 :])
    inside = figure.bbox
    assert all(box.x0 >= 0 and box.y0 >= 0 for box in boxes)
    assert all(box.x1 <= inside.x1 + 1 and box.y1 <= inside.y1 + 1 for box in boxes)
    assert ax.get_legend().get_window_extent().y0 >= 0


def test_many_days_are_few_shapes():
    """Eighteen hundred days of trades make a picture of a few kilobytes."""
    starts = pd.date_range("2020-01-01", periods=1801, tz="UTC")
    table = months(1).loc[[0] * 1800].reset_index(drop=True)
    table = table.assign(dataset="agg_trades", interval="", start=starts[:-1], end=starts[1:])
    figure = draw_coverage(table)

    assert sum(len(shapes.get_paths()) for shapes in figure.axes[0].collections) == 5
    assert len(as_svg(figure, "")) < 10_000


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


def test_the_svg_names_a_symbol_of_any_script():
    """A symbol without a Latin letter is in the picture as it is, and makes no warning."""
    text = as_svg(draw_coverage(months(2, symbol="币安人生USDT")), "")

    assert "币安人生USDT klines 1h</text>" in text


def test_the_svg_has_a_pattern_for_each_hatch():
    """A hatch of the picture is a pattern that is there, under a name that is used."""
    text = as_svg(draw_coverage(months(2, state=["failed", "not downloaded"], share=0.5)), "")

    assert len(set(re.findall(r'<pattern id="([^"]+)"', text))) == 2
