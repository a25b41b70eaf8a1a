"""Contracts that the API has forgotten: what then tells whether there was one, when it ended, and what is late."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange

NOW = datetime(2026, 10, 1, 12, 34, tzinfo=UTC)
# Settled on 2024-09-10 at 03:00.
SETTLED = "MATICUSDT"
REFUSAL = b'{"code":-1121,"msg":"Invalid symbol."}'


@pytest.fixture
def market():
    with DemoExchange(now=NOW, trades_per_day=6_000, weight_limit=10**6) as running:
        yield running


@pytest.fixture
def settings(market, tmp_path):
    return market.settings(
        cache_dir=tmp_path / "cache", progress=False, max_retries=1, retry_delay_seconds=0
    )


def forget(market, symbol, api="fapi/v1"):
    """Let API and exchangeInfo of a market know nothing of a symbol any more."""

    def without(body: bytes) -> bytes:
        info = json.loads(body)
        info["symbols"] = [each for each in info["symbols"] if each["symbol"] != symbol]
        return json.dumps(info).encode()

    market.fail(
        rf"{api}/(\w*[kK]lines|aggTrades).*{symbol}", times=None, status=400, body=REFUSAL,
        content_type="application/json",
    )  # fmt: skip
    market.fail(f"{api}/exchangeInfo", times=None, replace_body=without)


async def download(settings, datasets, symbol, start, end, *, interval="1h", **fields):
    return await ares.download_all_data(
        symbol, interval, start=start, end=end, datasets=datasets,
        settings=settings.model_copy(update=fields),
    )  # fmt: skip


def rows_by_dataset(report) -> dict[str, int]:
    rows: dict[str, int] = {}
    for step in report.steps:
        rows[step.dataset] = rows.get(step.dataset, 0) + step.rows
    return rows


# --- whether there was one ---


@pytest.mark.parametrize(
    ("datasets", "interval", "missing"),
    [
        (["um_klines", "um_agg_trades", "metrics", "klines"], "1w", "/um/.*/1w/"),
        (["mark_price_klines", "metrics"], "3d", "/um/.*/3d/"),
        (["premium_index_klines", "metrics", "klines"], "1h", "premiumIndexKlines"),
        (["um_klines", "metrics"], "1h", "um/.*/klines"),
    ],
)
async def test_a_folder_that_is_missing_denies_no_contract(
    settings, market, datasets, interval, missing
):
    """Of a contract that is in the archive all rows come, also if one dataset or interval of it has no folder."""
    forget(market, SETTLED)
    market.withhold(missing)
    report = await download(
        settings, datasets, SETTLED, "2024-08-05", "2024-08-12", interval=interval
    )
    rows = rows_by_dataset(report)

    assert not report.failed, str(report)
    assert "no perpetual" not in str(report)
    assert not report.complete
    assert rows["metrics"] == 11 * 288
    assert rows.get("um_agg_trades", 10_000) >= 10_000


async def test_funding_alone_denies_no_contract(settings, market):
    """That the archive has no funding of a forgotten contract proves no missing contract, where it has candles."""
    forget(market, SETTLED)
    market.fail("fapi/v1/fundingRate", times=None, replace_body=b"[]")
    market.withhold(f"fundingRate/{SETTLED}")
    report = await download(settings, ["futures", "klines"], SETTLED, "2024-08-01", "2024-09-01")

    assert "no perpetual" not in str(report)
    assert not report.complete


async def test_one_endpoint_denies_no_contract(settings, market):
    """A contract of which one endpoint has no row is downloaded from those that have, without the archive."""
    forget(market, SETTLED)
    market.faults.clear()
    forget(market, SETTLED, "fapi/v1(?!.*premium)")
    datasets = ["um_klines", "premium_index_klines"]
    report = await download(settings, datasets, SETTLED, "2024-08-01", "2024-09-01", source="rest")

    assert "there are no" not in str(report)
    assert rows_by_dataset(report)["premium_index_klines"] == 31 * 24


async def test_cached_rows_of_any_dataset_contradict(settings, market):
    """Where the cache has rows of one dataset of a contract, no other is called one that never was."""
    await download(settings, ["mark_price_klines"], "BTCUSDT", "2026-08-01", "2026-09-01")
    forget(market, "BTCUSDT")
    market.withhold("data/futures/um/.*BTCUSDT")
    report = await download(
        settings, ["um_klines", "mark_price_klines", "klines"], "BTCUSDT",
        "2026-08-01", "2026-09-02",
    )  # fmt: skip

    assert not report.complete
    assert "there is no perpetual" not in str(report)


async def test_a_spot_symbol_without_weeks_is_known(settings, market):
    """A spot symbol that the API refuses is known by its days and trades in the archive, also if it has no weeks there."""
    market.fail(
        "api/v3/.*BTCUSDT", times=None, status=400, body=REFUSAL, content_type="application/json"
    )
    market.withhold("spot/.*/1w/")
    report = await download(
        settings, ["klines", "agg_trades"], "BTCUSDT", "2024-08-05", "2024-08-12", interval="1w"
    )

    assert rows_by_dataset(report)["agg_trades"] >= 10_000
    assert not report.complete


async def test_candles_of_a_contract_without_funding_make_a_name_right(settings, market):
    """A forgotten contract without a spot symbol of its name is known by its candles, also if it has no funding."""
    forget(market, SETTLED)
    refused = {"status": 400, "body": REFUSAL, "content_type": "application/json"}
    market.fail(f"api/v3/.*{SETTLED}", times=None, **refused)
    market.withhold(f"data/spot/.*{SETTLED}|fundingRate/{SETTLED}")
    report = await download(settings, ["klines", "um_klines"], SETTLED, "2024-08-01", "2024-09-01")

    assert rows_by_dataset(report) == {"um_klines": 31 * 24}


async def test_a_name_that_nobody_has_is_denied_still(settings):
    """Of a spot symbol without a contract of its name no folder is found, and the report says so."""
    report = await download(settings, ["futures", "klines"], "ETHBTC", "2026-08-01", "2026-08-03")

    assert report.complete
    assert "there is no perpetual of this name" in str(report)
