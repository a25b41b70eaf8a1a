"""Where the panel takes its data from."""

from __future__ import annotations

import threading

import pytest

from ares_notebook import DemoExchange
from ares_notebook.errors import BadArgument
from ares_notebook.lab.form import ADDRESS, BINANCE, DEMO, GIVEN, MarketSources
from ares_notebook.settings import Settings


@pytest.fixture
def given() -> Settings:
    return Settings(api_key="secret-key-1", max_retries=7, cache_dir="mine", symbol="ETHUSDT")


def test_no_demo_is_started_unless_it_is_chosen(given):
    """Settings of Binance and of an address start no server."""
    before = threading.active_count()
    sources = MarketSources(given)
    sources.settings(BINANCE, "", "a")
    sources.settings(ADDRESS, "http://127.0.0.1:9", "b")

    assert threading.active_count() == before
    sources.settings(DEMO, "", "c")
    assert threading.active_count() > before
    sources.close()
    assert threading.active_count() == before


def test_what_is_no_matter_of_the_source_is_kept(given):
    """Retries and symbol are those given, whatever the source; the key goes to Binance alone."""
    sources = MarketSources(given)
    made = {name: sources.settings(name, "http://127.0.0.1:9", "x") for name in sources.names}
    sources.close()

    assert {each.max_retries for each in made.values()} == {7}
    assert {each.symbol for each in made.values()} == {"ETHUSDT"}
    assert {name for name, each in made.items() if each.api_key} == {BINANCE}
    assert {name: each.market_name for name, each in made.items()} == {
        BINANCE: "binance",
        DEMO: "demo",
        ADDRESS: "127.0.0.1",
    }


def test_the_environment_does_not_move_a_source(monkeypatch):
    """Where the environment names another exchange, *Binance* is still Binance."""
    monkeypatch.setenv("ARES_SPOT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ARES_MARKET", "demo")
    sources = MarketSources(Settings())

    assert sources.names[0] == GIVEN
    assert sources.settings(GIVEN, "", "x").spot_url == "http://127.0.0.1:9"
    assert sources.settings(BINANCE, "", "x").spot_url == "https://api.binance.com"
    assert sources.settings(BINANCE, "", "x").market_name == "binance"


def test_each_source_has_a_folder_of_its_own(given):
    """Two markets never share a default folder, so they cannot be mixed by a click."""
    folders = [MarketSources(given).folder(name) for name in (BINANCE, DEMO, ADDRESS)]

    assert folders == ["mine", "demo_cache", "other_cache"]


def test_an_address_serves_all_of_binance(given):
    """API, archive and listing are taken from one address, and no request goes elsewhere."""
    made = MarketSources(given).settings(ADDRESS, " http://127.0.0.1:8900/ ", "x")

    urls = (made.spot_url, made.spot_fallback_url, made.futures_url, made.archive_url)
    assert set(urls) == {"http://127.0.0.1:8900"}
    assert made.archive_listing_url == "http://127.0.0.1:8900/data.binance.vision"


@pytest.mark.parametrize("address", ["", "ftp://x", "javascript:alert(1)", "http://u:p@x"])
def test_what_is_no_address_is_refused(given, address):
    """Only a plain http address is taken."""
    with pytest.raises(BadArgument, match=r"address|user and no password"):
        MarketSources(given).settings(ADDRESS, address, "x")


def test_the_code_makes_the_same_settings(given):
    """Run, the lines give the panel's settings, but for the key and what the call says itself."""
    sources = MarketSources(given)
    for name in (BINANCE, ADDRESS):
        made = sources.settings(name, "http://127.0.0.1:9", 'odd "folder\\')
        names: dict[str, object] = {}
        code = "import ares_notebook as ares\n" + "\n".join(sources.code(name, made))
        exec(code, names)  # noqa: S102 - our own code

        assert "secret" not in code
        assert "ETHUSDT" not in code
        assert names["settings"] == made.replace(api_key=None, symbol="BTCUSDT")


def test_the_code_holds_against_the_environment(monkeypatch, given):
    """Where the environment names another exchange, the code of *Binance* still means Binance."""
    monkeypatch.setenv("ARES_SPOT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ARES_MARKET", "demo")
    monkeypatch.setenv("ARES_CACHE_DIR", "elsewhere")
    sources = MarketSources(given)
    code = sources.code(BINANCE, sources.settings(BINANCE, "", "data_cache"))
    names: dict[str, object] = {}
    exec("import ares_notebook as ares\n" + "\n".join(code), names)  # noqa: S102 - our own code

    assert names["settings"].spot_url == "https://api.binance.com"
    assert str(names["settings"].cache_dir) == "data_cache"


def test_defaults_need_no_code():
    """Settings that differ in nothing are not written down."""
    sources = MarketSources(Settings())

    assert sources.code(BINANCE, sources.settings(BINANCE, "", "data_cache")) == ()


def test_given_settings_come_first(exchange: DemoExchange):
    """Settings that point elsewhere than Binance are a source of their own, chosen at first."""
    given = exchange.settings(cache_dir="x")

    assert MarketSources(given).names == (GIVEN, BINANCE, DEMO, ADDRESS)
    assert MarketSources(given).settings(GIVEN, "", "x") == given
