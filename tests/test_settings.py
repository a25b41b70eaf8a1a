"""Settings: checked, frozen, from four places."""

from __future__ import annotations

import inspect
import logging
import pickle
import re
import traceback
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.errors import BadArgument
from ares_notebook.settings import CACHE_DIR, MAX_RETRIES, RETRY_DELAY_SECONDS, Secret, Settings

URLS = ("spot_url", "spot_fallback_url", "futures_url", "archive_url", "archive_listing_url")


def test_the_defaults_are_those_that_are_promised():
    """Without arguments and environment the documented defaults hold."""
    settings = Settings()

    assert settings.cache_dir == Path(CACHE_DIR) == Path("data_cache")
    assert settings.max_retries == MAX_RETRIES == 3
    assert settings.retry_delay_seconds == RETRY_DELAY_SECONDS == 5
    assert settings.request_timeout_seconds == 30
    assert (settings.symbol, settings.interval, settings.lookback_years) == ("BTCUSDT", "1h", 1.0)
    assert (settings.source, settings.compression, settings.progress) == ("auto", None, None)
    assert settings.api_key is None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("cache_dir", "~/here", Path("~/here").expanduser()),
        ("max_retries", "7", 7),
        ("retry_delay_seconds", "0.5", 0.5),
        ("request_timeout_seconds", "2", 2.0),
        ("symbol", "ethusdt", "ETHUSDT"),
        ("interval", "1M", "1M"),
        ("lookback_years", "2.5", 2.5),
        ("max_concurrency", "3", 3),
        ("spot_url", "https://api1.binance.com/", "https://api1.binance.com"),
        ("spot_fallback_url", "https://api-gcp.binance.com", "https://api-gcp.binance.com"),
        ("source", "rest", "rest"),
        ("weight_share", "0.25", 0.25),
        ("address_shared_by", "12", 12),
        ("compression", "zstd", "zstd"),
        ("progress", "false", False),
        ("market", "elsewhere", "elsewhere"),
        ("operation_timeout_seconds", "90", 90.0),
        ("min_complete_share", "0.99", 0.99),
        ("max_errors", "none", None),
        ("max_warnings", "0", 0),
        ("keep_days", "30.5", 30.5),
        ("max_cache_bytes", "1000000", 1_000_000),
        ("max_cache_bytes", "20 GB", 20_000_000_000),
        ("max_cache_bytes", "1.5GiB", 1_610_612_736),
        ("notify_on", "failed, below threshold", ("failed", "below threshold")),
    ],
)
def test_every_field_is_read_from_the_environment(monkeypatch, name, text, value):
    """ARES_ and the field's name in upper case sets it, and an argument wins over that."""
    monkeypatch.setenv(f"ARES_{name.upper()}", text)

    assert getattr(Settings(), name) == value
    assert getattr(Settings(**{name: getattr(Settings, name)}), name) != value


@pytest.mark.parametrize("name", URLS)
def test_a_mirror_is_read_from_the_environment(monkeypatch, name):
    """Where the market has a name, any address may be another host's."""
    monkeypatch.setenv(f"ARES_{name.upper()}", "https://mirror.example/b/")
    monkeypatch.setenv("ARES_MARKET", "binance")

    assert getattr(Settings(), name) == "https://mirror.example/b"
    assert Settings().market_name == "binance"


def test_an_empty_variable_is_none_at_all(monkeypatch):
    """An empty variable leaves the default."""
    monkeypatch.setenv("ARES_MAX_RETRIES", "")

    assert Settings().max_retries == MAX_RETRIES


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_retries", -1),
        ("retry_delay_seconds", -1),
        ("retry_delay_seconds", float("nan")),
        ("request_timeout_seconds", 0),
        ("symbol", "BTC USDT"),
        ("interval", "7m"),
        ("lookback_years", 0),
        ("max_concurrency", 0),
        ("spot_url", "api.binance.com"),
        ("spot_url", "ftp://api.binance.com"),
        ("archive_url", "https://user:word@example.org"),
        ("archive_url", "https://example.org/?a=1"),
        ("futures_url", "https://example.org/#top"),
        ("source", "both"),
        ("weight_share", 0),
        ("weight_share", 1.01),
        ("compression", "gzip"),
        ("cache_dir", ""),
        ("cache_dir", "a\0b"),
        ("cache_dir", None),
        ("operation_timeout_seconds", 0),
        ("min_complete_share", 1.1),
        ("max_errors", -1),
        ("max_warnings", 0.5),
        ("keep_days", 0),
        ("max_cache_bytes", -1),
        ("max_cache_bytes", True),
        ("max_cache_bytes", 0.5),
        ("max_cache_bytes", "1,5 GB"),
        ("max_cache_bytes", "20 GB or so"),
        ("max_cache_bytes", "20 parsecs"),
        ("notify_on", "started"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named(name, value):
    """A wrong value is a bad argument, whose message names the field."""
    with pytest.raises(BadArgument, match=f"{name}="):
        Settings(**{name: value})


def test_all_faults_are_named_at_once(monkeypatch):
    """One error names every wrong value with its rule and the place of it, whichever way it came."""
    monkeypatch.setenv("ARES_MAX_RETRIES", "many")
    with pytest.raises(BadArgument) as caught:
        Settings(source="both", keep_days="x", max_concurrency=0)

    assert sorted(str(caught.value).split("; ")) == [
        "keep_days='x': expected float | None, got str",
        "max_concurrency=0: expected int >= 1",
        "max_retries='many': expected int, got str (from ARES_MAX_RETRIES)",
        "source='both': is not one of auto, archive, rest",
    ]


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("max_retries", np.int64(7), 7),
        ("lookback_years", np.float64(2), 2.0),
        ("lookback_years", 2, 2.0),
        ("progress", np.True_, True),
        ("progress", "off", False),
        ("max_retries", " 7 ", 7),
        ("max_cache_bytes", "2 kb", 2000),
        ("max_cache_bytes", "1 TiB", 1 << 40),
        ("notify_on", ["failed"], ("failed",)),
    ],
)
def test_a_value_that_means_the_same_is_taken(name, given, value):
    """Numbers of NumPy's, whole floats, text and lists become what the field is."""
    made = getattr(Settings(**{name: given}), name)

    assert made == value
    assert type(made) is type(value)


def test_a_copy_is_checked_and_keeps_the_rest(monkeypatch):
    """A copy with changes refuses what settings refuse, and asks neither environment nor project."""
    settings = Settings(max_retries=1, api_key="S3CRET")
    monkeypatch.setenv("ARES_MAX_CONCURRENCY", "3")
    copy = settings.replace(symbol="ethusdt")

    assert (copy.symbol, copy.max_retries, copy.max_concurrency) == ("ETHUSDT", 1, 16)
    assert copy.replace(symbol="BTCUSDT") == settings
    assert pickle.loads(pickle.dumps(copy)) == copy  # noqa: S301 - our own
    with pytest.raises(BadArgument, match="max_retries=-1: expected int >= 0"):
        settings.replace(max_retries=-1)
    with pytest.raises(BadArgument, match="cache_dri is not a setting"):
        settings.replace(cache_dri="x")


def test_a_secret_of_another_library_is_taken():
    """What hides its text behind `get_secret_value`, as pydantic's secrets do, is a key too."""

    class Hidden:
        def get_secret_value(self) -> str:
            return " S3CRET\n"

    assert Settings(api_key=Hidden(), notify=[Hidden()]).api_key == Secret("S3CRET")


def test_a_typo_is_an_error_that_lists_the_fields():
    """An unknown setting does not pass in silence."""
    with pytest.raises(BadArgument, match="cache_dri is not a setting; there are: cache_dir,"):
        Settings(cache_dri="x")


def test_settings_are_frozen():
    """A settings value cannot be changed under somebody's feet."""
    settings = Settings()

    with pytest.raises(FrozenInstanceError):
        settings.max_retries = 9


def test_secrets_show_in_no_text():
    """Neither repr, str, dump nor an error about other fields tells the key or a notifier's address."""
    settings = Settings(api_key="S3CRET", notify=["mailto://me:S3CRET@example.org"])
    with pytest.raises(BadArgument) as caught:
        Settings(api_key=["S3CRET"], notify=[{"S3CRET": 1}], max_retries=-1)

    texts = (repr(settings), str(settings), str(asdict(settings)), str(caught.value))
    assert all("S3CRET" not in text for text in texts)
    assert settings.api_key.get_secret_value() == "S3CRET"


@pytest.mark.parametrize("key", ["S3CRET\n", "  S3CRET\r\n", Secret("S3CRET\n")], ids=repr)
def test_a_key_loses_the_line_end_of_its_file(key):
    """A key that was read from a file goes out as it is, without the line's end."""
    made = Settings(api_key=key).api_key

    assert made is not None
    assert made.get_secret_value() == "S3CRET"


@pytest.mark.parametrize("key", ["", " \n", Secret("")], ids=repr)
def test_an_empty_key_is_none(key):
    """Where nothing is in it there is no key."""
    assert Settings(api_key=key).api_key is None


def test_a_key_with_a_line_end_inside_is_refused():
    """What cannot be a header is named before it is sent, and not shown."""
    with pytest.raises(BadArgument, match="api_key=…: has a letter that no key has"):
        Settings(api_key="S3CRET\nHost: elsewhere")


@pytest.mark.parametrize(
    "name", ["keep_days", "max_cache_bytes", "max_errors", "market", "api_key"]
)
def test_none_is_no_value_in_the_environment(monkeypatch, name):
    """`none` takes a setting away, whatever the project around says."""
    monkeypatch.setenv(f"ARES_{name.upper()}", "none")
    monkeypatch.setenv("ARES_NOTIFY", "none")

    assert getattr(Settings(), name) is None
    assert Settings().notify == ()


def test_notifiers_of_the_environment_stand_with_blanks_between(monkeypatch):
    """An address may hold commas, so that blanks and line ends divide them."""
    monkeypatch.setenv("ARES_NOTIFY", "mailto://a:b@c.org?to=d@c.org,e@c.org\n  json://localhost")

    urls = [each.get_secret_value() for each in Settings().notify]

    assert urls == ["mailto://a:b@c.org?to=d@c.org,e@c.org", "json://localhost"]


def at(url: str, **others: str) -> dict[str, str]:
    """All addresses at one place, but for some."""
    return {**dict.fromkeys(URLS, url), **others}


LISTING = "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"


@pytest.mark.parametrize(
    ("changes", "market"),
    [
        ({}, "binance"),
        ({"spot_url": "https://api4.binance.com"}, "binance"),
        ({"spot_url": "https://API-GCP.binance.com:443/"}, "binance"),
        ({"spot_url": "https://data-api.binance.vision"}, "binance"),
        ({"archive_listing_url": LISTING + "/"}, "binance"),
        (at("https://mirror.example.org"), "mirror.example.org"),
        (at("https://evilbinance.vision"), "evilbinance.vision"),
        (at("https://api.binance.us"), "binance.us"),
        (at("https://testnet.binance.vision", futures_url="https://demo-fapi.binance.com"), "testnet"),
        (at("http://127.0.0.1:5", spot_url="http://localhost:6", futures_url="http://[::1]:7"), "127.0.0.1"),
        ({"archive_url": "http://127.0.0.1:5", "market": "demo"}, "demo"),
        ({"archive_url": "https://mirror.example.org", "market": "binance"}, "binance"),
        (at("https://api.binance.us", market="us"), "us"),
        ({"market": "mine"}, "mine"),
    ],
)  # fmt: skip
def test_the_market_has_a_name(changes, market):
    """Binance's own hosts are binance; other hosts have their own name, unless one is given."""
    assert Settings(**changes).market_name == market


@pytest.mark.parametrize(
    "changes",
    [
        {"spot_url": "https://api.binance.us"},
        {"spot_url": "https://api.binance.us", "market": "binance"},
        {"spot_url": "https://api.binance.us.", "market": "binance"},
        {"spot_url": "https://api.binance.us", "market": "mine"},
        {"spot_url": "https://testnet.binance.vision"},
        {"spot_url": "https://api.binance.tr"},
        {"spot_url": "https://www.trbinance.com"},
        {"futures_url": "https://testnet.binancefuture.com"},
        {"futures_url": "https://demo-fapi.binance.com", "market": "binance"},
        {"spot_fallback_url": "https://api.binance.us"},
        at("https://api.binance.us", market="binance"),
        at("https://api.binance.us", futures_url="https://testnet.binancefuture.com", market="mine"),
        {"archive_url": "https://evilbinance.vision"},
        {"archive_url": "https://data.binance.vision.example.org"},
        {"archive_url": "https://mirror.example.org"},
        {"archive_url": "http://127.0.0.1:5"},
        {"archive_url": "https://api.binance.com"},
        {"spot_url": "https://api5.binance.com"},
        {"spot_url": "https://fapi.binance.com"},
        {"futures_url": "https://dapi.binance.com"},
        {"archive_listing_url": "https://s3-ap-northeast-1.amazonaws.com/another"},
    ],
    ids=str,
)  # fmt: skip
def test_a_mixture_of_markets_is_refused(changes):
    """Addresses of two markets never make settings: the message names the fields and the remedy."""
    [name, url], *_ = ((name, url) for name, url in changes.items() if name != "market")
    with pytest.raises(BadArgument, match="one cache would mix markets: ") as caught:
        Settings(**changes)

    assert f"{name}={url!r}" in str(caught.value)
    assert re.search("set all to one market|set it to theirs", str(caught.value))


def test_the_message_of_a_mixture_tells_all():
    """Which fields are of which market is said, and where one is a mirror, what to write."""
    with pytest.raises(BadArgument) as caught:
        Settings(archive_url="https://mirror.example.org")

    assert str(caught.value) == (
        "one cache would mix markets: spot_url, spot_fallback_url, futures_url, archive_listing_url "
        "are of 'binance'; archive_url='https://mirror.example.org' is of 'mirror.example.org'; "
        "set all to one market; where some are its mirrors, name it with market="
    )


def test_a_mixture_by_the_environment_names_the_variable(monkeypatch):
    """Who set one variable in the shell reads its name."""
    monkeypatch.setenv("ARES_SPOT_URL", "https://api.binance.us/")
    with pytest.raises(BadArgument, match=r"us' \(from ARES_SPOT_URL\) is of 'binance\.us'"):
        Settings()


def test_a_copy_is_of_one_market_too():
    """A copy of settings that would mix markets is refused like settings made anew."""
    with pytest.raises(BadArgument, match="would mix markets"):
        Settings().replace(spot_url="https://testnet.binance.vision")
    with pytest.raises(BadArgument, match="would mix markets"):
        Settings(**at("https://api.binance.us")).replace(market="binance")

    copy = Settings().replace(spot_url="https://api1.binance.com")
    assert (copy.spot_url, copy.market_name) == ("https://api1.binance.com", "binance")


def test_a_demo_beside_binance_is_no_market(exchange):
    """One address of the demo exchange taken back to Binance's, without a name, is refused."""
    urls = {"spot_url": "https://api.binance.com", "market": None}
    with pytest.raises(BadArgument, match="would mix markets"):
        exchange.settings(**urls)
    assert exchange.settings(market=None).market_name == "127.0.0.1"


def test_a_wrong_value_of_the_environment_is_traced_to_its_variable(monkeypatch):
    """Who set a variable wrongly reads its name, not only that of the field."""
    monkeypatch.setenv("ARES_MAX_RETRIES", "many")
    with pytest.raises(BadArgument, match=r"max_retries='many': .* \(from ARES_MAX_RETRIES\)"):
        Settings()


def test_a_misspelt_variable_is_reported(monkeypatch, caplog):
    """A variable that is nearly a setting is warned of once; one of somebody else's is not."""
    monkeypatch.setenv("ARES_CACHEDIR", "elsewhere")
    monkeypatch.setenv("ARES_GPU_TRAINING", "1")
    for _ in range(2):
        Settings()

    assert [each.getMessage() for each in caplog.records] == [
        "ARES_CACHEDIR is not a setting; did you mean ARES_CACHE_DIR?"
    ]


WITH_PASSWORD = [
    "https://user:PW@host",
    "https://:PW@host",
    "https://PW@host",
    "https://user:P/W@host",
    "https://user:a@PW@host",
    "https://user:#PW@host",
    "https://user:?PW@host/path",
    "https://user:PW%40host",
    "https://user:PW",
    "https://user:PW@ho\u2100st",
    "https://user:PW@[::1",
    "https://host/?key=PW",
    "https://host/#PW",
    "user:PW@host",
    "ftp://user:PW@host",
    "http://user:PW@api.binance.com",
    "https://user:P W@host",
]


@pytest.mark.parametrize("url", WITH_PASSWORD)
@pytest.mark.parametrize("name", URLS)
def test_a_password_in_a_url_is_refused_and_not_shown(monkeypatch, name, url):
    """A URL with a password is refused, from argument, environment and copy, and nobody reads it in the error."""
    monkeypatch.setenv(f"ARES_{name.upper()}", url)
    with pytest.raises(BadArgument, match=f"{name}=") as by_environment:
        Settings()
    monkeypatch.delenv(f"ARES_{name.upper()}")
    with pytest.raises(BadArgument, match=f"{name}=") as by_argument:
        Settings(**{name: url})
    with pytest.raises(BadArgument, match=f"{name}=") as by_copy:
        Settings().replace(**{name: url})

    for caught in (by_environment, by_argument, by_copy):
        shown = "".join(traceback.format_exception(caught.value))
        assert "PW" not in shown.replace("P W", "PW").replace("P/W", "PW")
    if "@" in url:
        assert "must hold no user and no password" in str(by_argument.value)
        assert "***@" in str(by_argument.value)


@pytest.mark.parametrize("name", ["cache_dir", "symbol", "interval", "notify_on", "source"])
def test_a_password_in_the_wrong_setting_is_not_shown(name):
    """A URL that was set where none belongs shows no password either."""
    with pytest.raises(BadArgument, match=name) as caught:
        Settings(**{name: "mailto://user:PW@host.org\0"})

    assert "PW" not in str(caught.value)


ROWS = pd.DataFrame(
    {"close": [1.0, 2.0]},
    pd.DatetimeIndex(["2025-01-01", "2025-01-01T01:00"], tz="UTC", name="timestamp"),
)
ROWS.attrs = {
    "dataset": "klines",
    "symbol": "BTCUSDT",
    "interval": "1h",
    "start": "2025-01-01",
    "end": "2025-01-01T02:00",
    "complete": True,
    "missing": [],
    "missing_count": 0,
}
# What each verb needs besides the settings.
VERBS = {
    **dict.fromkeys(
        ["coverage", "download_history", "load_runs", "symbols_in_cache", "validate_cache",
         "assure_quality", "plan_update", "update", "plan_audit", "audit_cache", "list_symbols",
         "coverage_map", "doctor"], ()
    ),
    **dict.fromkeys(
        ["find_gaps", "repair_gaps", "plan_repair", "load_futures", "load_funding",
         "load_agg_trades", "iter_agg_trades", "download_agg_trades_data", "download_funding_data",
         "download_futures_data"], ("BTCUSDT",)
    ),
    **dict.fromkeys(
        ["load_klines", "chart", "download_klines_data", "download_all_data", "plan_downloads",
         "fingerprint"], ("BTCUSDT", "1h")
    ),
    **dict.fromkeys(["load_rows", "arrow_table"], ("klines", "BTCUSDT", "1h")),
    **dict.fromkeys(["plan_universe", "download_universe"], (["BTCUSDT"], "1h")),
    "prune_cache": (None, None),
    "to_parquet": ("there", "BTCUSDT"),
    "sql": ("select 1",),
    "missing": (ROWS,),
    "resample_klines": (ROWS, "2h"),
    "verify_fingerprint": ("there.json",),
    "fetch_missing_data": ("BTCUSDT", 0, 1, {}, logging.getLogger()),
    "klines": ("BTCUSDT", "1h", "2025-01-01"),
    "rows": ("klines", "BTCUSDT", "1h", "2025-01-01"),
    "download_with_retry": (None, "an answer"),
}  # fmt: skip


def _called(name, settings):
    """Call a verb, and have it done."""
    made = getattr(ares, name)(*VERBS[name], settings=settings)
    return ares.run(made) if inspect.isawaitable(made) else made


@pytest.mark.parametrize("wrong", ["a cache", "folder", {}, 0])
@pytest.mark.parametrize("name", VERBS)
def test_what_is_no_settings_is_refused_with_what_to_pass(name, wrong, tmp_path, monkeypatch):
    """Every verb refuses a Cache, a folder and whatever else is passed as its settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text("{}")
    given = ares.Cache(tmp_path) if wrong == "a cache" else wrong

    with pytest.raises(BadArgument) as caught:
        _called(name, given)

    assert str(caught.value).startswith(
        f"settings= takes Settings, and this is a {type(given).__name__}"
    )
    assert "`cache.settings`" in str(caught.value)
    assert "Settings(cache_dir=" in str(caught.value)


def test_every_verb_is_asked():
    """The verbs above are all public functions with settings."""
    takes = {
        name
        for name in ares.__all__
        if inspect.isfunction(value := getattr(ares, name))
        and "settings" in inspect.signature(value).parameters
    }

    assert takes == set(VERBS)
