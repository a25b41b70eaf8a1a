"""Frames are the same under every pandas and NumPy that is allowed; tests/core.txt runs under several."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.cache.reader import _stamps

# The beginning of the sha256 of the values of each column, of the frames that the made-up market gives.
TRUTH = {
    "klines": "b6b9cfa4ff21a801",
    "agg_trades": "fd371bd71ea97d9e",
    "funding": "d2ea88a3682669fc",
    "wide": "9a88a38b010e23f0",
    "4h": "c540ce4def3591b6",
    "5min": "343780127c88e134",
    "aligned": "9b37821ebb5d4fe0",
}


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """Frames of loaders, and those that are made of them."""
    with ares.DemoExchange(trades_per_day=500) as exchange:
        settings = exchange.settings(cache_dir=tmp_path_factory.mktemp("cache"), progress=False)
        wanted = {"start": "2025-02-27", "end": "2025-03-02", "settings": settings}
        ares.run(ares.download_all_data("BTCUSDT", "1h", **wanted))
        ares.run(ares.download_klines_data("ETHUSDT", "1h", **wanted))
        klines = ares.load_klines("BTCUSDT", "1h", settings=settings)
        trades = ares.load_agg_trades("BTCUSDT", settings=settings)
        funding = ares.load_funding("BTCUSDT", settings=settings)
        return {
            "klines": klines,
            "agg_trades": trades,
            "funding": funding,
            "wide": ares.load_klines(
                ["BTCUSDT", "ETHUSDT"], "1h", columns="close", settings=settings
            ),
            "4h": ares.resample_klines(klines, "4h"),
            "5min": ares.candles_from_trades(trades, "5m"),
            "aligned": ares.align(klines, funding),
            "coverage": ares.coverage(settings=settings),
        }


@pytest.mark.parametrize("name", TRUTH)
def test_values_are_the_same_to_the_bit(frames, name):
    """Stamps and numbers of a frame, to the last bit, depend on no version of pandas or NumPy."""
    frame = frames[name]
    digest = hashlib.sha256(frame.index.asi8.tobytes())
    for column in frame:
        digest.update(frame[column].to_numpy().tobytes())

    assert digest.hexdigest()[:16] == TRUTH[name]


def test_dtypes_are_the_same_but_for_text(frames):
    """Stamps are microseconds in UTC, prices float64, numbers of things int64; text alone has pandas' own dtype."""
    stamp = "datetime64[us, UTC]"
    klines, trades, table = frames["klines"], frames["agg_trades"], frames["coverage"]

    assert {str(frames[name].index.dtype) for name in TRUTH} == {stamp}
    assert {str(dtype) for dtype in klines.drop(columns="number_of_trades").dtypes} == {"float64"}
    assert str(klines["number_of_trades"].dtype) == "int64"
    assert [str(trades[name].dtype) for name in ("is_buyer_maker", "agg_trade_id")] == [
        "bool",
        "int64",
    ]
    assert str(table["start"].dtype) == str(table["last"].dtype) == stamp
    assert table["symbol"].dtype == pd.Series(["text"]).dtype


def test_a_number_beyond_all_times_is_no_stamp():
    """A damaged file's stamp of any size is not taken for a time, and stops no salvage."""
    stamps = _stamps(pd.Series(["1e308", "-9e22", "1735689600000", "inf"], dtype=str))

    assert stamps.isna().tolist() == [True, True, False, True]
    assert stamps[2] == pd.Timestamp("2025-01-01", tz="UTC")
