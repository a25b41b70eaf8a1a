"""The verbs that look back: gaps, repair, validate, audit, fingerprint, verify; for people and machines."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest

import ares_notebook
from ares_notebook import Settings
from ares_notebook.cli import main

NAME = "klines_BTCUSDT_1h_2025-03.csv"


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """A cache of two months of candles, with a halt, and the settings that filled it."""
    ares_notebook.run(
        ares_notebook.download_klines_data(
            "BTCUSDT", "1h", 0.1, end="2025-04-01", settings=settings
        )
    )
    return settings


@pytest.fixture
def ares(settings: Settings, tmp_path, monkeypatch, capsys) -> Iterator:
    """Run the command line against the demo exchange: exit status, what it printed, what it said."""
    level = logging.getLogger("DataDownloader").level
    monkeypatch.chdir(tmp_path)
    for name in (
        "spot_url",
        "futures_url",
        "archive_url",
        "archive_listing_url",
        "cache_dir",
        "market",
    ):
        monkeypatch.setenv(f"ARES_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("ARES_RETRY_DELAY_SECONDS", "0")
    monkeypatch.setenv("ARES_MAX_RETRIES", "0")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ares-notebook", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    yield run
    logging.getLogger("DataDownloader").setLevel(level)


@pytest.mark.usefixtures("filled")
def test_gaps_are_lines_with_reasons(ares):
    """A hole is a line, and below stands what its reason means."""
    status, out, _ = ares("gaps", "BTCUSDT", "1h")

    assert status == 0
    assert "2025-03-14 02:00" in out
    assert "confirmed absent upstream: the exchange was asked and has nothing there" in out


@pytest.mark.usefixtures("filled")
def test_no_gap_is_a_sentence(ares):
    """Where nothing is missing that is said, rather than an empty table."""
    status, out, _ = ares("gaps", "btcusdt", "--end", "2025-03-01")

    assert (status, out) == (0, "Nothing is missing of BTCUSDT.\n")


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("verb", ["coverage", "gaps", "repair", "validate", "audit"])
def test_json_is_for_machines(ares, verb):
    """With --json all of standard output is JSON, and its moments are ISO in UTC."""
    status, out, _ = ares(verb, "BTCUSDT", "--json")
    data = json.loads(out)

    assert status == 0
    assert data
    if verb in ("coverage", "gaps"):
        assert data[0]["start"].endswith("Z")


def test_repair_closes_what_is_open(ares, filled):
    """Repair brings a file back, says so, and a second one has nothing to do."""
    whole = (filled.cache_dir / NAME).read_bytes()
    (filled.cache_dir / NAME).unlink()
    first = ares("repair", "BTCUSDT")
    second = ares("repair", "BTCUSDT", "--json")

    assert first[0] == 0
    assert "1 fetched" in first[1]
    assert (filled.cache_dir / NAME).read_bytes() == whole
    assert json.loads(second[1])["requests"] == 0


def test_a_repair_that_fails_exits_with_1(ares, filled, exchange):
    """What could not be closed is in the report, and the exit status tells."""
    (filled.cache_dir / NAME).unlink()
    exchange.fail(".", times=None, status=503)
    status, out, _ = ares("repair", "BTCUSDT")

    assert status == 1
    assert "1 FAILED" in out


def test_an_error_in_the_data_exits_with_1(ares, filled):
    """Validate counts an edited digit as an error, and names the file."""
    path = filled.cache_dir / NAME
    lines = path.read_text().splitlines(keepends=True)
    lines[5] = lines[5].replace(",", ",9", 1)
    path.write_text("".join(lines))
    status, out, _ = ares("validate")

    assert status == 1
    assert NAME in out


@pytest.mark.usefixtures("filled")
def test_the_certificate_is_saved(ares, tmp_path):
    """Validate writes the page where it is told to, and says where."""
    status, out, _ = ares("validate", "--save", "certificate.html")

    assert status == 0
    assert "The certificate is certificate.html." in out
    assert (tmp_path / "certificate.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.usefixtures("filled")
def test_an_audit_of_a_sound_cache_is_as_upstream(ares):
    """Audit says that all is as upstream, for one request a file."""
    status, out, _ = ares("audit")

    assert status == 0
    assert out.startswith("as upstream: 2 files (2 unchanged), 2 requests")


def test_a_fingerprint_is_saved_and_verified(ares, filled):
    """The same cache verifies with 0; a changed one with 1, and its day is named."""
    saved = ares("fingerprint", "BTCUSDT", "1h", "--save", "data.json")
    same = ares("verify", "data.json")
    path = filled.cache_dir / NAME
    path.write_text(path.read_text().replace("2025-03-05 00:00:00,", "2025-03-05 00:00:00,1"))
    other = ares("verify", "data.json", "--json")

    assert (saved[0], same[0], other[0]) == (0, 0, 1)
    assert same[1].startswith("The same")
    assert json.loads(other[1]) == [{"period": "2025-03-05", "what": "changed"}]


BAD = [
    (("gaps", "BTCUSDT"), 1, "there is no cache folder"),
    (("validate",), 1, "there is no cache folder"),
    (("repair", "BTC/USDT"), 2, "without a slash"),
    (("verify", "nope.json"), 2, "there is no file"),
    (("fingerprint", "BTCUSDT"), 2, "interval"),
    (("gaps", "BTCUSDT", "--start", "2025-02-30"), 2, "2025-02-30"),
]


@pytest.mark.parametrize(
    ("arguments", "status", "words"), BAD, ids=[" ".join(each[0]) for each in BAD]
)
def test_bad_input_is_a_sentence(ares, arguments, status, words):
    """What cannot be done ends in one sentence on standard error, and never in a traceback."""
    ended, out, err = ares(*arguments)

    assert (ended, out) == (status, "")
    assert err.startswith("ERROR: ")
    assert words in err
    assert err.count("\n") == 1
