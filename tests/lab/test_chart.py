"""The chart in the kernel: candles of each view, words, views, questions of a page, errors."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from traitlets import TraitError

import ares_notebook as ares
from ares_notebook.errors import BadArgument, NeverDownloaded
from ares_notebook.lab import candle_levels
from ares_notebook.lab.chart import CandleChart

END = "2025-03-20"
# It has a gap that the exchange confirms.
GAP = datetime(2025, 3, 14, 2, tzinfo=UTC)
BELOW = ("futures", "premium_index_klines", "metrics")


@pytest.fixture(scope="module")
def market():
    with ares.DemoExchange() as exchange:
        yield exchange


@pytest.fixture(scope="module")
def filled(market, tmp_path_factory) -> ares.Settings:
    """Five months of hours, two of minutes, and what is drawn below them."""
    settings = market.settings(cache_dir=tmp_path_factory.mktemp("chart"), progress=False)
    for interval, lookback in (("1h", "5 months"), ("1m", "2 months")):
        ares.run(
            ares.download_klines_data("BTCUSDT", interval, lookback, end=END, settings=settings)
        )
    datasets = (*BELOW, "mark_price_klines")
    ares.run(
        ares.download_all_data(
            "BTCUSDT", "1h", "2 months", end=END, datasets=datasets, settings=settings
        )
    )
    return settings


@pytest.fixture
def chart(filled):
    shown = ares.chart("BTCUSDT", "1h", settings=filled)
    yield shown
    shown.close()


def ms(text: str) -> int:
    return int(pd.Timestamp(text, tz="UTC").timestamp() * 1000)


class Page:
    """What a page would hear of a chart, message by message."""

    def __init__(self, chart: CandleChart) -> None:
        self.heard: list[tuple[dict, list]] = []
        self._chart = chart
        chart.comm.publish_msg = self._hear

    def _hear(self, _kind, data=None, _metadata=None, buffers=None, **_) -> None:
        if data.get("method") == "custom":
            self.heard.append((data["content"], buffers))

    def ask(self, number: str, name: str = "candles", **content) -> None:
        """Ask as the page does."""
        message = {"ask": name, "number": number, "bars": 300, **content}
        self._chart._handle_custom_msg(message, [])

    def answers(self) -> list[tuple[dict, list]]:
        """All that was heard, when all is answered."""
        ares.run(self._chart.settled())
        return self.heard


@pytest.mark.parametrize("most_kept", [600_000, 500])
def test_candles_of_any_step_are_those_of_the_rows(filled, monkeypatch, most_kept):
    """Kept in memory or read again, candles of each step and the extremes are what pandas makes of the rows."""
    monkeypatch.setattr(candle_levels, "_MOST_KEPT", most_kept)
    levels = ares.chart("BTCUSDT", "1m", settings=filled)._levels
    rows = ares.load_klines("BTCUSDT", "1m", settings=filled)
    window = ms("2025-01-30 13:07"), ms("2025-02-18 05:31")

    assert levels.rows_kept < max(most_kept, 2 * len(rows))
    assert (60_000 in levels.kept) is (most_kept > len(rows))
    for step in levels.steps:
        bars = levels.between(step, *window)
        origin = pd.Timestamp("1970-01-05", tz="UTC")
        made = rows.resample(pd.Timedelta(step, "ms"), origin=origin).agg(
            {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
        )
        made = made.dropna()
        opens = made.index.as_unit("ms").astype("int64")
        made = made[(opens > window[0] - step) & (opens < window[1])]
        assert bars.open_ms.tolist() == made.index.as_unit("ms").astype("int64").tolist()
        for name in made:
            np.testing.assert_allclose(getattr(bars, name), made[name], rtol=1e-12)
    inside = rows.loc[pd.Timestamp(window[0], unit="ms", tz="UTC") :]
    inside = inside[inside.index < pd.Timestamp(window[1], unit="ms", tz="UTC")]
    assert levels.extremes(*window) == (inside["low"].min(), inside["high"].max())


def test_the_view_is_a_window_and_the_frame_its_rows(chart, filled):
    """The view is aware and half-open, is set by any moments, and `frame` has just its rows."""
    assert chart.view == (datetime(2024, 10, 1, tzinfo=UTC), datetime(2025, 3, 20, tzinfo=UTC))
    chart.view = "2025-02-01", datetime(2025, 2, 3, 12, tzinfo=UTC)
    wanted = ares.load_klines("BTCUSDT", "1h", *chart.view, settings=filled)

    assert chart.view == (datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 2, 3, 12, tzinfo=UTC))
    pd.testing.assert_frame_equal(chart.frame(), wanted)
    low, high = wanted["low"].min(), wanted["high"].max()
    assert repr(chart) == (
        f"BTCUSDT 1h, 2025-02-01 to 2025-02-03 12:00, low {low:,.2f}, high {high:,.2f}, 0 gaps"
    )
    for wrong in (("2025-02-02", "2025-02-01"), ("2025-02-01",), "2025", ("x", "y")):
        with pytest.raises(BadArgument):
            chart.view = wrong
    with pytest.raises(BadArgument, match="there is 'Funding rate'"):
        chart.lower = "Volume"
    with pytest.raises(TraitError):
        chart.view_ms = [1]
    # A page may say anything.
    chart.view_ms = [2**62, -(2**62)]
    assert chart.view[0] < chart.view[1] <= datetime(2025, 3, 21, tzinfo=UTC)


def test_a_page_is_answered_in_order_and_what_is_late_is_dropped(chart):
    """Of questions that wait only the newest is answered, after those before it; the view follows."""
    page, hold, began = Page(chart), threading.Event(), threading.Event()
    answer = chart._answers["candles"]

    def slow(asked):
        began.set()
        assert hold.wait(30)
        return answer(asked)

    chart._answers["candles"] = slow
    days = [(ms(f"2025-02-{day:02}"), ms("2025-03-15")) for day in range(1, 5)]
    page.ask("0", start=days[0][0], end=days[0][1])
    assert began.wait(30)
    for number, (start, end) in enumerate(days[1:], 1):
        page.ask(str(number), start=start, end=end)
    page.ask("x", name="__init__")
    chart._handle_custom_msg(["no question"], [])
    hold.set()
    answers = page.answers()

    told = [(content["number"], "dropped" in content) for content, _ in answers]
    assert told == [("1", True), ("2", True), ("0", False), ("3", False)]
    content, buffers = answers[-1]
    assert chart.view_ms == [*days[-1]] == [content["start"], content["end"]]
    opens, _open, high, low, *_ = (np.frombuffer(each) for each in buffers)
    assert content["step"] == 4 * 3_600_000
    inside = opens >= days[-1][0]
    assert f"low {low[inside].min():,.2f}, high {high[inside].max():,.2f}" in content["text"]
    # As much on either side, for a drag.
    assert opens[0] < days[-1][0] - (days[-1][1] - days[-1][0]) / 3


def test_gaps_have_their_reason(chart):
    """A gap of the view is told to the page with rows and reason, counted in its text, and drawn without a kernel."""
    page = Page(chart)
    page.ask("1", start=ms("2025-03-13"), end=ms("2025-03-16"), lower="Premium")
    [(content, buffers)] = page.answers()

    [[start, end, rows, reason, _note]] = content["gaps"]
    assert (start, end - start, rows) == (int(GAP.timestamp() * 1000), 2 * 3_600_000, 2)
    assert reason == "confirmed absent upstream"
    assert content["text"].endswith(", 1 gap")
    opens = np.frombuffer(buffers[0])
    assert not ((opens >= start) & (opens < end)).any()
    assert "<title>confirmed absent upstream</title>" in chart.static_html()


def test_what_is_cached_is_drawn_below_and_nothing_is_fetched(market, filled):
    """Funding, premium and open interest are offered where the cache has them, and no request is made."""
    market.requests.clear()
    chart = ares.chart("BTCUSDT", "1h", "2025-02-01", "2025-03-01", settings=filled)
    page = Page(chart)
    columns = {
        "Funding rate": "fundingRate",
        "Premium": "close",
        "Open interest": "sum_open_interest",
    }
    for number, name in enumerate(chart.about["lowers"]):
        page.ask(str(number), start=ms("2025-02-10"), end=ms("2025-02-11"), lower=name)
        page.answers()
    frames = [ares.load_rows(each, "BTCUSDT", "1h", settings=filled) for each in BELOW]

    assert list(chart.about["lowers"]) == [*columns]
    for (content, buffers), (name, column), frame in zip(
        page.heard, columns.items(), frames, strict=True
    ):
        opens, *_, close = (np.frombuffer(each) for each in buffers[6:])
        rows = frame.loc["2025-02-10":"2025-02-10 23:59", column]
        if name != "Open interest":
            own = rows.index.as_unit("ms").astype("int64")
            assert close[np.isin(opens, own)].tolist() == rows.tolist()
        assert content["lowerStep"] <= 8 * 3_600_000
        assert len(close) > 0
    assert list(market.requests) == []


@pytest.mark.parametrize("dataset", ["mark_price_klines", "premium_index_klines"])
def test_other_candles_are_drawn_as_well(filled, dataset):
    """Prices without a volume, and a premium around zero, have charts too."""
    chart = CandleChart("BTCUSDT", "1h", dataset=dataset, settings=filled)
    frame = ares.load_rows(dataset, "BTCUSDT", "1h", settings=filled)

    assert chart.about["volume"] == ""
    assert chart._levels.extremes(*chart.view_ms) == (frame["low"].min(), frame["high"].max())
    assert ("Premium" in chart.about["lowers"]) is (dataset != "premium_index_klines")
    assert chart.about["factor"] == (100 if dataset == "premium_index_klines" else 1)
    assert "NaN" not in chart.static_html()


def test_what_cannot_be_shown_is_said(filled, tmp_path):
    """Without candles there is no chart but a sentence with the remedy; a page is told why it gets no answer."""
    with pytest.raises(NeverDownloaded, match="download_klines_data"):
        ares.chart("ETHUSDT", "1h", settings=filled)
    with pytest.raises(BadArgument, match="no candles, which a chart shows; there are klines"):
        ares.chart("BTCUSDT", dataset="agg_trades", settings=filled)
    copy = filled.replace(cache_dir=tmp_path / "copy")
    shutil.copytree(filled.cache_dir, copy.cache_dir)
    chart = ares.Cache(copy).chart("BTCUSDT", "1h")
    page = Page(chart)
    with (copy.cache_dir / "metrics_BTCUSDT_2025-02.csv").open("ab") as file:
        file.write(b"torn")
    page.ask("1", start=ms("2025-02-10"), end=ms("2025-02-11"), lower="Open interest")
    [(content, _)] = page.answers()

    assert "metrics_BTCUSDT_2025-02.csv" in content["error"]
    page.ask("2", start="<b>", end=ms("2025-02-11"))
    assert "ValueError" in page.answers()[-1][0]["error"]


def test_a_saved_notebook_has_a_picture_and_its_text(chart):
    """Beside the widget there are a text, which a screen reader reads, and a picture of that name; nothing is a tag that was none."""
    data, _ = chart._repr_mimebundle_()

    assert data["text/plain"] == repr(chart)
    assert f'role="img" aria-label="{chart!r}"' in data["text/html"]
    assert data["text/html"].count("<path") > 5
    assert len(data["text/html"]) < 40_000
    assert "application/vnd.jupyter.widget-view+json" in data
    chart._gaps = chart._gaps.assign(reason="<script>")
    assert "<script>" not in chart.static_html()
    assert "&lt;script&gt;" in chart.static_html()


def test_a_closed_chart_leaves_nothing(filled):
    """After it is closed its candles are gone from the memory, and no question is answered."""
    chart = ares.chart("BTCUSDT", "1h", settings=filled)
    page = Page(chart)
    kept = weakref.ref(next(iter(chart._levels.kept.values())).open_ms)
    chart.close()
    gc.collect()
    page.ask("1", start=ms("2025-02-10"), end=ms("2025-02-11"))

    assert kept() is None
    assert page.answers() == []
    chart.close()
