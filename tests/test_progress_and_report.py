"""How far a download is, and what became of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

import ares_notebook as ares
from ares_notebook.download.report import DownloadReport, StepReport
from ares_notebook.errors import IncompleteDownload, NotFound, ServerFault
from ares_notebook.runtime.progress import (
    Progress,
    ProgressReporter,
    counted,
    heard_by,
    shown,
    tracked,
)
from ares_notebook.settings import Settings


def progress(**changes):
    fields = {
        "symbol": "BTCUSDT",
        "dataset": "klines",
        "file_name": "x.csv",
        "steps_done": 1,
        "steps_total": 4,
        "rows": 10,
        "requests": 2,
        "bytes_received": 0,
        "bytes_expected": 0,
        "seconds": 10.0,
    }
    return Progress(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, 0.25),
        ({"steps_total": 0, "steps_done": 0}, 1.0),
        ({"steps_done": 4}, 1.0),
        ({"bytes_received": 50, "bytes_expected": 100}, 0.5),
        ({"bytes_received": 10, "bytes_expected": 100}, 0.25),
        ({"bytes_received": 900, "bytes_expected": 100}, 0.99),
        ({"steps_done": 0}, 0.0),
    ],
)
def test_the_share_is_told_by_files_and_bytes(changes, share):
    """Whichever is further tells the share, and bytes alone never say that all is done."""
    assert progress(**changes).share == pytest.approx(share)


@pytest.mark.parametrize(
    ("changes", "seconds"), [({}, 30.0), ({"steps_done": 4}, 0.0), ({"steps_done": 0}, None)]
)
def test_the_time_left_is_estimated_from_the_rate(changes, seconds):
    """A quarter in ten seconds leaves thirty; of nothing nothing can be said."""
    assert progress(**changes).seconds_left == seconds


def test_a_listener_is_not_flooded():
    """A thousand changes at once are told once; what is pressing is told always."""
    heard, made = [], []

    def make():
        made.append(1)
        return progress()

    reporter = ProgressReporter(heard.append)
    for _ in range(1_000):
        reporter.tell(make)
    quiet = len(heard)
    reporter.tell(make, at_once=True)

    assert quiet < 10
    assert len(heard) == len(made) == quiet + 1


async def test_what_came_too_soon_is_told_when_it_is_time():
    """A download that hangs is shown as it is, not as it was a tenth of a second before."""
    heard, reported = [], asyncio.Event()

    def hear(progress):
        heard.append(progress.steps_done)
        if progress.steps_done == 3:
            reported.set()

    reporter = ProgressReporter(hear)
    for done in (1, 2, 3):
        reporter.tell(lambda done=done: progress(steps_done=done))
    await asyncio.wait_for(reported.wait(), 5)

    assert heard == [1, 3]


async def test_a_closed_teller_tells_nothing_more():
    """What is still waiting to be told when the work has ended is not told."""
    heard, loop = [], asyncio.get_running_loop()
    reporter = ProgressReporter(heard.append)
    reporter.tell(progress)
    reporter.tell(progress)
    reporter.close()
    later = loop.create_future()
    loop.call_later(0.15, later.set_result, None)
    await later

    assert len(heard) == 1


def test_time_left_is_not_guessed_from_too_little():
    """Of the first hundredth nobody knows how long the rest will take."""
    assert progress(steps_done=0).seconds_left is None
    assert progress(steps_done=1, steps_total=100, seconds=1.0).seconds_left is None
    assert progress(steps_done=2, steps_total=4, seconds=1.0).seconds_left == 1.0


def test_a_look_through_the_cache_is_told_to_who_listens():
    """What goes item by item tells how far it is, and ends when the listener raises."""
    heard = []
    with heard_by(heard.append):
        assert list(tracked("abc", Settings(progress=False), "validate")) == ["a", "b", "c"]

    assert (heard[-1].steps_done, heard[-1].steps_total, heard[-1].dataset) == (3, 3, "validate")

    def stop(_progress):
        raise KeyboardInterrupt

    with heard_by(stop), pytest.raises(KeyboardInterrupt):
        list(tracked("abc", Settings(progress=False), "validate"))


def test_without_a_listener_nothing_is_made():
    """Who does not listen costs nothing."""
    ProgressReporter(None).tell(lambda: pytest.fail("nobody asked"), at_once=True)


def test_no_bar_where_none_is_wanted(capsys):
    """With progress=False the listener itself is called and nothing is printed."""
    heard = []

    with shown(Settings(progress=False), heard.append) as listener:
        listener(progress())

    assert len(heard) == 1
    assert capsys.readouterr() == ("", "")


def test_nobody_looks_at_a_program(monkeypatch):
    """By default there is a bar in a terminal or an open notebook, and none elsewhere."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)

    with shown(Settings(), None) as listener:
        unseen = listener
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    with shown(Settings(), None) as listener:
        seen = listener

    assert unseen is None
    assert seen is not None


def test_a_bar_does_not_take_the_listeners_place():
    """With a bar the listener is called as well."""
    heard = []

    with shown(Settings(progress=True), heard.append) as listener:
        listener(progress())

    assert [each.rows for each in heard] == [10]


def test_quick_work_stays_silent(capsys):
    """The bar appears after half a second only."""
    with shown(Settings(progress=True), None) as listener:
        listener(progress())

    assert capsys.readouterr().err.strip() == ""


# --- reports ---

SKIPPED = StepReport("klines", "a.csv", "skip", "complete")
FETCHED = StepReport(
    "klines", "b.csv", "fetch", "not downloaded", rows=700, requests=2, bytes_received=30
)
OPEN = StepReport(
    "agg_trades", "c.csv", "extend", "goes on", rows=5, requests=3, bytes_received=4, missing=2
)
FAILED = StepReport(
    "futures", "d.csv", "fetch", requests=4, missing=1, error=ServerFault("no line")
)


@pytest.mark.parametrize(
    ("steps", "is_good", "is_complete"),
    [
        ((), True, True),
        ((SKIPPED, FETCHED), True, True),
        ((SKIPPED, OPEN), True, False),
        ((FETCHED, FAILED), False, False),
    ],
)
def test_truth_is_that_nothing_failed(steps, is_good, is_complete):
    """A report is true when nothing failed, and complete when besides no row is missing."""
    report = DownloadReport(steps)

    assert bool(report) is is_good
    assert report.complete is is_complete


def test_sums_are_over_all_steps():
    """Rows, requests and bytes are those of the steps, and of what belongs to no file."""
    report = DownloadReport(
        (SKIPPED, FETCHED, OPEN, FAILED), overhead_requests=5, overhead_bytes=100
    )

    assert report.rows_written == 705
    assert report.requests == 2 + 3 + 4 + 5
    assert report.bytes_received == 134
    assert report.actions == {"skip": 1, "fetch": 1, "extend": 1}
    assert report.failed == (FAILED,)


def test_failures_can_be_raised():
    """The error names the file and its cause, carries the report, and has the first error behind it."""
    second = StepReport("futures", "e.csv", "fetch", error=NotFound("gone"))
    report = DownloadReport((SKIPPED, FAILED, second))

    with pytest.raises(
        IncompleteDownload, match=r"2 of 3 files failed: d\.csv: no line \(and for 1 other reason\)"
    ) as caught:
        report.raise_for_failures()

    assert caught.value.report is report
    assert caught.value.__cause__ is FAILED.error


def test_without_failures_nothing_is_raised():
    """An incomplete download is no failed one."""
    DownloadReport((SKIPPED, OPEN)).raise_for_failures()


def test_the_frame_has_a_row_a_file():
    """The table tells each file, and errors as text."""
    frame = DownloadReport((FETCHED, FAILED)).to_frame()

    assert list(frame.columns) == [
        "dataset", "file", "action", "reason", "rows", "requests", "bytes_received", "missing", "error",
    ]  # fmt: skip
    assert frame["file"].tolist() == ["b.csv", "d.csv"]
    assert frame["error"].tolist() == ["", "no line"]


@pytest.mark.parametrize(
    ("steps", "word"),
    [
        ((SKIPPED,), "complete:"),
        ((OPEN,), "incomplete:"),
        ((FAILED, SKIPPED), "1 FAILED:"),
        ((), "none wanted"),
    ],
)
def test_the_headline_says_how_it_went(steps, word):
    """The first line tells failure from incompleteness from success."""
    assert word in str(DownloadReport(steps)).splitlines()[0]


def test_failed_and_open_files_are_named():
    """What needs attention has a line of its own, and so have notes."""
    text = str(DownloadReport((FAILED, OPEN, SKIPPED), notes=("no perpetual",)))

    assert "failed d.csv: no line" in text
    assert "c.csv: gaps left: 2" in text
    assert "no perpetual" in text
    assert "a.csv" not in text


def test_a_thousand_failures_are_not_a_thousand_lines():
    """A long list of reasons is cut, and says by how much."""
    steps = [replace(FAILED, error=ServerFault(f"no line to {at}")) for at in range(1_000)]

    lines = str(DownloadReport(tuple(steps))).splitlines()

    assert len(lines) < 20
    assert "988 more" in lines[-1]


def test_files_that_failed_for_one_reason_are_told_of_together():
    """A symbol that nobody knows is one line, not one a file."""
    lines = str(DownloadReport((FAILED,) * 1_000)).splitlines()

    assert lines[1:] == ["  failed d.csv and 999 more: no line"]


def test_reports_of_several_downloads_become_one():
    """Joined reports have all steps, the sum of their costs, and each note once."""
    one = DownloadReport((FETCHED,), 1.5, ("closed",), 2)

    both = DownloadReport.joined([one, replace(one, steps=(FAILED,))])

    assert both == DownloadReport((FETCHED, FAILED), 3.0, ("closed",), 4)


def test_a_thousand_open_files_are_told_too():
    """A long list of open files says that it is cut."""
    lines = str(DownloadReport((OPEN,) * 1_000)).splitlines()

    assert len(lines) < 20
    assert "more" in lines[-1]


def test_text_from_outside_is_escaped_in_html():
    """An error or note with tags in it cannot become part of the page."""
    bad = StepReport("klines", "<b>.csv", "fetch", error=ServerFault("<script>alert(1)</script>"))

    page = DownloadReport((bad,), notes=("<img src=x>",))._repr_html_()

    assert "<script" not in page
    assert "<img" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;" in page


async def test_of_work_side_by_side_nothing_is_left_when_one_fails(settings):
    """The first error comes out, and by then every other piece of work has ended."""

    async def fail():
        msg = "no"
        raise ValueError(msg)

    before = asyncio.all_tasks()
    with pytest.raises(ValueError, match="no"):
        [each async for each in counted([fail(), asyncio.sleep(60)], settings, "work")]

    assert asyncio.all_tasks() == before


def test_what_an_unasked_clock_cuts_off_is_not_complete(exchange, tmp_path):
    """While the exchange's clock cannot be asked a report of a window up to now is incomplete."""
    settings = exchange.settings(cache_dir=tmp_path, progress=False, retry_delay_seconds=0.02)
    exchange.fail("/api/v3/time", times=None, status=503)

    report = ares.run(ares.download_klines_data("BTCUSDT", "1d", 0.05, settings=settings))

    assert report
    assert report.is_cut_short
    assert not report.complete
    assert str(report).startswith("incomplete")
    assert "clock could not be asked" in str(report)
