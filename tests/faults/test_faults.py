"""
The fault matrix: every fault before every dataset on both sources.

The table is `matrix.py`; each row of it is put here before the exchange, once and for
ever. Whatever happens, no line is on disk that the exchange did not say, and the next
run without the fault ends in the same bytes as if there had been none.
"""

from __future__ import annotations

import json
import logging
import re
import socket
from types import SimpleNamespace

import pytest
from matrix import CASES, DATASETS, SOURCES, Case

import ares_notebook as ares
from ares_notebook import DemoExchange

DAY = 1 / 365.25
# Dataset: interval, lookback in years, end. Each is one file on disk and one zip of the archive.
WANTED = {
    "klines": ("15m", 28 * DAY, "2025-03-01"),
    "agg_trades": (None, DAY, "2025-01-16"),
    "futures": (None, 28 * DAY, "2025-03-01"),
}
REMEDY = re.compile(r"(?i)run again|check|still open")


@pytest.fixture(scope="module")
def running():
    with DemoExchange(trades_per_day=6_000, weight_limit=10**6) as exchange:
        yield exchange


@pytest.fixture
def exchange(running):
    running.faults.clear()
    running.requests.clear()
    yield running
    running.faults.clear()


@pytest.fixture
def settings(exchange, tmp_path):
    """Settings that wait for nothing longer than a second."""
    return exchange.settings(
        cache_dir=tmp_path / "cache",
        max_retries=1,
        retry_delay_seconds=0,
        request_timeout_seconds=1,
        progress=False,
    )


def contents(settings):
    return {path.name: path.read_bytes() for path in sorted(settings.cache_dir.glob("*.csv*"))}


async def download(settings, dataset, **changes):
    interval, years, end = WANTED[dataset]
    return await ares.download_all_data(
        "BTCUSDT",
        interval,
        years,
        end=end,
        datasets=(dataset,),
        settings=settings.replace(**changes),
    )


@pytest.fixture(scope="module")
def truth(running, tmp_path_factory):
    """What is on disk of each dataset when nothing goes wrong."""
    found = {}
    for dataset in DATASETS:
        folder = tmp_path_factory.mktemp(dataset)
        settings = running.settings(cache_dir=folder, progress=False)
        ares.run(download(settings, dataset)).raise_for_failures()
        found[dataset] = contents(settings)
    return found


def bring_about(exchange, case: Case, times):
    """Have it happen so many times; the faults, to see whether it did."""
    faults = []
    for pattern, fault in case.script():
        # One that lasts would be waited for at each request.
        lasting = {"retry_after": 0} if times is None and "retry_after" in fault else {}
        faults.append(exchange.fail(pattern, times=times, **{**fault, **lasting}))
    return faults


def hasty(settings, case: Case):
    """Settings that wait less for what is silent for ever, since each of a month's days is silent."""
    if "stall" not in case.trouble.name:
        return settings
    return settings.replace(request_timeout_seconds=0.4)


def assert_nothing_wrong(settings, truth):
    """Each file on disk has only lines of the true one, in their order, and no more files are there."""
    for name, text in contents(settings).items():
        lines, true = text.splitlines(), truth[name].splitlines()
        assert text.endswith(b"\n")
        assert lines[0] == true[0]
        assert set(lines) <= set(true)
        assert lines[1:] == sorted(lines[1:])
    left = [path.name for path in settings.cache_dir.rglob("*.part")]
    assert left == []


def assert_told(report, exchange):
    """The step has failed, and says which file, at which address, and what to do."""
    assert report.failed
    assert not report
    for step in report.failed:
        said = str(step.error)
        assert step.file_name in str(report)
        assert exchange.url in said, said
        assert REMEDY.search(said), said


def is_whole(report, settings, source, dataset):
    """Whether all has come; what the archive alone cannot prove, the edges of a day of trades, may be open."""
    if (source, dataset) != ("archive", "agg_trades") or report.failed:
        return report.complete
    assert not report.complete
    gaps = ares.find_gaps("BTCUSDT", settings=settings)
    is_open = gaps[gaps["reason"] != "quiet"]
    return set(is_open["reason"]) == {"unconfirmed"} and is_open["missing"].isna().all()


def assert_unpublished(report):
    """Where rows are missing, the report says so, and when to come back."""
    for step in report.steps:
        is_reported = "the archive does not have it; run again later" in str(report)
        is_unconfirmed = "it alone was asked" in str(report)
        assert step.error is not None or not step.missing or is_reported or is_unconfirmed


def assert_on_record(settings):
    """The failure stands in the receipt, and nothing is taken for absent because of it."""
    receipts = [json.loads(each.read_bytes()) for each in settings.cache_dir.rglob("*.csv.json")]
    assert {each["trouble"]["reason"] for each in receipts} == {"failed"}
    assert all(not each["final"] and not each["absences"] for each in receipts)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("source", ["archive", "rest"])
async def test_both_roads_bring_the_same_bytes(settings, truth, source, dataset):
    """Without a fault each source by itself ends in the same bytes: whichever is left will do."""
    report = await download(settings, dataset, source=source)

    assert is_whole(report, settings, source, dataset)
    assert contents(settings) == truth[dataset]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_once(exchange, settings, truth, record_property, case):
    """What happens once is survived on its own source, but for a refusal that is final: that is told, and made up for by the next run."""
    faults = bring_about(exchange, case, times=1)

    report = await download(settings, case.dataset, source=case.source)

    assert all(fault.seen for fault in faults)
    is_done = is_whole(report, settings, case.source, case.dataset)
    assert is_done == (case.once == "survived"), str(report)
    if report.failed:
        assert_told(report, exchange)
    assert_unpublished(report)
    assert_nothing_wrong(settings, truth[case.dataset])
    if not is_done:
        await download(settings, case.dataset, source=case.source)
    record(record_property, settings, truth[case.dataset])
    assert contents(settings) == truth[case.dataset]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_for_ever_on_a_road_alone(exchange, settings, truth, record_property, case):
    """What lasts is told with file, address and remedy; nothing wrong is on disk, and afterwards all comes."""
    faults = bring_about(exchange, case, times=None)

    report = await download(hasty(settings, case), case.dataset, source=case.source)

    assert all(fault.seen for fault in faults)
    assert_nothing_wrong(settings, truth[case.dataset])
    is_done = is_whole(report, settings, case.source, case.dataset)
    assert is_done == (case.trouble.lasting == "survived"), str(report)
    assert (contents(settings) == truth[case.dataset]) == is_done
    if case.trouble.lasting == "told":
        assert_told(report, exchange)
        assert_on_record(settings)
    if case.trouble.lasting == "unpublished":
        assert report.steps
        assert_unpublished(report)
    exchange.faults.clear()
    again = await download(settings, case.dataset, source=case.source)
    assert is_whole(again, settings, case.source, case.dataset)
    record(record_property, settings, truth[case.dataset])
    assert contents(settings) == truth[case.dataset]


@pytest.mark.parametrize("case", [case for case in CASES if case.source == "archive"], ids=str)
async def test_for_ever_in_the_archive(exchange, settings, truth, record_property, case):
    """A lasting fault of the archive is survived by REST, which brings the same bytes."""
    faults = bring_about(exchange, case, times=None)

    report = await download(hasty(settings, case), case.dataset)

    assert all(fault.seen for fault in faults)
    assert report.complete, str(report)
    record(record_property, settings, truth[case.dataset])
    assert contents(settings) == truth[case.dataset]


def record(record_property, settings, truth):
    """For the sum at the end of the run: how many of the true rows are not there."""
    found = {line for text in contents(settings).values() for line in text.splitlines()}
    lost = sum(line not in found for text in truth.values() for line in text.splitlines())
    record_property("faults tried", 1)
    record_property("rows lost", lost)


# --- nobody at the address ---


@pytest.fixture
def port():
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def addresses(source, port):
    """Settings for one source alone whose addresses are all at *port*."""
    url = f"http://127.0.0.1:{port}"
    names = {
        "archive": ("archive_url", "archive_listing_url"),
        "rest": ("spot_url", "spot_fallback_url", "futures_url"),
    }
    listing = {"archive_listing_url": f"{url}/data.binance.vision"} if source == "archive" else {}
    return dict.fromkeys(names[source], url) | listing | {"source": source}


@pytest.fixture
def late(port):
    """A port at which an exchange begins to listen after the first failure, and what the log told of that."""
    reported = []
    exchange = DemoExchange(trades_per_day=6_000, weight_limit=10**6, port=port)

    def awake(record):
        if "failed" in record.getMessage() and not reported:
            reported.append(record.getMessage())
            exchange.start()
        return True

    logger = logging.getLogger("DataDownloader")
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addFilter(awake)
    yield SimpleNamespace(port=port, reported=reported)
    logger.removeFilter(awake)
    logger.setLevel(before)
    exchange.stop()


WHERE = [
    pytest.param(source, each, id=f"{source}, {each}") for source in SOURCES for each in DATASETS
]


@pytest.mark.parametrize(("source", "dataset"), WHERE)
async def test_a_line_that_is_refused_once(settings, truth, late, source, dataset):
    """An exchange that comes up between two tries is asked again, and nothing is amiss."""
    report = await download(settings, dataset, **addresses(source, late.port))

    assert "no whole answer" in late.reported[0]
    assert is_whole(report, settings, source, dataset), str(report)
    assert contents(settings) == truth[dataset]


@pytest.mark.parametrize(("source", "dataset"), WHERE)
async def test_a_line_that_is_refused_for_ever(settings, truth, port, source, dataset):
    """Where nobody listens the step fails with address and remedy, and leaves nothing."""
    report = await download(settings, dataset, **addresses(source, port))

    assert report.failed
    for step in report.failed:
        assert f"127.0.0.1:{port}" in str(step.error)
        assert "run again" in str(step.error)
    assert contents(settings) == {}
    again = await download(settings, dataset, source=source)
    assert is_whole(again, settings, source, dataset)
    assert contents(settings) == truth[dataset]


@pytest.mark.parametrize("dataset", DATASETS)
async def test_an_archive_that_is_not_there_at_all(settings, truth, port, dataset):
    """Where nobody listens in the archive's place all comes over REST."""
    nowhere = {**addresses("archive", port), "source": "auto"}

    report = await download(settings, dataset, **nowhere)

    assert report.complete, str(report)
    assert contents(settings) == truth[dataset]
