"""A frame of another kind than is needed: one sentence, and not an error from inside pandas."""

from __future__ import annotations

import asyncio
import logging

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.errors import BadArgument

START, END = 1_738_368_000_000, 1_738_540_800_000
LOGGER = logging.getLogger("step1")


@pytest.fixture(autouse=True)
def no_figures():
    """Without figures that other tests have left open."""
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture
def frames(settings):
    """What every function returns that makes a frame of a cache."""
    ares.run(
        ares.download_all_data(
            "BTCUSDT", "1h", start="2025-02-01", end="2025-02-03", settings=settings
        )
    )
    return {
        "load_klines": ares.load_klines("BTCUSDT", "1h", settings=settings),
        "load_agg_trades": ares.load_agg_trades("BTCUSDT", settings=settings),
        "load_funding": ares.load_funding("BTCUSDT", settings=settings),
        "coverage": ares.coverage("BTCUSDT", "1h", settings=settings),
        "find_gaps": ares.find_gaps("BTCUSDT", settings=settings),
        "download_history": ares.download_history(settings=settings),
        "load_runs": ares.load_runs(settings=settings),
    }


PLOTS = {
    "plot_klines": "load_klines",
    "plot_funding": "load_funding",
    "plot_coverage": "coverage",
    "plot_gaps": "find_gaps",
    "plot_downloads": "download_history",
    "plot_runs": "load_runs",
    "plot_universe": "coverage",
}


@pytest.mark.parametrize("plot", PLOTS)
def test_a_plot_says_what_another_frame_seems_to_be(frames, plot):
    """Given a frame of another function, a plot names the one that it needs and the one that it got."""
    for maker, frame in frames.items():
        if maker == PLOTS[plot]:
            continue
        words = (
            rf"as {PLOTS[plot]}\(\) returns it; this frame lacks .* as {maker}\(\) returns them$"
        )
        for given in (frame, frame.iloc[:0]):
            with pytest.raises(BadArgument, match=words):
                getattr(ares, plot)(given)

    assert plt.get_fignums() == []


@pytest.mark.parametrize("plot", [name for name in PLOTS if name != "plot_universe"])
def test_a_plot_draws_what_it_needs(frames, plot):
    """The frame of the function that is named is drawn, and so is an empty one with its columns."""
    frame = frames[PLOTS[plot]]
    for given in (frame, frame.iloc[:0]):
        getattr(ares, plot)(given)

    assert len(plt.get_fignums()) == 2


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame(), "it has no column and no row"),
        (pd.DataFrame({"a": [1], "b": [2]}), "it has the columns a, b"),
        (None, "not NoneType"),
        ({"close": [1.0]}, "not dict"),
    ],
    ids=["empty", "of others", "none", "no frame"],
)
def test_what_is_no_such_frame_is_refused(plot, frame, words):
    """An empty frame without columns, one of other columns, and what is no frame are named as such."""
    with pytest.raises(BadArgument, match=words):
        getattr(ares, plot)(frame)


def test_missing_columns_are_named(frames):
    """The columns that are needed and not there are in the error, and no other."""
    with pytest.raises(
        BadArgument, match=r"lacks the columns open, low: it has the columns high, close"
    ):
        ares.plot_klines(frames["load_klines"][["high", "close"]])
    with pytest.raises(BadArgument, match=r"lacks the column state: "):
        ares.plot_coverage(frames["coverage"].drop(columns="state"))


def test_a_coroutine_in_place_of_a_frame_was_not_awaited():
    """What was not awaited is no frame, and the error says so."""
    forgotten = asyncio.sleep(0)
    with pytest.raises(BadArgument, match="not a coroutine that was not awaited"):
        ares.plot_klines(forgotten)
    forgotten.close()


@pytest.mark.parametrize(
    ("plot", "maker"), [("plot_klines", "load_klines"), ("plot_funding", "load_funding")]
)
def test_an_index_of_no_aware_timestamps_is_refused(frames, plot, maker):
    """Rows without a timestamp, or without its zone, are refused with the call that mends them."""
    frame = frames[maker]
    for wrong, words in (
        (frame.reset_index(), r'frame\.set_index\("timestamp"\)'),
        (frame.reset_index(drop=True), "holds int64, and no timestamps"),
        (frame.tz_localize(None), r'frame\.tz_localize\("UTC"\)'),
    ):
        with pytest.raises(BadArgument, match=words):
            getattr(ares, plot)(wrong)


@pytest.mark.parametrize("dataset", ["klines", "futures"])
async def test_the_pipeline_refuses_rows_of_another_dataset(exchange, settings, frames, dataset):
    """Rows of one dataset that are given as another's are refused before anything is asked for."""
    makers = {"klines": "load_funding", "futures": "load_agg_trades"}
    exchange.requests.clear()
    for frame in (frames[makers[dataset]], frames[makers[dataset]].reset_index()):
        with pytest.raises(
            BadArgument, match=rf"given {dataset} have none .* {makers[dataset]}\(\)"
        ):
            await ares.fetch_missing_data(
                "BTCUSDT", START, END, {dataset: frame}, LOGGER, interval="1h", settings=settings
            )

    assert exchange.requests == []


async def test_the_pipeline_takes_columns_of_its_own(settings, frames):
    """A frame that has some of the columns, and others beside them, is completed as it is."""
    given = frames["load_klines"][["close"]].assign(signal=1.0).iloc[:10]
    answer = await ares.fetch_missing_data(
        "BTCUSDT", START, END, {"klines": given}, LOGGER, interval="1h", settings=settings
    )

    assert list(answer["klines"].columns) == ["close", "signal"]
    assert len(answer["klines"]) == 48
