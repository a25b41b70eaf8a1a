"""Candles of another interval, off the grid, or of another period: bad answers by every source."""

from __future__ import annotations

import json
import shutil
import urllib.request
import zipfile
from io import BytesIO

import numpy as np
import pytest

import ares_notebook as ares
from ares_notebook.binance.csv_tables import on_grid
from ares_notebook.binance.parse import lines_of_json
from ares_notebook.binance.zips import Zip
from ares_notebook.errors import BadAnswer
from ares_notebook.model.datasets import DATASETS, FUTURES, KLINES
from ares_notebook.model.files import Series
from ares_notebook.model.time import (
    INTERVALS,
    as_utc,
    next_open_ms,
    opens_between,
    period_of,
    to_ms,
)

DAY = 1 / 365.25
HOUR_MS = 3_600_000
MS = to_ms(as_utc("2025-01-01"))
MONTH = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01"
DAILY = "data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01"


def get(url):
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - the demo exchange
        return answer.read()


def member(exchange, key):
    """The lines of a file of the demo's archive."""
    with zipfile.ZipFile(BytesIO(get(f"{exchange.url}/{key}.zip"))) as zipped:
        return zipped.read(zipped.namelist()[0]).decode().splitlines(keepends=True)


async def fetch(settings, source="auto", interval="1h", end="2025-02-01"):
    """Bring the candles of January 2025 into a folder of its own."""
    own = settings.replace(source=source, cache_dir=settings.cache_dir / source)
    shutil.rmtree(own.cache_dir, ignore_errors=True)
    report = await ares.download_klines_data("BTCUSDT", interval, 31 * DAY, end=end, settings=own)
    return report, {path.name: path.read_bytes() for path in own.cache_dir.glob("*.csv")}


def row(open_ms, close, scale=1):
    """A candle in JSON, which ends at *close*."""
    return [open_ms * scale, "1.5", "2.0", "1.0", "1.5", "7.0", close, "8.0", 9, "3.0", "4.0", "0"]


def page(lengths_ms, interval="1h"):
    """Hours of these lengths, read as candles of an interval."""
    rows = [row(MS + at * HOUR_MS, MS + at * HOUR_MS + ms - 1) for at, ms in enumerate(lengths_ms)]
    return lines_of_json(
        Series.of("klines", "BTCUSDT", interval), json.dumps(rows).encode(), "here"
    )


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize("scale", [1, 1000], ids=["ms", "us"])
def test_candles_are_those_of_their_own_interval_alone(interval, scale):
    """Candles of each interval, many or one, are taken for it, and refused for each other one."""
    opens = list(opens_between(interval, MS, MS + 40 * 86_400_000))[:9]
    closes = [next_open_ms(interval, at) * scale - 1 for at in opens]
    many = [row(at, close, scale) for at, close in zip(opens, closes, strict=True)]

    for rows in (many, many[:1]):
        body = json.dumps(rows).encode()
        for other in INTERVALS:
            series = Series.of("klines", "BTCUSDT", other)
            if other == interval:
                assert len(lines_of_json(series, body, "here")) == len(rows)
            else:
                with pytest.raises(BadAnswer, match="here: it has candles that were not asked for"):
                    lines_of_json(series, body, "here")


def test_a_halt_may_cut_single_candles():
    """A candle cut short is no other interval, even where it ends before it opens or is alone."""
    hour = HOUR_MS
    for lengths in (
        [hour] * 5 + [900_000],
        [900_000, hour],
        [hour, -5_000_000, hour],
        [1_333_000],
        [-3_000],
        [hour + 1, hour, hour],
        [hour + 1],
    ):
        assert len(page(lengths)) == len(lengths)
    for lengths in ([900_000] * 2 + [hour], [900_000], [2 * hour], [hour + 5_000], [60_000] * 3):
        with pytest.raises(BadAnswer, match="seconds long, not 1h"):
            page(lengths)


@pytest.mark.parametrize("every", [1, 4], ids=["all", "on the hour"])
async def test_quarters_answered_for_hours_are_refused(exchange, settings, every):
    """REST that answers with 15m candles, be it those on the hour alone, fails, and nothing is stored."""
    window = (
        f"startTime={to_ms(as_utc('2025-01-31'))}&endTime={to_ms(as_utc('2025-01-31T20:00')) - 1}"
    )
    quarters = json.loads(
        get(f"{exchange.url}/api/v3/klines?symbol=BTCUSDT&interval=15m&limit=1000&{window}")
    )
    exchange.fail("interval=1h", times=None, replace_body=json.dumps(quarters[::every]).encode())

    report, stored = await fetch(settings, "rest", end="2025-01-31T20:00")

    assert report.failed
    assert "not asked for" in str(report)
    assert stored == {}


@pytest.mark.parametrize("every", [1, 4], ids=["all", "on the hour"])
async def test_quarters_in_a_zip_of_hours_are_refused(exchange, settings, publish_anew, every):
    """A zip of 15m candles under the name of hours is not believed: the next source has the month."""
    _, whole = await fetch(settings, "rest")
    quarters = member(exchange, MONTH.replace("1h", "15m"))
    publish_anew(MONTH.rpartition("/")[2], "".join(quarters[::every]))

    report, stored = await fetch(settings)
    by_archive, alone = await fetch(settings, "archive")

    assert report.complete
    assert stored == whole
    assert by_archive.complete
    assert alone == whole


async def test_one_candle_of_another_interval_is_refused(exchange, settings, publish_anew):
    """A daily zip whose one candle is as long as half a day is not believed, though it is alone."""
    halves = member(exchange, MONTH.replace("1h", "12h"))
    key = "BTCUSDT-1d-2025-01"
    _, whole = await fetch(settings, "rest", "1d")
    exchange.withhold(rf"monthly.*{key}\.zip")
    publish_anew(f"{key}-05", halves[8])

    report, stored = await fetch(settings, "auto", "1d")
    alone, left = await fetch(settings, "archive", "1d")

    assert report.complete
    assert stored == whole
    assert not alone.complete
    assert b"\n2025-01-05" not in left["klines_BTCUSDT_1d_2025-01.csv"]


@pytest.mark.parametrize(
    ("interval", "by_ms"), [("1h", 1), ("1h", 60_000), ("3d", 86_400_000), ("1w", -86_400_000)]
)
async def test_rest_off_the_grid_is_refused(exchange, settings, interval, by_ms):
    """Candles of REST that open off the grid of their interval fail, and nothing is stored."""

    def move(body):
        rows = json.loads(body)
        for each in rows[1:]:
            each[0] += by_ms
            each[6] += by_ms
        return json.dumps(rows).encode()

    exchange.fail("v3/klines", times=None, replace_body=move)

    report, stored = await fetch(settings, "rest", interval)

    assert report.failed
    assert stored == {}


@pytest.mark.parametrize("interval", INTERVALS)
def test_the_grid_is_that_of_the_open_times(interval):
    """Whatever opens by the calendar of an interval is on its grid, and a second later is not."""
    opens = np.array(list(opens_between(interval, MS, MS + 40 * 86_400_000))[:50])

    assert on_grid(interval, opens).all()
    assert not on_grid(interval, opens + 500).any()


async def test_a_zip_of_another_period_is_refused(exchange, settings, publish_anew):
    """A month's zip with the rows of another month, or with one of them, is not believed."""
    _, whole = await fetch(settings, "rest")
    own, other = member(exchange, MONTH), member(exchange, MONTH.replace("2025-01", "2024-12"))

    for lines in (other, other[-1:] + own):
        publish_anew(MONTH.rpartition("/")[2], "".join(lines))
        report, stored = await fetch(settings)
        exchange.faults.clear()
        assert report.complete
        assert stored == whole
        assert not any("monthly" in source for source in _sources(settings))


def _sources(settings):
    """The sources that a receipt names."""
    [path] = (settings.cache_dir / "auto/.ares/receipts").glob("*2025-01*.json")
    return [source["road"] for source in json.loads(path.read_text())["sources"]]


@pytest.mark.parametrize(
    ("dataset", "text"),
    [
        (KLINES, "{0},1.5,2.0,1.0,1.5,7.0,{1},8.0,9,3.0,4.0,0\n"),
        (FUTURES, "{0},8,0.0001\n"),
    ],
    ids=["klines", "funding"],
)
def test_a_period_is_half_open(dataset, text):
    """A row of the first moment of a zip's period belongs in, one of the first moment after it does not."""
    period = period_of("month", as_utc("2025-01-15"))

    def read(at):
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("X.csv", text.format(at, at + HOUR_MS - 1))
        one = Zip("X.zip", "here", "", packed, Series(dataset, "BTCUSDT", "1h"), period)
        return sum(map(len, one.lines()))

    assert read(period.start_ms) == 1
    assert read(period.end_ms - 1) == 1
    for at in (period.start_ms - 1, period.end_ms):
        with pytest.raises(BadAnswer, match="not in its period"):
            read(at)


async def test_trades_of_another_day_are_refused(exchange, settings, publish_anew):
    """A day's zip in which trades of the day before stand is not believed: REST has the day."""
    key = "data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-01-31"
    lines = [*member(exchange, key.replace("-31", "-30"))[-3:], *member(exchange, key)]
    publish_anew(key.rpartition("/")[2], "".join(lines))
    kinds = {}
    for source in ("auto", "rest"):
        own = settings.replace(source=source, cache_dir=settings.cache_dir / source)
        report = await ares.download_agg_trades_data("BTCUSDT", DAY, end="2025-02-01", settings=own)
        assert report.complete
        kinds[source] = {path.name: path.read_bytes() for path in own.cache_dir.glob("*.csv")}

    assert kinds["auto"] == kinds["rest"]
    assert not any("daily" in source for source in _sources_of_trades(settings))


def _sources_of_trades(settings):
    """The sources that the receipt of the day of trades names."""
    [path] = (settings.cache_dir / "auto/.ares/receipts").glob("aggtrades*2025-01-31*.json")
    return [source["road"] for source in json.loads(path.read_text())["sources"]]


# --- candles of futures, of which none is odd ---

CANDLES = [each for each in DATASETS if each.has_interval and each is not KLINES]
BY_CANDLES = pytest.mark.parametrize("dataset", CANDLES, ids=lambda each: each.name)
FUTURES_DATASETS = [each.name for each in CANDLES]


def zip_of(series, lines):
    """A zip of January 2025 with these lines."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("X.csv", "".join(lines))
    return Zip("X.zip", "here", "", packed, series, period_of("month", as_utc("2025-01-01")))


def month_of(exchange, series):
    key = series.archive_key("month", as_utc("2025-01-01"))
    return member(exchange, key.removesuffix(".zip"))


def series_of(dataset, interval="1h"):
    return Series.of(dataset, "BTCUSD_PERP" if dataset.name == "cm_klines" else "BTCUSDT", interval)


@BY_CANDLES
@pytest.mark.parametrize("interval", ["4h", "15m", "1d"])
def test_no_candle_of_futures_is_of_another_interval(exchange, dataset, interval):
    """A month of futures in which one candle has the length of another interval is refused."""
    header, *hours = month_of(exchange, series_of(dataset))
    _, *others = month_of(exchange, series_of(dataset, interval))

    assert sum(map(len, zip_of(series_of(dataset), [header, *hours]).lines())) == 744
    for at in (0, 24, 720):
        [one] = [each for each in others if each.startswith(hours[at].split(",")[0])]
        mixed = [header, *hours[:at], one, *hours[at + 1 :]]
        with pytest.raises(BadAnswer, match=f"that in line {at + 2} is .* seconds long, not 1h"):
            list(zip_of(series_of(dataset), mixed).lines())


@BY_CANDLES
@pytest.mark.parametrize("by_ms", [1, 1_000, 1_800_000, -60_000])
def test_no_candle_of_futures_opens_off_the_grid(exchange, dataset, by_ms):
    """A month of futures is refused for a candle that is added, or has moved, off the grid."""
    header, *hours = month_of(exchange, series_of(dataset))
    cells = hours[4].split(",")
    cells[0], cells[6] = str(int(cells[0]) + by_ms), str(int(cells[6]) + by_ms)
    odd = ",".join(cells)
    added = sorted([*hours, odd])

    for lines in ([*hours[:4], odd, *hours[5:]], added):
        with pytest.raises(BadAnswer, match=r"in line \d opens off the grid of 1h"):
            list(zip_of(series_of(dataset), [header, *lines]).lines())


def test_a_halt_of_spot_may_leave_what_futures_have_not(exchange):
    """A candle of spot that is cut short, and one off the grid, are kept."""
    hours = member(exchange, MONTH)
    cells = hours[4].split(",")
    scale = 1 if len(cells[0]) == 13 else 1000
    cells[0], cells[6] = str(int(cells[0]) + 1_800_000 * scale), hours[4].split(",")[6]
    series = Series.of("klines", "BTCUSDT", "1h")

    kept = sum(map(len, zip_of(series, sorted([*hours, ",".join(cells)])).lines()))

    assert kept == 745


@pytest.mark.parametrize("interval", ["1h", "1M"])
@pytest.mark.parametrize("name", ["um_klines", "cm_klines"])
@pytest.mark.parametrize("price", ["mark_price_klines", "index_price_klines"])
def test_prices_are_no_candles_of_trades(exchange, name, price, interval):
    """Candles of a calculated price under the name of candles of trades are refused, and the reverse."""
    trades = next(each for each in CANDLES if each.name == name)
    prices = next(each for each in CANDLES if each.name == price)
    series = series_of(trades, interval)
    symbol = series.symbol
    if price == "index_price_klines":
        symbol = symbol.removesuffix("_PERP")
    own = Series.of(prices, symbol, interval)
    folder = series.market.archive
    assert own.market.archive == folder

    with pytest.raises(BadAnswer, match="count trades, and none has a volume"):
        list(zip_of(series, month_of(exchange, own)).lines())
    with pytest.raises(BadAnswer, match="which is no zero"):
        list(zip_of(own, month_of(exchange, series)).lines())


def test_a_candle_without_a_trade_is_a_candle(exchange):
    """A month of futures in which nothing was traded, or one candle alone, is kept."""
    series = series_of(next(each for each in CANDLES if each.name == "um_klines"))
    header, *hours = month_of(exchange, series)
    idle = []
    for each in hours:
        cells = each.split(",")
        cells[5] = cells[7] = cells[9] = cells[10] = "0.0"
        idle.append(",".join([*cells[:8], "0", *cells[9:]]))

    for lines in (idle, [*idle[:700], *hours[700:]], [hours[0], *idle[1:]]):
        assert sum(map(len, zip_of(series, [header, *lines]).lines())) == 744


@pytest.mark.parametrize("name", FUTURES_DATASETS)
async def test_odd_candles_of_futures_come_from_the_next_source(
    exchange, settings, publish_anew, name
):
    """A month with a candle of another interval and one off the grid is complete by the next source."""
    series = series_of(next(each for each in CANDLES if each.name == name))
    header, *hours = month_of(exchange, series)
    _, *fours = month_of(exchange, series_of(series.dataset, "4h"))
    cells = hours[5].split(",")
    off = ",".join([str(int(cells[0]) + 1_800_000), *cells[1:]])
    stored = []
    for lines in (hours, [fours[0], *hours[1:]], sorted([*hours, off])):
        own = settings.replace(cache_dir=settings.cache_dir / f"{len(stored)}", source="archive")
        key = series.archive_key("month", as_utc("2025-01-01")).removesuffix(".zip")
        publish_anew(key.rpartition("/")[2], "".join([header, *lines]))
        report = await ares.download_all_data(
            series.symbol, "1h", start="2025-01-01", end="2025-02-01", datasets=[name], settings=own
        )
        exchange.faults.clear()
        assert report.complete, str(report)
        [path] = own.cache_dir.glob("*.csv")
        stored.append(path.read_bytes())

    assert stored[1:] == stored[:1] * 2
