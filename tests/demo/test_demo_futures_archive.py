"""The archive of futures has the folders, formats and faults of Binance's."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import os
import re
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import Ask, Reply, ask_of

from ares_notebook.demo import DemoExchange

# A day after the labels of metrics changed their meaning.
NOW = datetime(2026, 10, 1, 12, 34, 17, tzinfo=UTC)
KLINES_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)
TRADES_HEADER = (
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
)
KINDS = ("klines", "markPriceKlines", "indexPriceKlines", "premiumIndexKlines")


@pytest.fixture(scope="module")
def futures() -> Iterator[DemoExchange]:
    with DemoExchange(now=NOW, weight_limit=10**6) as running:
        yield running


@pytest.fixture
def ask(futures: DemoExchange) -> Ask:
    def ask_futures(path: str, **query: object) -> Reply:
        return ask_of(futures, path, {}, **query)

    return ask_futures


def text_of(ask: Ask, key: str) -> str:
    """Text of the member of a zip file below ``data/futures``."""
    reply = ask(f"/data/futures/{key}.zip")
    assert reply.status == 200, key
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        [name] = archive.namelist()
        assert name == f"{key.rpartition('/')[2]}.csv"
        return archive.read(name).decode()


def metrics_of(ask: Ask, date: str, symbol: str = "BTCUSDT") -> list[list[str]]:
    """Rows of a file of metrics."""
    product = "cm" if symbol.endswith("_PERP") else "um"
    key = f"{product}/daily/metrics/{symbol}/{symbol}-metrics-{date}"
    return list(csv.reader(io.StringIO(text_of(ask, key))))[1:]


def listed(ask: Ask, prefix: str) -> list[str]:
    """Names that a folder of the listing has in it."""
    found: list[str] = []
    marker = ""
    while True:
        body = ask("/data.binance.vision", prefix=prefix, delimiter="/", marker=marker).body
        page = ET.fromstring(body)  # noqa: S314 - our own XML
        space = page.tag.removesuffix("ListBucketResult")
        found += [item.text or "" for item in page.iter(f"{space}Key")]
        found += [item.text or "" for item in page.iterfind(f"{space}CommonPrefixes/{space}Prefix")]
        marker = page.findtext(f"{space}NextMarker") or ""
        if not marker:
            return [name.removeprefix(prefix) for name in found if not name.endswith("CHECKSUM")]


def test_the_folders_of_futures(ask: Ask) -> None:
    """Of each cadence there are just the folders that Binance has, metrics daily and funding monthly."""
    for product in ("um", "cm"):
        common = {"aggTrades/", *(f"{kind}/" for kind in KINDS)}
        root = f"data/futures/{product}/"
        assert set(listed(ask, f"{root}daily/")) == common | {"metrics/"}
        assert set(listed(ask, f"{root}monthly/")) == common | {"fundingRate/"}
    assert listed(ask, "data/futures/cm/daily/indexPriceKlines/") == ["BTCUSD/", "ETHUSD/"]
    assert listed(ask, "data/futures/cm/daily/klines/") == [
        "BTCUSD_250627/", "BTCUSD_261225/", "BTCUSD_PERP/", "ETHUSD_PERP/",
    ]  # fmt: skip
    assert "1s/" not in listed(ask, "data/futures/um/daily/klines/BTCUSDT/")
    assert "1w/" not in listed(ask, "data/futures/um/monthly/klines/BTCUSDT_250627/")


@pytest.mark.parametrize(
    ("folder", "first"),
    [
        ("um/daily/klines/BTCUSDT/1h", "2019-12-31"),
        ("um/monthly/klines/BTCUSDT/1h", "2020-01"),
        ("um/daily/markPriceKlines/BTCUSDT/1h", "2019-12-23"),
        ("um/monthly/indexPriceKlines/BTCUSDT/1h", "2020-01"),
        ("um/daily/aggTrades/ETHUSDT", "2019-12-31"),
        ("um/daily/klines/1000SHIBUSDT/1h", "2021-05-10"),
        ("um/daily/klines/BTCUSDT_250627/1h", "2024-12-27"),
        ("um/daily/metrics/BTCUSDT", "2021-12-01"),
        ("um/monthly/fundingRate/BTCUSDT", "2020-01"),
        ("cm/daily/klines/BTCUSD_PERP/1h", "2020-08-11"),
        ("cm/monthly/markPriceKlines/BTCUSD_PERP/1h", "2020-08"),
        ("cm/daily/premiumIndexKlines/ETHUSD_PERP/1h", "2020-08-18"),
        ("cm/monthly/fundingRate/BTCUSD_PERP", "2022-07"),
    ],
)
def test_where_files_begin(ask: Ask, folder: str, first: str) -> None:
    """The first file of a folder is the one of the day or month in which its data begin."""
    body = ask("/data.binance.vision", prefix=f"data/futures/{folder}/", **{"max-keys": 1}).body

    assert f"-{first}.zip</Key>".encode() in body


@pytest.mark.parametrize(
    "key",
    [
        "um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2022-04",
        "um/daily/klines/1000SHIBUSDT/1m/1000SHIBUSDT-1m-2024-09-12",
        "um/daily/markPriceKlines/BTCUSDT/1m/BTCUSDT-1m-2019-12-23",
        "um/monthly/premiumIndexKlines/SOLUSDT/15m/SOLUSDT-15m-2026-08",
        "um/monthly/indexPriceKlines/ETHUSDT/1w/ETHUSDT-1w-2025-01",
        "cm/monthly/indexPriceKlines/BTCUSD/1m/BTCUSD-1m-2020-08",
        "cm/monthly/klines/BTCUSD_PERP/1mo/BTCUSD_PERP-1mo-2025-02",
        "cm/daily/aggTrades/ETHUSD_PERP/ETHUSD_PERP-aggTrades-2022-12-31",
        "um/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-09-30",
        "um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2022-03-07",
        "um/daily/metrics/ETHUSDT/ETHUSDT-metrics-2026-09-29",
        "cm/daily/metrics/BTCUSD_PERP/BTCUSD_PERP-metrics-2021-12-01",
        "cm/monthly/fundingRate/BTCUSD_PERP/BTCUSD_PERP-fundingRate-2023-06",
    ],
)
def test_objects_are_what_listing_and_checksum_say(ask: Ask, key: str) -> None:
    """A file of futures has the size of its listing and the hash of its checksum."""
    path = f"data/futures/{key}.zip"
    listing = ask("/data.binance.vision", prefix=path).body.decode()
    body, checksum = ask(f"/{path}").body, ask(f"/{path}.CHECKSUM").body.decode()

    assert f"<Size>{len(body)}</Size>" in listing
    digest = hashlib.sha256(body).hexdigest()
    assert checksum == f"{digest}  {key.rpartition('/')[2]}.zip\n"


@pytest.mark.parametrize(
    ("key", "has_header"),
    [
        ("monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2022-05", False),
        ("monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2022-06", True),
        ("daily/klines/BTCUSDT/1h/BTCUSDT-1h-2022-12-31", False),
        ("daily/markPriceKlines/BTCUSDT/1h/BTCUSDT-1h-2023-01-01", True),
    ],
)
def test_old_files_have_no_header(ask: Ask, key: str, *, has_header: bool) -> None:
    """K-line files have a header from 2022-06 on if monthly, from 2023 on if daily, all in ms."""
    lines = text_of(ask, f"um/{key}").splitlines()

    assert (lines[0] == KLINES_HEADER) is has_header
    assert re.match(r"\d{13},", lines[1])


def test_numbers_of_klines_are_padded_to_the_symbol(ask: Ask) -> None:
    """Prices and volumes have the decimals of the symbol, also where a volume is zero."""
    name = "1h-2025-08-29"
    first = text_of(ask, f"um/daily/klines/BTCUSDT/1h/BTCUSDT-{name}").splitlines()[1]
    shib = text_of(ask, f"um/daily/klines/1000SHIBUSDT/1h/1000SHIBUSDT-{name}").splitlines()[1]
    coin = text_of(ask, f"cm/daily/klines/BTCUSD_PERP/1h/BTCUSD_PERP-{name}").splitlines()[1]
    minutes = text_of(ask, "um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-08-29").splitlines()

    price = r"\d+\.\d\d"
    assert re.fullmatch(
        rf"\d+,({price},){{4}}\d+\.\d{{3}},\d+,\d+\.\d{{5}},\d+,\d+\.\d{{3}},\d+\.\d{{5}},0", first
    )
    assert re.fullmatch(r"\d+,(0\.\d{6},){4}\d+,\d+,\d+\.\d{6},\d+,\d+,\d+\.\d{6},0", shib)
    assert re.fullmatch(r"\d+,(\d+\.\d,){4}\d+,\d+,\d+\.\d{8},\d+,\d+,\d+\.\d{8},0", coin)
    quiet = minutes[1 + 6 * 60 + 14]
    assert re.fullmatch(rf"\d+,({price}),\1,\1,\1,0.000,\d+,0.00000,0,0.000,0.00000,0", quiet)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_unused_columns_of_computed_prices_are_zero(ask: Ask, kind: str) -> None:
    """Mark price, index and premium have eight decimals, 0 as volumes, and samples as their count."""
    name = "1m-2026-09-15"
    lines = text_of(ask, f"um/daily/{kind}/BTCUSDT/1m/BTCUSDT-{name}").splitlines()

    assert lines[0] == KLINES_HEADER
    assert len(lines) == 1_441
    for line in lines[1:]:
        assert re.fullmatch(r"\d{13},(-?\d+\.\d{8},){4}0,\d{13},0,60,0,0,0", line)
    has_minus = any(",-0." in line for line in lines)
    assert has_minus is (kind == "premiumIndexKlines")


def test_trades_lose_trailing_zeros_with_the_header(ask: Ask) -> None:
    """Trades of 2022 are padded and have no header; later ones have one digit after the point or more."""
    folder = "um/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades"
    old = text_of(ask, f"{folder}-2022-12-31").splitlines()
    new = text_of(ask, f"{folder}-2023-01-01").splitlines()
    coin = text_of(ask, "cm/daily/aggTrades/BTCUSD_PERP/BTCUSD_PERP-aggTrades-2026-09-30")

    assert all(re.fullmatch(r"\d+,\d+\.\d\d,\d+\.\d{3},(\d+,){3}(true|false)", one) for one in old)
    assert new[0] == TRADES_HEADER
    number = r"\d+\.(?:\d*[1-9]|0)"
    assert all(re.fullmatch(rf"(\d+),{number},{number},(\d+,){{3}}\w+", one) for one in new[1:])
    assert any(".0," in one for one in new)
    assert all(one.split(",")[2].endswith(".0") for one in coin.splitlines()[1:])
    assert re.search(r",1790726\d{6},", coin)


def test_raw_ids_of_trades_have_gaps(ask: Ask) -> None:
    """Aggregate ids run on while, once in 4,096 trades, a raw id is in none of them."""
    text = text_of(ask, "um/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-09-30")
    rows = [[int(row[at]) for at in (0, 3, 4)] for row in csv.reader(text.splitlines()[1:])]
    steps = [
        (after[0] - before[0], after[1] - before[2]) for before, after in itertools.pairwise(rows)
    ]

    assert {step for step, _ in steps} == {1}
    assert {step for _, step in steps} == {1, 2}
    assert sum(step == 2 for _, step in steps) == len(rows) // 4_096


def test_days_missing_from_a_month_are_in_daily_files(ask: Ask) -> None:
    """In the monthly 1m file of 2022-04 two days are missing, which are there as daily files; 1h is whole."""
    folder = "um/{}/klines/BTCUSDT/{}/BTCUSDT-{}-2022-04{}"
    month = text_of(ask, folder.format("monthly", "1m", "1m", "")).splitlines()
    day = text_of(ask, folder.format("daily", "1m", "1m", "-17")).splitlines()
    hours = text_of(ask, folder.format("monthly", "1h", "1h", "")).splitlines()

    assert len(month) == 28 * 1_440
    assert len(day) == 1_440
    assert not set(day) & set(month)
    assert len(hours) == 30 * 24


def test_daily_premiums_that_were_never_published(ask: Ask) -> None:
    """The premium of BTCUSDT has no daily files from 2021-01-24 to 2021-02-21, listed or not."""
    folder = "data/futures/um/daily/premiumIndexKlines/BTCUSDT/1h/"
    names = listed(ask, folder)

    assert ask(f"/{folder}BTCUSDT-1h-2021-02-01.zip").status == 404
    dates = [name[len("BTCUSDT-1h-") : -len(".zip")] for name in names]
    assert "2021-01-23" in dates
    assert dates[dates.index("2021-01-23") + 1] == "2021-02-22"


def test_labels_of_metrics_change_their_meaning(ask: Ask) -> None:
    """Labels of metrics are the end of five minutes until 2026-06-24, then the start; one label is in two files."""
    before, after = metrics_of(ask, "2026-06-24"), metrics_of(ask, "2026-06-25")
    labels = [sorted(row[0] for row in rows) for rows in (before, after)]

    assert [len(rows) for rows in (before, after)] == [288, 288]
    assert labels[0][0][:17] == "2026-06-24 00:05:"
    assert labels[0][-1][:17] == labels[1][0][:17] == "2026-06-25 00:00:"
    assert labels[1][-1][:17] == "2026-06-25 23:55:"
    coin = metrics_of(ask, "2023-06-25", "BTCUSD_PERP")
    assert (coin[0][0], coin[-1][0]) == ("2023-06-25 00:00:00", "2023-06-25 23:55:00")


def test_metrics_of_both_sources_agree(ask: Ask) -> None:
    """A row of the archive has the open interest of its end and the taker ratio of its start at REST."""
    rows = {row[0]: row for row in metrics_of(ask, "2026-09-29")}
    start = int(datetime(2026, 9, 29, 10, tzinfo=UTC).timestamp() * 1000)
    [label] = [label for label in rows if label.startswith("2026-09-29 10:00")]
    ends = {"symbol": "BTCUSDT", "period": "5m", "limit": 1}
    held = ask("/futures/data/openInterestHist", **ends, startTime=start + 300_000).json[0]
    taker = ask("/futures/data/takerlongshortRatio", **ends, startTime=start).json[0]
    top = ask("/futures/data/topLongShortPositionRatio", **ends, startTime=start + 300_000).json[0]

    assert held["timestamp"] == start + 300_000
    assert rows[label][2] == held["sumOpenInterest"] + "0" * 8
    assert rows[label][3] == held["sumOpenInterestValue"] + "0" * 8
    assert f"{float(rows[label][7]):.4f}" == taker["buySellRatio"]
    assert f"{float(rows[label][5]):.4f}" == top["longShortRatio"]


def test_rows_of_metrics_are_not_always_in_order(ask: Ask) -> None:
    """In some days of 2026 the rows are shuffled; in 2023 they are in order; all 288 are there."""
    orders = []
    for day in range(1, 16):
        labels = [row[0] for row in metrics_of(ask, f"2026-09-{day:02}")]
        orders.append(labels == sorted(labels))
        assert len({label[:16] for label in labels}) == 288
    old = [row[0] for row in metrics_of(ask, "2023-06-25")]

    assert 0 < sum(orders) < len(orders)
    assert old == sorted(old)


def test_seconds_of_metrics_drift(ask: Ask) -> None:
    """On some days since 2024-09 all labels are one to five seconds late, the last one of the next day too."""
    seconds = {
        date: {int(row[0][-2:]) for row in metrics_of(ask, date)}
        for date in (f"2024-{month}-{day:02}" for month in ("08", "11") for day in range(1, 31))
    }
    late = [date for date, found in seconds.items() if found != {0}]

    assert late
    assert all(date.startswith("2024-11") for date in late)
    assert {1, 2, 3, 4, 5} == seconds[late[0]]


def test_decimals_and_zeros_of_metrics(ask: Ask) -> None:
    """Open interest has 8 decimals until 2023 and 16 from 2024 on; a gap in it is 0E-8."""
    [eight, *_], [sixteen, *_] = metrics_of(ask, "2023-12-31"), metrics_of(ask, "2024-01-01")
    last, first = metrics_of(ask, "2022-03-07"), metrics_of(ask, "2022-03-08")

    assert re.fullmatch(r"\d+\.\d{8}", eight[2])
    assert re.fullmatch(r"\d+\.\d{8}0{8}", sixteen[2])
    assert [row[2] == row[3] == "0E-8" for row in last] == [False] * 186 + [True] * 102
    assert [row[2] == "0E-8" for row in first] == [True] * 14 + [False] * 274


def test_ratios_of_coin_margined_metrics_are_quoted_and_empty(ask: Ask) -> None:
    """Metrics of COIN-M have three quoted empty cells, and their value is in coins."""
    key = "cm/daily/metrics/BTCUSD_PERP/BTCUSD_PERP-metrics-2023-06-25"
    row = text_of(ask, key).splitlines()[1]

    assert re.fullmatch(
        r'2023-06-25 00:00:00,BTCUSD_PERP,\d+\.0{8},\d+\.\d{8},"","","",\d+\.\d{8}', row
    )
    held, value = (float(cell) for cell in row.split(",")[2:4])
    # Dollars a bitcoin.
    assert 10_000 < held * 100 / value < 60_000


def test_metrics_that_were_never_published(ask: Ask) -> None:
    """Days of metrics that the archive never got are 404 and not listed; a short one ends at 13:30."""
    um, cm = "data/futures/um/daily/metrics/", "data/futures/cm/daily/metrics/BTCUSD_PERP/"
    for path in (
        f"{um}ETHUSDT/ETHUSDT-metrics-2024-06-11.zip",
        f"{um}BTCUSDT/BTCUSDT-metrics-2022-02-23.zip",
        f"{cm}BTCUSD_PERP-metrics-2024-05-01.zip",
    ):
        assert ask(f"/{path}").status == 404
        assert ask(f"/{path}.CHECKSUM").status == 404
        folder, _, name = path.rpartition("/")
        assert name not in listed(ask, f"{folder}/")
    assert metrics_of(ask, "2024-02-16")[-1][0] == "2024-02-16 13:30:00"


def test_small_rates_of_funding_have_an_exponent(ask: Ask) -> None:
    """Rates of COIN-M below a millionth are written as Java does, such as -6E-8 or 6.0E-7."""
    rates: list[str] = []
    for symbol in ("BTCUSD_PERP", "ETHUSD_PERP"):
        folder = f"cm/monthly/fundingRate/{symbol}/{symbol}-fundingRate"
        for year in (2023, 2024, 2025):
            for month in range(1, 13):
                rows = text_of(ask, f"{folder}-{year}-{month:02}").splitlines()[1:]
                rates += [row.split(",")[2] for row in rows]
    small = [rate for rate in rates if abs(float(rate)) < 1e-6]

    assert small
    assert all(re.fullmatch(r"-?(\d\.\dE-7|\dE-8)|0E-8", rate) for rate in small)
    assert not [rate for rate in rates if "E" in rate and rate not in small]


@pytest.mark.parametrize(
    ("key", "hours"),
    [
        ("cm/daily/markPriceKlines/BTCUSD_PERP/1m/BTCUSD_PERP-1m-2026-06-01", 4),
        ("um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2026-06-01", 4),
        ("um/monthly/indexPriceKlines/BTCUSDT/1h/BTCUSDT-1h-2026-05", 2 + 1 / 60),
    ],
)
def test_files_of_futures_come_late(key: str, hours: float) -> None:
    """A day of futures is published four hours after it, a month on the Monday after it; not before."""
    day = datetime(2026, 6, 2 if "daily" in key else 1, tzinfo=UTC)
    published = day + timedelta(hours=hours)
    with DemoExchange(now=published - timedelta(seconds=1)) as exchange:
        path = f"/data/futures/{key}.zip"
        before = ask_of(exchange, path, {}).status
        exchange.now = published
        after = ask_of(exchange, path, {}).status
        exchange.fail("PriceKlines|metrics", status=503)
        failed = ask_of(exchange, path, {}).status
        exchange.withhold("2026-0")
        withheld = ask_of(exchange, path, {}).status

    assert (before, after, failed, withheld) == (404, 200, 503, 404)


RECORDED = {
    "um_klines/BTCUSDT-1m-2026-09-30": "um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2026-09-30",
    "um_aggTrades/BTCUSDT-aggTrades-2026-09-30": "um/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-09-30",
    "um_metrics/BTCUSDT-metrics-2026-09-30": "um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2026-09-30",
    "cm_aggTrades/BTCUSD_PERP-aggTrades-2023-06-25": "cm/daily/aggTrades/BTCUSD_PERP/BTCUSD_PERP-aggTrades-2023-06-25",
    "cm_metrics/BTCUSD_PERP-metrics-2023-06-25": "cm/daily/metrics/BTCUSD_PERP/BTCUSD_PERP-metrics-2023-06-25",
    "cm_fundingRate/BTCUSD_PERP-fundingRate-2023-06": "cm/monthly/fundingRate/BTCUSD_PERP/BTCUSD_PERP-fundingRate-2023-06",
}


@pytest.mark.parametrize("name", RECORDED)
def test_lines_look_like_recorded_ones(ask: Ask, name: str) -> None:
    """Header and number of decimals of each kind of file are those of bytes that Binance served."""
    home = os.environ.get("ARES_TEST_DATA")
    folder = Path(home or "").parent / "futures/archive"
    if not home or not folder.is_dir():
        pytest.skip("no folder ../futures of recorded data at ARES_TEST_DATA")
    recorded = (folder / f"{name}.csv").read_text().splitlines()
    made = text_of(ask, RECORDED[name]).splitlines()

    assert made[0] == recorded[0]
    shapes = [{_shape(line, name) for line in lines[1:]} for lines in (made, recorded)]
    assert shapes[0] & shapes[1]


def _shape(line: str, name: str) -> tuple[str, ...]:
    """The cells of a line with all digits alike; those before the point, and of trades after it, as one."""
    cells = (re.sub(r"^-?\d+", "9", re.sub(r"\d", "9", cell)) for cell in line.split(","))
    if "aggTrades" in name:
        return tuple(re.sub(r"\.9+", ".9", cell) for cell in cells)
    return tuple(cells)
