"""Candles, trades and calculated prices of USD-M and COIN-M: the same rows from every source, and proven."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.binance.csv_tables import ANY, lines_by_cell
from ares_notebook.binance.http import Transport
from ares_notebook.binance.parse import KERNEL, lines_by_kernel, lines_of_csv, lines_of_json
from ares_notebook.binance.rest import Rest
from ares_notebook.errors import BadArgument, NeverDownloaded
from ares_notebook.load import IncompleteData
from ares_notebook.model.datasets import DATASETS, dataset_named
from ares_notebook.model.files import Series
from ares_notebook.model.markets import CM, MARKETS, SPOT, UM, market_named
from ares_notebook.model.time import to_ms

DAY = 1 / 365.25
END = "2025-03-01"
CASES = [
    ("um_klines", "BTCUSDT", "1h", 0.2),
    ("um_klines", "BTCUSDT", "1d", 0.2),
    ("um_klines", "1000SHIBUSDT", "1h", 0.1),
    ("um_agg_trades", "BTCUSDT", None, 2 * DAY),
    ("cm_klines", "BTCUSD_PERP", "1h", 0.2),
    ("cm_funding", "BTCUSD_PERP", None, 0.2),
    ("mark_price_klines", "BTCUSDT", "1h", 0.2),
    ("mark_price_klines", "BTCUSD_PERP", "1h", 0.2),
    ("index_price_klines", "BTCUSDT", "1h", 0.2),
    ("index_price_klines", "BTCUSD", "1h", 0.2),
    ("premium_index_klines", "BTCUSDT", "1h", 0.2),
    ("premium_index_klines", "BTCUSD_PERP", "1h", 0.2),
]
IDS = [f"{dataset} {symbol} {interval}" for dataset, symbol, interval, _ in CASES]


@pytest.fixture(scope="module")
def market():
    with DemoExchange(trades_per_day=6_000, weight_limit=10**6) as running:
        yield running


@pytest.fixture
def settings(market, tmp_path):
    market.faults.clear()
    market.requests.clear()
    market.end_windows()
    return market.settings(cache_dir=tmp_path / "cache", progress=False, retry_delay_seconds=0)


async def download(settings, dataset, symbol, interval, years):
    return await ares.download_all_data(
        symbol, interval or "1h", years, end=END, datasets=[dataset], settings=settings
    )


def contents(settings) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in settings.cache_dir.glob("*.csv")}


@pytest.mark.parametrize(("dataset", "symbol", "interval", "years"), CASES, ids=IDS)
async def test_archive_and_rest_give_the_same_bytes(settings, dataset, symbol, interval, years):
    """By archive and REST together, and by REST alone, each file is the same, complete, and asked for once."""
    by_source = {}
    for source in ("auto", "rest"):
        own = settings.replace(cache_dir=settings.cache_dir / source, source=source)
        report = await download(own, dataset, symbol, interval, years)
        again = await download(own, dataset, symbol, interval, years)

        assert report.complete, str(report)
        assert again.requests == 0
        by_source[source] = contents(own)

    assert by_source["auto"] == by_source["rest"]
    assert all(name.startswith(dataset.replace("_", "")) for name in by_source["auto"])


@pytest.mark.parametrize(("dataset", "symbol", "interval", "years"), CASES, ids=IDS)
async def test_a_cut_out_piece_comes_back(settings, dataset, symbol, interval, years):
    """Rows that are cut out of the middle of a file are a gap, and the next download brings the same bytes."""
    await download(settings, dataset, symbol, interval, years)
    whole = contents(settings)
    name = min(whole)
    lines = whole[name].splitlines(keepends=True)
    third = len(lines) // 3
    (settings.cache_dir / name).write_bytes(b"".join(lines[:third] + lines[2 * third :]))

    with pytest.warns(IncompleteData):
        frame = ares.load_rows(dataset, symbol, interval, settings=settings)
    assert frame.attrs["complete"] is False
    report = await download(settings, dataset, symbol, interval, years)

    assert report.complete, str(report)
    assert contents(settings) == whole


@pytest.mark.parametrize(("dataset", "symbol", "interval", "years"), CASES, ids=IDS)
async def test_all_verbs_know_them(settings, dataset, symbol, interval, years):
    """Coverage, gaps, loading, validation and fingerprint treat each dataset as those of spot."""
    await download(settings, dataset, symbol, interval, years)

    table = ares.coverage(symbol, end=END, datasets=[dataset], settings=settings)
    frame = ares.load_rows(dataset, symbol, interval, settings=settings)
    report = ares.validate_cache(symbol, datasets=[dataset], settings=settings)
    made = ares.fingerprint(symbol, interval, dataset=dataset, settings=settings)

    assert set(table["state"]) == {"complete"}
    assert len(frame) == table["rows"].sum() == made.rows
    assert frame.attrs["complete"] is made.complete is True
    assert frame.attrs["dataset"] == dataset
    assert not [each for each in report.findings if each.severity == "error"], str(report)
    assert report.ok


async def test_trades_of_futures_are_found_by_id(settings, market):
    """Where time reaches two days only, REST finds a day of trades by halving the ids, and asks for none by time."""
    own = settings.replace(source="rest")
    report = await download(own, "um_agg_trades", "BTCUSDT", None, DAY)

    asked = [each.path for each in market.requests if "aggTrades" in each.path]
    assert report.complete, str(report)
    assert asked
    assert not [each for each in asked if "startTime" in each]


async def test_a_missing_candle_of_usd_m_is_never_explained(settings, market):
    """The exchange writes a candle also without a trade, so an empty answer leaves the file incomplete."""
    own = settings.replace(source="rest")
    hour_ms = to_ms(datetime(2025, 2, 20, 6, tzinfo=UTC))

    def without_an_hour(body: bytes) -> bytes:
        return json.dumps([row for row in json.loads(body) if row[0] != hour_ms]).encode()

    market.fail("fapi/v1/klines", times=None, replace_body=without_an_hour)
    report = await download(own, "um_klines", "BTCUSDT", "1h", 10 * DAY)
    table = ares.find_gaps("BTCUSDT", end=END, datasets=["um_klines"], settings=own)
    [gap] = table[table["start"] == "2025-02-20T06:00Z"].to_dict("records")

    assert not report.complete
    assert gap["reason"] == "unconfirmed"
    assert "also without a trade" in gap["note"]


async def test_coin_m_is_asked_for_200_days_at_most(settings):
    """A page of daily candles of COIN-M spans no more than 200 days, and the first candle is found window by window."""
    own = settings.replace(source="rest")
    report = await download(own, "cm_klines", "BTCUSD_PERP", "1d", 1)
    async with Transport(own) as transport:
        first = await Rest(transport).first_row(Series.of("cm_klines", "BTCUSD_PERP", "1h"))

    assert report.complete, str(report)
    assert report.rows_written >= 365
    assert first is not None
    assert datetime(2020, 8, 10, 7, tzinfo=UTC) == datetime.fromtimestamp(
        first.stamp_ms / 1000, UTC
    )


def test_symbols_belong_to_markets():
    """A symbol of COIN-M is no contract of USD-M, and the datasets of both find its market by its form."""
    assert Series.of("mark_price_klines", "BTCUSD_PERP", "1h").market is CM
    assert Series.of("mark_price_klines", "BTCUSDT_250627", "1h").market is UM
    assert Series.of("index_price_klines", "BTCUSD", "1h").market is CM
    assert Series.of("index_price_klines", "BTCBUSD", "1h").market is UM
    assert Series.of("mark_price_klines", "BNBUSD_250627", "1h").market is CM
    assert Series.of("um_klines", "BTCBUSD_210129", "1h").market is UM
    assert Series.of("klines", "BTCFDUSD", "1h").market is SPOT
    with pytest.raises(BadArgument, match="COIN-M"):
        Series.of("cm_klines", "BTCUSDT", "1h")
    with pytest.raises(BadArgument, match="USD-M"):
        Series.of("um_klines", "BTCUSD_PERP", "1h")


@pytest.mark.parametrize("market", MARKETS, ids=lambda each: each.name)
def test_a_market_is_named_once(market):
    """Each market is known by its name, and the field's words for it lead to it."""
    assert market_named(market.name) is market
    assert market_named({"spot": "spot", "um": "futures", "cm": "coinm"}[market.name]) is market


def test_settings_of_earlier_versions_are_no_mixture():
    """URLs of another market without one of COIN-M are settings as before; only asking COIN-M raises."""
    urls = ("spot_url", "spot_fallback_url", "futures_url", "archive_url", "archive_listing_url")
    settings = ares.Settings(**dict.fromkeys(urls, "https://mirror.example"))

    assert settings.market_name == "mirror.example"
    assert settings.api_url("futures_url") == "https://mirror.example"
    with pytest.raises(BadArgument, match="coin_futures_url is not set"):
        settings.api_url("coin_futures_url")


# --- real bytes ---

FILES = [
    ("um_klines", "um_klines/BTCUSDT-1m-2026-09-30.csv"),
    ("um_klines", "um_klines/BTCUSDT-1d-2026-09-30.csv"),
    ("um_agg_trades", "um_aggTrades/BTCUSDT-aggTrades-2026-09-30.csv"),
    ("um_agg_trades", "um_aggTrades/BTCUSDT-aggTrades-2022-04.issue140.csv"),
    ("cm_agg_trades", "cm_aggTrades/BTCUSD_PERP-aggTrades-2023-06-25.csv"),
    ("cm_funding", "cm_fundingRate/BTCUSD_PERP-fundingRate-2023-06.csv"),
]


@pytest.fixture(scope="module")
def futures(recorded):
    folder = recorded.parent / "futures"
    if not folder.is_dir():
        pytest.skip("no recorded futures beside ARES_TEST_DATA")
    return folder


def rows_of(path: Path) -> list[list[str]]:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    return rows if rows[0][0].isdigit() else rows[1:]


def plain(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


@pytest.mark.parametrize(("name", "path"), FILES, ids=[path for _, path in FILES])
def test_recorded_archives_keep_each_cell(futures, name, path):
    """Each cell of a recorded file is in the cache's line, without zeros at the end of numbers."""
    dataset = dataset_named(name)
    rows = rows_of(futures / "archive" / path)
    block = "".join(",".join(row) + "\n" for row in rows).encode()
    lines = bytes(lines_of_csv(dataset, block, path).text).decode().splitlines()
    names = [column.name for column in dataset.published]

    assert len(lines) == len(rows)
    for row, line in zip(rows, lines, strict=True):
        cells = dict(zip(names, row, strict=False))
        for column, cell in zip(dataset.columns[1:], line.split(",")[1:], strict=True):
            text = cells[column.name]
            wanted = (
                plain(text)
                if column.trimmed
                else text.capitalize()
                if text in ("true", "false")
                else text
            )
            assert cell == wanted


@pytest.mark.skipif(KERNEL is None, reason="the package was built without a compiler")
@pytest.mark.parametrize("path", [path for name, path in FILES if name != "cm_funding"])
def test_recorded_archives_take_the_fast_path(futures, path):
    """Recorded candles and trades of futures are parsed by the fast path, to the same lines as by cell."""
    name = next(name for name, each in FILES if each == path)
    block = "".join(",".join(row) + "\n" for row in rows_of(futures / "archive" / path)).encode()
    fast = lines_by_kernel(dataset_named(name), block)

    assert fast is not None
    assert bytes(fast.text) == bytes(lines_by_cell(dataset_named(name), block, path, ANY).text)


@pytest.mark.parametrize(
    ("name", "symbol", "interval", "path"),
    [
        ("um_klines", "BTCUSDT", "1d", "rest_um/fapi-v1-klines__endTime=1673136000000_interval=1d_limit=1000_startTime=1672531200000_symbol=BTCUSDT.json"),
        ("um_klines", "LTCUSDT", "5m", "rest_um/fapi-v1-klines__endTime=1602819889_interval=5m_startTime=1602816289_symbol=LTCUSDT.json"),
        ("um_agg_trades", "BTCUSDT", None, "rest_um/fapi-v1-aggTrades__limit=5_symbol=BTCUSDT.json"),
        ("cm_klines", "BTCUSD_PERP", "1d", "rest_cm/dapi-v1-klines__endTime=1673136000000_interval=1d_limit=1000_startTime=1672531200000_symbol=BTCUSD_PERP.json"),
        ("cm_agg_trades", "BTCUSD_PERP", None, "rest_cm/dapi-v1-aggTrades__limit=5_symbol=BTCUSD_PERP.json"),
        ("mark_price_klines", "BTCUSD_PERP", "1M", "rest_cm/dapi-v1-markPriceKlines__interval=1M_limit=5_symbol=BTCUSD_PERP.json"),
        ("index_price_klines", "BTCUSD", "1M", "rest_cm/dapi-v1-indexPriceKlines__interval=1M_limit=5_pair=BTCUSD.json"),
    ],
)  # fmt: skip
def test_recorded_answers_are_read(futures, name, symbol, interval, path):
    """Recorded pages of REST become as many lines as they have rows, with the text of their numbers."""
    body = (futures / path).read_bytes()
    rows = json.loads(body)
    lines = lines_of_json(Series.of(name, symbol, interval), body, path)
    text = bytes(lines.text).decode().splitlines()

    assert len(text) == len(rows)
    first = rows[0]
    price = first[1] if isinstance(first, list) else first["p"]
    assert text[0].split(",")[1] == plain(price)


def test_recorded_lists_of_contracts_are_read(futures):
    """The exchangeInfo of both markets names each contract, and which of them are over."""
    from ares_notebook.binance.parse import read_info  # noqa: PLC0415 - one test needs it

    um = read_info((futures / "rest_um/fapi-v1-exchangeInfo.json").read_bytes())
    cm = read_info((futures / "rest_cm/dapi-v1-exchangeInfo.json").read_bytes())

    assert um.symbols["BTCUSDT"].onboard_ms == 1_569_398_400_000
    assert not um.symbols["BTCUSDT"].is_over
    assert "BTCUSD_PERP" in cm.symbols
    assert not cm.symbols["BTCUSD_PERP"].is_over


def test_a_row_that_is_doubled_counts_once(futures):
    """In the archive of September 2022 each trade stands twice [binance-public-data#203]; the cache has it once."""
    path = futures / "archive/um_aggTrades/BTCUSDT-aggTrades-2022-09.issue203.csv"
    rows = rows_of(path)
    block = "".join(",".join(row) + "\n" for row in rows).encode()

    assert len(lines_of_csv(dataset_named("um_agg_trades"), block, "x")) == len(
        {row[0] for row in rows}
    )


def test_no_other_module_names_a_dataset_of_futures():
    """Outside of model/, of plots and of the demo no line of code names one of the new datasets."""
    package = Path(ares.__file__).parent
    names = [each.name for each in DATASETS[3:]]
    for path in package.rglob("*.py"):
        if path.parts[len(package.parts)] in ("model", "plots", "demo"):
            continue
        code = path.read_text(encoding="utf-8")
        for name in names:
            assert f"{name.upper()}" not in code, path
            assert f'name == "{name}"' not in code, path


async def test_a_repair_without_names_is_about_all_but_trades(settings):
    """Gaps in every dataset that the cache holds are closed, but for trades, which are only repaired by name."""
    names = ["klines", "um_klines", "metrics", "um_agg_trades"]
    await ares.download_all_data(
        "BTCUSDT", "1h", 2 * DAY, end=END, datasets=names, settings=settings
    )
    whole = contents(settings)
    for name, text in whole.items():
        lines = text.splitlines(keepends=True)
        (settings.cache_dir / name).write_bytes(b"".join([*lines[:20], *lines[30:]]))
    report = await ares.repair_gaps("BTCUSDT", settings=settings)
    left = {name for name, text in contents(settings).items() if text != whole[name]}

    assert report.complete
    assert left == {name for name in whole if name.startswith("umaggtrades")}


async def test_candles_of_another_dataset_are_named(settings):
    """Where the cache has no spot candles of an interval, but those of other datasets, these are named."""
    await download(settings, "um_klines", "BTCUSDT", "1h", 2 * DAY)
    for look in (ares.coverage, ares.load_klines):
        with pytest.raises(NeverDownloaded, match=r"of um_klines: `datasets=\(\"um_klines\",\)`"):
            look("BTCUSDT", "1h", settings=settings)
