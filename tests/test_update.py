"""All that the cache holds, brought up to a moment as one run."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from msgspec import structs

import ares_notebook as ares
from ares_notebook.cache.store import Store
from ares_notebook.errors import BadArgument, CacheUnavailable, NeverDownloaded, WrongMarket
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.gaps import Absence
from ares_notebook.model.time import as_utc, month_of, to_ms, utc
from ares_notebook.settings import URLS


def paths(exchange, since=0):
    """What was asked for since a request of that number."""
    return [each.path for each in exchange.requests[since:]]


async def held(settings, end="2025-02-01"):
    """A cache of three series of two symbols, each with a start of its own."""
    for symbol, start in (("BTCUSDT", "2024-12-01"), ("ETHUSDT", "2025-01-01")):
        await ares.download_klines_data(symbol, "1d", start=start, end=end, settings=settings)
    await ares.download_klines_data("BTCUSDT", "4h", start="2025-01-01", end=end, settings=settings)


async def test_each_series_is_brought_from_its_own_start_to_the_end(settings):
    """After an update each series that was cached reaches from its own first file to the end."""
    await held(settings)

    report = await ares.update(end="2025-03-11", settings=settings)

    files = sorted(step.file_name for step in report.steps)
    assert report.complete
    assert files == [
        *(
            f"klines_BTCUSDT_1d_{month}.csv"
            for month in ("2024-12", "2025-01", "2025-02", "2025-03")
        ),
        *(f"klines_BTCUSDT_4h_{month}.csv" for month in ("2025-01", "2025-02", "2025-03")),
        *(f"klines_ETHUSDT_1d_{month}.csv" for month in ("2025-01", "2025-02", "2025-03")),
    ]
    for symbol, interval in (("BTCUSDT", "1d"), ("BTCUSDT", "4h"), ("ETHUSDT", "1d")):
        frame = ares.load_klines(symbol, interval, "2025-01-01", "2025-03-11", settings=settings)
        assert frame.attrs["complete"]


async def test_it_is_one_run(settings, exchange):
    """An update of several series is one line in the history, and asks for each symbol one time."""
    await held(settings)
    before, asked = len(ares.load_runs(settings=settings)), len(exchange.requests)

    report = await ares.update(end="2025-03-11", settings=settings)
    runs = ares.load_runs(settings=settings)
    symbols = [each.query for each in exchange.requests[asked:] if "exchangeInfo" in each.path]

    assert len(runs) == before + 1
    run = runs.iloc[-1]
    assert (run["what"], run["symbol"], run["datasets"], run["ending"]) == (
        "update", "", "klines", "done",
    )  # fmt: skip
    assert str(run["start"])[:10] == "2024-12-01"
    assert run["rows"] == report.rows_written
    assert sorted(each["symbol"] for each in symbols) == ["BTCUSDT", "ETHUSDT"]


async def test_a_second_run_asks_for_nothing(settings, exchange):
    """An update to the same end makes no request."""
    await held(settings)
    await ares.update(end="2025-03-11", settings=settings)
    asked = len(exchange.requests)

    report = await ares.update(end="2025-03-11", settings=settings)

    assert report.complete
    assert report.requests == 0
    assert paths(exchange, asked) == []


async def test_without_an_end_it_is_up_to_now(settings, exchange):
    """Without an end the last closed candle comes, and the next run has nothing to ask for."""
    await ares.download_klines_data("BTCUSDT", "1M", 0.5, end="2026-03-01", settings=settings)

    await ares.update(settings=settings)
    asked = len(exchange.requests)
    again = await ares.update(settings=settings)
    frame = ares.load_klines("BTCUSDT", "1M", settings=settings)

    now = utc(exchange.market_us() // 1000)
    assert again.requests == 0
    assert paths(exchange, asked) == []
    assert frame.index[-1] == month_of(month_of(now).start - timedelta(days=1)).start


async def test_a_gap_inside_is_closed(settings):
    """A file that was deleted from the middle of a series comes back."""
    await ares.download_klines_data("BTCUSDT", "1d", 0.4, end="2025-03-01", settings=settings)
    (settings.cache_dir / "klines_BTCUSDT_1d_2025-01.csv").unlink()

    report = await ares.update(end="2025-03-01", settings=settings)

    assert report.rows_written == 31
    assert (settings.cache_dir / "klines_BTCUSDT_1d_2025-01.csv").exists()


async def test_a_delisted_symbol_costs_nothing_again(settings, exchange):
    """Once its delisting is proven a symbol is not asked for again, however far the end moves on."""
    for interval in ("1h", "1d"):
        await ares.download_klines_data(
            "MATICUSDT", interval, 0.2, end="2024-10-01", settings=settings
        )
    await ares.download_klines_data("BTCUSDT", "1d", 0.2, end="2024-10-01", settings=settings)
    await ares.update(end="2024-12-01", settings=settings)
    asked = len(exchange.requests)

    report = await ares.update(end="2025-03-01", settings=settings)

    assert report.complete
    assert report.rows_written == 31 + 31 + 28
    assert not [each for each in exchange.requests[asked:] if "MATIC" in f"{each.path}{each.query}"]
    assert not [
        step for step in report.steps if step.file_name.startswith("klines_MATICUSDT_1h_2025")
    ]


@pytest.mark.parametrize(
    ("interval", "last", "end"),
    [
        ("4h", "2024-09-10", "2024-09-10T04:00"),
        ("1d", "2024-09-10", "2024-09-11"),
        ("1w", "2024-09-09", "2024-09-16"),
        ("1M", "2024-09-01", "2024-10-01"),
    ],
)
async def test_the_last_candle_before_a_delisting_is_brought(
    settings, exchange, interval, last, end
):
    """The candle in which a symbol was delisted comes, though another series proves the delisting."""
    hours = {"start": "2024-08-01", "end": "2024-10-05", "settings": settings}
    await ares.download_klines_data("MATICUSDT", "1h", **hours)
    early = {"start": "2024-07-01", "end": "2024-08-15", "settings": settings}
    await ares.download_klines_data("MATICUSDT", interval, **early)
    await ares.update(end="2025-02-01", settings=settings)
    asked = len(exchange.requests)
    again = await ares.update(end="2025-03-01", settings=settings)

    frame = ares.load_klines("MATICUSDT", interval, "2024-07-01", end, settings=settings)
    assert frame.attrs["complete"]
    assert frame.index[-1] == pd.Timestamp(last, tz="UTC")
    assert again.complete
    assert paths(exchange, asked) == []


async def test_a_delisting_holds_for_all_series_of_the_market(settings, exchange):
    """Trades of a symbol whose candles prove the delisting are asked for up to that day, and no further."""
    await ares.download_klines_data("MATICUSDT", "1h", 0.3, end="2024-12-01", settings=settings)
    await ares.download_agg_trades_data(
        "MATICUSDT", start="2024-09-09", end="2024-09-10", settings=settings
    )

    report = await ares.update(end="2025-03-01", settings=settings)
    asked = len(exchange.requests)
    again = await ares.update(end="2025-03-02", settings=settings)

    trades = [step.file_name for step in report.steps if step.dataset == "agg_trades"]
    assert trades == ["aggtrades_MATICUSDT_2024-09-09.csv", "aggtrades_MATICUSDT_2024-09-10.csv"]
    assert report.complete
    assert again.complete
    assert paths(exchange, asked) == []


async def test_a_delisting_is_believed_when_its_answer_is_settled(settings, exchange):
    """What was answered within a day of the end is asked once more, and after that no more."""
    exchange.now = datetime(2024, 9, 30, 12, tzinfo=UTC)
    await ares.download_klines_data(
        "MATICUSDT", "1h", start="2024-09-01", end="2024-09-30", settings=settings
    )
    exchange.now = datetime(2024, 11, 1, tzinfo=UTC)

    again = await ares.update(end="2024-09-30", settings=settings)
    asked = len(exchange.requests)
    last = await ares.update(end="2024-10-20", settings=settings)

    assert again.requests > 0
    assert last.complete
    assert paths(exchange, asked) == []


@pytest.mark.parametrize(
    ("month", "start", "end"),
    [("2024-12", "2024-12-31T12:00", "2025-01-01"), ("2025-01", "2025-01-01", "2025-01-02")],
)
async def test_a_delisting_before_the_last_rows_is_over(settings, month, start, end):
    """What a receipt tells of an earlier delisting keeps no later row of a symbol that came back away."""
    await ares.download_klines_data(
        "BTCUSDT", "1d", start="2024-12-01", end="2025-02-01", settings=settings
    )
    store, file = Store(settings), parse_file_name(f"klines_BTCUSDT_1d_{month}.csv")
    receipt, span = store.receipt(file), [to_ms(as_utc(each)) for each in (start, end)]
    absence = Absence(*span, "unlisted", "2025-06-01T00:00:00+00:00")
    store.write_receipt(structs.replace(receipt, absences=(absence,)))

    report = await ares.update(end="2025-03-01", settings=settings)

    assert report.rows_written == 28


async def test_open_interest_ends_with_the_candles_of_its_contract(settings, exchange):
    """Open interest of a contract, of which only the archive tells, is not looked for after the delisting."""
    wanted = {"datasets": ("um_klines", "metrics"), "settings": settings}
    await ares.download_all_data("MATICUSDT", "1h", start="2024-09-05", end="2024-10-01", **wanted)
    first = await ares.update(end="2024-11-01", settings=settings)
    asked = len(exchange.requests)

    report = await ares.update(end="2024-12-01", settings=settings)

    assert {step.dataset for step in first.steps} == {"um_klines", "metrics"}
    assert report.complete
    assert paths(exchange, asked) == []


async def test_what_is_proven_to_be_empty_is_not_held(settings, exchange):
    """Funding of a symbol that is proven to have no perpetual is not asked for by updates."""
    await ares.download_all_data(
        "ETHBTC", "1d", 0.1, end="2025-02-01", settings=settings, datasets=("klines", "futures")
    )
    asked = len(exchange.requests)

    report = await ares.update(end="2025-03-01", settings=settings)

    assert {step.dataset for step in report.steps} == {"klines"}
    assert report.complete
    assert not [each for each in paths(exchange, asked) if "/fapi/" in each or "futures" in each]


async def test_what_was_requested_in_vain_is_tried_again(settings, exchange):
    """A series of which no file came yet is brought by the next update."""
    exchange.fail("fundingRate", times=None, status=503)
    plain = settings.replace(max_retries=0)
    await ares.download_futures_data("BTCUSDT", 0.1, end="2025-02-01", settings=plain)
    exchange.faults.clear()

    report = await ares.update(end="2025-02-01", settings=settings)

    assert report.complete
    assert report.rows_written > 100


async def test_a_series_whose_files_were_deleted_is_brought_again(settings):
    """A series of which only receipts are left comes back as a whole."""
    await held(settings)
    for path in settings.cache_dir.glob("*_ETHUSDT_*.csv"):
        path.unlink()

    report = await ares.update(end="2025-02-01", settings=settings)

    assert report.complete
    assert (settings.cache_dir / "klines_ETHUSDT_1d_2025-01.csv").exists()


async def test_what_begins_after_the_end_is_left_out(settings):
    """A series that begins after the end is not in the plan; if all do, there is nothing to update."""
    await held(settings)

    plan = ares.plan_update(end="2024-12-15", settings=settings)

    assert (plan.symbols, [each.interval for each in plan]) == (("BTCUSDT",), ["1d"])
    with pytest.raises(NeverDownloaded):
        ares.plan_update(end="2024-11-15", settings=settings)


async def test_a_symbol_that_fails_stops_no_other(settings, exchange):
    """Where one symbol cannot be had the report says so, and the others are brought."""
    await held(settings)
    exchange.fail("ETHUSDT", times=None, status=404)
    exchange.fail("symbol=ETHUSDT", times=None, status=404)

    report = await ares.update(end="2025-03-01", settings=settings)

    assert not report.complete
    good = ares.load_klines("BTCUSDT", "1d", "2025-02-01", "2025-03-01", settings=settings)
    assert good.attrs["complete"]


async def test_datasets_limit_it(settings):
    """Of what is cached only the datasets that are named are updated."""
    await held(settings)
    await ares.download_funding_data("BTCUSDT", 0.1, end="2025-02-01", settings=settings)

    report = await ares.update(end="2025-03-01", settings=settings, datasets=("funding",))

    assert {step.dataset for step in report.steps} == {"futures"}


async def test_the_plan_says_what_an_update_does_and_writes_nothing(settings, exchange):
    """The dry run has the steps of the update, asks for nothing and leaves the folder as it is."""
    await held(settings)
    before = sorted(each.name for each in settings.cache_dir.rglob("*"))
    asked = len(exchange.requests)

    plan = ares.plan_update(end="2025-03-11", settings=settings)

    assert plan.symbols == ("BTCUSDT", "ETHUSDT")
    assert [each.interval for each in plan] == ["1d,4h", "1d"]
    assert len(plan.to_do) == 6
    assert paths(exchange, asked) == []
    assert sorted(each.name for each in settings.cache_dir.rglob("*")) == before
    report = await ares.update(end="2025-03-11", settings=settings)
    assert len([step for step in report.steps if step.action != "skip"]) == 6


async def test_an_empty_cache_says_what_to_do(settings, exchange):
    """Where nothing is cached an update raises, with the call that begins a cache, and asks for nothing."""
    with pytest.raises(NeverDownloaded, match="download something first, such as with"):
        await ares.update(settings=settings)

    assert exchange.requests == []


async def test_a_cache_of_another_market_is_refused_as_a_whole(settings, exchange):
    """A cache that another market has filled is refused before anything is asked for."""
    await held(settings)
    asked = len(exchange.requests)
    other = settings.replace(market="another")

    with pytest.raises(WrongMarket, match="'demo'"):
        await ares.update(end="2025-03-01", settings=other)

    assert paths(exchange, asked) == []


async def test_an_end_in_the_future_is_refused(settings):
    """An end that is later than now is no end."""
    with pytest.raises(BadArgument, match="in the future"):
        await ares.update(end="2100-01-01", settings=settings)


async def test_a_folder_that_is_none_is_an_error(settings):
    """A file in the place of the folder is told of, and not taken for an empty cache."""
    settings.cache_dir.write_text("no folder")

    with pytest.raises(CacheUnavailable, match="there is a file where a folder should be"):
        await ares.update(settings=settings)


# --- the shell ---

_SHELL = """
import sys
from ares_notebook.cli import main

try:
    main()
finally:
    print(sorted({"aiohttp", "numpy", "pandas", "pyarrow"} & set(sys.modules)))
"""


@pytest.fixture
def shell(settings):
    """Run `ares-notebook` in a process of its own; its last line lists the slow modules."""
    names = [
        "market",
        "cache_dir",
        *URLS,
    ]
    reported = {f"ARES_{name.upper()}": str(getattr(settings, name)) for name in names}

    def run(*words: str) -> tuple[int, list[str]]:
        done = subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", _SHELL, *words],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, **reported, "ARES_PROGRESS": "0"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, (done.stdout + done.stderr).splitlines()

    return run


async def test_the_shell_updates(settings, exchange, shell):
    """`update --dry-run` asks for nothing, `update` brings, and the next one needs nothing slow to import."""
    await held(settings)
    asked = len(exchange.requests)

    dry_status, dry = shell("update", "--end", "2025-03-11", "--dry-run")
    asked_by_dry = paths(exchange, asked)
    status, done = shell("update", "--end", "2025-03-11")
    asked = len(exchange.requests)
    again_status, again = shell("update", "--end", "2025-03-11")

    assert (dry_status, status, again_status) == (0, 0, 0)
    assert dry[0].startswith("Plan for 2 symbols (klines): 2024-12-01 → 2025-03-11 UTC")
    assert asked_by_dry == []
    assert done[0].startswith("complete: 10 files")
    assert "0 requests" in again[0]
    assert again[-1] == "[]"
    assert paths(exchange, asked) == []


async def test_the_shell_fails_where_nothing_is_cached(shell):
    """Without a cache the exit status is 1, and the command that begins one is told."""
    status, lines = shell("update")

    assert status == 1
    assert any(
        "ares-notebook download BTCUSDT 1h --years 1 --datasets klines" in each for each in lines
    )
