"""Which data a call is about: an interval means k-lines, and trades come only where they are named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.cache.spans import Scope, download_call
from ares_notebook.download.repair import repair_call
from ares_notebook.errors import BadArgument, NeverDownloaded, PoorQuality
from ares_notebook.formatting import speaking_shell
from ares_notebook.model.datasets import DATASETS
from ares_notebook.model.files import Series

HOURS = [f"klines_BTCUSDT_1h_2025-0{month}.csv" for month in (1, 2)]
DAYS = [f"klines_BTCUSDT_1d_2025-0{month}.csv" for month in (1, 2)]
FUNDING = [f"futures_BTCUSDT_2025-0{month}.csv" for month in (1, 2)]
TRADES = [f"aggtrades_BTCUSDT_2025-02-{day}.csv" for day in (24, 25, 26)]
EVERYTHING = sorted([*HOURS, *DAYS, *FUNDING, *TRADES])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A cache with two months of hours, days and funding, and three days of trades."""
    place = tmp_path_factory.mktemp("scope") / "cache"
    with DemoExchange(trades_per_day=500) as exchange:
        own = {"settings": exchange.settings(cache_dir=place)}
        both = {"start": "2025-01-01", "end": "2025-03-01", **own}
        ares.run(ares.download_klines_data("BTCUSDT", "1h", **both))
        ares.run(ares.download_klines_data("BTCUSDT", "1d", **both))
        ares.run(ares.download_futures_data("BTCUSDT", **both))
        ares.run(
            ares.download_agg_trades_data("BTCUSDT", start="2025-02-24", end="2025-02-27", **own)
        )
    return place


@pytest.fixture
def cache(folder: Path, tmp_path: Path):
    """A copy of that cache, and an exchange of the same market that counts what it is asked."""
    with DemoExchange(trades_per_day=500) as exchange:
        shutil.copytree(folder, tmp_path / "cache")
        yield exchange, exchange.settings(cache_dir=tmp_path / "cache")


def coverage_of(*symbol: str, **only: Any) -> set[str]:
    """The files in a coverage."""
    return set(ares.coverage(*symbol, **only)["file"])


def gaps_of(*symbol: str, **only: Any) -> set[str]:
    """The files that a coverage has of the datasets and intervals in a table of gaps."""
    own = {"settings": only["settings"]}
    kinds = ares.find_gaps(*symbol, **only)[["dataset", "interval"]].itertuples(index=False)
    table = ares.coverage(**own)
    pairs = set(zip(table["dataset"], table["interval"], strict=True)) & {*map(tuple, kinds)}
    return {row.file for row in table.itertuples() if (row.dataset, row.interval) in pairs}


def validated(*symbol: str, **only: Any) -> set[str]:
    """The files that a validation covers."""
    return set(ares.validate_cache(*symbol, **only).coverage["file"])


def assured(*symbol: str, **only: Any) -> set[str]:
    """The files that an assurance covers."""
    return set(ares.run(ares.assure_quality(*symbol, **only)).coverage["file"])


def audited(*symbol: str, **only: Any) -> set[str]:
    """The files that an audit compares."""
    return {each.file for each in ares.run(ares.audit_cache(*symbol, **only)).files}


def pruned(*symbol: str, **only: Any) -> set[str]:
    """The files that a pruning would delete."""
    return {each.file for each in ares.prune_cache(*symbol, max_bytes=0, **only).gone}


def exported(*symbol: str, **only: Any) -> set[str]:
    """The files that an export writes."""
    lake = only["settings"].cache_dir.parent / "lake"
    return {each.file for each in ares.to_parquet(lake, *symbol, **only).items}


def history_of(*symbol: str, **only: Any) -> set[str]:
    """The files of which a history tells."""
    return set(ares.download_history(*symbol, **only)["file"])


LOOKING = [coverage_of, validated, assured, audited, pruned, exported, history_of]
SCOPES: list[tuple[tuple[str, ...], dict[str, Any], list[str]]] = [
    ((), {}, EVERYTHING),
    (("BTCUSDT",), {}, EVERYTHING),
    (("BTCUSDT", "1h"), {}, HOURS),
    (("BTCUSDT", "1h"), {"datasets": ("klines", "futures")}, [*HOURS, *FUNDING]),
    (("BTCUSDT",), {"datasets": ("klines",)}, [*HOURS, *DAYS]),
    (("BTCUSDT",), {"datasets": "agg_trades"}, TRADES),
    (("BTCUSDT", "1h"), {"datasets": ["futures"]}, FUNDING),
]


@pytest.mark.parametrize("verb", LOOKING, ids=lambda each: each.__name__)
def test_every_verb_that_looks_or_deletes_has_one_scope(cache, verb: Callable[..., set[str]]):
    """An interval alone means its k-lines, datasets mean just themselves, nothing means all."""
    _, settings = cache
    found = [verb(*words, **only, settings=settings) for words, only, _ in SCOPES]

    assert found == [set(files) for _, _, files in SCOPES]


def test_gaps_are_those_of_the_scope(cache):
    """Gaps of an interval are those of its k-lines; of a dataset that is named, of that one."""
    _, settings = cache
    for name in (HOURS[0], DAYS[0], FUNDING[0], TRADES[1]):
        (settings.cache_dir / name).unlink()
    found = [gaps_of("BTCUSDT", *words[1:], **only, settings=settings) for words, only, _ in SCOPES]

    assert found == [set(files) for _, _, files in SCOPES]


REPAIRS: list[tuple[tuple[str, ...], dict[str, Any], list[str]]] = [
    (("BTCUSDT", "1h"), {}, HOURS[:1]),
    (("BTCUSDT",), {}, [HOURS[0], DAYS[0], FUNDING[0]]),
    (("BTCUSDT",), {"datasets": ("agg_trades",)}, TRADES[1:2]),
    (("BTCUSDT", "1d"), {"datasets": ("klines", "agg_trades")}, [DAYS[0], TRADES[1]]),
]


@pytest.mark.parametrize(("words", "only", "files"), REPAIRS)
def test_a_repair_brings_its_scope_and_nothing_else(cache, words, only, files):
    """A repair of 1h brings 1h candles; without an interval k-lines and funding; trades if named."""
    exchange, settings = cache
    missing = [HOURS[0], DAYS[0], FUNDING[0], TRADES[1]]
    for name in missing:
        (settings.cache_dir / name).unlink()
    plan = ares.plan_repair(*words, **only, settings=settings)
    planned = {step.file.name for step in plan.to_do}
    asked = len(exchange.requests)
    report = ares.run(ares.repair_gaps(*words, **only, settings=settings))

    assert asked == 0
    assert {step.file_name for step in report.steps if step.action != "skip"} == set(files)
    assert planned == set(files)
    assert {name for name in missing if (settings.cache_dir / name).exists()} == set(files)


def test_the_run_history_says_which_datasets_were_meant(cache):
    """The line of a run names the datasets of its scope, so that its remedy can name them too."""
    _, settings = cache
    ares.run(ares.repair_gaps("BTCUSDT", "1h", settings=settings))
    ares.run(ares.audit_cache("BTCUSDT", settings=settings, datasets=["futures"]))
    ares.run(ares.assure_quality("BTCUSDT", "1d", settings=settings))
    ares.prune_cache("BTCUSDT", "1h", keep=1e6, dry_run=False, settings=settings)
    runs = ares.load_runs(settings=settings).tail(4)

    assert runs["datasets"].tolist() == ["klines", "futures", "klines", "klines"]
    assert runs["interval"].tolist() == ["1h", "", "1d", "1h"]


def test_a_repair_of_trades_alone_says_that_they_must_be_named(cache):
    """Where only trades are cached a repair that does not name them says so, and asks for nothing."""
    exchange, settings = cache
    for name in {*EVERYTHING} - {*TRADES}:
        (settings.cache_dir / name).unlink()
    shutil.rmtree(settings.cache_dir / ".ares")
    with pytest.raises(NeverDownloaded, match=r"klines and futures .* it holds aggtrades_BTCUSDT"):
        ares.run(ares.repair_gaps("BTCUSDT", settings=settings))

    assert exchange.requests == []


@pytest.mark.parametrize("datasets", [(), "candles", ["klines", "candles"]])
def test_a_wrong_dataset_is_refused_before_anything_is_read(settings, datasets):
    """No dataset, and one that does not exist, is an error of the argument, not of the cache."""
    for verb in (ares.coverage, ares.validate_cache, ares.plan_repair, ares.prune_cache):
        limits = {"max_bytes": 0} if verb is ares.prune_cache else {}
        with pytest.raises(BadArgument, match="datasets"):
            verb("BTCUSDT", settings=settings, datasets=datasets, **limits)


def test_a_named_dataset_without_files_is_a_finding(cache):
    """A validation that names trades is not silent where the cache has none of them."""
    _, settings = cache
    for name in TRADES:
        (settings.cache_dir / name).unlink()
    shutil.rmtree(settings.cache_dir / ".ares")
    report = ares.validate_cache("BTCUSDT", settings=settings, datasets=("klines", "agg_trades"))
    words = {(each.file, each.check, each.example) for each in report.warnings}

    assert ("BTCUSDT", "never downloaded", "the cache has nothing of agg_trades") in words


@pytest.mark.parametrize(
    "dataset", [each.name for each in DATASETS if each.has_interval and each.name != "klines"]
)
@pytest.mark.parametrize("beside", ["klines", "futures"])
def test_named_candles_without_files_of_the_interval_stop_a_validation(cache, dataset, beside):
    """Candles of an interval that the cache lacks are an error, whatever other dataset it has."""
    _, settings = cache
    with pytest.raises(NeverDownloaded, match=rf"nothing of BTCUSDT 1h {dataset} .* it holds"):
        ares.validate_cache("BTCUSDT", "1h", settings=settings, datasets=(dataset, beside))


CALLS: list[tuple[Scope, str, str]] = [
    (
        Scope.of("BTCUSDT", "1h"),
        'await ares.download_klines_data("BTCUSDT", "1h", 1)',
        "ares-notebook download BTCUSDT 1h --years 1 --datasets klines",
    ),
    (
        Scope.of("BTCUSDT", None, ["futures"]),
        'await ares.download_funding_data("BTCUSDT", 1)',
        "ares-notebook download BTCUSDT --years 1 --datasets futures",
    ),
    (
        Scope.of("BTCUSDT", None, ["agg_trades"]),
        'await ares.download_agg_trades_data("BTCUSDT", "1d")',
        "ares-notebook download BTCUSDT --years 1d --datasets agg_trades",
    ),
    (
        Scope.of("BTCUSDT", "1d", ["klines", "futures"]),
        'await ares.download_all_data("BTCUSDT", "1d", 1, datasets=("klines", "futures"))',
        "ares-notebook download BTCUSDT 1d --years 1 --datasets klines,futures",
    ),
    (
        Scope.of("BTCUSDT", None, ["metrics"]),
        'await ares.download_all_data("BTCUSDT", "1h", 1, datasets=("metrics",))',
        "ares-notebook download BTCUSDT 1h --years 1 --datasets metrics",
    ),
    (
        Scope.of("BTCUSDT", "4h", ["um_klines"]),
        'await ares.download_all_data("BTCUSDT", "4h", 1, datasets=("um_klines",))',
        "ares-notebook download BTCUSDT 4h --years 1 --datasets um_klines",
    ),
    (
        Scope.of("BTCUSDT", None, ["um_agg_trades"]),
        'await ares.download_all_data("BTCUSDT", "1h", "1d", datasets=("um_agg_trades",))',
        "ares-notebook download BTCUSDT 1h --years 1d --datasets um_agg_trades",
    ),
    (
        Scope.of(),
        'await ares.download_klines_data("BTCUSDT", "1h", 1)',
        "ares-notebook download BTCUSDT 1h --years 1 --datasets klines",
    ),
]


@pytest.mark.parametrize(("scope", "python", "shell"), CALLS)
def test_a_hint_is_the_narrowest_call_in_the_language_of_the_reader(scope, python, shell):
    """A hint names just the data that is missing: as Python in Python, as a command in the shell."""
    with speaking_shell():
        command = download_call(scope)

    assert (download_call(scope), command) == (python, shell)


REPAIR_CALLS = [
    ([("klines", "1h")], '"BTCUSDT", "1h"', "BTCUSDT 1h"),
    ([("futures", None)], '"BTCUSDT", datasets=("futures",)', "BTCUSDT --datasets futures"),
    (
        [("klines", "1h"), ("futures", None)],
        '"BTCUSDT", "1h", datasets=("klines", "futures")',
        "BTCUSDT 1h --datasets klines,futures",
    ),
    (
        [("klines", "1h"), ("klines", "1d")],
        '"BTCUSDT", datasets=("klines",)',
        "BTCUSDT --datasets klines",
    ),
    (
        [("um_klines", "1h")],
        '"BTCUSDT", "1h", datasets=("um_klines",)',
        "BTCUSDT 1h --datasets um_klines",
    ),
]


@pytest.mark.parametrize(("kinds", "python", "shell"), REPAIR_CALLS)
def test_a_repair_is_named_for_just_the_series_with_gaps(kinds, python, shell):
    """The call that a report advises repairs the series that it is about, and no others."""
    series = [Series.of(name, "BTCUSDT", interval) for name, interval in kinds]
    with speaking_shell("--cache-dir", "my cache"):
        command = repair_call(series)

    words = shell.split(" --")
    command_words = " --".join([f"{words[0]} --cache-dir 'my cache'", *words[1:]])
    assert repair_call(series) == f"await ares.repair_gaps({python})"
    assert command == f"ares-notebook repair {command_words}"


def test_poor_quality_names_the_call_that_repairs_it(cache):
    """The error of a pipeline ends with the repair of the series that lacks rows."""
    _, settings = cache
    path = settings.cache_dir / FUNDING[0]
    path.unlink()
    with pytest.raises(
        PoorQuality,
        match=r'`await ares.repair_gaps\("BTCUSDT", datasets=\("futures",\), settings=settings\)`',
    ):
        ares.run(ares.assure_quality("BTCUSDT", settings=settings))


def test_missing_months_are_not_called_sound(tmp_path):
    """Without an error, but with months missing between others, the headline says *below threshold*."""
    with DemoExchange() as exchange:
        settings = exchange.settings(cache_dir=tmp_path / "cache")
        for start, end in (("2025-01-01", "2025-02-01"), ("2025-03-01", "2025-04-01")):
            ares.run(
                ares.download_klines_data("BTCUSDT", "1d", start=start, end=end, settings=settings)
            )
        report = ares.validate_cache(settings=settings)

    assert report.ok
    assert report.shortfalls
    assert str(report).startswith("BELOW THRESHOLD, no error: 2 files")
    assert report.remedy.startswith('`await ares.repair_gaps("BTCUSDT", "1d", settings=settings)`')


def test_a_fingerprint_takes_the_only_interval(cache):
    """Without an interval the only cached one is taken; of several the error names each of them."""
    _, settings = cache
    with pytest.raises(
        BadArgument,
        match=r'holds those of 1h, 1d; .*fingerprint\("BTCUSDT", "1h", settings=settings\)',
    ):
        ares.fingerprint("BTCUSDT", settings=settings)
    for name in DAYS:
        (settings.cache_dir / name).unlink()
        (settings.cache_dir / ".ares" / "receipts" / f"{name}.json").unlink()
    made = ares.fingerprint("btcusdt", settings=settings)

    assert made == ares.fingerprint("BTCUSDT", "1h", settings=settings)
    with pytest.raises(BadArgument, match="holds none"):
        ares.fingerprint("ETHUSDT", settings=settings)


def test_all_data_alone_means_trades_too(settings: Settings):
    """The plan of `download_all_data` has trades; that of many symbols has them only if named."""
    ask = {"start": "2025-01-01", "end": "2025-01-03", "settings": settings}
    one = {step.file.dataset.name for step in ares.plan_downloads("BTCUSDT", "1h", **ask).steps}
    many = {step.file.dataset.name for step in ares.plan_universe(["BTCUSDT"], "1h", **ask).to_do}

    assert one == {"klines", "agg_trades", "futures"}
    assert many == {"klines", "futures"}
