"""Every dataset and every verb: what a verb does for one of them it does for all."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.dataset
import pytest
from reading import changed

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.cli import main
from ares_notebook.load import IncompleteData
from ares_notebook.model.datasets import DATASETS
from ares_notebook.model.files import Series
from ares_notebook.model.symbols import pair_of
from ares_notebook.model.time import as_utc, to_ms

# From the middle of a month into the next, and of trades as many days.
MONTHS, DAYS = ("2026-07-20", "2026-08-12"), ("2026-08-01", "2026-08-03")
# Beside the example of each market: delivery contracts, a name that begins with a digit.
OTHERS = (
    ("um_klines", "1000SHIBUSDT"),
    ("um_klines", "BTCUSDT_261225"),
    ("um_agg_trades", "BTCUSDT_261225"),
    ("cm_klines", "BTCUSD_261225"),
    ("cm_agg_trades", "BTCUSD_261225"),
    ("mark_price_klines", "BTCUSD_261225"),
    ("premium_index_klines", "BTCUSDT_261225"),
)


class Case(NamedTuple):
    """A series, and what verbs are told of it."""

    series: Series

    def __str__(self) -> str:
        return self.series.stem

    @property
    def dataset(self):
        """What kind of data it is."""
        return self.series.dataset

    @property
    def interval(self):
        """Its interval, for verbs that take one."""
        return self.series.interval if self.dataset.has_interval else None

    @property
    def window(self):
        """The window of it that is downloaded."""
        start, end = DAYS if self.dataset.cut == "day" else MONTHS
        return {"start": start, "end": end}


def example_of(dataset, market):
    is_pair = dataset.rest_symbol_parameter == "pair"
    return pair_of(market.example) if is_pair else market.example


CASES = [
    *(
        Case(Series.of(dataset, example_of(dataset, market), "1h"))
        for dataset in DATASETS
        for market in dataset.markets
    ),
    *(Case(Series.of(dataset, symbol, "1h")) for dataset, symbol in OTHERS),
]
by_case = pytest.mark.parametrize("case", CASES, ids=str)


@pytest.fixture(scope="module")
def market():
    now = datetime(2026, 10, 1, 12, 34, tzinfo=UTC)
    with DemoExchange(now=now, trades_per_day=6_000, weight_limit=10**6) as running:
        yield running


@pytest.fixture(scope="module")
def filled(market, tmp_path_factory):
    """Folders that hold what a download of a case brings, each made once; do not write in them."""
    made = {}

    def folder_of(case, **fields: Any):
        key = (case, *sorted(fields.items()))
        if key not in made:
            settings = settings_of(market, tmp_path_factory.mktemp("filled"), **fields)
            made[key] = (settings.cache_dir, ares.run(download(case, settings)))
            market.requests.clear()
            market.end_windows()
        return made[key]

    return folder_of


def settings_of(market, folder, **fields):
    return market.settings(cache_dir=folder, progress=False, retry_delay_seconds=0, **fields)


@pytest.fixture
def settings(market, tmp_path):
    market.faults.clear()
    market.requests.clear()
    market.end_windows()
    yield settings_of(market, tmp_path / "cache")
    market.faults.clear()


@pytest.fixture
def cache(request, market, settings, filled):
    """A cache of one's own that holds the download of the test's case."""
    case = request.getfixturevalue("case")
    shutil.copytree(filled(case)[0], settings.cache_dir)
    market.requests.clear()
    market.end_windows()
    return settings


async def download(case, settings):
    return await ares.download_all_data(
        case.series.symbol, "1h", **case.window, datasets=[case.dataset.name], settings=settings
    )


def about(case, settings, **more):
    """The arguments of a verb about a case."""
    return {
        "symbol": case.series.symbol,
        "interval": case.interval,
        "datasets": [case.dataset.name],
        "settings": settings,
        **more,
    }


def load(case, settings, **more):
    return ares.load_rows(
        case.dataset.name, case.series.symbol, case.interval, settings=settings, **more
    )


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.csv*")}


def cut_out(settings) -> None:
    """Take rows out of the middle of the first file."""
    path = min(settings.cache_dir.glob("*.csv"))
    lines = path.read_bytes().splitlines(keepends=True)
    third = len(lines) // 3
    path.write_bytes(b"".join(lines[:third] + lines[2 * third :]))


def test_each_dataset_and_market_has_a_case():
    """No dataset and none of its markets is left out of the table."""
    assert {(each.dataset, each.series.market) for each in CASES} == {
        (dataset, market) for dataset in DATASETS for market in dataset.markets
    }


# --- download ---


@by_case
@pytest.mark.parametrize("source", ["auto", "rest", "archive"])
async def test_each_source_brings_the_same_bytes_once(settings, filled, market, case, source):
    """What one source has of a window is what all have; a second run makes no request and writes nothing."""
    whole = contents(filled(case)[0])
    own = settings.replace(source=source)
    report = await download(case, own)
    asked = len(market.requests)
    brought = contents(own.cache_dir)
    again = await download(case, own)

    if source == "rest" and not case.dataset.has_rest:
        assert (asked, brought) == (0, {})
        assert case.dataset.archive_alone in str(report)
        return
    # The days beside a day of trades show that none is missing at its edges; they are asked by id.
    assert report.complete is not (source == "archive" and case.dataset.key == "id"), str(report)
    assert not report.failed
    assert brought == whole
    assert asked == report.requests > 0
    assert (again.complete, again.requests) == (report.complete, 0)
    assert len(market.requests) == asked
    assert contents(own.cache_dir) == whole


@by_case
async def test_compressed_files_hold_the_same_rows(settings, filled, case):
    """With compression each file ends in .csv.zst, is complete, and gives the frame of the plain one."""
    plain, _ = filled(case)
    own = settings.replace(compression="zstd")
    report = await download(case, own)
    again = await download(case, own)

    assert (report.complete, again.requests) == (True, 0), str(report)
    assert {path.name for path in own.cache_dir.glob("*.zst")} == {
        f"{name}.zst" for name in contents(plain)
    }
    pd.testing.assert_frame_equal(load(case, own), load(case, own.replace(cache_dir=plain)))


# --- look ---


@by_case
def test_coverage_gaps_and_rows_agree(cache, market, case):
    """Coverage counts the rows that are loaded and fingerprinted, finds no gap, and asks nobody."""
    table = ares.coverage(**about(case, cache), end=case.window["end"])
    gaps = ares.find_gaps(**about(case, cache), **case.window)
    made = ares.fingerprint(
        case.series.symbol, case.interval, dataset=case.dataset.name, settings=cache
    )
    frame = load(case, cache)

    assert set(table["dataset"]) == {case.dataset.name}
    assert table["rows"].sum() == len(frame) == made.rows > 0
    assert gaps.empty
    assert made.complete
    assert frame.attrs["complete"]
    assert ares.missing(frame, settings=cache).empty
    assert ares.symbols_in_cache(settings=cache) == [case.series.symbol]
    assert not market.requests


@by_case
def test_floats_are_the_decimals(cache, case):
    """Loaded exactly, each number is the text of the file; loaded as floats, it is the nearest one."""
    floats, exact = load(case, cache), load(case, cache, decimal=True)
    rows = b"".join(
        text.partition(b"\n")[2] for _, text in sorted(contents(cache.cache_dir).items())
    )
    cells = [line.split(",") for line in rows.decode().splitlines()]
    names = case.dataset.column_names

    assert list(floats.columns) == list(exact.columns) == list(names[1:])
    assert (floats.index == exact.index).all()
    for column in case.dataset.columns:
        if column.kind != "number":
            continue
        text = [row[names.index(column.name)] for row in cells]
        assert [str(Decimal(each)) if each else each for each in text] == [
            "" if pd.isna(each) else str(each) for each in exact[column.name]
        ]
        np.testing.assert_array_equal(
            floats[column.name], [float(each or "nan") for each in text], strict=False
        )


@by_case
def test_half_open_windows_add_up(cache, case):
    """Two windows that meet hold each row once."""
    whole = load(case, cache)
    middle = whole.index[len(whole) // 2]
    before, after = load(case, cache, end=middle), load(case, cache, start=middle)

    assert len(before)
    assert len(after)
    assert before.index[-1] < middle <= after.index[0]
    assert len(before) + len(after) == len(whole)


@by_case
async def test_validation_and_history_know_it(cache, market, case):
    """Validation reads all rows and finds no error; the history has the run and its files."""
    report = ares.validate_cache(**about(case, cache))
    assured = await ares.assure_quality(**about(case, cache))
    runs = ares.load_runs(settings=cache)
    files = ares.download_history(**about(case, cache))

    assert report.ok, str(report)
    assert assured.ok
    assert not [each for each in report.findings if each.severity == "error"], str(report)
    assert set(runs["datasets"]) == {case.dataset.name}
    assert runs["rows"].max() == len(load(case, cache))
    assert set(files["dataset"]) == {case.dataset.name}
    assert set(files["file"]) == set(contents(cache.cache_dir))
    assert not market.requests


@by_case
async def test_an_audit_finds_and_restores_a_number(cache, filled, case):
    """A number that was altered is found in its column by the audit, and restored with update=True."""
    whole = contents(filled(case)[0])
    name = min(whole)
    lines = whole[name].decode().splitlines(keepends=True)
    number = next(at for at, column in enumerate(case.dataset.columns) if column.kind == "number")
    cells = lines[10].rstrip("\n").split(",")
    cells[number] = cells[number] + "1" if "." in cells[number] else cells[number] + ".1"
    lines[10] = ",".join(cells) + "\n"
    (cache.cache_dir / name).write_text("".join(lines))
    planned = ares.plan_audit(**about(case, cache))
    found = await ares.audit_cache(**about(case, cache), update=True)
    again = await ares.audit_cache(**about(case, cache))

    assert len(planned) == len(whole)
    altered = next(each for each in found.files if each.file == name)
    assert altered.verdict == "replaced", str(found)
    [difference] = altered.differences
    assert (difference.column, difference.cached) == (
        case.dataset.columns[number].name,
        cells[number],
    )
    assert contents(cache.cache_dir) == whole
    assert {each.verdict for each in again.files} <= {"unchanged", "same rows"}


# --- repair ---


@by_case
@pytest.mark.parametrize("verb", ["repair_gaps", "download", "fetch_missing_data"])
async def test_a_cut_hole_comes_back(cache, filled, case, verb):
    """Rows that were cut out are told as a gap by each reader, are planned, and come back to the byte."""
    whole = contents(filled(case)[0])
    cut_out(cache)
    gaps = ares.find_gaps(**about(case, cache), **case.window)
    planned = ares.plan_repair(**about(case, cache), **case.window)
    with pytest.warns(IncompleteData):
        frame = load(case, cache)

    assert len(gaps)
    assert set(gaps["dataset"]) == {case.dataset.name}
    assert not frame.attrs["complete"]
    assert len(ares.missing(frame, settings=cache))
    assert planned.cost.files_to_do == 1
    if verb == "fetch_missing_data":
        given = frame.reset_index()
        span = (frame.attrs["start"], frame.attrs["end"])
        answer = await ares.fetch_missing_data(
            case.series.symbol, *(to_ms(as_utc(each)) for each in span), {case.dataset.name: given},
            logging.getLogger("DataDownloader"), interval="1h", settings=cache,
        )  # fmt: skip
        assert len(answer[case.dataset.name]) == sum(
            text.count(b"\n") - 1 for text in whole.values()
        )
        assert answer[case.dataset.name].attrs["complete"]
    else:
        report = await (
            download(case, cache)
            if verb == "download"
            else ares.repair_gaps(**about(case, cache), **case.window)
        )
        assert report.complete, str(report)
    assert contents(cache.cache_dir) == whole
    assert ares.find_gaps(**about(case, cache), **case.window).empty


@by_case
@pytest.mark.parametrize("damage", ["half", "a bit", "no receipts"])
async def test_damaged_bytes_are_never_called_complete(cache, filled, case, damage):
    """A file whose bytes were damaged is not loaded as whole, and the next download restores it."""
    whole = contents(filled(case)[0])
    path = cache.cache_dir / min(whole)
    body = bytearray(whole[path.name])
    if damage == "no receipts":
        shutil.rmtree(cache.cache_dir / ".ares" / "receipts")
    else:
        body[len(body) // 2] ^= 1
        path.write_bytes(body[: len(body) // 2] if damage == "half" else body)
        ares.validate_cache(**about(case, cache))
        states = ares.coverage(**about(case, cache)).set_index("file")["state"]
        assert states[path.name] != "complete"
    report = await download(case, cache)

    assert report.complete, str(report)
    assert contents(cache.cache_dir) == whole


# --- plan, prune, export ---


@by_case
async def test_a_plan_asks_nobody_and_measures_exactly(settings, filled, market, case):
    """A plan makes no request and has the files of the download; measured, it has their size from the listing."""
    plan = ares.plan_downloads(
        case.series.symbol, "1h", **case.window, datasets=[case.dataset.name], settings=settings
    )
    assert not market.requests
    measured = await plan.measure()

    assert {step.file.name for step in plan.steps} == set(contents(filled(case)[0]))
    assert plan.rows > 0
    assert measured.cost.bytes_received > 0
    assert str(len(plan.steps)) in str(plan)


@by_case
def test_pruning_takes_what_is_old(cache, case):
    """Shown first, then done: the files that ended long ago go, with their receipts."""
    names = set(contents(cache.cache_dir))
    shown = ares.prune_cache(**about(case, cache), keep=timedelta(days=1))
    assert set(contents(cache.cache_dir)) == names
    done = ares.prune_cache(**about(case, cache), keep=timedelta(days=1), dry_run=False)

    assert shown.files == done.files == len(names)
    assert not contents(cache.cache_dir)
    assert not [*(cache.cache_dir / ".ares" / "receipts").glob("*.json")]


@by_case
@pytest.mark.parametrize("decimal", [False, True], ids=["floats", "decimals"])
def test_parquet_holds_the_same_rows(cache, tmp_path, case, decimal):
    """An export holds the rows of the cache, cell for cell, and the second one writes nothing."""
    folder = tmp_path / "parquet"
    report = ares.to_parquet(folder, **about(case, cache), decimal=decimal)
    again = ares.to_parquet(folder, **about(case, cache), decimal=decimal)
    table = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive").to_table()
    frame = load(case, cache, decimal=decimal)

    assert report, str(report)
    assert again, str(again)
    assert table.num_rows == len(frame)
    back = table.to_pandas().sort_values(
        "agg_trade_id" if case.dataset.key == "id" else "timestamp"
    )
    for name in frame.columns:
        ours, theirs = frame[name].tolist(), back[name].tolist()
        assert all(a == b or (pd.isna(a) and pd.isna(b)) for a, b in zip(ours, theirs, strict=True))


@by_case
async def test_a_universe_brings_the_same_files(settings, filled, case):
    """A download of many symbols brings of one what a download of it brings."""
    report = await ares.download_universe(
        [case.series.symbol], case.interval, **case.window,
        datasets=[case.dataset.name], settings=settings,
    )  # fmt: skip

    assert report.complete, str(report)
    assert contents(settings.cache_dir) == contents(filled(case)[0])


# --- the command line ---


@pytest.fixture
def shell(market, settings, monkeypatch, capfd):
    """Run the command line in this process, against the demo exchange."""
    for name in changed(market.settings()).keys() - {"progress", "cache_dir"}:
        monkeypatch.setenv(f"ARES_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("ARES_CACHE_DIR", str(settings.cache_dir))

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["ares-notebook", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, error = capfd.readouterr()
        return int(ended.value.code or 0), out if ended.value.code in (0, None) else out + error

    return run


@by_case
def test_the_command_line_knows_it(shell, settings, filled, tmp_path, case):
    """Each verb of the command line takes the dataset by its name, and ends well."""
    symbol, name = case.series.symbol, case.dataset.name
    held = (symbol, *filter(None, [case.interval]), "--datasets", name)
    window = ("--start", case.window["start"], "--end", case.window["end"])
    wanted = (symbol, *filter(None, [case.interval]), *window, "--datasets", name)
    saved = tmp_path / "fingerprint.json"

    for words in (
        ("plan", *wanted),
        ("download", *wanted),
        ("coverage", *held),
        ("gaps", *held, *window),
        ("repair", *held, *window),
        ("validate", *held),
        ("audit", *held),
        ("fingerprint", *held[:-2], "--dataset", name, *window, "--save", str(saved)),
        ("verify", str(saved)),
        ("runs",),
        ("parquet", str(tmp_path / "parquet"), *held),
        ("prune", *held, "--keep-days", "1"),
    ):
        status, text = shell(*words, "--json")
        assert status == 0, (words, text)
        assert text, words
        json.loads(text)
    assert contents(settings.cache_dir) == contents(filled(case)[0])
