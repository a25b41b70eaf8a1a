"""What `--json` prints is what its types say, also where a verb fails; and exit statuses are those of the table."""

from __future__ import annotations

import re
import shlex
import sys

import msgspec
import pytest

import ares_notebook
from ares_notebook.cli import main
from ares_notebook.cli.commands import app
from ares_notebook.cli.json_types import OUTPUTS, ErrorJson
from ares_notebook.cli.output import EXIT_STATUSES

WINDOW = "--start 2025-01-01 --end 2025-03-01"
# Each verb, with the place of its type among its outputs.
COMMANDS = [
    (f"download BTCUSDT 1h {WINDOW}", 0),
    (f"download BTCUSDT 1h {WINDOW} --dry-run", 1),
    ("universe 1d --symbols BTCUSDT,ETHUSDT --years 0.1 --end 2025-03-01 --datasets klines", 0),
    ("universe 1d --symbols BTCUSDT,ETHUSDT --years 0.1 --end 2025-03-01 --dry-run", 1),
    ("update --end 2025-03-02 --datasets klines", 0),
    ("update --end 2025-03-02 --dry-run", 1),
    ("repair BTCUSDT 1h", 0),
    ("repair BTCUSDT 1h --dry-run", 1),
    (f"plan BTCUSDT 1h {WINDOW} --exact", 0),
    (f"coverage {WINDOW}", 0),
    ("gaps --end 2025-04-01", 0),
    ("symbols --quote FDUSD", 0),
    ("runs", 0),
    ("validate BTCUSDT", 0),
    ("audit BTCUSDT 1h", 0),
    ("audit BTCUSDT 1h --dry-run", 1),
    ("fingerprint BTCUSDT 1h --save data.json", 0),
    ("verify other.json", 0),
    ("doctor", 0),
    ("prune --keep-days 1", 0),
    ("parquet lake BTCUSDT", 0),
]
FAILING = [
    ("gaps BTCUSDT 7h", 2, "BadArgument"),
    ("gaps NOPEUSDT", 1, "NeverDownloaded"),
    ("verify", 2, "MissingParameter"),
    ("plan --nope", 2, "BadArgument"),
    ("nope", 2, "NoSuchCommand"),
]


@pytest.fixture
def ares(settings, tmp_path, monkeypatch, capfd):
    """Run the command line in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("cache_dir", "market", *ares_notebook.settings.URLS):
        monkeypatch.setenv(f"ARES_{name.upper()}", str(getattr(settings, name)))

    def run(words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ares-notebook", *shlex.split(words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capfd.readouterr()

    return run


def test_each_verb_prints_what_its_type_says(ares, settings):
    """All that a verb prints with --json is JSON of its documented type, with no other field."""
    wanted = {"start": "2025-01-01", "settings": settings}
    ares_notebook.run(
        ares_notebook.download_klines_data("BTCUSDT", "1h", end="2025-03-01", **wanted)
    )
    ares_notebook.run(ares_notebook.download_funding_data("BTCUSDT", end="2025-03-01", **wanted))
    made = ares_notebook.fingerprint("BTCUSDT", "1h", settings=settings).to_json()
    # A day that differs, so that there is a row.
    made = re.sub(r'("sha256"|"2025-01-05"): "\w{8}', r'\1: "00000000', made)
    (settings.cache_dir.parent / "other.json").write_text(made)

    for words, place in COMMANDS:
        verb = words.split()[0]
        status, out, _ = ares(f"{words} --json")
        assert msgspec.json.decode(out, type=OUTPUTS[verb][place]), words
        assert status in EXIT_STATUSES


def test_the_demo_prints_what_its_type_says(ares):
    """The demo too prints nothing but JSON."""
    status, out, _ = ares("demo --json")

    assert status == 0
    assert len(msgspec.json.decode(out, type=OUTPUTS["demo"][0]).downloads) == 2


def test_each_verb_has_a_type_and_takes_json():
    """There is no verb without a documented output."""
    assert set(OUTPUTS) == set(app.commands)
    for verb in app.commands.values():
        assert "--json" in [opt for each in verb.params for opt in each.opts]
    assert {words.split()[0] for words, _ in COMMANDS} == set(OUTPUTS) - {"demo"}


@pytest.mark.parametrize(("words", "status", "kind"), FAILING)
def test_an_error_is_json_too(ares, words, status, kind):
    """Where a verb cannot do its work, standard output has one object with the error and the exit status."""
    ended, out, err = ares(f"{words} --json")
    error = msgspec.json.decode(out, type=ErrorJson).error

    assert (ended, error.exit_status, error.kind) == (status, status, kind)
    assert error.message in err


def test_the_help_has_every_exit_status(ares):
    """The main help ends with the table of exit statuses."""
    _, out, _ = ares("--help")

    table = out.partition("Exit status:")[2].splitlines()[1:]
    assert [line.split(maxsplit=1) for line in table] == [
        [str(status), meaning] for status, meaning in EXIT_STATUSES.items()
    ]
