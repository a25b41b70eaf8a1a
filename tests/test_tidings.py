"""What people are told of a run: the event that it was, and what to do."""

from __future__ import annotations

import pytest

from ares_notebook.errors import CacheUnavailable, PoorQuality, Unreachable
from ares_notebook.tidings import of_error, of_quality, of_report
from ares_notebook.work.report import DownloadReport, StepReport

NAME = "klines_BTCUSDT_1h_2025-01.csv"
GOOD = StepReport("klines", NAME, "fetch", rows=744)
BAD = StepReport("klines", NAME, "fetch", error=Unreachable("no answer from the archive"))
OPEN = StepReport("klines", NAME, "fetch", missing=2)


@pytest.mark.parametrize(
    ("steps", "event", "title"),
    [
        ((GOOD,), "finished", "BTCUSDT 1h: complete"),
        ((OPEN,), "finished", "BTCUSDT 1h: incomplete"),
        ((GOOD, BAD, OPEN), "failed", "BTCUSDT 1h: 1 of 3 files failed"),
    ],
)
def test_the_title_says_how_it_went(steps, event, title):
    """One line says whether anything failed or lacks."""
    assert of_report("BTCUSDT 1h", DownloadReport(steps))[:2] == (event, title)


@pytest.mark.parametrize(
    ("step", "why", "remedy"),
    [
        (BAD, f"failed {NAME}: no answer from the archive", "Run it again"),
        (OPEN, f"open   {NAME}: holes left: 2", "repair_gaps"),
    ],
    ids=["failed", "open"],
)
def test_the_body_says_why_and_what_to_do(step, why, remedy):
    """Below the report's own words stands the next step."""
    body = of_report("BTCUSDT 1h", DownloadReport((step,))).body

    assert why in body
    assert body.splitlines()[-1].count(remedy) == 1


def test_a_complete_run_asks_for_nothing():
    """Where all is there nobody is told to do anything."""
    report = DownloadReport((GOOD,))

    assert of_report("BTCUSDT 1h", report).body == str(report)


def test_an_error_of_ours_is_told_in_its_words():
    """What ended the run, and that it can be run again."""
    event, title, body = of_error("BTCUSDT 1h", CacheUnavailable("the disk is full"))

    assert (event, title) == ("failed", "BTCUSDT 1h: failed")
    assert body.splitlines()[0] == "CacheUnavailable: the disk is full"
    assert "Run it again" in body


def test_a_strangers_error_is_told_by_its_kind():
    """The words of an error that is not ours could hold anything, and stay here."""
    assert "S3CRET" not in str(of_error("BTCUSDT 1h", ValueError("S3CRET")))


def test_poor_quality_is_told_in_its_words():
    """The findings and their remedy are the body."""
    told = of_quality("BTCUSDT 1h", PoorQuality("1 ERROR: holes. repair_gaps closes them", None))

    assert told.event == "below threshold"
    assert told.body == "1 ERROR: holes. repair_gaps closes them"
