"""Quality thresholds: what is borne, what stops a pipeline, and how the share that is there is counted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

import ares_notebook as ares
from ares_notebook.errors import NeverDownloaded, PoorQuality
from ares_notebook.model.facts import Gap
from ares_notebook.model.files import CacheFile, parse_file_name
from ares_notebook.quality.findings import Completeness, Finding, MissingRows, shortfalls

HOUR_MS = 3_600_000
NAME = "klines_BTCUSDT_1h_2025-02.csv"


def file(name: str = NAME) -> CacheFile:
    """A cache file by its name."""
    made = parse_file_name(name)
    assert made is not None
    return made


def finding(severity: str, check: str = "prices") -> Finding:
    """A finding of one row."""
    return Finding(NAME, check, severity, 1, "2025-02-01 00:00:00")


@pytest.fixture
async def cache(settings):
    """A cache of one month of candles."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.01, end="2025-03-01", settings=settings)
    return settings


def spoil(settings, lost: int = 0, prices: int = 0) -> None:
    """Take rows out of the month, and make the high of others lower than their low."""
    path = settings.cache_dir / NAME
    head, *rows = path.read_text().splitlines()
    for at in range(100, 100 + prices):
        cells = rows[at].split(",")
        cells[2] = "0.00000001"
        rows[at] = ",".join(cells)
    del rows[300 : 300 + lost]
    path.write_text("\n".join([head, *rows]) + "\n")
    # With its receipt the whole file would count for altered.
    (settings.cache_dir / ".ares" / "receipts" / f"{NAME}.json").unlink()


# --- how much is there: pure ---


def test_counted_rows_are_missing():
    """Holes of known size are summed up over the files of a series."""
    missing = MissingRows()
    start = file().period.start_ms
    missing.add(file(), 670, [Gap(start, start + 2 * HOUR_MS, 2)])
    missing.add(file("klines_BTCUSDT_1h_2025-03.csv"), 744, [])

    assert missing.completeness() == (Completeness("klines_BTCUSDT_1h", 1414, 2),)


def test_uncounted_rows_are_guessed_by_the_pace():
    """A day of trades that nobody has seen counts as many rows as the days that are there have."""
    missing = MissingRows()
    missing.add(file("aggtrades_BTCUSDT_2025-02-01.csv"), 6_000, [])
    day = file("aggtrades_BTCUSDT_2025-02-02.csv")
    missing.add(day, 0, [Gap(day.period.start_ms, day.period.end_ms)])

    assert missing.completeness()[0].share == 0.5


def test_a_series_without_a_row_is_not_complete():
    """Where nothing at all is there the share is nothing, though nobody can count."""
    missing = MissingRows()
    day = file("aggtrades_BTCUSDT_2025-02-02.csv")
    missing.add(day, 0, [Gap(day.period.start_ms, day.period.end_ms)])

    assert missing.completeness()[0].share == 0


def test_a_series_that_expects_nothing_is_complete():
    """A series in which the exchange has confirmed that there is nothing lacks nothing."""
    assert Completeness("klines_BTCUSDT_1h", 0, 0).share == 1


def test_a_row_of_a_million_is_not_rounded_away():
    """The share in words is rounded down, so that what lacks a row is not told as 100 %."""
    made = Completeness("aggtrades_BTCUSDT", 999_999, 1)

    [reported] = shortfalls([], [made], ares.Settings())
    assert "is complete to 99.999 %" in reported
    assert "1 row is missing" in reported


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({}, 1),
        ({"max_errors": 2}, 0),
        ({"max_errors": 1}, 1),
        ({"max_errors": None}, 0),
        ({"max_warnings": 0}, 2),
        ({"max_warnings": 1}, 1),
        ({"max_errors": 2, "max_warnings": 0}, 1),
    ],
    ids=str,
)
def test_findings_are_borne_up_to_the_threshold(limits, count):
    """Two errors and a warning miss as many thresholds as they are above."""
    found = [finding("error"), finding("error"), finding("warning"), finding("information")]

    assert len(shortfalls(found, [], ares.Settings(**limits))) == count


def test_missing_rows_are_not_counted_twice():
    """An error for gaps is the affair of the share that is there, not of max_errors."""
    assert shortfalls([finding("error", "holes")], [], ares.Settings()) == ()


# --- with a cache ---


async def test_a_sound_cache_passes(cache):
    """At the defaults a complete cache without errors goes through, with its report."""
    report = await ares.assure_quality("BTCUSDT", "1h", settings=cache)

    assert report.ok
    assert report.shortfalls == ()
    assert report.completeness == (Completeness("klines_BTCUSDT_1h", 672, 0),)


async def test_missing_rows_stop_a_pipeline(cache):
    """A cache that lacks rows is refused: which series, how much, and what to do."""
    spoil(cache, lost=7)
    with pytest.raises(
        PoorQuality, match=r"complete to 98\.958 %.*100 %: 7 rows.*repair_gaps"
    ) as caught:
        await ares.assure_quality("BTCUSDT", settings=cache)

    assert caught.value.report.completeness[0].missing == 7


async def test_few_missing_rows_can_be_borne(cache):
    """With a lower threshold the same cache goes through, if nothing else is wrong."""
    spoil(cache, lost=7)
    own = cache.replace(min_complete_share=0.98, max_errors=1)
    report = await ares.assure_quality("BTCUSDT", settings=own)

    assert not report.ok
    assert report.shortfalls == ()


async def test_wrong_prices_stop_a_pipeline(cache):
    """Impossible candles are refused by max_errors, though no row is missing."""
    spoil(cache, prices=3)
    own = cache.replace(min_complete_share=0.0)
    with pytest.raises(PoorQuality, match=r"1 error, and max_errors allows 0"):
        await ares.assure_quality("BTCUSDT", settings=own)


async def test_warnings_can_be_forbidden(cache):
    """With max_warnings=0 a warning stops the pipeline, and the report says so under its headline."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.01, end="2025-01-01", settings=cache)
    own = cache.replace(max_warnings=0, min_complete_share=0.0)
    with pytest.raises(PoorQuality, match="1 warning, and max_warnings allows 0") as caught:
        await ares.assure_quality("BTCUSDT", settings=own)

    report = caught.value.report
    assert report.ok
    assert "below threshold: " in str(report).splitlines()[1]
    assert "below threshold: " in report._repr_html_()


async def test_a_month_that_was_never_downloaded_counts(cache):
    """A month between two others that nobody has asked for is missing, not only warned of."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.01, end="2025-01-01", settings=cache)
    with pytest.raises(PoorQuality, match="744 rows are missing"):
        await ares.assure_quality("BTCUSDT", settings=cache)


async def test_a_file_that_cannot_be_read_counts_as_missing(cache):
    """The rows of a damaged file are not there."""
    (cache.cache_dir / NAME).write_text("what is this?\n")
    with pytest.raises(PoorQuality) as caught:
        await ares.assure_quality("BTCUSDT", settings=cache)

    assert caught.value.report.completeness[0].share == 0


async def test_an_open_month_is_complete_up_to_where_it_was_asked_for(settings):
    """Rows after the end of the last download are not expected."""
    end = datetime(2025, 2, 11, tzinfo=UTC)
    await ares.download_klines_data("BTCUSDT", "1h", 0.01, end=end, settings=settings)
    report = await ares.assure_quality("BTCUSDT", settings=settings)

    assert report.completeness == (Completeness("klines_BTCUSDT_1h", 240, 0),)


async def test_what_the_exchange_lacks_is_not_expected(settings):
    """A halt that the exchange has confirmed lowers no share."""
    await ares.download_klines_data("BTCUSDT", "1h", 0.01, end="2025-04-01", settings=settings)
    report = await ares.assure_quality("BTCUSDT", settings=settings)

    assert (report.completeness[0].rows, report.completeness[0].share) == (742, 1.0)


async def test_nothing_is_no_quality(settings):
    """A cache with nothing in it is an error, not a cache without errors."""
    with pytest.raises(NeverDownloaded):
        await ares.assure_quality("BTCUSDT", settings=settings)
