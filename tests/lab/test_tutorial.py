"""The settings of a notebook: the demo exchange, unless Binance is asked for."""

from __future__ import annotations

import pytest

import ares_notebook as ares
from ares_notebook.errors import BadArgument


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_notebook_begins_with_an_empty_demo_cache_and_no_other_is_emptied():
    """At each run its folder is empty, also after a download; a folder of Binance of that name is kept."""
    first = ares.lab.demo_or_binance("one")
    ares.run(ares.download_klines_data("BTCUSDT", "1d", "2 days", end="2025-01-03", settings=first))
    other = ares.lab.demo_or_binance("two")
    ares.run(ares.download_klines_data("BTCUSDT", "1d", "2 days", end="2025-01-03", settings=other))
    (other.cache_dir / ".ares" / "origin.json").write_text('{"market": "binance"}')

    again = ares.lab.demo_or_binance("one")
    ares.lab.demo_or_binance("two")
    assert again == first
    assert not again.cache_dir.exists()
    assert [*other.cache_dir.glob("*.csv")]
    assert (first.market_name, first.progress) == ("demo", False)


def test_binance_is_asked_for_by_argument_or_environment(monkeypatch):
    """The argument counts before the variable, whose other values are refused."""
    assert ares.lab.demo_or_binance("one", binance=True).market_name == "binance"
    monkeypatch.setenv("ARES_NOTEBOOK_SOURCE", "binance")
    assert ares.lab.demo_or_binance("one").market_name == "binance"
    assert ares.lab.demo_or_binance("one", binance=False).market_name == "demo"
    monkeypatch.setenv("ARES_NOTEBOOK_SOURCE", "coinbase")
    with pytest.raises(BadArgument, match="neither 'demo' nor 'binance'"):
        ares.lab.demo_or_binance("one")


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "/x"])
def test_a_name_that_leads_elsewhere_is_refused(name):
    """Only a folder in demo_cache can be named."""
    with pytest.raises(BadArgument, match="not the name of a folder"):
        ares.lab.demo_or_binance(name)
