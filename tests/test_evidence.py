"""What is called complete or absent, and on what evidence."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import urllib.request
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import ares_notebook as ares
from ares_notebook.errors import CorruptFile, UnknownSymbol
from ares_notebook.load import IncompleteData
from ares_notebook.model.gaps import EVIDENCE

DAY = 1 / 365.25
EXPLAINED = {
    "confirmed absent upstream",
    "before listing",
    "after delisting",
    "between listings",
    "quiet",
}
DAILY = "data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-{}"


def published(exchange: ares.DemoExchange, key: str) -> list[str]:
    """The lines of a file of the archive, as it is published."""
    with urllib.request.urlopen(f"{exchange.url}/{key}.zip") as answer:  # noqa: S310 - loopback
        packed = zipfile.ZipFile(io.BytesIO(answer.read()))
    return packed.read(packed.namelist()[0]).decode().splitlines(keepends=True)


def contents(settings: ares.Settings) -> dict[str, bytes]:
    """The cache files, by name."""
    return {path.name: path.read_bytes() for path in sorted(settings.cache_dir.glob("*.csv"))}


def elsewhere(settings: ares.Settings, name: str = "other") -> ares.Settings:
    """The same settings with another cache."""
    return settings.replace(cache_dir=settings.cache_dir.parent / name)


def open_gaps(settings: ares.Settings, symbol: str = "BTCUSDT", **window: str) -> list[str]:
    """The reasons of the gaps that are not proven."""
    reasons = ares.find_gaps(symbol, settings=settings, **window)["reason"]
    return [reason for reason in reasons if reason not in EXPLAINED]


def receipt_of(settings: ares.Settings, name: str) -> Path:
    """Where the receipt of a file lies."""
    return settings.cache_dir / ".ares" / "receipts" / f"{name}.json"


def only_after(moment: str, field: str | int) -> Callable[[bytes], bytes]:
    """Make an answer forget its rows before a moment; the first ones come later then, as asked."""
    start = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1000)

    def forget(body: bytes) -> bytes:
        rows = json.loads(body)
        if not isinstance(rows, list):
            return body
        stamps = [(int(row[field]), row) for row in rows]
        kept = [
            row for stamp, row in stamps if (stamp // 1000 if stamp > 10**14 else stamp) >= start
        ]
        return json.dumps(kept).encode()

    return forget


def test_the_page_and_the_table_are_one():
    """docs/evidence.md has a line for each answer of the table, and its reason is the table's."""
    page = Path(__file__).parent.parent / "docs" / "evidence.md"
    lines = re.findall(r"^\| `([^`]+)` \|(.*)\|$", page.read_text(encoding="utf-8"), re.MULTILINE)
    reported = {word: [cell.strip() for cell in cells.split("|")] for word, cells in lines}

    assert set(reported) == set(EVIDENCE)
    for word, kind in EVIDENCE.items():
        explains = "counted gaps and edges" if kind.explains_rows else "edges"
        expected = ["yes", explains] if kind.is_proof else ["no", "nothing"]
        assert [*expected, kind.reason] == reported[word][1:]


def without_end(lines: list[str]) -> list[str]:
    return lines[:-400]


def without_beginning(lines: list[str]) -> list[str]:
    return lines[300:]


def without_rows(lines: list[str]) -> list[str]:
    return lines[:0]


CUTS = [without_end, without_beginning, without_rows]


@pytest.mark.parametrize("cut", CUTS)
async def test_a_day_of_trades_that_was_published_short_is_completed(
    exchange, settings, publish_anew, cut
):
    """The archive's word alone proves no edge: what its zip lacks there comes over REST."""
    whole = elsewhere(settings)
    await ares.download_agg_trades_data("BTCUSDT", DAY, end="2025-03-02", settings=whole)
    name = "BTCUSDT-aggTrades-2025-03-01"
    publish_anew(name, "".join(cut(published(exchange, DAILY.format("2025-03-01")))))
    report = await ares.download_agg_trades_data(
        "BTCUSDT", DAY, end="2025-03-02", settings=settings
    )

    assert report.complete
    assert contents(settings) == contents(whole)
    assert open_gaps(settings) == []


@pytest.mark.parametrize("cut", CUTS)
async def test_where_the_archive_alone_is_asked_its_silence_is_unconfirmed(
    exchange, settings, publish_anew, cut
):
    """Without REST a day that may be short is not complete, is not asked for again, and is healed by REST."""
    name = "BTCUSDT-aggTrades-2025-03-01"
    publish_anew(name, "".join(cut(published(exchange, DAILY.format("2025-03-01")))))
    alone = settings.replace(source="archive")
    ask = {"end": "2025-03-02"}
    report = await ares.download_agg_trades_data("BTCUSDT", DAY, **ask, settings=alone)
    reported = open_gaps(alone)
    exchange.requests.clear()
    again = await ares.download_agg_trades_data("BTCUSDT", DAY, **ask, settings=alone)
    asked = list(exchange.requests)
    healed = await ares.download_agg_trades_data("BTCUSDT", DAY, **ask, settings=settings)

    assert (report.complete, again.complete) == (False, False)
    assert set(reported) == {"unconfirmed"}
    assert asked == []
    assert healed.complete
    assert open_gaps(settings) == []
    assert any("weaker evidence" in note for note in healed.notes)


KEYS = {
    "klines": "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-02",
    "futures": "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-02",
    "agg_trades": DAILY.format("2025-02-28"),
}


@pytest.mark.parametrize("name", KEYS)
async def test_a_zip_that_ends_inside_a_line_says_nothing_of_what_follows(
    exchange, settings, publish_anew, name
):
    """By the archive alone it is told as a failure, what is whole stays, and a better zip is taken later."""
    whole, alone = elsewhere(settings), settings.replace(source="archive")
    ask = {"end": "2025-03-01", "datasets": (name,)}
    await ares.download_all_data("BTCUSDT", "1h", DAY, **ask, settings=whole)
    lines = published(exchange, KEYS[name])
    torn = "".join(lines[: len(lines) // 2]) + lines[len(lines) // 2][:-9]
    publish_anew(KEYS[name].rpartition("/")[2], torn)
    # Days of candles would bring what their month lacks.
    exchange.withhold("daily/klines")
    report = await ares.download_all_data("BTCUSDT", "1h", DAY, **ask, settings=alone)
    kept = contents(settings)
    exchange.faults.clear()
    exchange.release("daily/klines")
    again = await ares.download_all_data("BTCUSDT", "1h", DAY, **ask, settings=alone)

    assert "ends inside a line" in str(report.failed[0].error)
    assert all(
        set(kept[each].splitlines()) < set(contents(whole)[each].splitlines()) for each in kept
    )
    assert kept
    assert not again.failed
    assert contents(settings) == contents(whole)


async def test_edges_between_days_cost_nothing_and_outer_ones_a_look_each(exchange, settings):
    """Of three days two looks of 4 weight prove the outer edges; the ids run on over the inner ones."""
    report = await ares.download_agg_trades_data(
        "BTCUSDT", 3 * DAY, end="2025-03-04", settings=settings
    )
    looks = [each for each in exchange.requests if each.path.endswith("aggTrades")]
    exchange.requests.clear()
    await ares.download_agg_trades_data("BTCUSDT", 3 * DAY, end="2025-03-04", settings=settings)

    assert report.complete
    assert [each.weight for each in looks] == [4, 4]
    assert exchange.requests == []
    assert ares.coverage(settings=settings)["final"].all()


async def test_a_day_stays_proven_when_its_neighbours_are_gone(exchange, settings):
    """What the ids of the neighbouring days have proven is on the day's own receipt."""
    await ares.download_agg_trades_data("BTCUSDT", 3 * DAY, end="2025-03-04", settings=settings)
    for day in ("2025-03-01", "2025-03-03"):
        (settings.cache_dir / f"aggtrades_BTCUSDT_{day}.csv").unlink()
        receipt_of(settings, f"aggtrades_BTCUSDT_{day}.csv").unlink()
    exchange.requests.clear()
    report = await ares.download_agg_trades_data(
        "BTCUSDT", DAY, end="2025-03-03", settings=settings
    )

    assert report.complete
    assert exchange.requests == []
    assert ares.load_agg_trades("BTCUSDT", settings=settings).attrs["complete"]


FILES = {
    "klines": ("klines_BTCUSDT_1h_2025-03.csv", 20),
    "futures": ("futures_BTCUSDT_2025-03.csv", 12),
    "agg_trades": ("aggtrades_BTCUSDT_2025-03-05.csv", 30),
}


async def brought(settings: ares.Settings, name: str, end: str) -> ares.DownloadReport:
    """Download some days of a dataset."""
    return await ares.download_all_data(
        "BTCUSDT", "1h", 2 * DAY, end=end, datasets=(name,), settings=settings
    )


def load(settings: ares.Settings, name: str, *window: str):
    """The rows of a dataset."""
    if name == "klines":
        return ares.load_klines("BTCUSDT", "1h", *window, settings=settings)
    loader = ares.load_futures if name == "futures" else ares.load_agg_trades
    return loader("BTCUSDT", *window, settings=settings)


def change_a_digit(settings: ares.Settings, name: str, *, hidden: bool) -> Path:
    """Change the last digit of a row; *hidden*: size and time of the file stay."""
    path = settings.cache_dir / FILES[name][0]
    status = path.stat()
    lines = path.read_bytes().splitlines(keepends=True)
    at = 1 + len(lines) // 2
    cells = lines[at].split(b",")
    cells[1] = cells[1].rstrip(b"\n")
    digit = b"7" if cells[1][-1:] != b"7" else b"3"
    end = b"\n" if len(cells) == 2 else b""
    cells[1] = cells[1][:-1] + digit + end
    lines[at] = b",".join(cells)
    path.write_bytes(b"".join(lines))
    if hidden:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("source", ["auto", "rest"])
@pytest.mark.parametrize("hidden", [False, True])
async def test_a_digit_changed_in_a_running_file_does_not_become_final(
    settings, name, source, hidden
):
    """Bytes other than those of the receipt, its size and time or not, are fetched anew before the file goes on."""
    own = settings.replace(source=source)
    whole = elsewhere(own)
    await brought(own, name, "2025-03-05T12:00")
    change_a_digit(own, name, hidden=hidden)
    report = await brought(own, name, "2025-03-06")
    await brought(whole, name, "2025-03-06")

    made = contents(own)
    assert report.complete
    assert {each: made[each] for each in contents(whole)} == contents(whole)


@pytest.mark.parametrize("name", FILES)
async def test_an_altered_file_is_nowhere_complete_and_the_next_download_mends_it(settings, name):
    """load, coverage, gaps, validation, fingerprint and fetch_missing_data tell of it; a download replaces it."""
    await brought(settings, name, "2025-03-06")
    whole = contents(settings)
    path = change_a_digit(settings, name, hidden=False)
    window = ("2025-03-05", "2025-03-05T06:00")
    with pytest.warns(IncompleteData, match=f"{path.name} differs from its receipt"):
        frame = load(settings, name, *window)
    row = ares.coverage(settings=settings).set_index("file").loc[path.name]
    quality = ares.validate_cache(settings=settings)
    interval = "1h" if name == "klines" else None
    made = ares.fingerprint("BTCUSDT", interval, dataset=name, settings=settings)
    reported = open_gaps(settings, start=window[0], end=window[1])
    report = await brought(settings, name, "2025-03-06")

    assert frame.attrs["complete"] is False
    assert frame.attrs["altered"] == [path.name]
    assert (row["state"], row["final"]) == ("corrupt, quarantined", False)
    assert not quality.ok
    assert not made.complete
    assert reported == ["corrupt, quarantined"]
    assert report.complete
    assert contents(settings) == whole
    again = load(settings, name, *window)
    assert again.attrs["complete"]
    assert "altered" not in again.attrs


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("seer", ["validate", "fingerprint", "repair", "audit"])
async def test_who_reads_the_bytes_of_a_rotten_file_has_it_mended(settings, name, seer):
    """Rot that keeps size and time is seen by who reads the bytes, then by all, and mended by the next run."""
    await brought(settings, name, "2025-03-06")
    whole = contents(settings)
    path = change_a_digit(settings, name, hidden=True)
    if seer == "validate":
        assert not ares.validate_cache(settings=settings).ok
    elif seer == "fingerprint":
        interval = "1h" if name == "klines" else None
        made = ares.fingerprint("BTCUSDT", interval, dataset=name, settings=settings)
        assert not made.complete
    elif seer == "audit":
        audited = await ares.audit_cache(settings=settings)
        verdicts = audited.to_frame().set_index("file")["verdict"]
        assert verdicts[path.name] == "differs"
    if seer == "repair":
        assert await ares.repair_gaps("BTCUSDT", settings=settings, datasets=[name])
    else:
        with pytest.warns(IncompleteData):
            assert not load(settings, name).attrs["complete"]
        assert not ares.coverage(settings=settings).set_index("file").loc[path.name, "final"]
        assert (await brought(settings, name, "2025-03-06")).complete

    assert contents(settings) == whole


async def test_an_audit_replaces_a_rotten_file(settings):
    """With update=True what differs from its receipt is replaced, size and time kept or not."""
    await brought(settings, "klines", "2025-03-06")
    whole = contents(settings)
    change_a_digit(settings, "klines", hidden=True)
    audited = await ares.audit_cache(settings=settings, update=True)

    assert "replaced" in audited.to_frame()["verdict"].tolist()
    assert contents(settings) == whole


async def test_a_file_that_cannot_be_read_any_more_is_replaced_by_the_next_download(settings):
    """A loader that stumbles over rot strikes the receipt, so that its advice does help."""
    await brought(settings, "klines", "2025-03-06")
    whole = contents(settings)
    path = settings.cache_dir / FILES["klines"][0]
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(bytes(data))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    try:
        load(settings, "klines")
    except CorruptFile:
        pass
    else:
        # It may still be read, as a number or a word that is another.
        ares.validate_cache(settings=settings)
    report = await brought(settings, "klines", "2025-03-06")

    assert report.complete
    assert contents(settings) == whole


async def test_a_file_of_another_symbol_under_this_name_is_replaced(settings):
    """A candle carries no symbol; the receipt does know the bytes."""
    await ares.download_klines_data("BTCUSDT", "1h", 2 * DAY, end="2025-03-06", settings=settings)
    await ares.download_klines_data("ETHUSDT", "1h", 2 * DAY, end="2025-03-06", settings=settings)
    whole = contents(settings)
    ours, other = (
        settings.cache_dir / f"klines_{each}_1h_2025-03.csv" for each in ("BTCUSDT", "ETHUSDT")
    )
    ours.write_bytes(other.read_bytes())
    report = await ares.download_klines_data(
        "BTCUSDT", "1h", 2 * DAY, end="2025-03-06", settings=settings
    )

    assert report.complete
    assert contents(settings) == whole


async def test_a_file_in_a_time_without_rows_is_put_aside(settings):
    """What lies where it is proven that there is no row is shown as complete by nobody, and goes."""
    await ares.download_klines_data("SOLUSDT", "1d", 0.3, end="2020-10-01", settings=settings)
    whole = contents(settings)
    stray = settings.cache_dir / "klines_SOLUSDT_1d_2020-07.csv"
    rows = (settings.cache_dir / "klines_SOLUSDT_1d_2020-09.csv").read_text()
    stray.write_text(rows.replace("2020-09", "2020-07"))
    reported = open_gaps(settings, "SOLUSDT")
    report = await ares.download_klines_data(
        "SOLUSDT", "1d", 0.3, end="2020-10-01", settings=settings
    )

    assert reported == ["corrupt, quarantined"]
    assert report.complete
    assert contents(settings) == whole


async def test_rubbish_in_a_time_without_rows_is_put_aside(settings):
    """A file that cannot be read, where it is proven that there is no row, goes into quarantine."""
    ask = {"end": "2020-10-01", "settings": settings}
    await ares.download_klines_data("SOLUSDT", "1d", 0.3, **ask)
    whole = contents(settings)
    (settings.cache_dir / "klines_SOLUSDT_1d_2020-07.csv").write_bytes(b"\x00rubbish\n")
    report = await ares.download_klines_data("SOLUSDT", "1d", 0.3, **ask)

    assert report.complete
    assert contents(settings) == whole
    assert open_gaps(settings, "SOLUSDT") == []
    assert len([*(settings.cache_dir / ".ares" / "quarantine").glob("*[0-9]")]) == 1


async def test_a_late_beginning_of_rest_is_no_listing(exchange, settings):
    """Days that the archive withholds and REST's history does not reach stay open, and heal."""
    whole = elsewhere(settings)
    ask = {"end": "2025-03-06"}
    await ares.download_agg_trades_data("BTCUSDT", 3 * DAY, **ask, settings=whole)
    first = ares.load_agg_trades("BTCUSDT", "2025-03-05T12:00", settings=whole)
    exchange.withhold("2025-03-0[345]")
    late_id = int(first["agg_trade_id"].iloc[0])

    def forget(body: bytes) -> bytes:
        rows = json.loads(body)
        kept = [row for row in rows if row["a"] >= late_id] if isinstance(rows, list) else rows
        return json.dumps(kept).encode()

    exchange.fail("/aggTrades.*fromId=0&", times=None, replace_body=_one_trade(first))
    exchange.fail("/api/v3/aggTrades", times=None, replace_body=forget)
    report = await ares.download_agg_trades_data("BTCUSDT", 3 * DAY, **ask, settings=settings)
    reported = set(open_gaps(settings))
    exchange.faults.clear()
    exchange.release("2025-03-0[345]")
    healed = await ares.download_agg_trades_data("BTCUSDT", 3 * DAY, **ask, settings=settings)

    assert not report.complete
    assert reported
    assert healed.complete
    assert contents(settings) == contents(whole)


def _one_trade(frame) -> bytes:
    """The first trade of a frame, as REST answers."""
    row = frame.iloc[0]
    stamp = int(frame.index[0].timestamp() * 1e6 + 0.5)
    named = {
        "a": int(row["agg_trade_id"]),
        "p": f"{row['price']:.8f}",
        "q": f"{row['quantity']:.8f}",
        "f": int(row["first_trade_id"]),
        "l": int(row["last_trade_id"]),
        "T": stamp,
        "m": bool(row["is_buyer_maker"]),
        "M": True,
    }
    return json.dumps([named]).encode()


async def test_candles_before_the_beginning_of_rest_stay_open(exchange, settings):
    """Where REST begins late and the archive is late, no month is before the listing."""
    exchange.withhold("klines/BTCUSDT")
    exchange.fail("/api/v3/klines", times=None, replace_body=only_after("2025-02-10", 0))
    exchange.fail("/api/v3/aggTrades", times=None, replace_body=only_after("2025-02-10", "T"))
    ask = {"end": "2025-03-01"}
    report = await ares.download_klines_data("BTCUSDT", "1h", 0.15, **ask, settings=settings)
    reasons = set(ares.find_gaps("BTCUSDT", settings=settings)["reason"])
    exchange.faults.clear()
    exchange.release("klines/BTCUSDT")
    healed = await ares.download_klines_data("BTCUSDT", "1h", 0.15, **ask, settings=settings)

    assert not report.complete
    assert "before listing" not in reasons
    assert healed.complete


async def test_funding_older_than_its_archive_is_not_settled_by_a_late_beginning(
    exchange, settings
):
    """The archive of funding begins with 2020: that REST begins in November 2019 proves nothing of September."""
    exchange.fail(
        "/fapi/v1/fundingRate", times=None, replace_body=only_after("2019-11-10", "fundingTime")
    )
    ask = {"end": "2019-12-01"}
    report = await ares.download_futures_data("BTCUSDT", 0.25, **ask, settings=settings)
    reasons = set(ares.find_gaps("BTCUSDT", settings=settings)["reason"])
    exchange.faults.clear()
    healed = await ares.download_futures_data("BTCUSDT", 0.25, **ask, settings=settings)
    exchange.requests.clear()
    await ares.download_futures_data("BTCUSDT", 0.25, **ask, settings=settings)

    assert not report.complete
    assert "before listing" not in reasons
    assert healed.complete
    assert exchange.requests == []
    frame = ares.load_futures("BTCUSDT", settings=settings)
    assert str(frame.index[0])[:16] == "2019-09-10 08:00"


@pytest.mark.parametrize("name", FILES)
async def test_a_clock_that_is_fast_stores_nothing_that_is_open(exchange, settings, name):
    """What is not over by the exchange's own answers is neither stored nor final."""
    whole = elsewhere(settings)
    exchange.now = datetime.now(UTC).replace(hour=13, minute=30) - timedelta(days=3)
    end = exchange.now + timedelta(days=1)
    ask = {"end": end.isoformat(), "datasets": (name,)}
    hasty = await ares.download_all_data("BTCUSDT", "1h", 3 * DAY, **ask, settings=settings)
    early = ares.coverage(settings=settings)
    exchange.now = datetime.now(UTC)
    report = await ares.download_all_data("BTCUSDT", "1h", 3 * DAY, **ask, settings=settings)
    await ares.download_all_data("BTCUSDT", "1h", 3 * DAY, **ask, settings=whole)

    assert any("by the exchange's clock it is" in note for note in hasty.notes)
    assert not hasty.complete
    assert not early["final"].iloc[-1]
    assert report.complete
    assert contents(settings) == contents(whole)


@pytest.mark.parametrize("source", ["auto", "rest"])
async def test_between_two_ids_the_ids_alone_decide(exchange, settings, publish_anew, source):
    """A trade that is stamped later than the next one is stored, and never an answer *none*."""
    lines = published(exchange, DAILY.format("2025-03-01"))
    at = 3000
    cells = [line.split(",") for line in lines[at : at + 2]]
    late_id, late_us = int(cells[0][0]), int(cells[1][5]) + 900_000
    publish_anew("BTCUSDT-aggTrades-2025-03-01", "".join(lines[:at] + lines[at + 1 :]))

    def delay(body: bytes) -> bytes:
        rows = json.loads(body)
        for row in rows if isinstance(rows, list) else []:
            if row["a"] == late_id:
                row["T"] = late_us
        return json.dumps(rows).encode()

    exchange.fail("/api/v3/aggTrades", times=None, replace_body=delay)
    own = settings.replace(source=source)
    report = await ares.download_agg_trades_data("BTCUSDT", DAY, end="2025-03-02", settings=own)
    frame = ares.load_agg_trades("BTCUSDT", settings=own)

    assert report.complete
    assert len(frame) == len(lines)
    assert open_gaps(own) == []
    assert "confirmed absent upstream" not in set(ares.find_gaps("BTCUSDT", settings=own)["reason"])
    moment = frame.index[at].floor("s").tz_localize(None).isoformat()
    assert len(frame.loc[moment:]) > 0
    assert frame.index.is_monotonic_increasing


async def test_no_perpetual_is_believed_only_when_the_funding_itself_is_empty(exchange, settings):
    """A list of contracts that lacks a name in a maintenance does not make its funding absent."""
    exchange.withhold("fundingRate")
    nothing = json.dumps({"timezone": "UTC", "rateLimits": [], "symbols": []}).encode()
    exchange.fail("/fapi/v1/exchangeInfo", times=None, replace_body=nothing)
    report = await ares.download_futures_data("BTCUSDT", 0.1, end="2025-03-01", settings=settings)

    assert report.complete
    assert len(ares.load_futures("BTCUSDT", "2025-02-01", "2025-03-01", settings=settings)) == 84


async def test_that_there_is_no_perpetual_ages(exchange, settings):
    """For a month that runs it is asked again; for one that is over it is not."""
    exchange.now = datetime(2025, 3, 10, 12, tzinfo=UTC)
    ask = {"end": "2025-03-10", "settings": settings}
    await ares.download_futures_data("ETHBTC", 40 * DAY, **ask)
    exchange.requests.clear()
    await ares.download_futures_data("ETHBTC", 40 * DAY, **ask)
    early = len(exchange.requests)
    exchange.now = datetime(2025, 4, 10, tzinfo=UTC)
    await ares.download_futures_data("ETHBTC", 40 * DAY, end="2025-04-01", settings=settings)
    exchange.requests.clear()
    await ares.download_futures_data("ETHBTC", 40 * DAY, end="2025-04-01", settings=settings)

    assert early > 0
    assert exchange.requests == []
    assert set(ares.find_gaps("ETHBTC", settings=settings)["reason"]) == {"before listing"}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["byte", "cut", "failed step"])
async def test_repair_brings_nothing_beyond_the_last_row_that_was_known(
    exchange, settings, name, damage
):
    """A running file that is damaged, or a step that failed, gives repair no leave to go on."""
    await brought(settings, name, "2025-03-05T12:00")
    whole = contents(settings)
    path = settings.cache_dir / FILES[name][0]
    if damage == "byte":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] = 0xFF
        path.write_bytes(bytes(data))
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: -len(path.read_bytes()) // 3])
    else:
        hasty = settings.replace(max_retries=0)
        exchange.fail("2025-0[34]|startTime|fromId|endTime", times=None, status=500)
        await brought(hasty, name, "2025-04-09")
        exchange.faults.clear()
    report = await ares.repair_gaps("BTCUSDT", settings=settings, datasets=[name])

    assert report
    assert contents(settings) == whole


async def test_fetch_missing_data_says_what_the_loader_says(settings):
    """For a week of a month that is there it is complete, without a request."""
    await ares.download_futures_data("BTCUSDT", 0.1, end="2025-03-01", settings=settings)
    start, end = (int(datetime(2025, 2, day, 3, tzinfo=UTC).timestamp() * 1000) for day in (3, 10))
    filled = await ares.fetch_missing_data(
        "BTCUSDT", start, end, {"futures": None}, logging.getLogger("step1"), settings=settings
    )
    loaded = ares.load_futures("BTCUSDT", "2025-02-03T03:00", "2025-02-10T03:00", settings=settings)

    assert filled["futures"].attrs == loaded.attrs
    assert loaded.attrs["complete"]
    assert len(filled["futures"]) == len(loaded)


async def test_months_after_a_delisting_say_so(exchange, settings):
    """The API's last row and a status that is not in trade make the rest *after delisting*, for good."""
    ask = {"end": "2024-12-01", "settings": settings}
    report = await ares.download_klines_data("MATICUSDT", "1h", 0.3, **ask)
    gaps = ares.find_gaps("MATICUSDT", settings=settings)
    exchange.requests.clear()
    await ares.download_klines_data("MATICUSDT", "1h", 0.3, **ask)

    assert report.complete
    assert gaps["reason"].iloc[-1] == "after delisting"
    assert str(gaps["start"].iloc[-1])[:16] == "2024-09-10 03:00"
    assert exchange.requests == []


@pytest.mark.parametrize("code", [-1121, -1122])
@pytest.mark.parametrize("interval", ["1h", "1d"])
async def test_a_symbol_that_the_api_has_forgotten_is_complete_to_its_last_archived_row(
    exchange, settings, code, interval
):
    """Where the API refuses a delisted name the archive's end is *after delisting*, and is asked for once."""
    refused = json.dumps({"code": code, "msg": "Invalid symbol."})
    exchange.fail("api/v3/.*MATICUSDT", times=None, status=400, body=refused)
    ask = {"start": "2024-08-01", "end": "2024-12-01", "settings": settings}
    report = await ares.download_klines_data("MATICUSDT", interval, **ask)
    gaps = ares.find_gaps("MATICUSDT", settings=settings)
    exchange.requests.clear()
    again = await ares.download_klines_data("MATICUSDT", interval, **ask)

    assert report.complete, report
    assert set(gaps["reason"]) == {"after delisting"}
    assert again.complete
    assert exchange.requests == []


async def test_a_symbol_that_trades_and_is_refused_is_not_taken_for_delisted(exchange, settings):
    """A refusal alone proves nothing, where exchangeInfo lists the symbol or the archive goes on."""
    refused = json.dumps({"code": -1121, "msg": "Invalid symbol."})
    exchange.fail("klines.*BTCUSDT", times=None, status=400, body=refused)
    exchange.withhold("BTCUSDT-1d-2025-02-2")
    exchange.withhold("monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2025-02")
    report = await ares.download_klines_data(
        "BTCUSDT", "1d", start="2025-02-01", end="2025-03-01", settings=settings
    )

    assert not report.complete
    assert [type(step.error).__name__ for step in report.steps] == ["UnknownSymbol"]


def without_spot(exchange: ares.DemoExchange, symbol: str) -> None:
    """Let a symbol be a perpetual alone."""
    refused = json.dumps({"code": -1121, "msg": "Invalid symbol."})
    exchange.fail(f"api/v3/.*{symbol}", times=None, status=400, body=refused)
    exchange.withhold(f"data/spot/.*{symbol}")


async def test_of_a_perpetual_without_a_spot_symbol_the_funding_comes(exchange, settings):
    """A name that only futures know has its funding, and a note says that there are no spot candles."""
    without_spot(exchange, "LINKUSDT")
    window = {"start": "2025-02-01", "end": "2025-03-01", "settings": settings}
    report = await ares.download_all_data("LINKUSDT", "1d", **window)
    with pytest.raises(UnknownSymbol, match="LINKUSDT is a perpetual, and there is no spot symbol"):
        await ares.download_klines_data("LINKUSDT", "1d", **window)

    assert report.complete
    assert [step.file_name for step in report.steps] == ["futures_LINKUSDT_2025-02.csv"]
    assert report.notes == (
        "LINKUSDT: there is no spot symbol of this name, so it has no spot candles and no spot trades",
    )


async def test_a_wrong_name_stays_wrong_where_futures_cannot_be_asked(exchange, settings):
    """Neither spot nor a futures API that is down makes a perpetual of a name that nobody knows."""
    without_spot(exchange, "LINKUSDT")
    exchange.withhold("fundingRate/LINKUSDT")
    exchange.fail("fapi", times=None, status=503)
    with pytest.raises(UnknownSymbol, match="LINKUSDT is not known to the exchange"):
        await ares.download_all_data(
            "LINKUSDT", "1d", start="2025-02-01", end="2025-03-01", settings=settings
        )


async def test_months_between_two_listings_of_a_name_say_so(exchange, settings):
    """Older rows in the archive contradict *before listing*; the date of today's listing tells the rest."""
    exchange.withhold("fundingRate/LINKUSDT/LINKUSDT-fundingRate-2025-0[2-4]")
    onboard = int(datetime(2025, 5, 1, tzinfo=UTC).timestamp() * 1000)
    first = {
        "symbol": "LINKUSDT",
        "fundingTime": onboard,
        "fundingRate": "0.00010000",
        "markPrice": "",
    }
    exchange.fail("startTime=1&limit=1", times=None, replace_body=json.dumps([first]).encode())

    exchange.fail(
        "/fapi/v1/fundingRate", times=None, replace_body=only_after("2025-05-01", "fundingTime")
    )

    def listed_anew(body: bytes) -> bytes:
        info = json.loads(body)
        for each in info["symbols"]:
            each["onboardDate"] = onboard
        return json.dumps(info).encode()

    exchange.fail("/fapi/v1/exchangeInfo", times=None, replace_body=listed_anew)
    report = await ares.download_futures_data("LINKUSDT", 0.5, end="2025-06-01", settings=settings)
    gaps = ares.find_gaps("LINKUSDT", settings=settings)

    assert report.complete
    assert set(gaps["reason"]) == {"between listings"}
    assert str(gaps["start"].iloc[0])[:10] == "2025-02-01"
    assert str(gaps["end"].iloc[-1])[:10] == "2025-05-01"


OLD_WORDS = ["archive", "before listing", "there is no perpetual of this name"]


@pytest.mark.parametrize("word", OLD_WORDS)
async def test_what_was_recorded_on_weaker_evidence_is_asked_for_once_more(
    exchange, settings, word
):
    """A cache of an earlier version says *unconfirmed* of it, asks once, says so, and is quiet then."""
    symbol = "ETHBTC" if word.startswith("there") else "SOLUSDT"
    kind = {"end": "2020-09-01", "settings": settings}
    datasets = ("futures",) if symbol == "ETHBTC" else ("klines", "agg_trades")
    if symbol == "SOLUSDT":
        await ares.download_agg_trades_data(symbol, 3 * DAY, end="2020-08-13", settings=settings)
        await ares.download_klines_data(symbol, "1d", 0.2, **kind)
    else:
        await ares.download_futures_data(symbol, 0.2, **kind)
    for path in (settings.cache_dir / ".ares" / "receipts").iterdir():
        receipt = json.loads(path.read_text())
        receipt["absences"] = [{**each, "evidence": word} for each in receipt["absences"]]
        path.write_text(json.dumps(receipt))
    exchange.requests.clear()
    reported = set(open_gaps(settings, symbol))
    spans = {"agg_trades": (3 * DAY, "2020-08-13")}

    async def once_more() -> list[ares.DownloadReport]:
        reports = []
        for each in datasets:
            years, end = spans.get(each, (0.2, "2020-09-01"))
            reports.append(
                await ares.download_all_data(
                    symbol, "1d", years, end=end, datasets=(each,), settings=settings
                )
            )
        return reports

    reports = await once_more()
    asked = len(exchange.requests)
    exchange.requests.clear()
    await once_more()

    assert reported == {"unconfirmed"}
    assert asked > 0
    assert all(report.complete for report in reports)
    assert any("weaker evidence" in note for report in reports for note in report.notes)
    assert exchange.requests == []
