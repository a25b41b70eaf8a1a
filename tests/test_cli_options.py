"""The options of the command line: alike in all verbs, with examples that run, and slips that are named."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

import ares_notebook
from ares_notebook import Settings
from ares_notebook.cli import main
from ares_notebook.cli.commands import app

COMMANDS = app.commands
# What starts a demo exchange by itself has no option for one.
VERBS = [name for name in COMMANDS if name != "demo"]
NAMES = ("spot_url", "futures_url", "archive_url", "archive_listing_url", "cache_dir", "market")
TWO_MONTHS = ("--start", "2025-01-01", "--end", "2025-03-01")


class Done(NamedTuple):
    """How a run of the command line ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def ares(settings: Settings, tmp_path, monkeypatch, capfd) -> Callable[..., Done]:
    """Run the command line in this process, against the demo exchange, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.setenv(f"ARES_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("ARES_RETRY_DELAY_SECONDS", "0")

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["ares-notebook", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    return run


@pytest.fixture
def filled(settings: Settings) -> Settings:
    """A cache of two months of hours and funding, and of one day of trades."""
    own = {"settings": settings}
    both = ("klines", "futures")
    ask = {"start": "2025-01-01", "end": "2025-03-01", "datasets": both, **own}
    ares_notebook.run(ares_notebook.download_all_data("BTCUSDT", "1h", **ask))
    day = {"start": "2025-02-28", "end": "2025-03-01", **own}
    ares_notebook.run(ares_notebook.download_agg_trades_data("BTCUSDT", **day))
    return settings


def options_of(name: str) -> set[str]:
    """The options of a verb."""
    return {opt for each in COMMANDS[name].params for opt in each.opts if opt.startswith("--")}


# --- the same everywhere ---


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_the_common_options(name):
    """Each verb can use the demo exchange, another folder and JSON, and tell what it does."""
    assert {"--demo", "--cache-dir", "--json", "--verbose"} <= options_of(name)


@pytest.mark.parametrize(
    "name", ["download", "universe", "repair", "plan", "coverage", "gaps", "audit", "fingerprint"]
)
def test_every_verb_with_a_window_takes_the_same_one(name):
    """A window is given by --start, or a lookback in years or words, and --end, in each such verb."""
    assert {"--start", "--years", "--lookback", "--end"} <= options_of(name)


def test_every_verb_about_data_takes_datasets():
    """All verbs take --datasets but those that are about no data, or about just one dataset."""
    others = {name for name in VERBS if "--datasets" not in options_of(name)}

    assert others == {"symbols", "runs", "fingerprint", "verify", "doctor"}


@pytest.mark.parametrize("name", ["download", "universe", "repair", "audit", "prune"])
def test_every_verb_that_fetches_or_deletes_has_a_dry_run(name):
    """What a verb would fetch or delete can be seen before it does."""
    assert "--dry-run" in options_of(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_verb_is_in_a_group_and_shows_an_example(name):
    """The main help has four groups of verbs, and each verb's own help ends with an example."""
    command = COMMANDS[name]

    assert command.group in ("Get", "Look", "Prove", "Keep")
    assert command.epilog.startswith(f"Example: ares-notebook {name}")


EXAMPLES = [COMMANDS[name].epilog.removeprefix("Example: ares-notebook ") for name in VERBS]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_of_the_help_runs(ares, example, filled):
    """What a help shows as an example is accepted, and does what it says."""
    made = ares_notebook.fingerprint("BTCUSDT", "1h", settings=filled)
    made.save("data.json")
    done = ares(*shlex.split(example))

    assert (done.status, done.err) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_installed(ares, shell, tmp_path, monkeypatch):
    """The option that the main help names puts one line into the shell's file, which asks us what completes a verb."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "--install-completion" in ares("--help").out

    for _ in range(2):
        assert ares("--install-completion", shell).status == 0
    [file] = (each for each in tmp_path.rglob("*") if each.is_file())
    assert file.read_text().count(f"_ARES_NOTEBOOK_COMPLETE={shell}_source ares-notebook") == 1

    monkeypatch.setenv("_ARES_NOTEBOOK_COMPLETE", f"{shell}_source")
    assert "ares-notebook" in ares().out
    monkeypatch.setenv("_ARES_NOTEBOOK_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "ares-notebook down")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert ares().out == "plain,download\n"


# --- which data ---


def test_trades_come_only_where_they_are_named(ares, settings):
    """A download without --datasets brings k-lines and funding, and one that names trades brings them."""
    done = ares("download", "BTCUSDT", "1d", "--start", "2025-02-27", "--end", "2025-03-01")
    without = {path.name for path in settings.cache_dir.glob("*.csv")}
    ares(
        *("download", "BTCUSDT", "--datasets", "agg_trades"),
        *("--start", "2025-02-28", "--end", "2025-03-01"),
    )

    assert done.status == 0
    assert without == {"klines_BTCUSDT_1d_2025-02.csv", "futures_BTCUSDT_2025-02.csv"}
    assert (settings.cache_dir / "aggtrades_BTCUSDT_2025-02-28.csv").is_file()


REPAIRS = [
    (("1h",), ["klines"]),
    ((), ["klines", "futures"]),
    (("--datasets", "agg_trades"), ["agg_trades"]),
    (("1h", "--datasets", "klines,agg_trades"), ["klines", "agg_trades"]),
]


@pytest.mark.parametrize(("words", "datasets"), REPAIRS)
def test_a_repair_in_the_shell_has_the_same_scope(ares, filled, exchange, words, datasets):
    """An interval means k-lines; without one k-lines and funding are repaired; trades if named."""
    files = {
        "klines": "klines_BTCUSDT_1h_2025-01.csv",
        "futures": "futures_BTCUSDT_2025-01.csv",
        "agg_trades": "aggtrades_BTCUSDT_2025-02-28.csv",
    }
    for name in files.values():
        (filled.cache_dir / name).unlink()
    exchange.requests.clear()
    dry = ares("repair", "BTCUSDT", *words, "--dry-run", "--json")
    asked = len(exchange.requests)
    ares("repair", "BTCUSDT", *words)
    to_do = {step["dataset"] for step in json.loads(dry.out)["steps"] if step["action"] != "skip"}

    assert (dry.status, asked) == (0, 0)
    assert to_do == set(datasets)
    assert {name for name in files if (filled.cache_dir / files[name]).exists()} == set(datasets)


LOOKS = ["coverage", "validate", "audit", "prune", "parquet", "gaps"]


@pytest.mark.parametrize("verb", LOOKS)
def test_datasets_narrow_what_is_looked_at(ares, filled, verb):
    """With --datasets a verb is about just these, as JSON shows by the files in it."""
    own = {"prune": ("--max-bytes", "0"), "parquet": ()}.get(verb, ())
    folder = ("lake",) if verb == "parquet" else ()
    for name in ("klines_BTCUSDT_1h_2025-01.csv", "futures_BTCUSDT_2025-01.csv"):
        if verb == "gaps":
            (filled.cache_dir / name).unlink()
    done = ares(verb, *folder, "BTCUSDT", *own, "--datasets", "futures", "--json")

    assert done.status == 0
    assert "klines" not in done.out
    assert "aggtrades" not in done.out
    assert verb == "validate" or "futures" in done.out


# --- the window ---


@pytest.mark.parametrize(
    "words",
    [
        ("--years", "6 months"),
        ("--years", "181d"),
        ("--lookback", "6mo"),
        ("--start", "2024-09-01"),
        ("--start", "2024-09-01T00:00Z"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "download"])
def test_a_window_is_shown_with_its_start_and_length(ares, verb, words):
    """However a window is given, the plan shows its start, its end and its days."""
    dry = ("--dry-run",) if verb == "download" else ()
    done = ares(verb, "BTCUSDT", "1h", *words, "--end", "2025-03-01", *dry)

    assert done.status == 0
    assert "2024-09-01 → 2025-03-01 UTC, end exclusive, 181 days" in done.out


def test_a_lookback_limits_what_is_looked_at(ares, filled):
    """Coverage and gaps of a month show that month alone, and say which it was."""
    (filled.cache_dir / "klines_BTCUSDT_1h_2025-02.csv").unlink()
    window = ("--years", "1 month", "--end", "2025-03-01")
    coverage = ares("coverage", "BTCUSDT", "1h", *window)
    gaps = ares("gaps", "BTCUSDT", "1h", *window)
    earlier = ares("gaps", "BTCUSDT", "1h", "--years", "1 month", "--end", "2025-02-01")

    for done in (coverage, gaps):
        assert "2025-02-01 → 2025-03-01 UTC, end exclusive, 28 days" in done.out
    assert "klines_BTCUSDT_1h_2025-01.csv" not in coverage.out
    assert earlier.out == "Nothing is missing of BTCUSDT.\n"


@pytest.mark.parametrize("verb", ["plan", "coverage", "repair", "fingerprint"])
def test_two_beginnings_are_refused(ares, verb):
    """A start and a lookback together are wrong usage, in the words of the shell."""
    done = ares(verb, "BTCUSDT", "1h", "--start", "2025-01-01", "--years", "1")

    assert done.status == 2
    assert done.err == "ERROR: --start and --years both say where to begin; give one of them\n"


# --- JSON ---


def test_a_plan_is_json_for_programs(ares, exchange):
    """The plan as JSON has the window, the cost and a step a file, and asks for nothing."""
    done = ares("plan", "BTCUSDT", "1h", *TWO_MONTHS, "--json")
    dry = ares("download", "BTCUSDT", "1h", *TWO_MONTHS, "--dry-run", "--json")
    data = json.loads(done.out)

    assert data == json.loads(dry.out)
    assert (data["start"], data["end"]) == (
        "2025-01-01T00:00:00+00:00",
        "2025-03-01T00:00:00+00:00",
    )
    assert (data["files"], data["to_do"]) == (4, 4)
    assert [step["action"] for step in data["steps"]] == ["fetch"] * 4
    assert exchange.requests == []


def test_a_dry_audit_asks_nothing_and_changes_nothing(ares, filled, exchange):
    """An audit that is only planned says what each file would be compared with, even with --update."""
    path = filled.cache_dir / "klines_BTCUSDT_1h_2025-01.csv"
    path.write_text(path.read_text().replace("2025-01-05 00:00:00,", "2025-01-05 00:00:00,1"))
    altered = path.read_bytes()
    exchange.requests.clear()
    done = ares("audit", "BTCUSDT", "1h", "--update", "--dry-run", "--json")
    shown = ares("audit", "BTCUSDT", "1h", "--dry-run")
    rest = ares("audit", "BTCUSDT", "--datasets", "futures", "--source", "rest", "--dry-run")
    ways = {each["file"]: each["compared_with"] for each in json.loads(done.out)}

    assert exchange.requests == []
    assert path.read_bytes() == altered
    assert ways == {path.name: "archive, else rest", "klines_BTCUSDT_1h_2025-02.csv": "checksum"}
    assert "2 files to compare; 744 rows of 1 file would be fetched" in shown.out
    assert rest.out.count(" rest ") == 2


# --- the demo exchange ---


def test_demo_needs_no_other_exchange(ares, exchange, tmp_path):
    """With --demo an exchange of its own is used, with a cache folder of its own."""
    first = ares("download", "BTCUSDT", "1h", *TWO_MONTHS, "--demo")
    again = ares("download", "BTCUSDT", "1h", *TWO_MONTHS, "--demo", "--dry-run")
    named = ares("download", "BTCUSDT", "1h", *TWO_MONTHS, "--demo", "--cache-dir", "mine")

    assert (first.status, named.status) == (0, 0)
    assert "Nothing to do: all 4 files are there." in again.out
    assert exchange.requests == []
    assert {path.name for path in tmp_path.iterdir()} == {"demo_cache", "mine"}


# --- status and headline ---


def test_missing_months_are_below_threshold_in_both(ares):
    """Where months are missing without an error the headline says so, and the status is 1."""
    for month in ("01", "02", "03"):
        start, end = f"2025-{month}-01", f"2025-{int(month) + 1:02}-01"
        if month != "02":
            ares(
                "download", "ETHUSDT", "1d", "--start", start, "--end", end, "--datasets", "klines"
            )
    done = ares("validate", "ETHUSDT")

    assert done.status == 1
    assert done.out.startswith("BELOW THRESHOLD, no error: 2 files")
    assert "What to do: `ares-notebook repair ETHUSDT 1d`" in done.err
    assert "sound" not in done.out


# --- hints in the words of the shell ---


HINTS = [
    (
        ("coverage", "ETHUSDT", "1d"),
        "`ares-notebook download ETHUSDT 1d --years 1 --datasets klines`",
    ),
    (
        ("repair", "ETHUSDT", "--datasets", "futures"),
        "`ares-notebook download ETHUSDT --years 1 --datasets futures`",
    ),
    (
        ("gaps", "ETHUSDT", "--datasets", "agg_trades"),
        "`ares-notebook download ETHUSDT --years 1d --datasets agg_trades`",
    ),
    (("prune",), "--keep-days 30 or --max-bytes '20 GB'"),
]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(("words", "hint"), HINTS)
def test_a_hint_can_be_pasted_into_the_shell(ares, words, hint):
    """An error of a verb names the narrowest command, without a word of Python."""
    done = ares(*words)

    assert hint in done.err
    assert "await" not in done.err


def test_a_hint_is_about_the_same_cache(ares, filled):
    """The command that an error names has the folder that was given, so that it can be pasted."""
    done = ares("gaps", "ETHUSDT", "1h", "--cache-dir", str(filled.cache_dir))

    assert f"download ETHUSDT 1h --cache-dir {filled.cache_dir} --years 1" in done.err


def test_open_gaps_are_followed_by_their_repair(ares, filled):
    """Below gaps that are open stands the command that repairs just these, and it works."""
    (filled.cache_dir / "futures_BTCUSDT_2025-01.csv").unlink()
    shown = ares("gaps", "BTCUSDT")
    [command] = re.findall(r"To close what is open: ares-notebook (.*)", shown.out)
    repaired = ares(*shlex.split(command))
    after = ares("gaps", "BTCUSDT")

    assert command == "repair BTCUSDT --datasets futures"
    assert (repaired.status, after.out) == (0, "Nothing is missing of BTCUSDT.\n")


# --- slips ---


SLIPS = [
    (("download", "--year", "1"), "download has no option --year; did you mean --years?"),
    (("gaps", "BTCUSDT", "--dataset", "klines"), "did you mean --datasets?"),
    (("prune", "--dryrun"), "did you mean --dry-run?"),
    (("coverage", "--cachedir=x"), "did you mean --cache-dir?"),
    (("coverage", "--frobnicate"), "coverage has no option --frobnicate; `ares-notebook coverage"),
    (("prune", "--yes", "true"), "--yes takes no value; leave 'true' out"),
    (("repair", "BTCUSDT", "--dry-run", "False"), "--dry-run takes no value"),
    (("audit", "--update", "1"), "--update takes no value"),
    (("prune", "--yes", "--dry-run", "--keep-days", "3"), "--yes deletes and --dry-run does not"),
]


@pytest.mark.parametrize(("words", "message"), SLIPS)
def test_a_slip_is_named_before_anything_is_done(ares, filled, words, message):
    """An option that is not there, and a value after a flag, end with 2, and nothing is deleted."""
    before = sorted(path.name for path in filled.cache_dir.iterdir())
    done = ares(*words)

    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert sorted(path.name for path in filled.cache_dir.iterdir()) == before


def test_a_verb_that_is_not_there_is_suggested(ares):
    """A typo in a verb is answered by the verb that is spelt like it."""
    done = ares("dowload", "BTCUSDT")

    assert done.status == 2
    assert "Did you mean 'download'?" in done.err


@pytest.mark.usefixtures("filled")
def test_a_fingerprint_without_an_interval(ares):
    """The only interval in the cache is taken; of several the message names them and a command."""
    one = ares("fingerprint", "BTCUSDT")
    ares("download", "BTCUSDT", "1d", *TWO_MONTHS, "--datasets", "klines")
    several = ares("fingerprint", "BTCUSDT")

    assert one.status == 0
    assert "klines BTCUSDT 1h" in one.out
    assert several.status == 2
    assert "holds those of 1h, 1d; name one, as in `ares-notebook fingerprint BTCUSDT 1h`" in (
        several.err
    )


COIN = ("--datasets", "cm_klines,cm_funding,mark_price_klines")
TWO_DAYS = ("--start", "2025-02-01", "--end", "2025-02-03")


@pytest.mark.parametrize(
    ("market", "there", "elsewhere"),
    [
        ("um", ["BTCUSDT_250627 2024-12-27 2025-06-27", "MATICUSDT 2020-10-22 2024-09-10"], "PERP"),
        ("futures", ["BTCUSDT_250627 2024-12-27 2025-06-27"], "PERP"),
        ("cm", ["BTCUSD_PERP 2020-08-11", "BTCUSD_250627 2024-12-27 2025-06-27"], "USDT"),
    ],
)
def test_symbols_of_a_market_are_listed(ares, market, there, elsewhere):
    """The list of a market has its settled perpetuals and its delivery contracts, and no other market's symbols."""
    done = ares("symbols", "--market", market, "--demo")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]

    assert done.status == 0
    assert all(any(line.startswith(words) for line in lines) for words in there)
    assert elsewhere not in done.out


def test_a_universe_of_coin_m_is_downloaded_and_shown(ares):
    """All perpetuals of COIN-M come by one command, each file is complete, and its fingerprint is that of candles."""
    of_market = ("1d", "--market", "cm", "--quote", "USD_PERP", *TWO_DAYS, *COIN, "--demo")
    plan = ares("universe", *of_market, "--dry-run")
    done = ares("universe", *of_market)
    coverage = ares("coverage", *TWO_DAYS, "--demo", "--json")
    made = ares("fingerprint", "ETHUSD_PERP", "--dataset", "cm_klines", "--demo")

    assert "BTCUSD_PERP" in plan.out
    assert (done.status, made.status) == (0, 0)
    rows = json.loads(coverage.out)
    assert {(row["symbol"], row["dataset"]) for row in rows} == {
        (symbol, dataset)
        for symbol in ("BTCUSD_PERP", "ETHUSD_PERP")
        for dataset in COIN[1].split(",")
    }
    assert {row["state"] for row in rows} == {"complete"}
    assert "cm_klines ETHUSD_PERP 1d" in made.out
    # An interval alone means candles of spot, which a contract does not have.
    assert "--datasets cm_klines" in ares("gaps", "ETHUSD_PERP", "1d", "--demo").err
    assert "--dataset um_klines" in ares("fingerprint", "BTCUSDT", "--dataset", "um_klines").err


@pytest.mark.parametrize("option", ["datasets", "dataset", "market"])
def test_the_help_names_all_that_an_option_takes(option):
    """The help of an option lists each dataset, or each market, by the name that is to be written."""
    help_text = next(
        each.help for verb in COMMANDS.values() for each in verb.params if each.name == option
    )
    names = ["spot", "um", "cm"] if option == "market" else ares_notebook.DATASETS

    assert [name for name in names if not re.search(rf"\b{name}\b", help_text)] == []
