"""Rows of another dataset, drawn below candles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.errors import BadArgument
from ares_notebook.load import IncompleteData
from ares_notebook.plots.figure import days_of, new_axes
from ares_notebook.quality.calendar import STYLES

UNKNOWN = "no value (missing or absent)"
SYMBOLS = {
    "um_klines": "BTCUSDT",
    "index_price_klines": "BTCUSDT",
    "premium_index_klines": "BTCUSDT",
    "futures": "BTCUSDT",
    "metrics": "BTCUSDT",
    "um_agg_trades": "BTCUSDT",
    "cm_klines": "BTCUSD_PERP",
    "cm_funding": "BTCUSD_PERP",
}


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Two days of each, and of COIN-M the open interest as ``cm_metrics``."""
    with DemoExchange() as exchange:
        settings = exchange.settings(cache_dir=tmp_path_factory.mktemp("cache"), progress=False)
        window = {"start": "2025-02-01", "end": "2025-02-03", "settings": settings}
        wanted = [*SYMBOLS.items(), ("metrics", "BTCUSD_PERP")]
        for name, symbol in wanted:
            ares.run(ares.download_all_data(symbol, "1h", **window, datasets=[name]))

        def load(name: str, symbol: str) -> pd.DataFrame:
            has_interval = name.endswith("klines")
            return ares.load_rows(name, symbol, "1h" if has_interval else None, **window)

        found = {name: load(name, symbol) for name, symbol in SYMBOLS.items()}
        yield found | {"cm_metrics": load("metrics", "BTCUSD_PERP")}


def draw(above: pd.DataFrame, below: pd.DataFrame) -> tuple[Axes, Axes]:
    """The axes of the price, and those below."""
    ax = ares.plot_klines(above, below=below, ax=new_axes((9, 5)))
    [pane] = ax.child_axes
    return ax, pane


def legend(ax: Axes) -> list[str]:
    """What the legend says."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def ticks(pane: Axes, reason: str) -> list[tuple[float, float]]:
    """From when to when the ticks of gaps of a style reach, in days."""
    colour = to_hex(STYLES[reason].colour)
    found = (each for each in pane.collections if to_hex(each.get_facecolor()[0]) == colour)
    boxes = [path.get_extents() for each in found for path in each.get_paths()]
    return [(box.x0, box.x1) for box in boxes]


def test_open_interest_is_a_line_under_the_price(frames):
    """The line has the last open interest of each stretch, on the axis of time of the candles."""
    ax, pane = draw(frames["um_klines"], frames["metrics"])
    [line] = pane.lines

    assert ax.get_ylabel() == "price, USDT"
    assert pane.get_ylabel() == "open interest, BTC"
    assert pane.get_xlim() == ax.get_xlim()
    values = frames["metrics"]["sum_open_interest"]
    assert line.get_xdata().tolist() == days_of(values.index).tolist()
    assert line.get_ydata().tolist() == values.tolist()
    low, high = pane.get_ylim()
    assert low < values.min() < values.max() < high


def test_funding_is_bars_in_percent_beside_the_premium(frames):
    """A payment is a bar as high as its rate times a hundred, above zero where longs pay."""
    ax, pane = draw(frames["premium_index_klines"], frames["futures"])
    rates = frames["futures"]["fundingRate"]
    heights = sorted(
        height
        for shapes in pane.collections
        for path in shapes.get_paths()
        for height in (
            path.get_extents().y1 if path.get_extents().y1 > 0 else path.get_extents().y0,
        )
    )

    assert (ax.get_ylabel(), pane.get_ylabel()) == ("premium, %", "funding rate, %")
    assert heights == pytest.approx(sorted(rates[rates != 0] * 100))
    assert "longs pay shorts" in legend(ax)


@pytest.mark.parametrize(
    ("above", "below", "column", "words"),
    [
        ("cm_klines", "cm_metrics", "sum_open_interest", "open interest, contracts"),
        ("cm_klines", "cm_metrics", "sum_open_interest_value", "open interest, BTC"),
        ("um_klines", "metrics", "sum_open_interest_value", "open interest, USDT"),
        ("um_klines", "metrics", "count_long_short_ratio", "long/short ratio, all accounts"),
        ("um_klines", "premium_index_klines", "close", "premium, %"),
        ("um_klines", "index_price_klines", "close", "index_price_klines price, USDT"),
        ("cm_klines", "cm_funding", "fundingRate", "funding rate, %"),
        ("um_klines", "cm_funding", "fundingRate", "BTCUSD_PERP funding rate, %"),
    ],
)
def test_the_label_says_what_and_in_which_unit(frames, above, below, column, words):
    """The unit is that of column and market, and another symbol than that of the candles is named."""
    _, pane = draw(frames[above], frames[below][[column]])

    assert pane.get_ylabel() == words


def test_a_column_without_a_known_name_is_called_by_it(frames):
    """Of any rows with times the first column is drawn, and its name is the label."""
    rows = frames["um_klines"][["volume"]].rename(columns={"volume": "mine"})
    rows.attrs = {}

    assert draw(frames["um_klines"], rows)[1].get_ylabel() == "mine"


def test_the_rows_take_the_place_of_the_volume(frames):
    """Without other rows there is the volume, with them there is none."""
    alone = ares.plot_klines(frames["um_klines"], ax=new_axes((9, 9)))
    [volume] = alone.child_axes

    assert volume.get_ylabel() == "volume, BTC"
    assert draw(frames["um_klines"], frames["futures"])[1].get_ylabel() == "funding rate, %"


def test_a_line_separates_the_pane_in_any_style(frames):
    """Where the user's style has no line above axes, there still is one between price and pane."""
    with plt.rc_context({"axes.spines.top": False}):
        _, pane = draw(frames["um_klines"], frames["metrics"])

    assert pane.spines["top"].get_visible()


def test_what_is_missing_below_is_told(frames):
    """A window that the rows lack by their attrs is a tick below, the line is broken there, and a legend has each word once."""
    rows = frames["metrics"].drop(frames["metrics"]["2025-02-01 06:00":"2025-02-01 11:55"].index)
    window = [f"2025-02-01T{hour}:00:00+00:00" for hour in ("06", "12")]
    rows.attrs |= {"complete": False, "missing": [window], "missing_count": 1}
    candles = frames["um_klines"].drop(
        frames["um_klines"]["2025-02-01 06:00":"2025-02-01 11:00"].index
    )
    candles.attrs |= {"missing": [window], "missing_count": 1}
    ax, pane = draw(candles, rows)

    assert legend(ax) == ["rose, or stayed", "fell", "missing"]
    [found] = ticks(pane, "not downloaded")
    assert found == pytest.approx(tuple(days_of(pd.DatetimeIndex(window))))
    assert np.isnan(pane.lines[0].get_ydata()).sum() == 6 * 12


def test_rows_that_end_before_the_candles_are_told(frames):
    """Where no row is before the last candles or after the first ones, there is a tick."""
    rows = frames["metrics"]["2025-02-01 12:00":"2025-02-02 11:55"]
    ax, pane = draw(frames["um_klines"], rows)
    borders = ["2025-02-01", "2025-02-01 12:00", "2025-02-02 12:00", "2025-02-03"]
    at = days_of(pd.DatetimeIndex(borders).tz_localize("UTC")).tolist()

    assert legend(ax)[-1] == UNKNOWN
    assert sorted(sum(ticks(pane, "unconfirmed"), ())) == pytest.approx(at)


def test_no_row_at_all_is_told(frames):
    """Of a frame without a row the whole time is a tick, and there is no number."""
    ax, pane = draw(frames["um_klines"], frames["futures"].iloc[:0])
    ax.figure.canvas.draw()

    assert legend(ax)[-1] == UNKNOWN
    assert len(ticks(pane, "unconfirmed")) == 1
    assert len(pane.get_yticks()) == 0


def test_cells_without_a_value_are_told(frames):
    """A column that the exchange does not fill, as ratios of COIN-M, is no empty picture."""
    empty = frames["cm_metrics"][["count_long_short_ratio"]]

    assert empty.isna().all(axis=None)
    assert legend(draw(frames["cm_klines"], empty)[0])[-1] == UNKNOWN


def test_another_pace_of_funding_is_no_gap():
    """Where payments of every hour become payments of every eight, nothing is missing."""
    hours = pd.date_range("2025-02-01", periods=96, freq="h", tz="UTC", name="timestamp")
    candles = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 1.0), index=hours)
    index = hours[:48].append(hours[48::8])
    ax, _ = draw(candles, pd.DataFrame({"fundingRate": 0.0001}, index=index))

    assert legend(ax) == ["rose, or stayed", "longs pay shorts"]


def test_an_absence_is_confirmed_only_where_an_answer_can(frames):
    """A step over open interest, whose gaps nothing explains, is never called confirmed absent."""
    rows = frames["metrics"].drop(frames["metrics"].index[100:200])
    ax, _ = draw(frames["um_klines"], rows)

    assert rows.attrs["complete"]
    assert legend(ax)[-1] == UNKNOWN


def test_rows_outside_the_candles_are_left_out(frames):
    """Rows before and after the candles move neither the axis of time nor that of the numbers."""
    rows = frames["metrics"][["sum_open_interest"]]
    inside = rows["2025-02-01 12:00":"2025-02-02 11:55"]
    odd = rows.copy()
    odd.loc[~odd.index.isin(inside.index)] = 1e9
    ax, pane = draw(frames["um_klines"]["2025-02-01 12:00":"2025-02-02 11:00"], odd)

    assert pane.get_ylim()[1] < 2 * inside.max().item()
    assert pane.lines[0].get_ydata().tolist() == inside["sum_open_interest"].tolist()
    assert legend(ax) == ["rose, or stayed", "fell"]


def test_gaps_of_the_candles_are_above_the_pane(frames):
    """The tick of a candle that is missing lies under the price, and not among the rows below."""
    candles = frames["um_klines"].drop(frames["um_klines"].index[5:9])
    ax, pane = draw(candles, frames["metrics"])
    [tick] = [each for each in ax.collections if each.get_transform() == ax.get_xaxis_transform()]
    share = ax.transAxes.inverted().transform(pane.get_window_extent())[1, 1]

    assert tick.get_paths()[0].get_extents().y0 > share
    assert ticks(pane, "unconfirmed") == []


def test_large_numbers_have_separators(frames):
    """The numbers of open interest are in order and have separators."""
    _, pane = draw(frames["um_klines"], frames["metrics"])
    pane.figure.canvas.draw()
    texts = [text.get_text() for text in pane.get_yticklabels() if text.get_text()]
    numbers = [float(text.replace(",", "")) for text in texts]

    assert len(numbers) >= 2
    assert all("," in text for text in texts)
    assert numbers == sorted(numbers)


def test_a_chinese_symbol_is_shown_as_elsewhere(frames):
    """The unit of 币安人生USDT is written as in the title: by a font that has it, or as escapes."""
    candles, rows = frames["um_klines"].copy(), frames["metrics"].copy()
    candles.attrs["symbol"] = rows.attrs["symbol"] = "币安人生USDT"
    ax, pane = draw(candles, rows)
    [base] = {ax.get_title(loc="left").split("USDT")[0]}

    assert pane.get_ylabel() == f"open interest, {base}"


def test_trades_are_refused(frames):
    """Trades have no regular step, and the error says what to pass in place of them."""
    with pytest.raises(BadArgument, match=r'candles_from_trades\(frame, "1m"\)'):
        ares.plot_klines(frames["um_klines"], below=frames["um_agg_trades"])


@pytest.mark.parametrize(
    ("below", "words"),
    [
        (3, "as load_rows() returns it, not int"),
        (pd.DataFrame({"x": [1.0]}), "no timestamps"),
        (pd.DataFrame(), "it has no column and no row"),
        (pd.DataFrame({"x": []}, dtype=object), "it has the columns x"),
    ],
)
def test_what_has_no_times_or_numbers_is_refused(frames, below, words):
    """What is no frame of numbers by time is refused before a figure is made."""
    with pytest.raises(BadArgument) as raised:
        ares.plot_klines(frames["um_klines"], below=below)

    assert words in str(raised.value)


async def test_what_the_archive_lacks_is_told(settings):
    """Two days of which the archive has no file of open interest are missing in the picture."""
    window = {"start": "2024-06-10", "end": "2024-06-14", "settings": settings}
    await ares.download_all_data("BTCUSDT", "1h", datasets=["um_klines", "metrics"], **window)
    with pytest.warns(IncompleteData):
        rows = ares.load_rows("metrics", "BTCUSDT", **window)
    ax, pane = draw(ares.load_rows("um_klines", "BTCUSDT", "1h", **window), rows)

    assert legend(ax)[-1] == "missing"
    assert np.diff(ticks(pane, "not downloaded")).ravel() == pytest.approx([2.0])
