"""Plots of candles of futures: what their axes say."""

from __future__ import annotations

import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.errors import BadArgument

SYMBOLS = {
    "um_klines": "BTCUSDT",
    "cm_klines": "BTCUSD_PERP",
    "mark_price_klines": "BTCUSD_PERP",
    "index_price_klines": "BTCUSD",
    "premium_index_klines": "BTCUSDT",
}


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """A month of hours of each."""
    with DemoExchange() as exchange:
        settings = exchange.settings(cache_dir=tmp_path_factory.mktemp("cache"), progress=False)
        window = {"start": "2025-02-01", "end": "2025-03-01", "settings": settings}
        for name, symbol in SYMBOLS.items():
            ares.run(ares.download_all_data(symbol, "1h", **window, datasets=[name]))
        yield {
            name: ares.load_rows(name, symbol, "1h", settings=settings)
            for name, symbol in SYMBOLS.items()
        }


def labels(ax: Axes) -> list[str]:
    """What the axis of the price says, and that of the volume if there is one."""
    return [ax.get_ylabel(), *(pane.get_ylabel() for pane in ax.child_axes)]


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ("um_klines", ["price, USDT", "volume, BTC"]),
        ("cm_klines", ["price, USD", "volume, contracts"]),
        ("mark_price_klines", ["price, USD"]),
        ("index_price_klines", ["price, USD"]),
        ("premium_index_klines", ["premium, %"]),
    ],
)
def test_the_axes_have_the_units_of_the_dataset(frames, dataset, words):
    """Prices are in the quote asset, a premium in percent, and the volume of COIN-M counts contracts."""
    figure = Figure(figsize=(9, 9))
    FigureCanvasAgg(figure)
    ax = ares.plot_klines(frames[dataset], ax=figure.subplots())

    assert labels(ax) == words
    assert dataset in ax.get_title(loc="left")


def test_on_small_axes_contracts_are_still_told(frames):
    """Where there is no room for both words, the volume of COIN-M still says that it counts contracts."""
    assert labels(ares.plot_klines(frames["cm_klines"])) == ["price, USD", "contracts"]


def test_a_premium_is_drawn_in_percent(frames):
    """The axis reaches from the least to the greatest premium times a hundred, below zero too."""
    frame = frames["premium_index_klines"]
    bottom, top = ares.plot_klines(frame).get_ylim()

    assert frame["low"].min() < 0
    assert bottom < frame["low"].min() * 100 < 0 < frame["high"].max() * 100 < top
    assert top < frame["high"].max() * 150


def test_a_premium_has_no_logarithm(frames):
    """A logarithmic axis is refused for what may be negative."""
    with pytest.raises(BadArgument, match="have no logarithm"):
        ares.plot_klines(frames["premium_index_klines"], log=True)


def test_another_kind_of_frame_is_named_by_its_dataset(frames):
    """Where funding is needed, the error says of which dataset the candles are."""
    with pytest.raises(BadArgument, match=r'mark price k-lines, as load_rows\("mark_price_klines"'):
        ares.plot_funding(frames["mark_price_klines"])
