"""Datasets of futures against each other: COIN-M candles, premium, and funding rates."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import ares_notebook as ares
from ares_notebook import Settings
from ares_notebook.cache.store import Store
from ares_notebook.demo.symbols import PRICE_GAPS
from ares_notebook.errors import DataError
from ares_notebook.model.datasets import CM_AGG_TRADES, FUTURES, PREMIUM_INDEX_KLINES
from ares_notebook.model.markets import CM, UM
from ares_notebook.model.relations import RELATIONS, funding_rate
from ares_notebook.model.rows import Table, schema_of
from ares_notebook.model.time import utc
from ares_notebook.quality.premium import compare_funding
from ares_notebook.quality.rebuild import candles_of_trades
from ares_notebook.quality.reconcile import reconcile

Vouch = Callable[[Settings, str], None]

PRICES = ("mark_price_klines", "premium_index_klines")
PREMIUM_OF_COIN_M = "1m premium index of COIN-M futures from mark and index price"
PREMIUM_OF_USD_M = "1m premium index of USD-M futures from mark and index price"
RATES_OF_USD_M = "funding rates of USD-M futures from 1m premium index"


async def bring(
    settings: Settings, window: str, symbol: str, interval: str, *datasets: str
) -> None:
    """Bring datasets of a window that is written ``start/end``."""
    start, end = window.split("/")
    await ares.download_all_data(
        symbol, interval, start=start, end=end, datasets=datasets, settings=settings
    )


def found(settings: Settings) -> dict[tuple[str, str], tuple]:
    """How each comparison came out: compared, equal, missing, first difference."""
    store = Store(settings)
    table = reconcile(store, store.files(), settings)
    return {row[:2]: row[2:] for row in table.itertuples(index=False, name=None)}


def reconciliations(settings: Settings, symbol: str | None = None) -> list[tuple[str, int, str]]:
    """Severity, count and words of the differences that a validation tells."""
    report = ares.validate_cache(symbol, settings=settings)
    assert report.ok, str(report)
    return [
        (each.severity, each.count, each.example)
        for each in report.findings
        if each.check == "reconciliation"
    ]


def change(
    settings: Settings, name: str, line: int, cell: int, to: Callable[[str], str]
) -> list[str]:
    """Change one number of a cache file; the cells of its row."""
    path = settings.cache_dir / name
    lines = path.read_text().splitlines()
    cells = lines[line].split(",")
    cells[cell] = to(cells[cell])
    lines[line] = ",".join(cells)
    path.write_text("\n".join([*lines, ""]))
    return cells


def replace_by_words(settings: Settings, name: str) -> None:
    """Replace one number of a cache file by letters; by size and time it is the file that was measured."""
    path = settings.cache_dir / name
    status = path.stat()
    change(settings, name, 40, 1, lambda text: "x" * len(text))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_relation_is_within_one_market():
    """Each market that has a dataset has the datasets that its rows follow from."""
    for relation in RELATIONS:
        for source in relation.sources:
            assert set(relation.dataset.markets) <= set(source.markets)


# --- candles of COIN-M ---

DAY = "2025-02-10/2025-02-11"


@pytest.mark.parametrize(
    ("symbol", "window"),
    [
        ("BTCUSD_PERP", DAY),
        ("ETHUSD_PERP", DAY),
        # Of a contract that was delivered only days between others are known to be complete.
        ("BTCUSD_250627", "2025-05-09/2025-05-12"),
    ],
)
async def test_trades_of_coin_m_make_up_its_minutes(settings, symbol, window):
    """Contracts of 100 dollars (BTC) or 10 (others), divided by their prices, add up to the coins of each minute."""
    await bring(settings, window, symbol, "1m", "cm_klines", "cm_agg_trades")
    compared, equal, missing, words = found(settings)[symbol, "1m of COIN-M futures from trades"]

    assert compared >= 1440
    assert (equal, missing, words) == (compared, 0, "")


async def test_small_candles_of_coin_m_make_up_the_large_ones(settings):
    """Contracts and coins of minutes add up to those of hours and days, to a last digit a trade."""
    for interval in ("1m", "1h", "1d"):
        await bring(settings, DAY, "ETHUSD_PERP", interval, "cm_klines")

    assert found(settings) == {
        ("ETHUSD_PERP", "1h of COIN-M futures from 1m"): (240, 240, 0, ""),
        ("ETHUSD_PERP", "1d of COIN-M futures from 1m"): (10, 10, 0, ""),
    }


@pytest.mark.parametrize(
    ("cell", "column", "step"),
    [
        (5, "volume", "1"),
        (6, "base_asset_volume", "0.00001"),
        (8, "taker_buy_volume", "-1"),
        (9, "taker_buy_base_asset_volume", "-0.00001"),
    ],
)
async def test_one_wrong_number_of_coin_m_is_told(settings, vouch: Vouch, cell, column, step):
    """A minute with other contracts or coins than its trades is information that names the column and the reason."""
    await bring(settings, DAY, "BTCUSD_PERP", "1m", "cm_klines", "cm_agg_trades")
    name = "cmklines_BTCUSD_PERP_1m_2025-02.csv"
    cells = change(
        settings, name, 9 * 1440 + 700, cell, lambda text: str(Decimal(text) + Decimal(step))
    )
    vouch(settings, name)
    [(severity, count, words)] = reconciliations(settings)

    assert (severity, count) == ("information", 1)
    assert f"first at {cells[0]} {column}: " in words
    assert words.endswith("0.1% of the candles differ, " + RELATIONS[2].reason)


async def test_large_candles_of_coin_m_that_do_not_add_up_are_a_warning(settings, vouch: Vouch):
    """An hour with another number of contracts than its minutes is a fault of one side."""
    for interval in ("1m", "1h"):
        await bring(settings, DAY, "BTCUSD_PERP", interval, "cm_klines")
    name = "cmklines_BTCUSD_PERP_1h_2025-02.csv"
    change(settings, name, 100, 5, lambda text: str(int(text) + 1))
    vouch(settings, name)
    [(severity, count, words)] = reconciliations(settings)

    assert (severity, count) == ("warning", 1)
    assert "1h of COIN-M futures from 1m: first at 2025-02-05 03:00:00 volume: " in words


async def test_coin_m_is_compared_where_both_sides_are(settings):
    """Of two days of candles only the one with trades is compared, and without trades none."""
    await bring(settings, "2025-02-10/2025-02-12", "BTCUSD_PERP", "1m", "cm_klines")
    assert found(settings) == {}

    await bring(settings, "2025-02-11/2025-02-12", "BTCUSD_PERP", "1m", "cm_agg_trades")
    [(compared, equal, *_)] = found(settings).values()
    assert compared == equal == 1440


def test_contracts_at_no_price_are_no_coins():
    """A trade at a price of zero cannot be counted in coins, which is an error and no number."""
    row = (0, "0", "5", "True", 1, 1, 1)
    trades = pa.table([[cell] for cell in row], schema=schema_of(CM_AGG_TRADES))

    with pytest.raises(DataError, match="divided by a price"):
        candles_of_trades([trades], "1m", RELATIONS[2].dataset, 100)


def test_recorded_candles_count_contracts_of_these_values(recorded):
    """Of recorded COIN-M candles the coins lie between those of their contracts at the high and at the low."""
    folder = Path(recorded).parent / "futures" / "rest_cm"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: no recorded answers of COIN-M")
    checked = 0
    for path in folder.glob("dapi-v1-klines__*symbol=*.json"):
        usd = CM.contract_usd(path.stem.partition("symbol=")[2].partition(".")[0])
        for _, _, high, low, _, contracts, _, coins, *_ in json.loads(path.read_bytes()):
            value = Decimal(contracts) * usd
            assert value / Decimal(high) <= Decimal(coins) <= value / Decimal(low)
            checked += 1
    exchange_info = json.loads((folder / "dapi-v1-exchangeInfo.json").read_bytes())

    assert checked > 10
    assert all(
        CM.contract_usd(each["symbol"]) == each["contractSize"] for each in exchange_info["symbols"]
    )
    assert UM.contract_usd("BTCUSD_PERP") == 0


# --- premium index ---


async def bring_prices(settings: Settings, window: str) -> None:
    """Bring mark price, index price and premium of COIN-M."""
    await bring(settings, window, "BTCUSD_PERP", "1m", *PRICES)
    await bring(settings, window, "BTCUSD", "1m", "index_price_klines")


def rows_of(settings: Settings, name: str) -> list[list[str]]:
    with (settings.cache_dir / name).open() as file:
        return list(csv.reader(file))


def make_premium_exact(settings: Settings, month: str) -> None:
    """Write the premium that mark and index price have, to eight digits, into the file of premium."""
    header, *index = rows_of(settings, f"indexpriceklines_BTCUSD_1m_{month}.csv")
    mark = {row[0]: row for row in rows_of(settings, f"markpriceklines_BTCUSD_PERP_1m_{month}.csv")}
    lines = [",".join(header)]
    for row in index:
        first, last = (float(mark[row[0]][at]) / float(row[at]) - 1 for at in (1, 4))
        cells = (first, max(first, last), min(first, last), last)
        lines.append(",".join([row[0], *(f"{cell:.8f}" for cell in cells)]))
    path = settings.cache_dir / f"premiumindexklines_BTCUSD_PERP_1m_{month}.csv"
    path.write_text("\n".join([*lines, ""]))


@pytest.mark.parametrize("cell", [1, 4])
async def test_a_premium_that_mark_and_index_price_do_not_have_is_told(settings, cell):
    """Where premium, mark and index price agree, one open or close that is off is information; 0.04 % is not off."""
    await bring_prices(settings, "2025-02-01/2025-02-03")
    make_premium_exact(settings, "2025-02")
    name = "premiumindexklines_BTCUSD_PERP_1m_2025-02.csv"
    change(settings, name, 40, cell, lambda text: f"{float(text) + 0.0004:.8f}")
    assert found(settings)["BTCUSD_PERP", PREMIUM_OF_COIN_M] == (2880, 2880, 0, "")

    cells = change(settings, name, 2000, cell, lambda text: f"{float(text) - 0.0006:.8f}")
    compared, equal, missing, words = found(settings)["BTCUSD_PERP", PREMIUM_OF_COIN_M]
    assert (compared, equal, missing) == (2880, 2879, 0)
    assert words.startswith(f"{cells[0]} {'open' if cell == 1 else 'close'}: ")
    assert words.endswith(f", {cells[cell]} stored")


async def test_the_premium_of_the_demo_is_information_with_its_share(settings):
    """Premium, mark and index price of the demo differ in some minutes, which no validation calls wrong."""
    await bring(settings, "2025-02-01/2025-02-02", "BTCUSDT", "1m", *PRICES, "index_price_klines")
    [(severity, count, words)] = reconciliations(settings)

    assert severity == "information"
    assert 0 < count < 1440
    assert words.startswith(f"{PREMIUM_OF_USD_M}: first at 2025-02-01 ")
    assert (
        f"{count / 1440:.1%} of the candles differ by more than 0.050%, as the exchange's own may"
        in words
    )


async def test_a_contract_is_compared_with_the_index_of_its_pair(settings):
    """The premium of BTCUSD_PERP is compared with the index of BTCUSD also where only that contract is validated."""
    await bring_prices(settings, "2025-02-01/2025-02-02")
    one, all_of_them = (
        ares.validate_cache(symbol, settings=settings).reconciliation
        for symbol in ("BTCUSD_PERP", None)
    )

    assert list(one["what"]) == [PREMIUM_OF_COIN_M]
    assert one.equals(all_of_them)


async def test_premium_is_compared_as_far_as_all_three_go(settings):
    """Minutes and months that one of premium, mark and index price lacks are not compared."""
    await bring(settings, "2025-01-01/2025-02-03", "BTCUSD_PERP", "1m", "premium_index_klines")
    await bring(settings, "2025-02-01/2025-02-02", "BTCUSD_PERP", "1m", "mark_price_klines")
    assert found(settings) == {}

    await bring(settings, "2025-02-01/2025-02-03", "BTCUSD", "1m", "index_price_klines")
    assert found(settings)["BTCUSD_PERP", PREMIUM_OF_COIN_M][0] == 1440


async def test_permanent_gaps_of_prices_are_not_compared(settings):
    """Minutes that mark and index price never had are no difference of the premium, which has them."""
    gap_minutes = PRICE_GAPS[-1][1] - PRICE_GAPS[-1][0]
    day = utc(PRICE_GAPS[-1][0] * 60_000).replace(hour=0, minute=0)
    minutes = int((day.day) * 1440)
    window = f"{day:%Y-%m}-01/{day:%Y-%m}-{day.day + 1:02d}"
    await bring_prices(settings, window)

    assert found(settings)["BTCUSD_PERP", PREMIUM_OF_COIN_M][0] == minutes - gap_minutes


async def test_a_price_that_is_no_number_is_told(settings):
    """A month of prices with a cell that is no number is not equal, and its difference names the column."""
    await bring_prices(settings, "2025-02-01/2025-02-03")
    name = "markpriceklines_BTCUSD_PERP_1m_2025-02.csv"
    replace_by_words(settings, name)
    compared, equal, _, words = found(settings)["BTCUSD_PERP", PREMIUM_OF_COIN_M]

    assert (compared, equal) == (1, 0)
    assert f"open of {name} is no number" in words


async def test_prices_with_a_gap_that_nothing_explains_are_not_compared(settings):
    """A month of mark prices that lacks a minute without a reason says nothing about the premium."""
    await bring_prices(settings, "2025-02-01/2025-02-03")
    path = settings.cache_dir / "markpriceklines_BTCUSD_PERP_1m_2025-02.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:500] + lines[501:]))

    assert found(settings) == {}


# --- funding rates ---


@pytest.mark.parametrize(
    ("symbol", "dataset", "window", "compared"),
    [
        ("BTCUSDT", "futures", "2025-02-01/2025-02-05", 11),
        ("BTCUSD_PERP", "cm_funding", "2025-02-01/2025-02-05", 11),
        # Of four hours, before and since rates of short intervals follow the rule.
        ("币安人生USDT", "futures", "2025-11-01/2025-11-03", 11),
        ("SOLUSDT", "futures", "2025-08-01/2025-08-03", 0),
    ],
)
async def test_funding_of_the_demo_follows_from_its_premium(
    settings, symbol, dataset, window, compared
):
    """Rates are those of the average premium of their hours; those that no public rule gives are not compared."""
    await bring(settings, window, symbol, "1m", dataset, "premium_index_klines")
    outcomes = [row[:3] for row in found(settings).values()]

    assert outcomes == ([(compared, compared, 0)] if compared else [])


async def test_a_rate_that_the_premium_does_not_give_is_information(settings, vouch: Vouch):
    """One rate that is 0.002 % off is told with both rates, its share and the reason; the file is no error."""
    await bring(
        settings, "2025-02-01/2025-02-05", "BTCUSDT", "1m", "futures", "premium_index_klines"
    )
    name = "futures_BTCUSDT_2025-02.csv"
    change(settings, name, 7, 1, lambda text: f"{Decimal(text) + Decimal('0.00002'):.8f}")
    vouch(settings, name)
    [(severity, count, words)] = reconciliations(settings)

    assert (severity, count) == ("information", 1)
    assert words.startswith(f"{RATES_OF_USD_M}: first at 2025-02-03 00:00:00 fundingRate: ")
    assert "9.1% of the payments differ by more than 0.001%, as the exchange's own may" in words


async def test_a_premium_that_is_no_number_gives_no_rate(settings):
    """Rates whose premium has a cell that is no number are not equal, and the words name series and column."""
    await bring(
        settings, "2025-02-01/2025-02-05", "BTCUSDT", "1m", "futures", "premium_index_klines"
    )
    replace_by_words(settings, "premiumindexklines_BTCUSDT_1m_2025-02.csv")
    compared, equal, _, words = found(settings)["BTCUSDT", RATES_OF_USD_M]

    assert (compared, equal) == (1, 0)
    assert words.startswith(
        "futures_BTCUSDT: open of premiumindexklines_BTCUSDT_1m_2025-02.csv is no"
    )


async def test_funding_without_minutes_of_premium_is_not_compared(settings):
    """Neither hours of premium nor a premium of other days give a rate."""
    await bring(
        settings, "2025-02-01/2025-02-05", "BTCUSDT", "1h", "futures", "premium_index_klines"
    )
    assert found(settings) == {}

    await bring(settings, "2025-01-30/2025-02-01", "BTCUSDT", "1m", "premium_index_klines")
    assert found(settings) == {}


async def test_the_first_payment_of_a_month_needs_the_premium_of_the_last(settings):
    """The payment at 00:00 of the first of a month is compared where the month before is there, too."""
    await bring(settings, "2025-01-01/2025-02-02", "BTCUSDT", "1h", "futures")
    await bring(settings, "2025-02-01/2025-02-02", "BTCUSDT", "1m", "premium_index_klines")
    assert found(settings)["BTCUSDT", RATES_OF_USD_M][:2] == (2, 2)

    await bring(settings, "2025-01-01/2025-02-01", "BTCUSDT", "1m", "premium_index_klines")
    # All but the first one of all, whose interval nothing shows.
    assert found(settings)["BTCUSDT", RATES_OF_USD_M][:2] == (95, 95)


HOUR_MS = 3_600_000


def premium_of(values: np.ndarray, start_ms: int = 0) -> Table:
    """Minutes of premium that each have one value."""
    stamps = (start_ms + np.arange(len(values)) * 60_000) * 1000
    return pa.table([stamps, *[values] * 4], names=list(PREMIUM_INDEX_KLINES.column_names))


def payments_of(*rows: tuple[int, float]) -> Table:
    """Funding payments: hour and rate."""
    stamps = [hour * HOUR_MS * 1000 + 5000 for hour, _ in rows]
    return pa.table([stamps, [rate for _, rate in rows]], names=list(FUTURES.column_names))


def test_later_minutes_weigh_more():
    """Of a premium that rises from 0 to 0.3 % the average is two thirds of that, and the rate 0.05 % less."""
    premium = premium_of(np.linspace(0, 0.003, 480))
    blocks = [premium.slice(at, 100) for at in range(0, 480, 100)]
    right = compare_funding([payments_of((0, 0.0), (8, 0.0015))], blocks, 0.00001)
    mean = compare_funding([payments_of((0, 0.0), (8, 0.001))], blocks, 0.00001)

    assert (right.compared, right.equal) == (1, 1)
    assert (mean.compared, mean.equal) == (1, 0)
    assert mean.first_difference.startswith("1970-01-01 08:00:00 fundingRate: 0.0015")


def test_a_payment_without_all_its_minutes_is_not_compared():
    """One minute of premium that is missing leaves its payment out, and no other."""
    blocks = [premium_of(np.full(479, 0.002)), premium_of(np.full(480, 0.002), 8 * HOUR_MS)]
    payments = [payments_of((0, 0.0)), payments_of((8, 0.0), (16, 0.0015), (40, 0.0))]
    outcome = compare_funding(payments, blocks, 0.00001)

    assert (outcome.compared, outcome.equal) == (1, 1)


def test_the_public_rule_gives_these_rates():
    """Within 0.05 % of the interest rate this is paid, beyond it the premium less 0.05 %; of four hours the half."""
    since_ms = 1_758_182_460_000

    assert funding_rate(0.0005, 8, 0) == pytest.approx(0.0001)
    assert funding_rate(-0.0003, 8, 0) == pytest.approx(0.0001)
    assert funding_rate(0.002, 8, 0) == pytest.approx(0.0015)
    assert funding_rate(-0.002, 8, 0) == pytest.approx(-0.0015)
    assert funding_rate(0.002, 4, since_ms) == pytest.approx(0.00075)
    assert funding_rate(0.002, 4, since_ms - 1) is None
    assert funding_rate(0.002, 16, since_ms) is None


# --- a premium that is none ---


def flatten(settings: Settings, name: str, rows: slice, price: str) -> None:
    """Write one price into all cells of some rows of a cache file."""
    path = settings.cache_dir / name
    header, *lines = path.read_text().splitlines()
    lines[rows] = [",".join([line.split(",")[0], *[price] * 4]) for line in lines[rows]]
    path.write_text("\n".join([header, *lines, ""]))


@pytest.mark.parametrize("price", ["0", "-0.0001"])
@pytest.mark.parametrize("interval", ["1m", "1h", "1d"])
async def test_a_premium_that_does_not_vary_is_told(settings, price, interval):
    """A premium of one value for a day or longer is a warning with its rows; one of less than a day is none."""
    await bring(settings, "2025-02-01/2025-02-06", "BTCUSDT", interval, "premium_index_klines")
    name = f"premiumindexklines_BTCUSDT_{interval}_2025-02.csv"
    per_day = {"1m": 1440, "1h": 24, "1d": 1}[interval]
    before = unchanged(settings)
    flatten(settings, name, slice(per_day, 2 * per_day - 1), price)
    short = unchanged(settings)
    flatten(settings, name, slice(per_day, 3 * per_day), price)

    assert (before, short) == ([], [])
    assert unchanged(settings) == [("warning", 2 * per_day)]
    flatten(settings, name, slice(None), price)
    assert unchanged(settings) == [("warning", 5 * per_day)]


def unchanged(settings: Settings) -> list[tuple[str, int]]:
    """Severity and count of the prices that a validation finds unchanged."""
    return [
        (each.severity, each.count)
        for each in ares.validate_cache(settings=settings).findings
        if each.check == "unchanged prices"
    ]


async def test_prices_of_the_demo_vary(settings):
    """Mark price, index price and premium, as they come, are never found unchanged."""
    await bring(settings, "2025-02-01/2025-02-06", "BTCUSDT", "1h", *PRICES, "index_price_klines")

    assert unchanged(settings) == []


async def test_the_premium_of_another_contract_is_told_by_the_rates(settings, vouch: Vouch):
    """Most funding rates do not follow from the premium of another contract, and the finding says that it may be one."""
    window = "2025-02-01/2025-02-15"
    await bring(settings, window, "BTCUSDT", "1m", *PRICES, "index_price_klines", "futures")
    await bring(settings, window, "ETHUSDT", "1m", "premium_index_klines")
    own, other = (
        settings.cache_dir / f"premiumindexklines_{symbol}_1m_2025-02.csv"
        for symbol in ("BTCUSDT", "ETHUSDT")
    )
    assert found(settings)["BTCUSDT", RATES_OF_USD_M][:2] == (41, 41)
    own.write_bytes(other.read_bytes())
    vouch(settings, own.name)
    words = {each[2].split(":")[0]: each for each in reconciliations(settings, "BTCUSDT")}

    severity, count, told = words[RATES_OF_USD_M]
    assert (severity, count > 20) == ("information", True)
    assert "so do rates from the premium of another contract" in told
    assert "that of another contract may differ by no more" in words[PREMIUM_OF_USD_M][2]
