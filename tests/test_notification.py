"""What people are told of a run: how it ended, where, and what to do."""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ares_notebook.cache.history import Run
from ares_notebook.download.run_info import notification_of

FOLDER = Path("/data/my cache")
RUN = Run(
    at=datetime(2025, 3, 1, 2, tzinfo=UTC),
    what="download",
    symbol="BTCUSDT",
    interval="1h",
    datasets="klines",
    start=None,
    end=None,
    ending="done",
    files=3,
    rows=744,
    bytes_received=1,
    requests=1,
    retries=0,
    rate_limited=0,
    seconds=1.0,
    failures=0,
    error="",
)


@pytest.mark.parametrize(
    ("ending", "event", "remedy"),
    [
        ("done", "finished", ""),
        ("incomplete", "finished", "ares-notebook gaps BTCUSDT 1h --cache-dir '/data/my cache'"),
        ("failed", "failed", "ares-notebook runs --cache-dir '/data/my cache'"),
        (
            "below threshold",
            "below threshold",
            "ares-notebook repair BTCUSDT 1h --cache-dir '/data/my cache'",
        ),
        (
            "differs",
            "below threshold",
            "ares-notebook audit BTCUSDT 1h --update --cache-dir '/data/my cache'",
        ),
    ],
)
def test_each_ending_is_an_event_with_a_remedy(ending, event, remedy):
    """Who is told of a run reads the report, where the cache is, and a command that can be pasted."""
    reported = notification_of(replace(RUN, ending=ending), "all the words", FOLDER)

    assert reported is not None
    assert reported.event == event
    assert (
        reported.title
        == f"ares-notebook: download of BTCUSDT 1h: {ending}{' (0 of 3 files)' * (ending == 'failed')}"
    )
    assert reported.body.endswith("\n\nall the words")
    assert f"Cache: /data/my cache on {socket.gethostname()}" in reported.body
    assert remedy in reported.body
    assert ("ares-notebook" in reported.body) == bool(remedy)


def test_who_cancels_is_not_told():
    """Of a run that somebody cancelled nobody is told."""
    assert notification_of(replace(RUN, ending="cancelled"), "", FOLDER) is None


def test_a_long_report_cuts_off_no_remedy():
    """The first reason, the place and the command stand before the report, however long that is."""
    failed = replace(RUN, ending="failed", failures=1, error="the first reason")
    reported = notification_of(failed, "word " * 10_000, FOLDER)

    assert reported is not None
    assert reported.body.startswith("the first reason\n\nCache: ")
    assert reported.body.index("ares-notebook runs") < 1_000


def test_the_title_says_how_much_failed():
    """Of a run that failed in part the title says how many files that are."""
    reported = notification_of(replace(RUN, ending="failed", failures=2), "words", FOLDER)

    assert reported is not None
    assert reported.title == "ares-notebook: download of BTCUSDT 1h: failed (2 of 3 files)"


def test_several_symbols_are_one_command():
    """Where a run was about several symbols, or all, the command that is given can be run."""
    several = notification_of(
        replace(RUN, ending="incomplete", symbol="BTCUSDT,ETHUSDT"), "", FOLDER
    )
    everything = notification_of(replace(RUN, ending="below threshold", symbol=""), "", FOLDER)

    assert several is not None
    assert "gaps BTCUSDT 1h --" in several.body
    assert everything is not None
    assert everything.title.startswith("ares-notebook: download of all ")
    assert "repair SYMBOL 1h --" in everything.body
