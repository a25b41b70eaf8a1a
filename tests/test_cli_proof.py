"""The verbs that look back: gaps, repair, validate, audit, fingerprint, verify, prune; for people and machines."""

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
    """A gap is a line, and below stands what its reason means."""
    status, out, _ = ares("gaps", "BTCUSDT", "1h")

    assert status == 0
    assert "2025-03-14 02:00" in out
    assert "confirmed absent upstream: the exchange was asked and has nothing there" in out


def test_gaps_of_all_series_tell_their_symbol(ares, filled):
    """Without a symbol a line names it, and so does the repair; where nothing is missing no symbol is named."""
    (filled.cache_dir / NAME).unlink()
    status, out, _ = ares("gaps")
    _, all_of_it, _ = ares("gaps", "--start", "2025-02-01", "--end", "2025-02-10")

    assert status == 0
    assert "dataset  symbol interval" in out.splitlines()[0]
    assert [line.split()[1] for line in out.splitlines()[1:3]] == ["BTCUSDT", "BTCUSDT"]
    assert "To close what is open: ares-notebook repair BTCUSDT 1h\n" in out
    assert all_of_it == "Nothing is missing.\n"


@pytest.mark.usefixtures("filled")
def test_times_say_utc(ares):
    """The head of each column of times says that they are UTC."""
    for verb, names in {
        "gaps": ("start", "end"),
        "coverage": ("first", "last"),
        "runs": ("at",),
    }.items():
        head = ares(verb)[1].splitlines()[0]
        assert all(f"{name} (UTC)" in head for name in names)


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


OLD = "klines_BTCUSDT_1h_2025-02.csv"


def test_prune_looks_first_and_deletes_when_told(ares, filled):
    """Without --yes nothing goes and what would go is told; with it just that goes; both exit with 0."""
    wanted = ("prune", "btcusdt", "1h", "--max-bytes", "150 kB")
    first = ares(*wanted)
    before = sorted(path.name for path in filled.cache_dir.glob("*.csv"))
    second = ares(*wanted, "--yes")

    assert (first[0], second[0]) == (0, 0)
    assert "--yes" in first[1]
    assert first[1].startswith("would delete 1 file")
    assert second[1].startswith("deleted 1 file")
    assert before == [OLD, NAME]
    assert [path.name for path in filled.cache_dir.glob("*.csv")] == [NAME]


def test_prune_by_age_for_machines(ares, filled):
    """With --keep-days what is that old goes, and --json tells the sums and every file."""
    status, out, _ = ares("prune", "--keep-days", "0.5", "--yes", "--json")
    data = json.loads(out)

    assert status == 0
    assert (data["dry_run"], data["failed"], data["files"], data["bytes_left"]) == (False, 0, 2, 0)
    assert [each["action"] for each in data["items"]] == ["delete", "delete"]
    assert data["bytes_freed"] == sum(each["bytes"] for each in data["items"]) > 0
    assert list(filled.cache_dir.glob("*.csv")) == []


def test_prune_takes_its_limits_from_the_environment(ares, filled, monkeypatch):
    """ARES_MAX_CACHE_BYTES is the size where no option says one."""
    monkeypatch.setenv("ARES_MAX_CACHE_BYTES", "0 kB")
    status, out, _ = ares("prune", "--yes")

    assert (status, out[:15]) == (0, "deleted 2 files")
    assert list(filled.cache_dir.glob("*.csv")) == []


def test_what_cannot_be_pruned_exits_with_1(ares, filled):
    """Where a file cannot be deleted the report tells, and so does the exit status."""
    for lock in (filled.cache_dir / ".ares" / "locks").iterdir():
        lock.unlink()
        lock.mkdir()
    status, out, _ = ares("prune", "--max-bytes", "0", "--yes")

    assert status == 1
    assert "2 FAILED" in out
    assert (filled.cache_dir / NAME).exists()


BAD = [
    (("gaps", "BTCUSDT"), 1, "there is no cache folder"),
    (("gaps",), 1, "there is no cache folder"),
    (("validate",), 1, "there is no cache folder"),
    (("repair", "BTC/USDT"), 2, "did you mean BTCUSDT"),
    (("prune", "--keep-days", "30"), 1, "there is no cache folder"),
    (("prune",), 2, "--max-bytes"),
    (("prune", "--max-bytes", "much"), 2, "max_bytes='much'"),
    (("prune", "--keep-days", "-1"), 2, "keep=-1"),
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
