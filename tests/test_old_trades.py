"""Old files of trades: kept where their ids run on, completed in their own columns."""

from __future__ import annotations

import csv
import io
import warnings

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.load import IncompleteData

DAY = 1 / 365.25
NAME = "aggtrades_BTCUSDT_2025-03-01.csv"
OLD = ("timestamp", "price", "quantity", "is_buyer_maker", "agg_trade_id")


@pytest.fixture
async def old(exchange: DemoExchange, settings: Settings) -> list[str]:
    """The lines of an old file of a whole day, header first, and an empty cache."""
    other = settings.replace(cache_dir=settings.cache_dir.with_name("whole"))
    await ares.download_agg_trades_data("BTCUSDT", DAY, end="2025-03-02", settings=other)
    rows = csv.DictReader(io.StringIO((other.cache_dir / NAME).read_text()))
    settings.cache_dir.mkdir()
    # The original downloader went through floats, and pandas.
    lines = [
        ",".join(
            [
                row["timestamp"].rstrip("0").rstrip("."),
                str(float(row["price"])),
                str(float(row["quantity"])),
                row["is_buyer_maker"],
                row["agg_trade_id"],
            ]
        )
        for row in rows
    ]
    exchange.requests.clear()
    return [",".join(OLD), *lines]


def put(settings: Settings, lines: list[str]) -> bytes:
    """Write an old file into a cache that the demo filled."""
    path = settings.cache_dir / NAME
    path.write_text("\n".join(lines) + "\n")
    ours = settings.cache_dir / ".ares"
    ours.mkdir(exist_ok=True)
    (ours / "origin.json").write_text('{"market": "demo"}')
    return path.read_bytes()


async def fetched(settings: Settings):
    """Bring the day."""
    return await ares.download_agg_trades_data("BTCUSDT", DAY, end="2025-03-02", settings=settings)


async def test_a_whole_old_day_is_kept(exchange, settings, old):
    """An old file whose ids run on is not fetched again, and stays byte for byte what it was."""
    text = put(settings, old)
    report = await fetched(settings)
    exchange.requests.clear()
    again = await fetched(settings)
    table = ares.coverage("BTCUSDT", settings=settings)

    assert (settings.cache_dir / NAME).read_bytes() == text
    assert report.complete
    assert not [each for each in exchange.requests if each.path.endswith(".zip")]
    assert exchange.requests == []
    assert again.complete
    assert table.loc[0, ["source", "rows"]].tolist() == ["legacy", len(old) - 1]


async def test_an_audit_compares_what_the_original_stored(settings, old):
    """Of kept old trades the numbers are compared and not their digits: what is the same is so, what is changed is named."""
    put(settings, old)
    await fetched(settings)
    same = await ares.audit_cache(settings=settings)
    cells = old[100].split(",")
    cells[1] = str(float(cells[1]) + 0.5)
    put(settings, [*old[:100], ",".join(cells), *old[101:]])
    # With its receipt it would count for altered.
    (settings.cache_dir / ".ares/receipts" / f"{NAME}.json").unlink()
    changed = await ares.audit_cache(settings=settings)

    assert same.to_frame()[["verdict", "count"]].to_numpy().tolist() == [["same rows", 0]]
    assert changed.to_frame()[["verdict", "count"]].to_numpy().tolist() == [["differs", 1]]
    assert changed.differences[["column", "cached"]].to_numpy().tolist() == [["price", cells[1]]]


@pytest.mark.parametrize("part", [slice(1, 3000), slice(2000, None)], ids=["no end", "no start"])
async def test_an_old_day_is_completed_in_its_own_columns(settings, old, part):
    """What lacks at an edge is added, the old rows stay as they are, and no column is invented."""
    put(settings, [old[0], *old[part]])
    report = await fetched(settings)
    lines = (settings.cache_dir / NAME).read_text().splitlines()
    frame = ares.load_agg_trades("BTCUSDT", settings=settings)

    ids = [line.rsplit(",", 1)[1] for line in lines[1:]]
    assert report.complete
    assert lines[0] == ",".join(OLD)
    assert ids == [line.rsplit(",", 1)[1] for line in old[1:]]
    assert frame.attrs["complete"]
    assert frame["price"].tolist() == [float(line.split(",")[1]) for line in old[1:]]


async def test_an_old_day_with_a_gap_inside_is_replaced_whole(settings, old):
    """An old file whose ids do not run on proves nothing, and gives way to a whole one of ours."""
    put(settings, [*old[:1000], *old[1010:]])
    report = await fetched(settings)
    lines = (settings.cache_dir / NAME).read_text().splitlines()

    assert report.complete
    assert lines[0].split(",")[-1] == "last_trade_id"
    assert len(lines) == len(old)


async def test_an_old_file_is_not_lost_to_half_a_new_one(exchange, settings):
    """An old month stays while its replacement cannot be had whole."""
    settings.cache_dir.mkdir()
    path = settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv"
    lines = ["timestamp,open,high,low,close,volume"]
    lines += [
        f"2025-02-{day:02d} {hour:02d}:00:00,1.0,1.0,1.0,1.0,1.0"
        for day in range(1, 29)
        for hour in range(24)
    ]
    path.write_text("\n".join(lines) + "\n")
    before = path.read_bytes()
    (settings.cache_dir / ".ares").mkdir()
    (settings.cache_dir / ".ares/origin.json").write_text('{"market": "demo"}')
    exchange.withhold("1h-2025-02")
    exchange.fail("/api/v3/klines", times=None, skip=0, status=503)
    own = settings.replace(max_retries=0)
    report = await ares.download_klines_data("BTCUSDT", "1h", 0.05, end="2025-03-01", settings=own)

    assert not report
    assert report.rows_written == 0
    assert path.read_bytes() == before


async def test_an_old_file_is_replaced_as_far_as_it_went(settings):
    """A download whose end lies before an old file's last row does not cut the file short."""
    settings.cache_dir.mkdir()
    path = settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv"
    lines = ["timestamp,open,high,low,close,volume"]
    lines += [
        f"2025-02-{day:02d} {hour:02d}:00:00,1.0,1.0,1.0,1.0,1.0"
        for day in range(1, 20)
        for hour in range(24)
    ]
    path.write_text("\n".join(lines) + "\n")
    (settings.cache_dir / ".ares").mkdir()
    (settings.cache_dir / ".ares/origin.json").write_text('{"market": "demo"}')
    report = await ares.download_klines_data(
        "BTCUSDT", "1h", 0.01, end="2025-02-10", settings=settings
    )

    rows = path.read_text().splitlines()
    assert report.complete
    assert len(rows) == len(lines)
    assert rows[-1].startswith("2025-02-19 23:00:00,")
    assert rows[0].endswith("taker_buy_quote_asset_volume")


async def test_a_day_further_away_proves_an_edge(settings):
    """Where the ids run on over a day without trades, the window behind it lacks nothing at its start, however it is looked up."""
    settings.cache_dir.mkdir()
    for day, first in (("01", 100), ("03", 200)):
        lines = [
            f"2025-03-{day} 12:{minute:02}:00,1.5,2.0,True,{first + minute}" for minute in range(60)
        ]
        if day == "01":
            lines += [f"2025-03-01 13:{m:02}:00,1.5,2.0,True,{160 + m}" for m in range(40)]
        path = settings.cache_dir / f"aggtrades_BTCUSDT_2025-03-{day}.csv"
        path.write_text("\n".join([",".join(OLD), *lines]) + "\n")
    window = ("BTCUSDT", "2025-03-03", "2025-03-03T12:30")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteData)
        frame = ares.load_agg_trades(*window, settings=settings)

    assert len(frame) == 30
    assert frame.attrs["missing"] == []
