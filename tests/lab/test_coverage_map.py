"""The coverage map in the kernel: its selection, what its buttons do, and its faces."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

import pytest

import ares_notebook as ares
from ares_notebook.errors import BadArgument, Busy
from ares_notebook.lab.coverage_map import CoverageMap

START, END = "2024-11-01", "2025-04-01"


def zips(exchange: ares.DemoExchange) -> list[str]:
    """Names of the archive files that the exchange was asked for."""
    paths = [request.path for request in list(exchange.requests)]
    return [path.rpartition("/")[2] for path in paths if path.endswith(".zip")]


def without(settings: ares.Settings, *names: str) -> None:
    """Remove cache files, and what is known of them."""
    for name in names:
        (settings.cache_dir / name).unlink()
        (settings.cache_dir / ".ares" / "receipts" / f"{name}.json").unlink()


def ask(shown: CoverageMap, name: str, **content: object) -> dict[str, object]:
    """What a page is told that asks this."""
    told = []
    shown._tell = lambda answer, *_: told.append(answer)
    shown._receive(shown, {"ask": name, "number": "1", **content}, [])
    ares.run(shown.settled())
    return told[-1]


@pytest.fixture
async def shown(exchange, settings):
    """A map of two symbols, of which two months of the first are gone, next to each other."""
    for symbol in ("BTCUSDT", "ETHUSDT"):
        await ares.download_klines_data(symbol, "1h", start=START, end=END, settings=settings)
    without(settings, "klines_BTCUSDT_1h_2024-12.csv", "klines_BTCUSDT_1h_2025-01.csv")
    exchange.requests.clear()
    made = CoverageMap(settings=settings)
    await made.refresh()
    yield made
    made.close()


async def test_repair_asks_for_what_is_selected_alone(shown, exchange):
    """Of two months that are gone the selected one is fetched, with one zip; the map shows it, and what is left."""
    shown.select("BTCUSDT", "2024-12-01", "2025-01-01")
    report = await shown.repair()

    assert report.complete
    assert zips(exchange) == ["BTCUSDT-1h-2024-12.zip"]
    assert "open gap in 1 (2025-01)" in repr(shown)
    assert shown._status["words"].startswith(
        "Repair this: BTCUSDT klines 1h, 2024-12-01 → 2025-01-01: complete: 1 file"
    )
    assert shown.selected[:3] == ("klines", "BTCUSDT", "1h")
    assert shown.selected.end == datetime(2025, 1, 1, tzinfo=UTC)
    exchange.requests.clear()
    # A file that has a receipt is repaired by its receipt: nothing is there to ask for.
    await shown.repair()
    assert zips(exchange) == []


async def test_beyond_a_series_there_is_nothing_to_repair(shown, exchange):
    """After the last file of a series repair asks for nothing, and says that no file was wanted."""
    shown.select("BTCUSDT", "2025-05-01", "2025-06-01")
    await shown.repair()

    assert zips(exchange) == []
    assert "none wanted" in shown._status["words"]


async def test_load_and_validate_are_of_the_window(shown):
    """Load gives the rows of the window as `map.frame`, validate the report of its files; neither asks anybody."""
    shown.select("ETHUSDT", "2024-11-10", "2024-12-03")
    frame = await shown.load()
    report = await shown.validate()

    assert (frame.index[0].isoformat(), len(frame)) == ("2024-11-10T00:00:00+00:00", 23 * 24 - 2)
    assert frame is shown.frame
    assert (report.files, report.ok) == (2, True)
    assert report is shown.quality
    shown.select("BTCUSDT", "2024-11-01", "2025-02-01")
    assert len(await shown.load()) < 30 * 24
    assert "not complete" in shown._status["words"]


async def test_a_chart_opens_below_unless_somebody_else_shows_it(shown):
    """Show in chart makes a chart of the window in the map; who has asked for it is told instead."""
    shown.select("ETHUSDT", "2024-12-01", "2025-01-01")
    await shown.show_in_chart()
    first = shown._below
    assert first.view == tuple(shown.selected[3:])
    assert shown._chart == f"IPY_MODEL_{first.model_id}"
    told = []
    shown.on_show_in_chart(told.append)
    await shown.show_in_chart()

    assert told == [shown.selected]
    assert shown._below is first
    shown.close()
    assert first._levels is None


async def test_a_selection_is_told_and_wrong_ones_are_refused(shown):
    """Each change is told; nothing, two series, or an end before its start are no selection."""
    changes = []
    shown.on_select(lambda: changes.append(shown.selected and shown.selected.symbol))
    shown.select("ethusdt", "2025-01-01", "2025-02-01")
    shown.clear()

    assert changes == ["ETHUSDT", None]
    with pytest.raises(BadArgument, match="nothing is selected"):
        await shown.repair()
    with pytest.raises(BadArgument, match="names none"):
        shown.select("SOLUSDT", START, END)
    with pytest.raises(BadArgument, match="is not before"):
        shown.select("ETHUSDT", END, START)
    with pytest.raises(BadArgument, match='neither "month" nor "day"'):
        CoverageMap(by="year")


async def test_one_thing_at_a_time_and_a_cancel_keeps_what_is_done(shown, exchange):
    """While a repair hangs a second one is the same, another act is refused, and Cancel ends it."""
    exchange.fail(r"\.zip$", times=None, stall="body")
    shown.select("BTCUSDT", "2024-12-01", "2025-01-01")
    first = shown._begin("Repair this", shown._repaired)

    assert shown._begin("Repair this", shown._repaired) is first
    with pytest.raises(Busy, match="Repair this"):
        await shown.load()
    assert shown._status["busy"] == "Repair this"
    shown._cancel()
    await shown.settled()
    assert first.state == "cancelled"
    assert shown._status["busy"] == ""
    assert "cancelled" in shown._status["words"]


async def test_a_failure_is_said_in_the_map_and_raised(shown, exchange):
    """A repair that cannot be done leaves its reason in the map; so does a page's wrong question."""
    exchange.fail(r"\.zip|api", times=None, status=403)
    shown.select("BTCUSDT", "2024-12-01", "2025-01-01")
    report = await shown.repair()

    assert not report.complete
    assert shown._status["error"] == report.failed_in_words != ""
    assert OPEN_WORDS.search(repr(shown))


OPEN_WORDS = re.compile(r"open gap in 2 \(2024-12, 2025-01\)")


async def test_a_page_is_told_rows_reasons_source_and_time(shown, settings):
    """A cell tells rows, gaps with reason, source and when; of a cell that is none, that the map has changed."""
    bounds, series = shown._grid["bounds"], ["klines", "ETHUSDT", "1h"]
    answers = [
        await asyncio.to_thread(ask, shown, "cell", series=names, start=start, end=end)
        for names, start, end in (
            (series, *bounds[4:6]),
            (["klines", "BTCUSDT", "1h"], *bounds[1:3]),
            (["klines", "<b>", "1h"], *bounds[1:3]),
            (series, 1, 2),
        )
    ]

    title, rows, gap, source = answers[0]["lines"]
    assert title == "ETHUSDT klines 1h, 2025-03-01 → 2025-04-01"
    assert rows == "742 of 744 rows, confirmed absent upstream"
    assert gap.startswith("2025-03-14 02:00 to 2025-03-14 04:00 UTC, 2 rows, confirmed absent")
    assert re.fullmatch(r"from archive, \d{4}-\d\d-\d\d \d\d:\d\d UTC", source)
    assert answers[1]["lines"][1:] == ["there is no file of it"]
    assert [each["error"] for each in answers[2:]] == [
        "the map has changed since; choose again"
    ] * 2
    (settings.cache_dir / ".ares/receipts/klines_ETHUSDT_1h_2024-11.csv.json").unlink()
    [answer] = [
        await asyncio.to_thread(ask, shown, "cell", series=series, start=bounds[0], end=bounds[1])
    ]
    assert answer["lines"][1] == "1 file not counted: no receipt tells what is in it"


async def test_days_and_a_cache_that_is_empty(shown, settings, tmp_path):
    """By days there is a cell a day and the selection stays; an empty cache says how to fill it."""
    shown.select("ETHUSDT", "2025-01-01", "2025-02-01")
    await asyncio.to_thread(ask, shown, "by", by="day")
    assert (shown.by, len(shown._cells)) == ("day", 2 * 151)
    assert shown.selected.symbol == "ETHUSDT"
    empty = settings.replace(cache_dir=tmp_path / "none")
    nothing = await asyncio.to_thread(ares.coverage_map, settings=empty)

    assert repr(nothing).startswith("<CoverageMap: there is no cache folder")
    assert "download_klines_data" in nothing.static_html()
    assert not (tmp_path / "none").exists()


async def test_faces_say_the_same_without_a_kernel(shown):
    """Text names series, months and gaps; the saved page has the picture of them; what is closed is empty."""
    bundle, _ = shown._repr_mimebundle_()

    assert bundle["text/plain"] == (
        "<CoverageMap 2 series, 2024-11 to 2025-03, 1 with an open gap; BTCUSDT klines 1h, 2024-11 "
        "to 2025-03: 1 of 5 months complete, open gap in 2 (2024-12, 2025-01), gap explained in 2 "
        "(2024-11, 2025-03); ETHUSDT klines 1h, 2024-11 to 2025-03: 3 of 5 months complete, gap "
        "explained in 2 (2024-11, 2025-03)>"
    )
    assert "<svg" in bundle["text/html"]
    assert "BTCUSDT klines 1h" in bundle["text/html"]
    shown.close()
    assert shown._table.series == ()
