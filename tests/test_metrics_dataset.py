"""Open interest and ratios: each quirk of the archive's files, by recorded bytes and by the demo's dates."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import zipfile
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd
import pyarrow.parquet as pq
import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.binance.csv_tables import Expected
from ares_notebook.binance.http import Transport
from ares_notebook.binance.parse import lines_of_csv
from ares_notebook.binance.rest import Rest
from ares_notebook.cache.reader import examined, read_legacy
from ares_notebook.download.plan import plan_downloads
from ares_notebook.download.repair import repair_call
from ares_notebook.errors import BadAnswer, CorruptFile, NotFound
from ares_notebook.load import IncompleteData
from ares_notebook.model.datasets import METRICS, dataset_named
from ares_notebook.model.facts import Gap
from ares_notebook.model.files import Series, parse_file_name
from ares_notebook.model.rows import text_of
from ares_notebook.model.time import INTERVALS, as_utc, to_ms

HEADER = (
    "timestamp,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio"
)
PUBLISHED = HEADER.replace("timestamp", "create_time,symbol") + "\n"
STEP = pd.Timedelta("5min")
UM, CM = Series.of("metrics", "BTCUSDT"), Series.of("metrics", "BTCUSD_PERP")


@pytest.fixture(scope="module")
def market():
    now = datetime(2026, 10, 1, 12, 34, tzinfo=UTC)
    with DemoExchange(now=now, trades_per_day=6_000, weight_limit=10**6) as running:
        yield running


@pytest.fixture
def settings(market, tmp_path):
    market.faults.clear()
    market.requests.clear()
    return market.settings(cache_dir=tmp_path / "cache", progress=False, retry_delay_seconds=0)


async def download(settings, start, end, symbol="BTCUSDT"):
    return await ares.download_all_data(
        symbol, "1h", start=start, end=end, datasets=["metrics"], settings=settings
    )


def load(settings, start, end, symbol="BTCUSDT", **fields):
    return ares.load_rows("metrics", symbol, start=start, end=end, settings=settings, **fields)


def contents(settings) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in settings.cache_dir.glob("*.csv")}


def published(market, date, symbol="BTCUSDT") -> list[list[str]]:
    """The rows of a file of the demo's archive."""
    import urllib.request  # noqa: PLC0415 - only the demo is asked this way

    product = "cm" if symbol.endswith("_PERP") else "um"
    path = f"data/futures/{product}/daily/metrics/{symbol}/{symbol}-metrics-{date}.zip"
    with urllib.request.urlopen(f"{market.url}/{path}") as reply:  # noqa: S310 - loopback
        archive = zipfile.ZipFile(io.BytesIO(reply.read()))
    [name] = archive.namelist()
    return [line.split(",") for line in archive.read(name).decode().splitlines()[1:]]


def publish(market, date, rows, symbol="BTCUSDT") -> None:
    """Publish other rows as the file of a day of USD-M, with a checksum that is right."""
    key = f"{symbol}-metrics-{date}"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{key}.csv", PUBLISHED + "".join(",".join(row) + "\n" for row in rows))
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    words = f"{digest}  {key}.zip".encode()
    market.fail(f"{key}.zip.CHECKSUM$", times=None, replace_body=words)
    market.fail(f"{key}.zip$", times=None, replace_body=packed.getvalue())


def parsed(text, series=UM, day="2026-09-30") -> list[str]:
    """The lines of the cache for the rows of the file of a day."""
    shift_ms = series.label_shift_ms(to_ms(as_utc(day)))
    expected = Expected(series.interval, symbol=series.symbol, label_shift_ms=shift_ms)
    return bytes(lines_of_csv(METRICS, text.encode(), "here", expected).text).decode().splitlines()


def row(label, held="1.5", symbol="BTCUSDT", ratios="1.10,0.9,1.0,2.50000000") -> str:
    return f"{label},{symbol},{held},30.00,{ratios}\n"


# --- one row, by its bytes ---


@pytest.fixture(scope="module")
def recorded_files(recorded):
    folder = recorded.parent / "futures" / "archive"
    if not folder.is_dir():
        pytest.skip("no recorded futures beside ARES_TEST_DATA")
    return folder


@pytest.mark.parametrize(
    ("series", "path"),
    [
        (UM, "um_metrics/BTCUSDT-metrics-2026-09-30.csv"),
        (CM, "cm_metrics/BTCUSD_PERP-metrics-2023-06-25.csv"),
    ],
    ids=["USD-M", "COIN-M"],
)
def test_recorded_rows_keep_each_number(recorded_files, series, path):
    """Each recorded row is a line at its own label, ascending, with numbers without zeros at the end."""
    header, *rows = (recorded_files / path).read_text().splitlines(keepends=True)
    lines = parsed("".join(rows), series, path[-14:-4])

    assert header == PUBLISHED
    assert lines == sorted(lines)
    wanted = []
    for each in rows:
        label, _, *cells = each.rstrip("\n").split(",")
        plain = [cell.strip('"').rstrip("0").rstrip(".") for cell in cells]
        assert [Decimal(cell) for cell in plain if cell] == [
            Decimal(cell) for cell in cells if cell != '""'
        ]
        wanted.append(",".join([label, *plain]))
    assert sorted(wanted) == lines


@pytest.mark.parametrize(
    ("series", "day", "start"),
    [
        (UM, "2026-06-24", "2026-06-24 09:55:00"),
        (UM, "2026-06-25", "2026-06-24 10:00:00"),
        (CM, "2026-06-24", "2026-06-24 10:00:00"),
        (CM, "2021-12-01", "2026-06-24 10:00:00"),
    ],
)
def test_the_day_of_the_file_says_what_a_label_is(series, day, start):
    """A label is the end in files of USD-M of days before 2026-06-25, and the start in all others."""
    [line] = parsed(row("2026-06-24 10:00:00", symbol=series.symbol), series, day)

    assert line.split(",")[0] == start


def test_seconds_are_cut_off():
    """A label that is seconds late is that of its five minutes."""
    lines = parsed(row("2026-09-30 00:00:05") + row("2026-09-30 00:05:01"))

    assert [line[:19] for line in lines] == ["2026-09-30 00:00:00", "2026-09-30 00:05:00"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (row("2026-09-30 00:01:00"), "not on the grid"),
        (row("2026-09-30 00:04:59"), "not on the grid"),
        (row("2026-02-30 00:00:00"), "not in the exchange's format"),
        (row("2026-09-30"), "no label"),
        (row("1790000000000"), "no label"),
        (row("2026-09-30 00:00:00", symbol="ETHUSDT"), "another symbol, 'ETHUSDT', than BTCUSDT"),
        (row("2026-09-30 00:00:00", held="-1"), "sum_open_interest"),
        (row("2026-09-30 00:00:00", ratios="1,nan,1,1"), "sum_toptrader_long_short_ratio"),
        (row("2026-09-30 00:00:00") + row("2026-09-30 00:00:01", held="1.6"), "have one key"),
    ],
)
def test_rows_that_cannot_be_true_are_refused(text, fault):
    """A label off the grid, no moment, another symbol, no number, and two rows of one key are refused."""
    with pytest.raises(BadAnswer, match=re.escape(fault)):
        parsed(text)


def test_the_same_row_twice_counts_once():
    """Rows that repeat, in any order and with other seconds, are one row."""
    first, second = row("2026-09-30 00:00:00"), row("2026-09-30 00:05:00", held="1.6")
    late = row("2026-09-30 00:00:02", held="1.500")

    assert parsed(second + first + late + second) == parsed(first + second)


@pytest.mark.parametrize("zero", ["0E-16", "0E-8", "0", "0.00000000", '""', ""])
def test_no_open_interest_is_no_row(zero):
    """A row without open interest is left out, and does not contradict a measured one of its label."""
    unmeasured = row("2026-09-30 00:00:00", held=zero, ratios="0E-8,0E-8,0E-8,0E-8")
    measured = row("2026-09-30 00:00:00")

    assert parsed(unmeasured) == []
    assert parsed(measured + unmeasured) == parsed(measured)


@pytest.mark.parametrize("empty", ['""', ""])
def test_a_ratio_may_be_empty(empty):
    """A cell without a ratio, quoted or not, is an empty cell, and zero stays a zero."""
    [line] = parsed(row("2026-09-30 00:00:00", ratios=f"{empty},{empty},0E-8,{empty}"))

    assert line == "2026-09-30 00:00:00,1.5,30,,,0,"


# --- names ---


def test_names_have_no_interval():
    """Cache files and zips are named without the interval, which is always five minutes."""
    series = Series.of("metrics", "BTCUSDT", "1h")
    file = parse_file_name("metrics_BTCUSDT_2025-01.csv")

    assert series == UM
    assert series.interval == "5m"
    assert file is not None
    assert file.series == UM
    assert len(file.opens(file.grid_end_ms)) == 31 * 288
    assert parse_file_name("metrics_BTCUSDT_5m_2025-01.csv") is None
    assert UM.archive_key("day", as_utc("2025-01-31")) == (
        "data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2025-01-31.zip"
    )
    assert CM.archive_folder("day") == "data/futures/cm/daily/metrics/BTCUSD_PERP/"
    assert ",".join(METRICS.column_names) == HEADER
    assert dataset_named("metrics") is METRICS


# --- whole files, from the demo ---

WHOLE = [
    ("BTCUSDT", "2026-06-20", "2026-07-02"),
    ("ETHUSDT", "2024-11-01", "2024-11-20"),
    ("BTCUSDT", "2026-09-01", "2026-09-12"),
    ("BTCUSD_PERP", "2023-06-20", "2023-07-03"),
]
IDS = ["labels change", "seconds drift", "out of order", "COIN-M"]


@pytest.mark.parametrize(("symbol", "start", "end"), WHOLE, ids=IDS)
async def test_files_are_whole_and_asked_for_once(settings, symbol, start, end):
    """Each five minutes has one row, the file is complete, and the second run makes no request."""
    report = await download(settings, start, end, symbol)
    again = await download(settings, start, end, symbol)
    frame = load(settings, start, end, symbol)
    steps = pd.Series(frame.index).diff().dropna()

    assert report.complete, str(report)
    assert (again.requests, again.actions) == (0, {"skip": len(report.steps)})
    assert set(steps) == {STEP}
    assert frame.index[0] == as_utc(start)
    assert frame.index[-1] + STEP == as_utc(end)


async def test_each_row_is_that_of_its_five_minutes(settings, market):
    """Around the change of labels each row has the numbers of the published row of its interval."""
    await download(settings, "2026-06-20", "2026-06-27")
    frame = load(settings, "2026-06-24", "2026-06-26", decimal=True)
    wanted = {}
    for date, shift in (("2026-06-24", STEP), ("2026-06-25", pd.Timedelta(0))):
        for label, _, *cells in published(market, date):
            wanted[pd.Timestamp(label, tz="UTC").floor("5min") - shift] = [*map(Decimal, cells)]

    assert {stamp: list(cells) for stamp, *cells in frame.itertuples()} == wanted


@pytest.mark.parametrize(("symbol", "start", "end"), WHOLE[-2:], ids=IDS[-2:])
async def test_a_cut_out_piece_comes_back(settings, symbol, start, end):
    """Rows that are cut out of a file are a gap, and the next download brings the same bytes."""
    await download(settings, start, end, symbol)
    whole = contents(settings)
    name = min(whole)
    lines = whole[name].splitlines(keepends=True)
    third = len(lines) // 3
    (settings.cache_dir / name).write_bytes(b"".join(lines[:third] + lines[2 * third :]))

    with pytest.warns(IncompleteData):
        frame = load(settings, start, end, symbol)
    report = await download(settings, start, end, symbol)

    assert frame.attrs["complete"] is False
    assert report.complete, str(report)
    assert contents(settings) == whole


@pytest.mark.parametrize(("symbol", "start", "end"), WHOLE[-2:], ids=IDS[-2:])
async def test_all_verbs_know_them(settings, tmp_path, symbol, start, end):
    """Coverage, gaps, validation, fingerprint, audit, repair and Parquet treat them as other datasets."""
    await download(settings, start, end, symbol)
    about = {"end": end, "datasets": ["metrics"], "settings": settings}

    table = ares.coverage(symbol, **about)
    gaps = ares.find_gaps(symbol, **about)
    checked = ares.validate_cache(symbol, datasets=["metrics"], settings=settings)
    made = ares.fingerprint(symbol, dataset="metrics", settings=settings)
    audited = await ares.audit_cache(symbol, **about)
    repaired = await ares.repair_gaps(symbol, **about)
    # Files without their receipts are read anew, and are the same.
    examine = [
        examined(parse_file_name(name), settings.cache_dir / name) for name in contents(settings)
    ]

    assert set(table["state"]) == {"complete"}
    assert list(table["rows"]) == list(table["expected"])
    assert len(gaps) == 0
    assert checked.ok, str(checked)
    assert made.complete
    assert made.rows == table["rows"].sum()
    assert {each.verdict for each in audited.files} == {"unchanged"}
    assert (repaired.complete, repaired.requests) == (True, 0)
    assert [each.problem for each in examine] == [None] * len(table)
    for decimal in (False, True):
        folder = tmp_path / f"parquet {decimal}"
        exported = ares.to_parquet(
            folder, symbol, datasets=["metrics"], decimal=decimal, settings=settings
        )
        assert exported, [str(each.error) for each in exported.failed]
        assert all(
            each.parent.parent.parent.name == "metrics" for each in folder.rglob("*.parquet")
        )
        ratios = pq.read_table(folder)["count_long_short_ratio"]
        assert ratios.null_count == (len(ratios) if symbol == "BTCUSD_PERP" else 0)


async def test_an_interval_is_that_of_k_lines(settings):
    """An interval beside the dataset, as a call about k-lines has one, selects no other rows."""
    await download(settings, "2026-09-01", "2026-09-03")
    about = {"end": "2026-09-03", "datasets": ["klines", "metrics"], "settings": settings}

    assert list(ares.coverage("BTCUSDT", "1h", **about)["dataset"]) == ["metrics"]


def test_the_call_that_repairs_names_the_interval_of_k_lines():
    """The call that repairs k-lines and metrics names the interval of the k-lines alone."""
    klines = Series.of("klines", "BTCUSDT", "1h")

    assert '"1h"' in repair_call([klines, UM])
    assert "5m" not in repair_call([klines, UM])


async def test_missing_windows_are_derived_from_a_frame(settings):
    """Rows that are removed from a frame are listed as missing, with their number."""
    start, end = "2026-09-01", "2026-09-03"
    await download(settings, start, end)
    frame = load(settings, start, end)
    frame = frame.drop(frame.index[10:22])
    frame.attrs.update(missing_count=101)
    [gap] = ares.missing(frame, settings=settings).to_dict("records")

    assert (gap["start"], gap["end"]) == (as_utc("2026-09-01T00:50"), as_utc("2026-09-01T01:50"))


async def test_a_file_with_other_columns_first_is_read(settings):
    """A file whose columns another program has put in another order loses no row without ratios."""
    await download(settings, "2023-06-25", "2023-06-26", "BTCUSD_PERP")
    [(name, whole)] = contents(settings).items()
    lines = [line.split(",") for line in whole.decode().splitlines()]
    text = "".join(",".join([line[0], *line[:0:-1]]) + "\n" for line in lines)
    (settings.cache_dir / name).write_text(text)
    rows = read_legacy(settings.cache_dir / name, METRICS)

    assert text_of(METRICS, rows).to_pybytes() == whole.split(b"\n", 1)[1]


async def test_ratios_of_coin_m_are_not_a_number(settings):
    """Empty cells are NaN in frames of floats and of decimals, and other columns have their numbers."""
    start, end = "2023-06-25", "2023-06-26"
    await download(settings, start, end, "BTCUSD_PERP")
    for decimal in (False, True):
        frame = load(settings, start, end, "BTCUSD_PERP", decimal=decimal)
        empty = frame.isna().all()

        assert list(empty[empty].index) == HEADER.split(",")[3:6]
        assert not frame.loc[:, ~empty].isna().any(axis=None)
    [name] = contents(settings)
    assert ",,,," in contents(settings)[name].decode().splitlines()[1]


@pytest.mark.parametrize("is_seen", [True, False], ids=["another size", "the same size and time"])
async def test_an_empty_open_interest_in_the_cache_is_damage(settings, is_seen):
    """A cell that must not be empty is refused by loaders where it is, and the next download replaces the file."""
    start, end = "2026-09-01", "2026-09-02"
    await download(settings, start, end)
    [(name, whole)] = contents(settings).items()
    path = settings.cache_dir / name
    was = path.stat()
    head, first, *rest = whole.decode().splitlines(keepends=True)
    stamp, held, value, *others = first.split(",")
    longer = value if is_seen else value + "0" * len(held)
    path.write_text("".join([head, ",".join([stamp, "", longer, *others]), *rest]))
    if not is_seen:
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))

    with pytest.raises(CorruptFile, match="sum_open_interest"):
        load(settings, start, end)
    await download(settings, start, end)

    assert contents(settings) == {name: whole}


async def test_a_row_of_zero_open_interest_is_a_gap(settings):
    """Where the archive has an open interest of zero there is no row, and the gap says who was asked."""
    start, end = "2022-03-01", "2022-03-10"
    report = await download(settings, start, end)
    again = await download(settings, start, end)
    [gap] = ares.find_gaps("BTCUSDT", end=end, datasets=["metrics"], settings=settings).to_dict(
        "records"
    )

    assert not report.complete
    assert (gap["start"], gap["end"]) == (as_utc("2022-03-07T15:30"), as_utc("2022-03-08T01:10"))
    assert (gap["missing"], gap["reason"]) == (102 + 14, "unconfirmed")
    assert "only source" in gap["note"]
    assert "only source" in str(again)
    assert again.requests == 0


async def test_an_open_interest_of_zero_in_the_cache_is_an_error(settings):
    """Validation finds a row whose open interest is zero."""
    start, end = "2026-09-01", "2026-09-02"
    await download(settings, start, end)
    [(name, whole)] = contents(settings).items()
    head, first, *rest = whole.decode().splitlines(keepends=True)
    cells = first.split(",")
    (settings.cache_dir / name).write_text(
        "".join([head, ",".join([cells[0], "0", *cells[2:]]), *rest])
    )
    report = ares.validate_cache("BTCUSDT", datasets=["metrics"], settings=settings)

    assert "open interest above zero" in {each.check for each in report.findings}


@pytest.mark.parametrize(
    ("symbol", "window", "gap"),
    [
        ("BTCUSDT", ("2022-02-20", "2022-02-26"), ("2022-02-23", "2022-02-24")),
        ("ETHUSDT", ("2024-06-08", "2024-06-15"), ("2024-06-11", "2024-06-13")),
        ("BTCUSD_PERP", ("2024-03-01", "2024-04-01"), ("2024-03-04", "2024-04-01")),
    ],
)
async def test_days_that_were_never_published_stay_open(settings, symbol, window, gap):
    """A day that the archive has lacked for a month stays open, is told as such, and is not asked for again."""
    report = await download(settings, *window, symbol)
    [found] = ares.find_gaps(
        symbol, end=window[1], datasets=["metrics"], settings=settings
    ).to_dict("records")
    again = await download(settings, *window, symbol)

    assert (report.complete, report.failed) == (False, ())
    assert "unconfirmed: the archive, which is the only source of such rows, has none" in str(
        report
    )
    assert (found["start"], found["end"]) == tuple(map(as_utc, gap))
    assert found["reason"] == "unconfirmed"
    assert (again.complete, again.requests) == (False, 0)
    anew = await ares.repair_gaps(
        symbol, end=window[1], datasets=["metrics"], recheck=True, settings=settings
    )
    assert anew.requests > 0


async def test_a_day_that_ends_early_is_not_taken_for_whole(settings):
    """The rows after 13:30 of 2024-02-16, which the archive never had, are a gap in each later run."""
    report = await download(settings, "2024-02-15", "2024-02-18")
    table = ares.find_gaps("BTCUSDT", end="2024-02-18", datasets=["metrics"], settings=settings)
    [gap] = table.to_dict("records")
    more = await download(settings, "2024-02-15", "2024-02-20")

    assert not report.complete
    assert (more.rows_written, more.complete, more.notes) == (2 * 288, False, ())
    assert (gap["start"], gap["end"]) == (as_utc("2024-02-16T13:30"), as_utc("2024-02-17"))


@pytest.mark.parametrize("change", ["symbol", "contradiction"])
async def test_a_file_that_is_not_sound_fails(settings, market, change):
    """Rows of another symbol, and two of one key, fail the file, and none of that day is stored."""
    rows = published(market, "2026-09-02")
    rows[5] = {
        "symbol": [rows[5][0], "ETHUSDT", *rows[5][2:]],
        "contradiction": [rows[6][0], *rows[5][1:]],
    }[change]
    publish(market, "2026-09-02", rows)
    report = await download(settings, "2026-09-01", "2026-09-04")
    with pytest.warns(IncompleteData):
        frame = load(settings, "2026-09-01", "2026-09-04")

    assert report.failed
    assert "BTCUSDT-metrics-2026-09-02" in str(report)
    assert set(frame.index.strftime("%d")) == {"01", "03"}


async def test_a_listing_that_ends_early_hides_no_file(settings, market):
    """Files that the archive has and its listing does not are fetched; a listing of metrics once ended years early."""

    def until_september_3(body: bytes) -> bytes:
        late = rb"<Contents><Key>[^<]*-2026-(?:09-(?:0[4-9]|[12])|10)[^<]*</Key>.*?</Contents>"
        return re.sub(late, b"", body, flags=re.DOTALL)

    market.fail("prefix=data/futures/um/daily/metrics", times=None, replace_body=until_september_3)
    report = await download(settings, "2026-09-01", "2026-09-08")

    assert report.complete, str(report)
    assert report.rows_written == 7 * 288


async def test_of_days_behind_a_listing_few_are_asked_for(settings, market):
    """Where the first day behind the end of the listing is not there, later ones are asked for in doubling distances only."""
    late = r"BTCUSDT-metrics-2026-(?:09-[23]|10)"
    market.withhold(late)
    report = await download(settings, "2026-09-15", "2026-10-01")
    market.release(late)

    assert report.rows_written == 19 * 288
    probes = [
        re.search(r"metrics-(2026-(?:09-[23]|1).*)\.zip.CHECKSUM", each.path)
        for each in market.requests
    ]
    days = [(as_utc(each[1]) - as_utc("2026-09-20")).days for each in probes if each]
    # Days are asked for side by side, so that a later one may be the first.
    behind = [day - days[0] for day in days if day >= days[0]]
    assert len(behind) >= 5
    assert behind == [0, *(2**power for power in range(len(behind) - 1))]
    assert sorted(day for day in days if day < days[0]) == [*range(days[0])]


async def test_the_listing_spares_requests_before_the_first_file(settings, market):
    """Of months before the first file no day is asked for by itself."""
    report = await download(settings, "2021-06-01", "2021-12-03")

    assert report.rows_written == 2 * 288
    assert not [each for each in market.requests if re.search(r"metrics-2021-(?!12)", each.path)]


# --- sources ---


async def test_rest_is_never_asked(settings, market):
    """Open interest comes from the archive alone, also where it lacks rows: REST rounds and forgets."""
    await download(settings, "2024-02-15", "2024-02-18")
    await download(settings, "2026-09-25", "2026-10-01T12:00")

    assert not [each.path for each in market.requests if "/futures/data/" in each.path]
    async with Transport(settings) as transport:
        with pytest.raises(NotFound, match="archive alone"):
            Rest(transport).lines(UM, Gap(0, INTERVALS["1d"]))


async def test_the_archive_alone_has_them(settings, market):
    """With source="rest" nothing is asked, and plan, report and audit say in a sentence why."""
    own = settings.replace(source="rest")
    plan = plan_downloads(
        "BTCUSDT", None, start="2026-09-01", end="2026-09-03", datasets=["metrics"], settings=own
    )
    report = await download(own, "2026-09-01", "2026-09-03")
    asked = len(market.requests)
    await download(settings, "2026-09-01", "2026-09-03")
    audited = await ares.audit_cache("BTCUSDT", datasets=["metrics"], settings=own)

    assert [step.action for step in plan.steps] == ["skip"]
    assert "archive alone" in str(plan)
    assert (report.complete, bool(report), asked) == (False, True, 0)
    assert "archive alone" in str(report)
    assert [each.verdict for each in audited.files] == ["nothing to compare with"]
    assert "archive alone" in audited.files[0].note
    assert ares.plan_audit("BTCUSDT", datasets=["metrics"], settings=own)[
        "compared_with"
    ].tolist() == ["nothing"]


async def test_an_altered_file_is_compared_with_the_archive(settings):
    """An audit reads the days of the archive again where the bytes are not those of the receipt, and restores them."""
    await download(settings, "2026-09-01", "2026-09-03")
    [(name, whole)] = contents(settings).items()
    text = whole.decode().splitlines(keepends=True)
    cells = text[10].split(",")
    text[10] = ",".join([cells[0], "77777.7", *cells[2:]])
    (settings.cache_dir / name).write_text("".join(text))
    audited = await ares.audit_cache(
        "BTCUSDT", datasets=["metrics"], settings=settings, update=True
    )

    [difference] = audited.files[0].differences
    assert (difference.column, difference.cached) == ("sum_open_interest", "77777.7")
    assert audited.files[0].verdict == "replaced"
    assert contents(settings) == {name: whole}


async def test_metrics_are_told_of_a_name_without_a_contract(settings):
    """Of a spot symbol without a perpetual there are no metrics, and the note says so."""
    report = await ares.download_all_data(
        "ETHBTC", "1d", start="2026-09-01", end="2026-09-03", datasets=["klines", "metrics"],
        settings=settings,
    )  # fmt: skip

    assert not report.failed
    assert [step.dataset for step in report.steps] == ["klines"]
    assert "no open interest" in str(report)


async def test_a_settled_contract_without_metrics_is_not_denied(settings):
    """Where candles of a contract are in the archive, missing metrics do not prove that there was no contract."""
    report = await download(settings, "2025-06-01", "2025-06-03", "BTCUSDT_250627")

    assert not report.complete
    assert "no perpetual" not in str(report)
    assert "unconfirmed: the archive, which is the only source of such rows, has none" in str(
        report
    )


# --- rows of other dates, and labels of the other kind ---


async def stored_day(settings, date):
    """The lines of a day in the cache, and the report of the run that fetched it."""
    end = (as_utc(date) + STEP * 288).strftime("%Y-%m-%d")
    report = await download(settings, date, end)
    lines = b"".join(contents(settings).values()).decode().splitlines()
    return [line for line in lines if line.startswith(date)], report


def relabelled(rows, label):
    """The fifth of the rows under another label, as if it were of another date."""
    return [label, *rows[4][1:2], "77.5", *rows[4][3:]]


STRAY = [
    ("2026-09-15", ["2026-09-16 00:00:01"]),
    ("2026-09-15", ["2026-09-14 23:55:00", "2026-09-16 00:05:00", "2026-09-17 00:05:00"]),
    ("2025-03-10", ["2025-03-10 00:00:02"]),
    ("2025-03-10", ["2025-03-11 00:05:01"]),
    ("2025-03-10", ["2025-03-09 12:00:00", "2025-03-10 00:00:00", "2025-03-11 00:05:00"]),
    ("2026-06-24", ["2026-06-25 00:05:00"]),
    ("2026-06-25", ["2026-06-26 00:00:00"]),
]


@pytest.mark.parametrize(("date", "labels"), STRAY, ids=str)
async def test_rows_of_other_dates_are_left_out(settings, market, date, labels):
    """Rows of other dates in the zip of a day cost no row of that day, and none of them is stored."""
    rows = published(market, date)
    whole, _ = await stored_day(settings, date)
    shutil.rmtree(settings.cache_dir)
    publish(market, date, [*rows, *(relabelled(rows, label) for label in labels)])

    lines, report = await stored_day(settings, date)
    stored = b"".join(contents(settings).values())

    assert report.complete, str(report)
    assert len(lines) == 288
    assert lines == whole
    assert b",77.5," not in stored


async def test_a_row_of_another_date_fills_no_gap(settings, market):
    """A row that stands under the label of another date is a gap of its day, asked for once, and no failure."""
    rows = published(market, "2026-09-02")
    wanted = pd.Timestamp(rows[5][0], tz="UTC").floor("5min")
    rows[5] = ["2026-09-03 00:00:00", *rows[5][1:]]
    publish(market, "2026-09-02", rows)

    report = await download(settings, "2026-09-01", "2026-09-04")
    again = await download(settings, "2026-09-01", "2026-09-04")
    gaps = ares.find_gaps("BTCUSDT", end="2026-09-04", datasets=["metrics"], settings=settings)
    [gap] = gaps.to_dict("records")

    assert (report.complete, report.failed, again.requests) == (False, (), 0)
    assert (gap["start"], gap["end"], gap["missing"]) == (wanted, wanted + STEP, 1)
    assert gap["reason"] == "unconfirmed"
    with pytest.warns(IncompleteData):
        assert len(load(settings, "2026-09-01", "2026-09-04")) == 3 * 288 - 1


@pytest.mark.parametrize("date", ["2025-03-10", "2026-06-24", "2026-06-25", "2026-09-15"])
async def test_labels_tell_what_they_are(settings, market, date):
    """A whole day whose labels are of the other kind than those of its date has each row at its five minutes."""
    rows = published(market, date)
    whole, _ = await stored_day(settings, date)
    shutil.rmtree(settings.cache_dir)
    other = -STEP if date < "2026-06-25" else STEP
    moved = [[str(pd.Timestamp(label) + other), *cells] for label, *cells in rows]

    for missing in (0, 1, 100):
        publish(market, date, moved[:missing] + moved[missing + 1 :] if missing else moved)
        lines, report = await stored_day(settings, date)
        shutil.rmtree(settings.cache_dir)
        market.faults.clear()
        assert report.complete == (not missing)
        assert set(lines) <= set(whole)
        assert len(lines) == 288 - bool(missing)


@pytest.mark.parametrize(
    ("date", "kept"),
    [
        ("2025-03-10", lambda label: label < "2025-03-10 13"),
        ("2026-09-15", lambda label: label > "2026-09-15 13"),
    ],
    ids=["ends", "starts"],
)
async def test_labels_that_do_not_tell_give_no_row(settings, market, date, kept):
    """Part of a day with a row that may be of another date or of other labels is a gap that is asked for once."""
    rows = [row for row in published(market, date) if kept(row[0])]
    edge = f"{date} 00:00:02" if date < "2026" else "2026-09-16 00:00:02"
    publish(market, date, [*rows, relabelled(published(market, date), edge)])

    lines, report = await stored_day(settings, date)
    again = await stored_day(settings, date)
    gaps = ares.find_gaps("BTCUSDT", start=date, datasets=["metrics"], settings=settings)

    assert lines == []
    assert not report.complete
    assert not report.failed
    assert again[1].requests == 0
    assert set(gaps["reason"]) == {"unconfirmed"}


@pytest.mark.parametrize(
    ("date", "by_days"), [("2025-03-10", -1), ("2026-09-15", 1), ("2025-03-10", 1)]
)
async def test_the_zip_of_another_date_is_refused(settings, market, date, by_days):
    """A zip most of whose rows are of another date is refused, and none of its rows is stored."""
    other = (as_utc(date) + by_days * STEP * 288).strftime("%Y-%m-%d")
    publish(market, date, [*published(market, other), *published(market, date)[:3]])

    lines, report = await stored_day(settings, date)

    assert lines == []
    assert report.failed
    assert "not in its period" in str(report)
