"""One part of the cache against another: trades with candles, small candles with large."""

from __future__ import annotations

import json
import os

import pytest
from msgspec.structs import replace

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.cache.store import Store
from ares_notebook.model.gaps import Absence
from ares_notebook.quality.reconcile import reconcile

DAY = 1 / 365.25


async def klines(
    settings: Settings, interval: str, years: float, end: str, symbol: str = "BTCUSDT"
):
    """Bring candles."""
    await ares.download_klines_data(symbol, interval, years, end=end, settings=settings)


async def trades(settings: Settings, end: str, days: int = 1):
    """Bring days of trades."""
    await ares.download_agg_trades_data("BTCUSDT", days * DAY, end=end, settings=settings)


def found(settings: Settings) -> list[tuple]:
    """What was compared with what, and how it came out."""
    store = Store(settings)
    table = reconcile(store, store.files(), settings)
    return list(table.itertuples(index=False, name=None))


@pytest.mark.parametrize("end", ["2025-01-01", "2025-01-02", "2025-03-15"])
async def test_trades_make_up_the_minutes_of_the_demo_market(settings, end):
    """Minutes rebuilt from trades are the stored ones, before and after 2025, and around halts."""
    await klines(settings, "1m", 0.05, end)
    await trades(settings, end)
    [(symbol, what, compared, equal, missing, difference)] = found(settings)

    assert (symbol, what) == ("BTCUSDT", "1m from trades")
    assert compared > 1000
    assert (equal, missing, difference) == (compared, 0, "")


async def test_small_candles_make_up_the_large_ones(settings):
    """Each interval is added up from the finest one that divides it, and equals what is stored."""
    for interval in ("15m", "1h", "4h", "1d", "1w", "1M"):
        await klines(settings, interval, 0.24, "2025-04-01")
    rows = {row[1]: row[2:] for row in found(settings)}

    assert set(rows) == {f"{each} from 15m" for each in ("1h", "4h", "1d", "1w", "1M")}
    assert all(row[0] == row[1] and not row[3] for row in rows.values())
    assert rows["1M from 15m"][0] == 3
    assert rows["1d from 15m"][0] == 90


async def test_one_wrong_digit_is_found(settings):
    """A stored minute whose volume is not that of its trades is told with both numbers."""
    await klines(settings, "1m", 0.05, "2025-03-02")
    await trades(settings, "2025-03-02")
    path = settings.cache_dir / "klines_BTCUSDT_1m_2025-03.csv"
    lines = path.read_text().splitlines(keepends=True)
    cells = lines[700].split(",")
    cells[5] = f"{float(cells[5]) + 1e-5:.8f}"
    lines[700] = ",".join(cells)
    path.write_text("".join(lines))
    # With its receipt the whole file would count for altered.
    (settings.cache_dir / ".ares" / "receipts" / f"{path.name}.json").unlink()
    [(_, what, compared, equal, missing, difference)] = found(settings)

    assert what == "1m from trades"
    assert (compared - equal, missing) == (1, 0)
    assert difference.startswith(f"{cells[0]} volume: ")


async def test_what_is_not_complete_is_not_compared(settings):
    """A day of trades with a gap, or a month of candles with one, says nothing about the other."""
    await klines(settings, "1m", 0.05, "2025-03-02")
    await trades(settings, "2025-03-02")
    path = settings.cache_dir / "aggtrades_BTCUSDT_2025-03-01.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:500] + lines[501:]))

    assert found(settings) == []


async def test_a_running_month_is_compared_as_far_as_both_go(settings):
    """Of a month that is not over only the candles that are closed on both sides are compared."""
    await klines(settings, "15m", 0.02, "2025-03-10T06:15")
    await klines(settings, "1h", 0.02, "2025-03-10T04:30")
    [(_, what, compared, equal, _, _)] = found(settings)

    assert what == "1h from 15m"
    assert compared == equal == 9 * 24 + 4


async def test_recorded_quarters_make_up_the_recorded_hours(recorded, tmp_path):
    """Binance's own 15m candles of 2022-01 and 2022-02 add up to its 1h candles in every digit."""
    with DemoExchange(replay=recorded) as replay:
        own = replay.settings(cache_dir=tmp_path / "cache", retry_delay_seconds=0, progress=False)
        for interval in ("15m", "1h"):
            await klines(own, interval, 0.16, "2022-03-01")

    assert found(own) == [("BTCUSDT", "1h from 15m", 1416, 1416, 0, "")]


async def test_a_confirmed_gap_in_trades_is_not_compared(settings):
    """What a day of trades lacks, by the exchange's own word, its candles still hold: nothing is said."""
    await klines(settings, "1m", 0.05, "2025-03-02")
    await trades(settings, "2025-03-02")
    path = settings.cache_dir / "aggtrades_BTCUSDT_2025-03-01.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:500] + lines[501:]))
    store = Store(settings)
    [file] = [each for each in store.files() if each.dataset.key == "id"]
    entry = store.entry(file)
    heard = [
        Absence(
            gap.start_ms,
            gap.end_ms,
            "rest",
            "2026-01-01T00:00:00+00:00",
            gap.after_id,
            gap.before_id,
        )
        for gap in entry.unexplained(file.period.end_ms)
    ]
    store.update_receipt(replace(entry, absences=(*entry.absences, *heard)), final=True)

    assert len(heard) == 1
    assert found(settings) == []


async def test_a_number_that_is_none_is_told_and_does_not_stop_the_rest(settings):
    """A cell that nobody can add up makes its file one difference; other pairs are compared."""
    for symbol in ("BTCUSDT", "ETHUSDT"):
        for interval in ("1h", "1d"):
            await klines(settings, interval, 0.05, "2025-02-01", symbol)
    path = settings.cache_dir / "klines_BTCUSDT_1h_2025-01.csv"
    status, text = path.stat(), path.read_text()
    cell = text.splitlines()[50].split(",")[5]
    path.write_text(text.replace(cell, "x" * len(cell)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    bitcoin, ether = found(settings)

    assert bitcoin[1:5] == ("1d from 1h", 1, 0, 0)
    assert "volume cannot be added up" in bitcoin[5]
    assert ether[2:5] == (31, 31, 0)


# --- futures ---

TWO_DAYS = {"start": "2025-02-01", "end": "2025-02-03"}


async def futures(settings: Settings, interval: str, *names: str, symbol: str = "BTCUSDT"):
    """Bring two days of datasets of futures."""
    await ares.download_all_data(symbol, interval, **TWO_DAYS, datasets=names, settings=settings)


async def test_candles_of_futures_are_compared_within_their_market(settings):
    """Candles of USD-M and COIN-M add up to their own large ones, and none of another dataset is taken for them."""
    await futures(settings, "1h", "klines", "um_klines", "mark_price_klines")
    await futures(settings, "15m", "um_klines", "mark_price_klines", "premium_index_klines")
    for interval in ("1h", "4h"):
        await futures(settings, interval, "cm_klines", symbol="BTCUSD_PERP")

    assert found(settings) == [
        ("BTCUSD_PERP", "4h of COIN-M futures from 1h", 12, 12, 0, ""),
        ("BTCUSDT", "1h of USD-M futures from 15m", 48, 48, 0, ""),
    ]
    assert ares.validate_cache(settings=settings).ok


async def test_where_usd_m_itself_differs_is_information_with_its_share(exchange, settings):
    """A minute of USD-M that is not that of its trades is neither an error nor a warning, and its share is told."""

    def with_more_volume(body: bytes) -> bytes:
        rows = json.loads(body)
        rows[10][5] = str(float(rows[10][5]) + 1)
        return json.dumps(rows).encode()

    exchange.fail("fapi/v1/klines", times=1, replace_body=with_more_volume)
    own = settings.replace(source="rest")
    await futures(own, "1m", "um_klines")
    await futures(settings, "1m", "um_agg_trades")
    report = ares.validate_cache(settings=settings)
    [finding] = [each for each in report.findings if each.check == "reconciliation"]

    assert (finding.severity, finding.count) == ("information", 1)
    assert "1m of USD-M futures from trades" in finding.example
    assert "0.0% of the candles differ" in finding.example
    assert report.ok
