"""Downloads from beginning to end, against the demo exchange."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import re
import shutil
import urllib.request
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.errors import (
    BadArgument,
    CacheUnavailable,
    IncompleteDownload,
    NotEnoughDisk,
    UnknownSymbol,
    WrongMarket,
)

DAY = 1 / 365.25
HOUR = DAY / 24
DATASETS = ("klines", "agg_trades", "futures")
PATHS = ("/api/v3/klines", "/api/v3/aggTrades", "/fapi/v1/fundingRate")
# What a cut of each dataset needs: dataset, interval, lookback in years.
CUTS = [("klines", "1h", 0.1), ("agg_trades", None, 2 * DAY), ("futures", None, 0.1)]


def contents(settings: Settings) -> dict[str, bytes]:
    """The cache files by name."""
    return {path.name: path.read_bytes() for path in sorted(settings.cache_dir.glob("*.csv*"))}


def rows_of(settings: Settings, name: str) -> list[dict[str, str]]:
    """The rows of a cache file, as text."""
    return list(csv.DictReader(io.StringIO((settings.cache_dir / name).read_text())))


def ms(text: str) -> int:
    """Milliseconds since the epoch of an ISO moment, UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def starts(exchange: DemoExchange, path: str) -> list[int]:
    """Where the requests for *path* began, in order of time."""
    asked = [request for request in exchange.requests if request.path == path]
    return sorted(
        int(request.query["startTime"]) for request in asked if "startTime" in request.query
    )


def zips(exchange: DemoExchange) -> list[str]:
    """Names of the archives that were fetched."""
    names = (request.path.rpartition("/")[2] for request in exchange.requests)
    return sorted(name for name in names if name.endswith(".zip"))


def neighbours(settings: Settings, **changes: object) -> Settings:
    """The same settings with another, empty cache."""
    folder = settings.cache_dir.with_name(f"other{len(list(settings.cache_dir.parent.iterdir()))}")
    return settings.replace(**{"cache_dir": folder, **changes})


async def fetched(settings: Settings, cut: tuple[str, str | None, float], end: str, **more: object):
    """Download one cut up to *end*."""
    dataset, interval, years = cut
    return await ares.download_all_data(
        "BTCUSDT", interval, years, end=end, settings=settings, datasets=(dataset,), **more
    )


# --- only what is new ---


@pytest.mark.parametrize("end", ["2025-03-03", "2025-03-02T12:34:56"])
async def test_complete_cache_asks_for_nothing(exchange, settings, end):
    """A second run over a complete cache makes no request at all, a running period or not."""
    first = await ares.download_all_data("BTCUSDT", "1h", 2 * DAY, end=end, settings=settings)
    before = contents(settings)
    exchange.requests.clear()

    second = await ares.download_all_data("BTCUSDT", "1h", 2 * DAY, end=end, settings=settings)

    assert exchange.requests == []
    assert {"skip"} == set(second.actions)
    assert (
        first.complete,
        second.complete,
        second.requests,
        second.rows_written,
    ) == (True, True, 0, 0)
    assert before == contents(settings)


async def test_later_end_asks_for_new_candles_only(exchange, settings):
    """A later end asks for k-lines from the last end on, in one request."""
    await fetched(settings, ("klines", "1h", 0.1), "2025-03-10")
    exchange.requests.clear()

    report = await fetched(settings, ("klines", "1h", 0.1), "2025-03-13")

    assert [ms("2025-03-10")] == starts(exchange, "/api/v3/klines")
    assert zips(exchange) == []
    assert report.rows_written == 72


async def test_later_end_asks_for_new_trades_only(exchange, settings):
    """A later end asks for trades from the id after the last stored one on."""
    await fetched(settings, ("agg_trades", None, HOUR), "2025-03-10T06:00")
    last_id = int(rows_of(settings, "aggtrades_BTCUSDT_2025-03-10.csv")[-1]["agg_trade_id"])
    exchange.requests.clear()

    await fetched(settings, ("agg_trades", None, HOUR), "2025-03-10T12:00")

    from_ids = [int(each.query["fromId"]) for each in exchange.requests if "fromId" in each.query]
    assert last_id + 1 == min(from_ids)
    assert starts(exchange, "/api/v3/aggTrades") == []
    assert zips(exchange) == []


async def test_later_end_asks_for_new_funding_only(exchange, settings):
    """A later end asks for funding from the last event on: what was not due has not been asked for."""
    await fetched(settings, ("futures", None, DAY), "2025-03-10T12:00")
    exchange.requests.clear()

    report = await fetched(settings, ("futures", None, DAY), "2025-03-11T12:00")

    assert ms("2025-03-10T08:01") <= min(starts(exchange, "/fapi/v1/fundingRate"))
    assert zips(exchange) == []
    assert report.rows_written == 3


@pytest.mark.parametrize("cut", CUTS, ids=DATASETS)
async def test_grown_file_is_that_of_one_run(exchange, settings, cut):
    """A file that grew over four runs has the bytes of one written at once."""
    for end in ("2025-03-14T01:00", "2025-03-14T09:15", "2025-03-14T23:59", "2025-03-15"):
        await fetched(settings, cut, end)
    whole = neighbours(settings)
    exchange.requests.clear()

    report = await fetched(whole, cut, "2025-03-15")

    assert report.complete
    assert contents(whole).items() <= contents(settings).items()


async def test_earlier_start_asks_for_older_files_only(exchange, settings):
    """A longer lookback fetches the months before, and none that is there."""
    await fetched(settings, ("klines", "1h", 0.1), "2025-03-01")
    newer = set(zips(exchange))
    exchange.requests.clear()

    report = await fetched(settings, ("klines", "1h", 0.5), "2025-03-01")

    assert {"BTCUSDT-1h-2025-01.zip", "BTCUSDT-1h-2025-02.zip"} == newer
    assert [f"BTCUSDT-1h-2024-{month:02}.zip" for month in (8, 9, 10, 11, 12)] == zips(exchange)
    assert report.actions == {"skip": 2, "fetch": 5}


@pytest.mark.parametrize("cut", CUTS, ids=DATASETS)
async def test_past_period_that_was_open_is_finished(exchange, settings, cut):
    """A file that was running at the last run is brought to its end, and is final then."""
    exchange.now = datetime(2025, 3, 15, 12, 34, tzinfo=UTC)
    await fetched(settings, cut, "2025-03-15T12:34")
    exchange.now = datetime(2025, 4, 20, tzinfo=UTC)
    exchange.requests.clear()

    years = 6 * DAY if cut[0] == "agg_trades" else 0.1
    report = await fetched(
        settings, (*cut[:2], years), "2025-03-20" if cut[0] == "agg_trades" else "2025-04-20"
    )
    anew = neighbours(settings)
    await fetched(anew, (*cut[:2], years), "2025-03-20" if cut[0] == "agg_trades" else "2025-04-20")

    name = next(
        name
        for name in contents(settings)
        if "2025-03" in name and name[-6:] in ("03.csv", "15.csv")
    )
    receipt = json.loads((settings.cache_dir / ".ares/receipts" / f"{name}.json").read_text())
    assert report.complete
    assert receipt["final"]
    assert contents(anew)[name] == contents(settings)[name]


# --- what was damaged ---


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _cut_in_last_cell(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def _without_last_line_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _without_end(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-3]))


def _without_middle(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) // 3] + lines[2 * len(lines) // 3 :]))


def _without_beginning(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[10:]))


def _header_only(path: Path) -> None:
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _garbage(path: Path) -> None:
    path.write_bytes(b"\x00\xff" * 500)


def _removed(path: Path) -> None:
    path.unlink()


def _without_receipts(path: Path) -> None:
    shutil.rmtree(path.parent / ".ares")


def _without_receipts_and_middle(path: Path) -> None:
    _without_receipts(path)
    _without_middle(path)


def _broken_receipts(path: Path) -> None:
    for receipt in (path.parent / ".ares/receipts").iterdir():
        receipt.write_bytes(receipt.read_bytes()[:40])


DAMAGES = [
    _cut_short,
    _cut_in_last_cell,
    _without_last_line_end,
    _without_end,
    _without_middle,
    _without_beginning,
    _header_only,
    _emptied,
    _garbage,
    _removed,
    _without_receipts,
    _without_receipts_and_middle,
    _broken_receipts,
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("cut", CUTS, ids=DATASETS)
async def test_damage_is_made_good(exchange, settings, cut, damage):
    """What was lost of a cache the next run restores byte by byte; the one after asks nothing."""
    # With a halt inside: 2025-03-14 02:00 to 04:30.
    await fetched(settings, cut, "2025-03-15")
    whole = contents(settings)
    damage(settings.cache_dir / max(whole))

    report = await fetched(settings, cut, "2025-03-15")
    exchange.requests.clear()
    await fetched(settings, cut, "2025-03-15")

    assert report.complete
    assert whole == contents(settings)
    assert exchange.requests == []


@pytest.mark.parametrize(
    "cut", [("klines", "1h", 0.3), ("futures", None, 0.3), ("agg_trades", None, DAY)]
)
async def test_lost_receipts_cost_time_and_no_rows(exchange, settings, cut):
    """Files that no receipt tells of are fetched anew, to the same bytes; the run after that asks nothing."""
    await fetched(settings, cut, "2025-03-01")
    before = contents(settings)
    shutil.rmtree(settings.cache_dir / ".ares")

    report = await fetched(settings, cut, "2025-03-01")
    exchange.requests.clear()
    again = await fetched(settings, cut, "2025-03-01")

    assert report.complete
    assert {step.action for step in report.steps} == {"fetch"}
    assert contents(settings) == before
    assert again.complete
    assert exchange.requests == []


async def test_copied_cache_is_trusted(exchange, settings):
    """A cache that was copied, with other times of change, is complete without a request."""
    await fetched(settings, ("klines", "1h", 0.1), "2025-03-01")
    copy = neighbours(settings)
    shutil.copytree(settings.cache_dir, copy.cache_dir, copy_function=shutil.copyfile)
    exchange.requests.clear()

    report = await fetched(copy, ("klines", "1h", 0.1), "2025-03-01")

    assert report.complete
    assert exchange.requests == []


# --- sources ---


@pytest.mark.parametrize("how", ["withheld", "wrong bytes", "wrong checksum", "gone", "refused"])
@pytest.mark.parametrize(("lost", "source"), [("monthly", "daily"), ("monthly|daily", "rest")])
async def test_ladder_leads_to_the_same_bytes(exchange, settings, lost, source, how):
    """Where an archive is missing or not sound, the next source down brings the same bytes."""
    await fetched(settings, ("klines", "15m", 0.1), "2025-03-01")
    other = neighbours(settings)
    pattern = f"/({lost})/"
    if how == "withheld":
        exchange.withhold(pattern)
    elif how == "wrong bytes":
        exchange.fail(
            rf"{pattern}.*\.zip$", times=None, replace_body=lambda body: body[:-9] + b"corrupted"
        )
    elif how == "wrong checksum":
        exchange.fail(
            rf"{pattern}.*CHECKSUM$", times=None, replace_body=b"<html>no checksum</html>"
        )
    elif how == "gone":
        # Listed, and not there: the listing is no promise.
        exchange.fail(rf"{pattern}.*CHECKSUM$", times=None, status=404)
    else:
        exchange.fail(rf"{pattern}.*zip", times=None, status=500)
    exchange.requests.clear()

    report = await fetched(other, ("klines", "15m", 0.1), "2025-03-01")

    assert report.complete
    assert contents(settings) == contents(other)
    taken = [each.path for each in exchange.requests if each.status == 200]
    assert any(
        f"/{source}/" in path if source == "daily" else "/api/v3/klines" in path for path in taken
    )


@pytest.mark.parametrize("how", ["withheld", "wrong bytes", "cut line"])
async def test_trades_go_down_the_ladder(exchange, settings, how):
    """A day of trades whose archive is missing or broken comes over REST, with the same bytes."""
    await fetched(settings, ("agg_trades", None, DAY), "2025-01-16")
    other = neighbours(settings)
    if how == "withheld":
        exchange.withhold("2025-01-15")
    elif how == "wrong bytes":
        exchange.fail(r"15\.zip$", times=None, replace_body=b"no zip")
    else:
        exchange.fail(r"15\.zip$", times=None, short=True)

    report = await fetched(other, ("agg_trades", None, DAY), "2025-01-16")

    assert report.complete
    assert contents(settings) == contents(other)


async def test_late_month_is_put_together_from_days(exchange, settings):
    """Before the monthly archive is out, the month comes by days and REST; later nothing is asked again."""
    exchange.now = datetime(2025, 4, 3, 12, tzinfo=UTC)
    report = await fetched(settings, ("klines", "1m", 3 * DAY), "2025-04-03")
    days = zips(exchange)
    exchange.now = datetime(2025, 5, 20, tzinfo=UTC)
    exchange.requests.clear()
    await fetched(settings, ("klines", "1m", 3 * DAY), "2025-04-03")
    again = list(exchange.requests)
    anew = neighbours(settings)
    await fetched(anew, ("klines", "1m", 3 * DAY), "2025-04-03")

    assert report.complete
    assert len(days) >= 31
    assert again == []
    assert "BTCUSDT-1m-2025-03.zip" in zips(exchange)
    assert contents(anew) == contents(settings)


async def test_archive_published_short_is_completed(exchange, settings):
    """An archive that was published with rows missing is completed over REST."""
    await fetched(settings, ("klines", "1h", 0.08), "2025-02-01")
    whole = contents(settings)
    key = "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip"
    short = _shortened(_body_of(exchange.url + key))
    digest = f"{hashlib.sha256(short).hexdigest()}  BTCUSDT-1h-2025-01.zip".encode()
    exchange.fail(r"2025-01\.zip$", times=None, replace_body=short)
    exchange.fail(r"2025-01\.zip\.CHECKSUM$", times=None, replace_body=digest)
    other = neighbours(settings)

    report = await fetched(other, ("klines", "1h", 0.08), "2025-02-01")

    assert report.complete
    assert whole == contents(other)


async def test_days_of_the_archive_come_where_every_api_is_closed(exchange, settings):
    """Of a running month the days that are over come from the archive; the rest fails, and is named."""
    exchange.now = datetime(2025, 3, 20, 12, tzinfo=UTC)
    exchange.fail(r"/api/v3/", status=451, times=None)
    window = {"start": "2025-03-01", "end": "2025-03-20T12:00", "settings": settings}
    report = await ares.download_klines_data("BTCUSDT", "1h", **window)
    rows = ares.load_klines("BTCUSDT", "1h", "2025-03-01", "2025-03-14", settings=settings)
    exchange.faults.clear()
    again = await ares.download_klines_data("BTCUSDT", "1h", **window)

    assert (len(rows), rows.attrs["complete"]) == (13 * 24, True)
    assert [type(step.error).__name__ for step in report.steps] == ["RegionBlocked"]
    # Two hours of the 14th are missing at the exchange itself, which only its API can say.
    assert report.rows_written == 19 * 24 - 2
    assert (again.complete, again.rows_written) == (True, 12)


MONTHS = [
    (("klines", "3d", 0.1), "data/spot/monthly/klines/BTCUSDT/3d/BTCUSDT-3d-2025-01"),
    (
        ("futures", None, 0.1),
        "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-01",
    ),
]


@pytest.mark.parametrize(("cut", "key"), MONTHS, ids=["three days", "funding"])
async def test_without_rest_the_month_closes_gaps(exchange, settings, publish_anew, cut, key):
    """Where the archive has no days, source="archive" closes gaps from the month's zip, and what that lacks stays."""
    await fetched(settings, cut, "2025-02-01")
    whole = contents(settings)
    other = neighbours(settings)
    await fetched(other, cut, "2025-01-20")
    before = contents(other)
    lines = _lines_of(_body_of(f"{exchange.url}/{key}.zip"))
    publish_anew(key.rpartition("/")[2], b"".join(lines[:3] + lines[4:]).decode())
    by_archive = other.replace(source="archive")

    report = await fetched(by_archive, cut, "2025-02-01")
    exchange.requests.clear()
    again = await fetched(by_archive, cut, "2025-02-01")

    assert before != whole
    assert report.complete
    assert contents(other) == whole
    assert again.complete
    assert zips(exchange) == []


@pytest.mark.parametrize(("cut", "key"), MONTHS, ids=["three days", "funding"])
async def test_a_part_of_a_month_comes_from_its_zip(exchange, settings, cut, key):
    """Where the archive has no days, source="archive" takes from a month's zip what is wanted of it, and no more."""
    await fetched(settings, cut, "2025-01-20")
    other = neighbours(settings, source="archive")
    report = await fetched(other, cut, "2025-01-20")

    assert report.complete
    assert contents(other) == contents(settings)
    assert f"{key.rpartition('/')[2]}.zip" in zips(exchange)


async def test_a_month_that_runs_is_not_yet_published(exchange, settings):
    """Without REST the funding of a running month can be had from nobody; report and gaps say so."""
    exchange.now = datetime(2025, 1, 22, tzinfo=UTC)
    cut = {"interval": None, "lookback_years": DAY, "end": "2025-01-22", "datasets": ("futures",)}
    settings = settings.replace(source="archive")

    report = await ares.download_all_data("BTCUSDT", settings=settings, **cut)
    gaps = ares.find_gaps("BTCUSDT", settings=settings, start="2025-01-01", end="2025-01-22")

    assert "does not have it; run again later" in str(report)
    assert not report.complete
    assert not report.failed
    assert list(gaps["reason"]) == ["not yet published"]


def _body_of(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - the demo exchange
        return answer.read()


def _lines_of(body: bytes) -> list[bytes]:
    """The lines of a zip's only file."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return archive.read(archive.namelist()[0]).splitlines(keepends=True)


def _shortened(body: bytes) -> bytes:
    """The same zip without a day in the middle and without the last two days."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        [name] = archive.namelist()
    lines = _lines_of(body)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(name, b"".join(lines[:240] + lines[264:-48]))
    return sink.getvalue()


# Dataset, interval, lookback, end. All hold a halt; those of the turn of the year
# also the change from milliseconds to microseconds.
SAME_ON_ALL_ROADS = [
    ("klines", "1h", 0.12, "2025-02-01"),
    ("klines", "1m", 0.08, "2025-02-01"),
    ("klines", "1d", 0.5, "2025-05-01"),
    ("klines", "3d", 0.5, "2025-05-01"),
    ("klines", "1w", 0.5, "2025-05-01"),
    ("klines", "1M", 0.5, "2025-05-01"),
    ("klines", "8h", 0.1, "2018-03-01"),
    ("agg_trades", None, 4 * DAY, "2025-01-03"),
    ("agg_trades", None, DAY, "2025-03-15"),
    ("futures", None, 0.5, "2025-05-01"),
]


@pytest.mark.parametrize(("dataset", "interval", "years", "end"), SAME_ON_ALL_ROADS)
async def test_all_roads_give_the_same_bytes(settings, dataset, interval, years, end):
    """Archive, REST and both write identical files, around halts and where the unit of time changes."""
    made = {}
    for source in ("archive", "rest", "auto"):
        own = neighbours(settings, source=source, cache_dir=settings.cache_dir / source)
        report = await fetched(own, (dataset, interval, years), end)
        made[source] = contents(own)

        assert not report.failed
    assert made["auto"]
    assert made["archive"] == made["rest"] == made["auto"]
    assert report.complete


async def test_seconds_are_the_same_on_all_roads(exchange, settings):
    """A day of 1s candles is the same from its daily archive and over REST."""
    exchange.now = datetime(2025, 3, 2, 12, tzinfo=UTC)
    cut = ("klines", "1s", HOUR)
    made = {}
    for source in ("archive", "rest", "auto"):
        own = neighbours(settings, source=source, cache_dir=settings.cache_dir / source)
        report = await fetched(own, cut, "2025-03-02")
        made[source] = contents(own)

        assert report.complete
    assert made["auto"]["klines_BTCUSDT_1s_2025-03.csv"].count(b"\n") == 86_401
    assert made["archive"] == made["rest"] == made["auto"]


async def test_funding_that_changes_its_pace_is_whole(settings):
    """A perpetual that went from 8 to 1 to 4 hours has every event, on both sources."""
    made = {}
    for source in ("archive", "rest"):
        own = neighbours(settings, source=source, cache_dir=settings.cache_dir / source)
        report = await ares.download_futures_data("SOLUSDT", 0.2, end="2022-12-01", settings=own)
        made[source] = contents(own)

        assert report.complete
    assert made["archive"] == made["rest"]
    # To the 9th 08:00 every 8 hours, then hourly for 40 hours, then every 4.
    assert len(rows_of(own, "futures_SOLUSDT_2022-11.csv")) == 26 + 40 + 119


async def test_closed_api_is_walked_around(exchange, settings):
    """A 451 sends the spot source over the market-data host, and the report says so."""
    exchange.fail(r"^/api/v3/", status=451, times=None)

    report = await fetched(settings, ("klines", "1h", DAY), "2025-03-02")

    assert report.complete
    assert any("451" in note for note in report.notes)


async def test_unreachable_api_leaves_what_the_archive_has(exchange, settings):
    """Where REST is closed the archive's months and days are stored, and are complete where they are all."""
    exchange.fail(r"/api/v3/", status=451, times=None)

    report = await fetched(settings, ("klines", "1h", 0.1), "2025-03-05")

    assert sorted(contents(settings)) == [
        "klines_BTCUSDT_1h_2025-01.csv",
        "klines_BTCUSDT_1h_2025-02.csv",
        "klines_BTCUSDT_1h_2025-03.csv",
    ]
    assert report.complete


# --- what is closed ---


@pytest.mark.parametrize(
    ("interval", "end", "last"),
    [
        ("1h", "2025-03-15T12:34:56", "2025-03-15 11:00:00"),
        ("1h", "2025-03-15T12:00", "2025-03-15 11:00:00"),
        ("1h", "2025-03-15T11:59:59.999", "2025-03-15 10:00:00"),
        ("1m", "2025-03-01T00:30:59", "2025-03-01 00:29:00"),
        ("1s", "2025-03-01T00:02:03.500", "2025-03-01 00:02:02"),
        ("1d", "2025-03-15T12:34", "2025-03-14 00:00:00"),
        ("3d", "2025-03-15T12:34", "2025-03-11 00:00:00"),
        ("1w", "2025-03-15T12:34", "2025-03-03 00:00:00"),
    ],
)
async def test_open_candle_is_not_stored(exchange, settings, interval, end, last):
    """The candle in which the end falls is left out; the one that closes at the end is stored."""
    exchange.now = datetime.fromisoformat(end).replace(tzinfo=UTC)
    report = await fetched(settings, ("klines", interval, HOUR / 60), end)

    assert report.complete
    assert last == rows_of(settings, f"klines_BTCUSDT_{interval}_2025-03.csv")[-1]["timestamp"]


async def test_open_month_has_no_file(exchange, settings):
    """The 1M candle of a running month is not there, nor a file for it; once closed it is."""
    exchange.now = datetime(2025, 3, 15, tzinfo=UTC)
    report = await fetched(settings, ("klines", "1M", 0.1), "2025-03-15")
    running = sorted(contents(settings))
    exchange.now = datetime(2025, 4, 10, tzinfo=UTC)
    await fetched(settings, ("klines", "1M", 0.1), "2025-04-01")

    assert report.complete
    assert running == ["klines_BTCUSDT_1mo_2025-02.csv"]
    assert [row["timestamp"] for row in rows_of(settings, "klines_BTCUSDT_1mo_2025-03.csv")] == [
        "2025-03-01 00:00:00"
    ]


async def test_running_day_of_trades(exchange, settings):
    """A day that is not over holds the trades before the end, and is not final."""
    exchange.now = datetime(2025, 3, 15, 12, 34, 56, tzinfo=UTC)
    report = await fetched(settings, ("agg_trades", None, HOUR), "2025-03-15T12:34:56")

    name = "aggtrades_BTCUSDT_2025-03-15.csv"
    stamps = [row["timestamp"] for row in rows_of(settings, name)]
    receipt = json.loads((settings.cache_dir / f".ares/receipts/{name}.json").read_text())
    assert report.complete
    assert stamps[0] >= "2025-03-15 00:00"
    assert "2025-03-15 12:34" <= stamps[-1] < "2025-03-15 12:34:56"
    assert receipt["final"] is False


async def test_clock_of_the_exchange_decides(exchange, settings):
    """Where the exchange's clock is behind ours, nothing later than its own now is stored."""
    exchange.now = datetime.now(UTC) - timedelta(hours=3)
    await ares.download_all_data("BTCUSDT", "1h", 2 * DAY, settings=settings)

    now = f"{exchange.now:%Y-%m-%d %H:%M:%S.%f}"
    opened_before = f"{exchange.now - timedelta(hours=1):%Y-%m-%d %H:%M:%S}"
    for name in contents(settings):
        last = rows_of(settings, name)[-1]["timestamp"]
        assert last <= (opened_before if name.startswith("klines") else now)
    assert contents(settings)


# --- symbols ---


async def test_symbol_in_lower_case(exchange, settings):
    """A symbol in lower case is the same symbol, in file names and requests."""
    await ares.download_klines_data(" btcusdt ", "1d", 0.1, end="2025-03-01", settings=settings)

    assert sorted(contents(settings)) == [
        "klines_BTCUSDT_1d_2025-01.csv",
        "klines_BTCUSDT_1d_2025-02.csv",
    ]
    assert {"BTCUSDT"} == {
        each.query["symbol"] for each in exchange.requests if "symbol" in each.query
    }


@pytest.mark.parametrize("source", ["auto", "archive", "rest"])
@pytest.mark.parametrize("datasets", [DATASETS, ("klines",), ("agg_trades",), ("futures",)])
async def test_unknown_symbol_is_refused(settings, source, datasets):
    """A symbol that the exchange does not know raises, and nothing of it is written."""
    own = settings.replace(source=source)
    with pytest.raises(UnknownSymbol, match="NOSUCHUSDT"):
        await ares.download_all_data(
            "NOSUCHUSDT", "1h", 2 * DAY, end="2025-03-01", settings=own, datasets=datasets
        )

    assert [path for path in settings.cache_dir.rglob("*NOSUCH*") if path.suffix != ".lock"] == []


async def test_symbol_without_perpetual(exchange, settings):
    """A spot symbol without a perpetual has a note, no failure, and no request at the second run."""
    ask = ("BTCFDUSD", "1h", 0.1)
    report = await ares.download_all_data(
        *ask, end="2025-03-01", settings=settings, datasets=("klines", "futures")
    )
    exchange.requests.clear()
    again = await ares.download_all_data(
        *ask, end="2025-03-01", settings=settings, datasets=("klines", "futures")
    )

    assert report
    assert report.complete
    assert again.complete
    assert any("perpetual" in note for note in report.notes)
    assert not any(name.startswith("futures") for name in contents(settings))
    assert exchange.requests == []


async def test_delisted_symbol(exchange, settings):
    """A delisted symbol has its history to the last candle, no file after it, and is complete."""
    ask = ("MATICUSDT", "1h", 0.5)
    report = await ares.download_klines_data(*ask, end="2025-01-01", settings=settings)
    exchange.requests.clear()
    await ares.download_klines_data(*ask, end="2025-01-01", settings=settings)

    assert report.complete
    assert max(contents(settings)) == "klines_MATICUSDT_1h_2024-09.csv"
    assert rows_of(settings, max(contents(settings)))[-1]["timestamp"] == "2024-09-10 02:00:00"
    assert exchange.requests == []


async def test_symbol_of_another_script(exchange, settings):
    """A symbol in Chinese has files of its own name, on all sources."""
    symbol = "币安人生USDT"
    exchange.now = datetime(2026, 1, 2, 12, tzinfo=UTC)
    report = await ares.download_all_data(
        symbol, "1h", 2 * DAY, end="2026-01-02", settings=settings
    )
    exchange.requests.clear()
    await ares.download_all_data(symbol, "1h", 2 * DAY, end="2026-01-02", settings=settings)

    assert report.complete
    assert {f"klines_{symbol}_1h_2025-12.csv", f"aggtrades_{symbol}_2026-01-01.csv"} <= set(
        contents(settings)
    )
    assert f"futures_{symbol}_2026-01.csv" in contents(settings)
    assert exchange.requests == []


@pytest.mark.parametrize("source", ["auto", "rest"])
async def test_time_before_listing(exchange, settings, source):
    """Months before a symbol was listed have no file, cost no request each, and are not asked for again."""
    own = settings.replace(source=source)
    report = await ares.download_klines_data("SOLUSDT", "1h", 2, end="2020-10-01", settings=own)
    asked = starts(exchange, "/api/v3/klines")
    exchange.requests.clear()
    again = await ares.download_klines_data("SOLUSDT", "1h", 2, end="2020-10-01", settings=own)

    assert report.complete
    assert sorted(contents(settings)) == [
        "klines_SOLUSDT_1h_2020-08.csv",
        "klines_SOLUSDT_1h_2020-09.csv",
    ]
    assert (
        rows_of(settings, "klines_SOLUSDT_1h_2020-08.csv")[0]["timestamp"] == "2020-08-11 06:00:00"
    )
    assert len(asked) < 24
    assert again.complete
    assert exchange.requests == []


# --- wrong inputs ---

WRONG = [
    {"symbol": "BTC/USDT"},
    {"symbol": ""},
    {"symbol": "../etc"},
    {"symbol": "BTC USDT"},
    {"symbol": "X" * 200},
    {"symbol": None},
    {"interval": "7m"},
    {"interval": "1H"},
    {"interval": ""},
    {"interval": None},
    {"interval": 60},
    {"lookback_years": 0},
    {"lookback_years": -1},
    {"lookback_years": float("nan")},
    {"lookback_years": float("inf")},
    {"lookback_years": "1"},
    {"lookback_years": True},
    {"lookback_years": 1000},
    {"end": datetime(2025, 1, 1)},  # noqa: DTZ001 - naive is what is wrong
    {"end": "yesterday"},
    {"end": "2100-01-01"},
    {"end": date(2100, 1, 1)},
    {"end": 1735689600000},
    {"datasets": ()},
    {"datasets": ("klines", "ticks")},
    {"datasets": "candles"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
async def test_wrong_input_is_refused_before_any_request(exchange, settings, wrong):
    """An argument that cannot be meant is named in the error, before a request or a folder is made."""
    good = {"symbol": "BTCUSDT", "interval": "1h", "lookback_years": 0.1, "end": "2025-03-01"}
    with pytest.raises(BadArgument, match=next(iter(wrong))):
        await ares.download_all_data(**{**good, **wrong}, settings=settings)

    assert exchange.requests == []
    assert not settings.cache_dir.exists()


async def test_cache_that_is_no_folder(exchange, settings):
    """A cache folder that cannot be made is refused before any request, with the way out."""
    settings.cache_dir.write_text("a file")
    with pytest.raises(CacheUnavailable, match="cache_dir"):
        await fetched(settings, ("klines", "1h", 0.1), "2025-03-01")

    assert exchange.requests == []


async def test_a_whole_cache_of_another_market_is_not_complete(settings):
    """Where nothing would be asked for, the files of another market are refused all the same."""
    await fetched(settings, ("klines", "1d", 0.1), "2025-03-01")
    other = settings.replace(market="binance")

    with pytest.raises(WrongMarket, match="demo"):
        await fetched(other, ("klines", "1d", 0.1), "2025-03-01")


async def test_a_wrong_address_does_not_bind_the_folder(settings):
    """A folder into which nothing came, since nobody answered, takes the next market's files."""
    nobody = {
        f"{name}_url": "http://127.0.0.1:9" for name in ("spot", "archive", "archive_listing")
    }
    wrong = settings.replace(**nobody, market=None, max_retries=0)
    with pytest.raises(IncompleteDownload):
        (await fetched(wrong, ("klines", "1d", 0.1), "2025-03-01")).raise_for_failures()

    report = await fetched(settings, ("klines", "1d", 0.1), "2025-03-01")
    assert report.complete


async def test_cache_of_another_market_is_refused(exchange, settings):
    """A cache that one market filled is not filled from another."""
    await fetched(settings, ("klines", "1d", 0.1), "2025-03-01")
    before = contents(settings)
    exchange.requests.clear()
    with pytest.raises(WrongMarket, match="demo"):
        await fetched(settings.replace(market="binance"), ("klines", "1d", 0.5), "2025-03-01")

    assert exchange.requests == []
    assert before == contents(settings)


# --- side by side, and failing alone ---


async def test_datasets_run_side_by_side(exchange, settings):
    """Each dataset is asked for before another is done."""
    # Long enough that a busy machine begins all before one is done.
    exchange.latency_seconds = 0.4
    own = settings.replace(source="rest")
    await ares.download_all_data("BTCUSDT", "1m", 8 * DAY, end="2025-02-08", settings=own)

    paths = [each.path for each in exchange.requests]
    spans = [
        (paths.index(path), len(paths) - 1 - paths[::-1].index(path))
        for path in ("/api/v3/klines", "/api/v3/aggTrades", "/fapi/v1/fundingRate")
    ]
    assert max(first for first, _ in spans) < min(last for _, last in spans[:2])


async def test_trades_that_do_not_fit_fail_alone(exchange, settings):
    """Trades beyond the free disk are refused with the numbers; k-lines and funding are stored."""

    def petabytes(listing: bytes) -> bytes:
        return re.sub(rb"<Size>\d+</Size>", b"<Size>%d</Size>" % 10**15, listing)

    exchange.fail("prefix=data/spot/daily/aggTrades", times=None, replace_body=petabytes)
    report = await ares.download_all_data(
        "BTCUSDT", "1d", 3 * DAY, end="2025-03-02", settings=settings
    )

    assert [step.dataset for step in report.failed] == ["agg_trades"] * 3
    assert all(isinstance(step.error, NotEnoughDisk) for step in report.failed)
    assert re.search(r"3 days of trades need about [\d.]+ GB", str(report.failed[0].error))
    assert not any("aggTrades-" in name for name in zips(exchange))
    assert {name.partition("_")[0] for name in contents(settings)} == {"klines", "futures"}
    assert not report.complete


async def test_step_that_fails_fails_alone(exchange, settings):
    """One month that cannot be had leaves the others stored, and the report tells which and why."""
    own = settings.replace(source="rest", max_retries=1)
    exchange.fail(f"startTime={ms('2025-01-01')}&", status=500, times=None)
    report = await fetched(own, ("klines", "1h", 0.3), "2025-03-01")

    [failed] = report.failed
    assert failed.file_name == "klines_BTCUSDT_1h_2025-01.csv"
    assert "500" in str(failed.error)
    assert failed.requests == 2
    assert [name[-11:-4] for name in sorted(contents(own))] == ["2024-11", "2024-12", "2025-02"]
    assert (bool(report), report.complete) == (False, False)
    with pytest.raises(IncompleteDownload, match="2025-01") as caught:
        report.raise_for_failures()
    assert report is caught.value.report


async def test_failed_step_is_tried_again_the_next_run(exchange, settings):
    """What failed is all that the next run asks for."""
    own = settings.replace(source="rest", max_retries=0)
    exchange.fail(f"startTime={ms('2025-01-01')}&", status=500, times=None)
    await fetched(own, ("klines", "1h", 0.3), "2025-03-01")
    exchange.faults.clear()
    exchange.requests.clear()

    report = await fetched(own, ("klines", "1h", 0.3), "2025-03-01")

    report.raise_for_failures()
    assert [ms("2025-01-01")] == starts(exchange, "/api/v3/klines")
    assert report.actions == {"skip": 3, "fetch": 1}
    assert report.complete


async def test_rows_before_a_failure_are_kept(exchange, settings):
    """Trades that came before a page failed are stored, and the next run goes on after the last."""
    own = settings.replace(source="rest", max_retries=0)
    cut = ("agg_trades", None, DAY)
    whole = neighbours(own)
    await fetched(whole, cut, "2025-01-16")
    name = "aggtrades_BTCUSDT_2025-01-15.csv"
    first_id = int(rows_of(whole, name)[0]["agg_trade_id"])
    exchange.fail(f"fromId={first_id + 3000}&", status=500, times=None)
    report = await fetched(own, cut, "2025-01-16")
    kept = rows_of(own, name)
    exchange.faults.clear()
    exchange.requests.clear()
    again = await fetched(own, cut, "2025-01-16")

    pages = [each.query for each in exchange.requests if each.query.get("limit") == "1000"]
    from_ids = [int(each["fromId"]) for each in pages]
    assert [name] == [step.file_name for step in report.failed]
    assert len(kept) == 3000
    assert first_id + 3000 == min(from_ids)
    assert again.complete
    assert contents(whole) == contents(own)


async def test_rows_that_were_not_asked_for_are_refused(exchange, settings):
    """A page of another time is a bad answer, never stored."""
    own = settings.replace(source="rest", max_retries=0)
    other = b'[[1500000000000,"1.0","1.0","1.0","1.0","1.0",1500003599999,"1.0",1,"1.0","1.0","0"]]'
    exchange.fail("/api/v3/klines", times=None, replace_body=other)
    report = await fetched(own, ("klines", "1h", 0.05), "2025-03-01")

    assert contents(own) == {}
    assert "not asked for" in str(report.failed[0].error)


async def test_short_page_is_not_the_end(exchange, settings):
    """A page that came short once, by mistake, does not become a gap."""
    whole = neighbours(settings)
    await fetched(whole, ("klines", "1h", DAY), "2025-03-10")
    own = settings.replace(source="rest")
    exchange.fail(
        "/api/v3/klines",
        times=1,
        replace_body=lambda body: json.dumps(json.loads(body)[:50]).encode(),
    )

    report = await fetched(own, ("klines", "1h", DAY), "2025-03-10")

    assert report.complete
    assert contents(whole) == contents(own)


async def test_host_that_is_down_is_not_asked_with_full_patience_for_each_file(exchange, settings):
    """Once all tries at an address were in vain, each further file costs one try, not four."""
    exchange.fail(".", times=None, status=500)
    own = settings.replace(source="rest", max_concurrency=1)
    report = await fetched(own, ("klines", "1h", 1), "2025-03-01")

    assert len(report.failed) == 12
    assert len([each for each in exchange.requests if "klines" in each.path]) <= 4 + 11


async def test_failed_symbol_question_does_not_stop_the_archive(exchange, settings):
    """Where the exchange cannot be asked about a symbol, the archive is still used."""
    exchange.fail("exchangeInfo", times=None, status=500)

    report = await fetched(settings, ("klines", "1d", 0.1), "2025-03-01")

    assert report.complete
    assert len(contents(settings)) == 2


# --- what is told ---


async def test_progress_only_grows(settings):
    """Each event is at or beyond the one before, and the last says that all is done."""
    events = []
    report = await ares.download_all_data(
        "BTCUSDT",
        "1h",
        0.3,
        end="2025-03-01",
        settings=settings,
        datasets=("klines", "futures"),
        on_progress=events.append,
    )

    for field in ("steps_done", "rows", "requests", "bytes_received", "seconds", "share"):
        values = [getattr(event, field) for event in events]
        assert sorted(values) == values
    last = events[-1]
    assert (len(report.steps), len(report.steps), 1.0) == (
        last.steps_done,
        last.steps_total,
        last.share,
    )
    assert report.rows_written == last.rows


async def test_report_counts_every_request(exchange, settings):
    """The report's requests are those that the exchange got, tries and questions included."""
    exchange.fail(r"\.zip$", status=500, times=2)
    report = await ares.download_all_data(
        "BTCUSDT", "1h", 2 * DAY, end="2025-03-02", settings=settings
    )

    assert len(exchange.requests) == report.requests
    assert len(report.steps) == len(report.to_frame())


async def test_plan_says_what_the_download_does(settings):
    """The actions of a plan are those of the download that follows it."""
    await fetched(settings, ("klines", "1h", 0.1), "2025-02-10")
    plan = ares.plan_downloads(
        "BTCUSDT", "1h", 0.3, end="2025-03-01", settings=settings, datasets=("klines",)
    )
    report = await fetched(settings, ("klines", "1h", 0.3), "2025-03-01")

    assert [(step.file.name, step.action) for step in plan.steps] == [
        (step.file_name, step.action) for step in report.steps
    ]
    assert {"fetch", "extend", "skip"} == {step.action for step in plan.steps}


async def test_plan_touches_neither_network_nor_disk(exchange, settings):
    """Making a plan sends no request and makes no folder."""
    plan = ares.plan_downloads("BTCUSDT", "1h", 1, end="2025-03-01", settings=settings)

    assert len(plan) == 12 + 366 + 12 or len(plan) == 12 + 365 + 12
    assert exchange.requests == []
    assert not settings.cache_dir.exists()


# --- forms of the cache ---


async def test_compressed_cache_holds_the_same_text(exchange, settings):
    """A compressed cache has the same rows, and asks for nothing at the second run either."""
    await fetched(settings, ("agg_trades", None, DAY), "2025-01-16")
    own = neighbours(settings, compression="zstd")
    await fetched(own, ("agg_trades", None, DAY), "2025-01-16")
    exchange.requests.clear()
    again = await fetched(own, ("agg_trades", None, DAY), "2025-01-16")

    plain, packed = (ares.load_agg_trades("BTCUSDT", settings=each) for each in (settings, own))
    assert list(contents(own)) == ["aggtrades_BTCUSDT_2025-01-15.csv.zst"]
    assert plain.equals(packed)
    assert again.complete
    assert exchange.requests == []


def _as_the_ancestor(settings: Settings, name: str, columns: tuple[str, ...], rows: slice) -> Path:
    """Rewrite a cache file as the original downloader wrote it, and forget everything else."""
    kept = rows_of(settings, name)[rows]
    shutil.rmtree(settings.cache_dir / ".ares")
    path = settings.cache_dir / name
    lines = [",".join(columns), *(",".join(row[column] for column in columns) for row in kept)]
    path.write_text("\n".join(lines) + "\n")
    return path


OLD_KLINES = ("timestamp", "open", "high", "low", "close", "volume")
OLD_TRADES = ("timestamp", "price", "quantity", "is_buyer_maker", "agg_trade_id")


async def test_old_candles_are_replaced_whole(settings):
    """A k-line file of the original downloader, half-formed at its end, becomes the file of a fresh download."""
    own = settings.replace(market="binance")
    await fetched(own, ("klines", "1h", 0.05), "2025-03-01")
    whole = contents(own)
    _as_the_ancestor(own, "klines_BTCUSDT_1h_2025-02.csv", OLD_KLINES, slice(0, 300))

    report = await fetched(own, ("klines", "1h", 0.05), "2025-03-01")

    assert report.complete
    assert whole == contents(own)


async def test_old_candles_stay_until_the_new_are_there(exchange, settings):
    """While the exchange is out of reach an old file stays as it is, and the step failed."""
    own = settings.replace(market="binance", max_retries=0)
    await fetched(own, ("klines", "1h", 0.05), "2025-03-01")
    path = _as_the_ancestor(own, "klines_BTCUSDT_1h_2025-02.csv", OLD_KLINES, slice(0, 300))
    old = path.read_bytes()
    exchange.fail(".", status=500, times=None)

    report = await fetched(own, ("klines", "1h", 0.05), "2025-03-01")

    assert old == path.read_bytes()
    assert [path.name] == [step.file_name for step in report.failed]


async def test_old_trades_end_up_whole(settings):
    """An old trade file that ends in the middle of the day is completed to every trade of the day."""
    own = settings.replace(market="binance")
    name = "aggtrades_BTCUSDT_2025-01-15.csv"
    await fetched(own, ("agg_trades", None, DAY), "2025-01-16")
    ids = [row["agg_trade_id"] for row in rows_of(own, name)]
    _as_the_ancestor(own, name, OLD_TRADES, slice(0, 2000))

    report = await fetched(own, ("agg_trades", None, DAY), "2025-01-16")

    assert report.complete
    assert ids == [row["agg_trade_id"] for row in rows_of(own, name)]


async def test_two_runs_at_once_in_one_process(exchange, settings):
    """Two downloads side by side into one cache fetch each archive once, and write it once."""
    both = await asyncio.gather(
        *(fetched(settings, ("klines", "1h", 0.3), "2025-03-01") for _ in range(2))
    )

    assert all(report.complete for report in both)
    assert sorted(set(zips(exchange))) == zips(exchange)
    assert len(contents(settings)) == 4


# --- answers that say too little ---


@pytest.mark.parametrize("cut", CUTS, ids=[cut[0] for cut in CUTS])
async def test_one_empty_answer_loses_nothing(exchange, settings, cut):
    """An empty page by mistake is no word of the exchange: it is asked a second time."""
    truth = neighbours(settings)
    await fetched(truth, cut, "2025-03-10")
    exchange.fail(PATHS[DATASETS.index(cut[0])], replace_body=b"[]", times=1)
    report = await fetched(settings.replace(source="rest"), cut, "2025-03-10")

    assert report.complete
    assert contents(settings) == contents(truth)


async def test_a_candle_that_comes_out_late_is_not_missed(exchange, settings):
    """A row that the exchange did not have yet at the end of one run comes with the next."""
    lag = {"done": False}

    def without_newest(body: bytes) -> bytes:
        return body if lag["done"] else json.dumps(json.loads(body)[:-1]).encode()

    exchange.fail("/api/v3/klines", replace_body=without_newest, times=None)
    end = datetime.now(UTC)
    first = await fetched(settings, ("klines", "1m", HOUR), end.isoformat())
    lag["done"] = True
    second = await fetched(settings, ("klines", "1m", HOUR), end.isoformat())

    assert (first.complete, second.complete) == (True, True)
    assert second.rows_written >= 1
    assert ares.load_klines("BTCUSDT", "1m", end=end, settings=settings).attrs["complete"]
