"""K-lines, drawn: candles or a band, and the gaps."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

import ares_notebook as ares
from ares_notebook.errors import BadArgument
from ares_notebook.load import IncompleteData
from ares_notebook.plots.figure import new_axes
from ares_notebook.plots.klines import band_of
from ares_notebook.plots.row_gaps import gaps_of
from ares_notebook.plots.units import assets_of
from ares_notebook.quality.calendar import STYLES

ABSENT = "no candle (confirmed absent)"
UNKNOWN = "no candle (missing or absent)"


def hours(count: int, without: slice = slice(0, 0)) -> pd.DataFrame:
    """Hourly candles, some of them left out."""
    index = pd.date_range("2025-01-01", periods=count, freq="h", tz="UTC", name="timestamp")
    close = 100 + np.sin(np.arange(count))
    frame = pd.DataFrame(
        {"open": close[::-1], "high": close + 2, "low": close - 2, "close": close}, index=index
    )
    frame = frame.drop(index=index[without])
    frame.attrs = {"complete": True, "missing": []}
    return frame


def at(hour: int) -> pd.Timestamp:
    """So many hours after the first candle."""
    return pd.Timestamp("2025-01-01", tz="UTC") + pd.Timedelta(hours=hour)


def legend(ax) -> list[str]:
    """What the legend says."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_larger_steps_are_absences():
    """Where the index steps over candles and nothing is missing, there are none to be had."""
    assert gaps_of(hours(48, slice(10, 13))).to_numpy().tolist() == [[at(10), at(13), ABSENT]]


def test_what_is_missing_is_no_absence():
    """A step over candles of which some are missing is split into the two."""
    frame = hours(48, slice(10, 16))
    frame.attrs["missing"] = [(at(12), at(14)), (at(46), at(48))]

    assert gaps_of(frame).to_numpy().tolist() == [
        [at(10), at(12), ABSENT],
        [at(12), at(14), "missing"],
        [at(14), at(16), ABSENT],
        [at(46), at(48), "missing"],
    ]


def test_months_of_unlike_length_are_no_gaps():
    """Candles of a month follow one another, though February is shorter."""
    index = pd.date_range("2024-01-01", periods=14, freq="MS", tz="UTC")
    frame = pd.DataFrame({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}, index=index)

    assert gaps_of(frame).empty
    assert len(gaps_of(frame.drop(index=index[5]))) == 1


def test_a_frame_without_attrs_confirms_nothing():
    """A frame that lost its attrs on the way has gaps only where its index has, of unknown reason."""
    frame = hours(24, slice(3, 4))
    frame.attrs = {}

    assert gaps_of(frame)["what"].tolist() == [UNKNOWN]


@pytest.mark.parametrize("empty", [False, True])
def test_after_rows_were_removed_nothing_is_confirmed(empty):
    """Where a caller has removed candles, the picture does not say that the exchange has none."""
    whole = hours(48, slice(10, 13))
    whole.attrs |= {"start": "2025-01-01", "end": "2025-01-03", "rows": 45}
    whole.iloc[30] = np.nan if empty else 100.0
    ax, of_part = (ares.plot_klines(each) for each in (whole, whole.drop(whole.index[20])))

    assert gaps_of(whole)["what"].tolist() == [ABSENT]
    assert gaps_of(whole.drop(whole.index[20]))["what"].tolist() == [UNKNOWN, UNKNOWN]
    assert (ABSENT in legend(ax), UNKNOWN in legend(ax)) == (True, False)
    assert (ABSENT in legend(of_part), UNKNOWN in legend(of_part)) == (False, True)


@pytest.mark.parametrize("most", [7, 50, 1000])
def test_a_band_keeps_the_extremes(most):
    """Of many candles the highest high, the lowest low and the last close are kept."""
    frame = hours(500)
    band = band_of(frame, most)

    assert len(band) <= most
    assert band["high"].max() == frame["high"].max()
    assert band["low"].min() == frame["low"].min()
    assert band["close"].iloc[-1] == frame["close"].iloc[-1]


def test_no_line_over_a_gap():
    """Where there is no candle the band has empty cells, so the line breaks."""
    band = band_of(hours(300, slice(100, 110)))

    assert band["close"].isna().sum() == 10
    assert all(math.isnan(each) for each in band.loc[at(100) : at(109), "high"])


@pytest.mark.parametrize(("count", "words"), [(500, "fell"), (501, "close")])
def test_up_to_five_hundred_are_candles(count, words):
    """Five hundred rows are candles, one more is a band with the close."""
    ax = ares.plot_klines(hours(count), ax=new_axes((9, 4)))

    assert words in legend(ax)


def test_each_row_is_a_candle():
    """Bodies are as many as rows, from open to close, and wicks from low to high."""
    frame = hours(30)
    ax = ares.plot_klines(frame, ax=new_axes((9, 4)))
    wicks, bodies = ax.collections[::2], ax.collections[1::2]

    assert sum(len(each.get_segments()) for each in wicks) == 30
    assert sum(len(each.get_paths()) for each in bodies) == 30
    tops = sorted(path.get_extents().y1 for each in bodies for path in each.get_paths())
    assert tops == pytest.approx(sorted(frame[["open", "close"]].max(axis=1)))
    ends = [point[1] for each in wicks for wick in each.get_segments() for point in wick]
    assert (min(ends), max(ends)) == pytest.approx((frame["low"].min(), frame["high"].max()))


async def test_a_real_window_is_drawn(settings):
    """A halt and a gap that somebody made are two ticks at the bottom, and only what occurs is explained."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.2, end="2025-04-01", settings=settings)
    whole = ares.plot_klines(
        ares.load_klines("BTCUSDT", "1h", "2025-02-01", "2025-03-01", settings=settings),
        ax=new_axes((9, 4)),
    )
    (settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv").unlink()
    with pytest.warns(IncompleteData):
        frame = ares.load_klines("BTCUSDT", "1h", settings=settings)
    holed = ares.plot_klines(frame, ax=new_axes((9, 4)))

    assert legend(whole) == ["low to high", "close"]
    assert legend(holed) == ["low to high", "close", "missing", ABSENT]
    assert [shapes.get_hatch() for shapes in holed.collections[1:]] == ["////", None]
    tops = [path.get_extents().y1 for each in holed.collections[1:] for path in each.get_paths()]
    assert max(tops) < 0.1


async def test_the_part_of_a_frame_has_the_axis_of_its_own_rows(settings):
    """Of some rows of a loaded frame, gaps elsewhere in that frame are neither drawn nor in the legend."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.2, end="2025-04-01", settings=settings)
    (settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv").unlink()
    with pytest.warns(IncompleteData):
        frame = ares.load_klines("BTCUSDT", "1h", settings=settings)
    ax = ares.plot_klines(frame.tail(24), ax=new_axes((9, 4)))
    low, high = ax.get_xlim()

    assert high - low == pytest.approx(1.02)
    assert "missing" not in legend(ax)


NAMES = {"symbol": "BTCUSDT", "interval": "1h", "dataset": "klines", "market": "demo"}


def test_the_title_and_the_units_come_from_the_attrs():
    """Symbol, interval, window and market are the title, the assets are the units of price and volume."""
    frame = hours(48).assign(volume=5.0)
    frame.attrs |= NAMES
    ax = ares.plot_klines(frame, ax=new_axes((9, 6)))
    [pane] = ax.child_axes

    assert ax.get_title(loc="left") == "BTCUSDT 1h, 2025-01-01 to 2025-01-03 UTC, demo"
    assert ax.get_ylabel() == "price, USDT"
    assert pane.get_ylabel() == "volume, BTC"


def test_a_halt_of_two_hours_in_two_years_can_be_seen():
    """The tick of a short gap is in front of the volume, in its own colour."""
    frame = hours(17_520, slice(8_000, 8_002)).assign(volume=5.0)
    ax = ares.plot_klines(frame, ax=new_axes((9, 4)))
    stream = io.BytesIO()
    ax.figure.savefig(stream)
    pixels = plt.imread(io.BytesIO(stream.getvalue()))[..., :3]
    box = ax.get_window_extent()
    bottom = len(pixels) - int(box.y0) - 6
    row = pixels[bottom, int(box.x0) : int(box.x1)]
    near = np.abs(row - to_rgb(STYLES["confirmed absent upstream"].colour)).max(axis=1) < 0.02

    assert near.any()
    assert np.flatnonzero(near).mean() / len(row) == pytest.approx(8_001 / 17_520, abs=0.02)


def test_without_names_the_title_is_the_window():
    """Of a frame that does not tell its symbol only the window is told, and no unit."""
    ax = ares.plot_klines(hours(30), ax=new_axes((9, 4)))

    assert ax.get_title(loc="left") == "2025-01-01 00:00 to 2025-01-02 06:00 UTC"
    assert ax.get_ylabel() == "price"


@pytest.mark.parametrize(
    ("symbol", "assets"),
    [("BTCUSDT", ("BTC", "USDT")), ("BTCFDUSD", ("BTC", "FDUSD")), ("ETHBTC", ("ETH", "BTC")),
     ("BTCUSD_PERP", ("BTC", "USD")), ("USDT", ("", "")), ("", ("", "")), ("币安人生USDT", ("币安人生", "USDT"))],
)  # fmt: skip
def test_assets_are_told_from_a_symbol(symbol, assets):
    """The quote asset ends a symbol; where none is known there is none."""
    assert assets_of(symbol) == assets


def test_volume_is_below_the_price_and_summed_in_a_band():
    """Each row has its volume, of many rows those of a bin are added, and no price lies in front of it."""
    frame = hours(5_000).assign(volume=2.0)
    ax = ares.plot_klines(frame, ax=new_axes((9, 4)))
    [pane] = ax.child_axes
    [bars] = pane.collections
    heights = [path.get_extents().y1 for path in bars.get_paths()]

    assert sum(heights) == pytest.approx(10_000)
    bottom = ax.transData.transform((0, frame["low"].min()))[1]
    assert bottom > pane.get_window_extent().y1
    assert ares.plot_klines(hours(30), ax=new_axes((9, 4))).child_axes == []


@pytest.mark.parametrize(
    ("factor", "log", "label"),
    [(1000, False, "100,000"), (1000, True, "100,000"), (1e-7, False, "0.0000100"), (1, False, "100")],
)  # fmt: skip
def test_prices_are_written_out(factor, log, label):
    """Prices have separators of thousands and all their digits, on either axis, and none below the price."""
    frame = hours(48).assign(volume=5.0)
    frame[["open", "high", "low", "close"]] *= factor
    ax = ares.plot_klines(frame, ax=new_axes((9, 6)), log=log)
    ax.figure.canvas.draw()
    labels = {
        text.get_text(): value
        for text, value in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)
    }

    assert ax.get_yscale() == ("log" if log else "linear")
    assert label in labels
    assert all(
        float(text.replace(",", "")) == pytest.approx(at) for text, at in labels.items() if text
    )
    assert min(at for text, at in labels.items() if text) > 0.95 * frame["low"].min()


def test_no_logarithm_of_zero():
    """A price of zero has no place on a logarithmic axis, and the message says what to leave out."""
    frame = hours(10)
    frame.iloc[3] = 0.0

    with pytest.raises(BadArgument, match="leave out log=True"):
        ares.plot_klines(frame, ax=new_axes((9, 4)), log=True)


@pytest.mark.parametrize(
    ("plot", "loader"), [(ares.plot_klines, "load_klines"), (ares.plot_funding, "load_funding")]
)
def test_a_frame_of_something_else_is_refused(plot, loader):
    """A frame without the columns, or without times in UTC, is refused with the loader's name."""
    naive = hours(3).assign(fundingRate=0.1).tz_localize(None)

    for frame in (pd.DataFrame({"x": [1]}), naive):
        with pytest.raises(BadArgument, match=rf"as {loader}\(\) returns it"):
            plot(frame, ax=new_axes((4, 2)))


def test_one_candle_and_none():
    """A single candle has an axis; no candle has a sentence."""
    one = ares.plot_klines(hours(1), ax=new_axes((9, 4)))
    none = ares.plot_klines(hours(1).iloc[:0], ax=new_axes((9, 4)))

    low, high = one.get_xlim()
    assert high - low == pytest.approx(1.02 / 24)
    assert [text.get_text() for text in none.texts] == ["No k-lines"]


@pytest.mark.parametrize("count", [100, 5_000])
def test_candles_in_any_order_draw_the_same(count):
    """Sorted otherwise, a complete window is drawn without a gap, as candles and as a band."""
    stamps = pd.date_range("2025-01-01", periods=count, freq="h", tz="UTC", name="timestamp")
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 1.0), index=stamps)

    for odd in (frame.iloc[::-1], frame.sample(frac=1, random_state=1)):
        legend = ares.plot_klines(odd, ax=new_axes((6, 3))).get_legend()
        words = [text.get_text() for text in legend.get_texts()] if legend else []
        assert not any("no candle" in each or "missing" in each for each in words)
