"""
The parsers, fed with anything: an error of ours or a right answer, never another exception.

Inputs are true ones with something wrong in them (`spoiling.py`); what is accepted is
held against slow readers that share nothing with the package (`slow_reading.py`).
FUZZ_EXAMPLES in the environment says how many a test tries, each time others.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import zipfile
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st
from slow_reading import Unclear, Wrong, archive_lines, cached_rows, page_lines
from spoiling import TOKENS, spoilt

import ares_notebook as ares
from ares_notebook.binance.archive import _read_checksum
from ares_notebook.binance.csv_tables import Expected
from ares_notebook.binance.http import Ask, refusal
from ares_notebook.binance.listing import _read_page
from ares_notebook.binance.parse import lines_of_csv, lines_of_json, read_info, read_time
from ares_notebook.binance.rate_limit import Budget
from ares_notebook.binance.zips import lines_of
from ares_notebook.cache.cells import Selection, chosen, read_cells
from ares_notebook.cache.entry import CacheEntry, Receipt, Source
from ares_notebook.cache.market_guard import market_of
from ares_notebook.cache.quarantine import salvage
from ares_notebook.cache.reader import read_rows
from ares_notebook.cache.store import Store
from ares_notebook.errors import AresError, BadAnswer, BadArgument, CorruptFile
from ares_notebook.model.datasets import DATASETS, KLINES
from ares_notebook.model.facts import Facts, Gap, Trouble
from ares_notebook.model.files import CacheFile, Series, parse_file_name
from ares_notebook.model.gaps import Absence
from ares_notebook.model.rows import empty_rows, header_of
from ares_notebook.model.symbols import pair_of
from ares_notebook.model.time import INTERVALS, as_utc, utc
from ares_notebook.settings import Settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
by_dataset = pytest.mark.parametrize("dataset", DATASETS, ids=lambda each: each.name)
SERIES = {
    each: Series.of(each, pair_of(symbol) if each.rest_symbol_parameter == "pair" else symbol, "1h")
    for each in DATASETS
    for symbol in [each.markets[0].example]
}
by_rest = pytest.mark.parametrize(
    "dataset", [each for each in DATASETS if each.has_rest], ids=lambda each: each.name
)
# Those that the original downloader had too.
by_original = pytest.mark.parametrize("dataset", DATASETS[:3], ids=lambda each: each.name)
FILES = {each: CacheFile.of(series, as_utc("2025-01-01")) for each, series in SERIES.items()}
START_MS, HOUR_MS = 1_735_689_600_000, 3_600_000  # 2025-01-01


def step_of(dataset):
    """From a row to the next, in milliseconds."""
    interval = SERIES[dataset].interval
    return INTERVALS[interval] if interval else {"id": 1, "event_time": 8 * HOUR_MS}[dataset.key]


def opens_ms(dataset, at):
    late_ms = at % 5 if dataset.key == "event_time" else 0
    return START_MS + at * step_of(dataset) + late_ms


NUMBERS = ("0.00010000", "2.0", "1", "1.5", "7.10", "8", "3", "4.00")
INTEGERS = {"agg_trade_id": 700, "first_trade_id": 900, "last_trade_id": 901}


def number(column, at, place):
    if column.signed and at % 2:
        return f"-0.0001{at:04d}"
    return NUMBERS[(place + at // 3) % len(NUMBERS)]


def value(dataset, column, at, place):
    """A cell of a row, as REST has it."""
    cells = {
        "time": opens_ms(dataset, at),
        "close": opens_ms(dataset, at + 1) - 1,
        "integer": INTEGERS.get(column.name, 9) + at * (1 + (column.name[0] in "fl")),
        "flag": at % 3 == 0,
        "hours": 8,
        "symbol": SERIES[dataset].symbol,
        "ignored": "0",
        "number": number(column, at, place),
    }
    return cells[column.kind]


def archive_row(dataset, at, factor=1000):
    """A row of the archive; *factor* makes milliseconds what its stamps are in."""
    cells = []
    for place, column in enumerate(dataset.published):
        cell = value(dataset, column, at, place)
        if column.is_label:
            cell = f"{utc(cell):%Y-%m-%d %H:%M}:0{at % 6}"
        elif column.kind in ("time", "close"):
            cell *= factor
        elif column.kind == "ignored":
            cell = "True" if dataset.key == "id" else "0"
        elif column.may_be_empty and not (at + place) % 4:
            cell = ('""', "")[place % 2]
        cells.append(str(cell))
    return ",".join(cells)


def archive_texts(dataset):
    whole = [archive_row(dataset, at) for at in range(6)]
    texts = [
        whole,
        [archive_row(dataset, at, 1) for at in range(6)],
        whole[:1],
        [*whole[:2], *whole[1:]],
    ]
    if dataset.key == "id":
        shorter = len(dataset.columns)
        texts.append([",".join(line.split(",")[:shorter]).lower() for line in whole])
    if any(each.proves_row for each in dataset.published):
        texts += [whole[::-1], [line.replace(",2.0,", ",0E-16,") for line in whole]]
    return ["".join(f"{line}\n" for line in lines).encode() for lines in texts]


def page(dataset):
    """Rows as REST sends them."""
    rows = []
    for at in range(4):
        cells = [value(dataset, each, at, place) for place, each in enumerate(dataset.published)]
        named = zip(dataset.rest_fields, cells, strict=False)
        owner = {dataset.rest_symbol: SERIES[dataset].symbol} if dataset.rest_symbol else {}
        row = {**owner, **{name: cell for name, cell in named if name}, "more": "1"}
        rows.append(row if dataset.rest_fields else cells)
    return rows


def cached_row(dataset, at):
    cells = [f"{utc(opens_ms(dataset, at)):%Y-%m-%d %H:%M:%S.%f}"[: 20 + dataset.stamp_digits]]
    cells = [cells[0].rstrip(".")]
    for place, column in enumerate(dataset.columns[1:]):
        cell = str(value(dataset, column, at, place))
        if column.trimmed and "." in cell:
            cell = cell.rstrip("0").rstrip(".")
        cells.append("" if column.may_be_empty and not (at + place) % 4 else cell)
    return ",".join(cells) + "\n"


def cached_texts(dataset):
    lines = "".join(cached_row(dataset, at) for at in range(8))
    return [header_of(dataset) + lines.encode(), header_of(dataset), lines.encode()]


def old_texts(dataset):
    """Files of the original downloader: its columns, and numbers as pandas prints them."""
    stamps = (
        ("2025-01-01", "2025-01-01 08:00:00", "2025-01-01 16:00:00.003"),
        ("1735689600000", "1735718400000", "1735747200000"),
        ("2025-01-01 00:00:00+00:00", "2025-01-01T08:00:00Z", "2025-01-01 16:00"),
    )
    columns = dataset.columns[: dataset.original_columns]
    header = ",".join(each.name for each in columns) + "\n"
    texts = []
    for own in stamps:
        rows = []
        for at, stamp in enumerate(own):
            cells = [
                ("0.1", "1e-05", "2")[(at + place) % 3] if column.kind == "number"
                else str(value(dataset, column, at, place))
                for place, column in enumerate(columns[1:])
            ]  # fmt: skip
            rows.append(",".join([stamp, *cells]) + "\n")
        texts.append((header + "".join(rows)).encode())
    return texts


@pytest.fixture
def fuzz(record_property):
    """Try a check with many inputs, and note how many; what a check answers are rows lost."""

    def run(check, *strategies, examples=300):
        counted = {"inputs fuzzed": 0, "rows lost": 0}

        @hypothesis.settings(
            max_examples=EXAMPLES or examples,
            derandomize=not EXAMPLES,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(st.tuples(*strategies))
        def one(inputs):
            counted["inputs fuzzed"] += 1
            counted["rows lost"] += check(*inputs) or 0

        one()
        for name, number in counted.items():
            record_property(name, number)

    return run


# --- what the exchange answers ---


@by_dataset
def test_archive_csv(fuzz, dataset):
    """CSV of the archive gives the lines that a slow reader makes of it, or is refused by both."""
    symbol = SERIES[dataset].symbol

    def check(block):
        try:
            expected = archive_lines(dataset, block, symbol=symbol)
        except Wrong:
            expected = None
        try:
            lines = lines_of_csv(dataset, block, "here", Expected(symbol=symbol))
        except BadAnswer:
            lines = None
        found = None if lines is None else lines.text.tobytes().decode().splitlines()
        assert found == expected
        assert lines is None or len(lines) == len(found) == len(lines.stamps_us)
        return 0 if found is None else len(expected) - len(found)

    fuzz(check, spoilt(archive_texts(dataset)), examples=1000)


@by_rest
def test_rest_json(fuzz, dataset):
    """A page of REST gives the lines that a slow reader makes of it, or is refused by both."""
    rows = page(dataset)
    pages = [json.dumps(rows).encode(), json.dumps(rows[:1]).encode(), b"[]"]
    series = SERIES[dataset]

    def check(body):
        try:
            expected = page_lines(dataset, series.symbol, body, HOUR_MS)
        except (Wrong, Unclear) as error:
            expected = error
        try:
            lines = lines_of_json(series, body, "here")
        except BadAnswer:
            lines = None
        found = None if lines is None else lines.text.tobytes().decode().splitlines()
        if isinstance(expected, Unclear):
            return 0
        assert found == (None if isinstance(expected, Wrong) else expected)
        return 0 if found is None else len(expected) - len(found)

    fuzz(check, spoilt(pages), examples=700)


def zipped(text, method=zipfile.ZIP_DEFLATED):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo("a.csv"), text, method)
    return sink.getvalue()


def test_zips(fuzz):
    """A zip gives the very text that was put in, or is refused."""
    texts = archive_texts(KLINES)
    samples = [zipped(text, method) for text in texts for method in (0, zipfile.ZIP_DEFLATED)]

    def check(data):
        try:
            found = b"".join(lines_of(io.BytesIO(data), "a.csv", "here"))
        except BadAnswer:
            return
        assert found in texts

    fuzz(check, spoilt(samples), examples=700)


def test_checksums(fuzz):
    """A checksum is 64 digits before the very name, or refused."""
    digest = hashlib.sha256(b"").hexdigest()
    samples = [f"{digest}  a.zip".encode(), f"{digest.upper()} *a.zip\n".encode()]

    def check(body):
        try:
            found = _read_checksum("http://here/a.zip.CHECKSUM", "a.zip", body)
        except BadAnswer:
            return
        first, second = body.decode("ascii").split()
        assert found == first.lower()
        assert int(found, 16) >= 0
        assert second.removeprefix("*") == "a.zip"

    fuzz(check, spoilt(samples))


def listing(keys, marker=""):
    entries = "".join(
        f"<Contents><Key>{key}</Key><Size>{size}</Size></Contents>" for key, size in keys
    )
    more = f"<IsTruncated>true</IsTruncated><NextMarker>{marker}</NextMarker>" if marker else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/">'
        f"<Name>data</Name>{more}{entries}</ListBucketResult>"
    ).encode()


def test_listings(fuzz):
    """A listing gives sizes by key and a marker, or is refused."""
    keys = [(f"data/{at}.zip", at * 100) for at in range(3)]
    samples = [listing(keys), listing(keys, "data/2.zip"), listing([])]
    samples += [listing(keys).decode().encode("utf-16")]

    def check(body):
        try:
            page = _read_page("data/", body)
        except BadAnswer:
            return
        assert isinstance(page.next_marker, str)
        assert all(isinstance(key, str) and size >= 0 for key, size in page.sizes.items())
        assert all(isinstance(folder, str) for folder in page.folders)
        for key, size in page.sizes.items():
            assert not size or str(size).encode() in body.replace(b"\0", b""), key

    fuzz(check, spoilt(samples), examples=1000)


def test_exchange_information(fuzz):
    """What the exchange says of itself is symbols, limits, and a moment that can be, or is refused."""
    weight = {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": 6000,
    }
    info = {
        "symbols": [{"symbol": "BTCUSDT"}],
        "rateLimits": [weight, {**weight, "rateLimitType": "ORDERS"}],
    }
    samples = [json.dumps(info).encode(), json.dumps({"serverTime": START_MS}).encode()]

    def check(body):
        for read in (read_info, read_time):
            try:
                found = read(body)
            except BadAnswer:
                continue
            if read is read_time:
                assert 2000 < utc(found).year < 3000
            elif found.limit is not None:
                budget = Budget(6000)
                budget.allow(*found.limit)
                assert budget.wait_seconds(20) >= 0

    fuzz(check, spoilt(samples), examples=1000)


HEADERS = st.sampled_from(
    [*(each.decode("latin-1") for each in TOKENS), "3", "0", "nan"]
) | st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=30)
DATES = st.sampled_from(
    [
        "Wed, 01 Jan 2025 00:00:00 GMT",
        "Wed, 01 Jan 2025 00:00:00 -0000",
        "Mon, 01 Jan 0001 00:00:00 +2300",
        "Fri, 31 Dec 9999 23:59:59 -2300",
        "Fri, 31 Dec 99999999999999999999 23:59:59 GMT",
        "01 Jan 70 00:00:00 +99999999999999",
    ]
)  # fmt: skip


def test_headers(fuzz):
    """Whatever the headers say of weight, date and waits, there is a wait that is a number."""

    def check(used, date, named, body):
        budget = Budget(6000)
        budget.learn({"X-MBX-USED-WEIGHT-1M": used, "Date": date}, 2)
        assert 0 <= budget.wait_seconds(2) < math.inf
        answer = SimpleNamespace(status=429, headers={"Retry-After": named})
        error = refusal(Ask("http://here", "it"), answer, body)
        assert error.retry_after_seconds is None or error.retry_after_seconds >= 0
        assert len(str(error)) < 1000

    words = spoilt([b'{"code":-1003,"msg":"Too many requests"}', b'{"code":1e999,"msg":""}'])
    fuzz(check, HEADERS, HEADERS | DATES, HEADERS, words, examples=500)


# --- what lies in the cache ---


def as_tuples(table):
    return list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))


def plain(rows):
    """Rows whose numbers and flags are what their text means; a number that is missing is None."""

    def meaning(cell):
        if cell in ("True", "False"):
            return cell == "True"
        if isinstance(cell, str):
            return float(cell) if cell else None
        return None if isinstance(cell, float) and math.isnan(cell) else cell

    return [tuple(map(meaning, row)) for row in rows]


@by_dataset
def test_cached_csv(fuzz, dataset, tmp_path):
    """A file of the cache gives the rows that a slow reader finds, or is told to be corrupt."""
    file = FILES[dataset]
    path = tmp_path / file.name
    header = header_of(dataset)

    def check(text):
        path.write_bytes(text)
        try:
            expected = cached_rows(dataset, text)
        except Wrong:
            expected = None
        try:
            rows = as_tuples(pa.concat_tables([empty_rows(dataset), *read_rows(path, file)]))
        except CorruptFile:
            rows = None
        if text.startswith(header) and rows is not None and expected is not None:
            assert [tuple(map(str, row)) for row in rows] == [
                tuple(map(str, row)) for row in expected
            ]
        assert rows is not None or expected is None
        for wanted in (
            Selection(chosen(dataset, None), True, 0, 2**62),
            Selection(
                chosen(dataset, None), False, START_MS * 1000, (START_MS + 3 * HOUR_MS) * 1000
            ),
        ):
            for has_provenance in (False, True):
                entry = CacheEntry(file, str(path), has_provenance=has_provenance)
                try:
                    cells = read_cells(entry, wanted)
                except CorruptFile:
                    continue
                if expected is not None:
                    window = [row for row in expected if wanted.start_us <= row[0] < wanted.end_us]
                    names = list(dataset.column_names)
                    assert plain(as_tuples(cells.select(names))) == plain(
                        [
                            tuple(
                                int(cell)
                                if name.endswith("_id") or name == "number_of_trades"
                                else cell
                                for name, cell in zip(names, row, strict=True)
                            )
                            for row in window
                        ]
                    )

    fuzz(check, spoilt(cached_texts(dataset)), examples=300)


@by_original
def test_old_files_and_what_can_be_saved_of_them(fuzz, dataset, tmp_path):
    """A file of the original downloader, whatever is wrong in it, gives rows in order, or is told to be corrupt."""
    file = FILES[dataset]
    path = tmp_path / file.name

    def check(text):
        path.write_bytes(text)
        for read in (lambda: list(read_rows(path, file)), lambda: [salvage(path, file)]):
            try:
                [table] = read() or [None]
            except CorruptFile:
                continue
            key = "agg_trade_id" if dataset.key == "id" else "timestamp"
            keys = table[key].to_numpy()
            assert np.all(np.diff(keys) > 0)
            for name in table.column_names:
                for cell in table[name].to_pylist():
                    assert not isinstance(cell, str) or re.fullmatch(
                        r"-?[0-9.]+([eE][-+]?[0-9]+)?|True|False", cell
                    ), cell

    fuzz(check, spoilt(old_texts(dataset)), examples=100)


@by_dataset
def test_a_cache_of_rubbish(fuzz, dataset, tmp_path):
    """Over a file that is anything every public reader answers, or raises an error of ours."""
    settings = Settings(cache_dir=tmp_path, market="demo", progress=False)
    path = tmp_path / FILES[dataset].name

    def check(text):
        path.write_bytes(text)
        look_at_all(settings, dataset)

    fuzz(check, spoilt(cached_texts(dataset) + old_texts(dataset)), examples=25)


def look_at_all(settings, dataset):
    """Let every public reader read; what is no error of ours comes out."""
    symbol, interval = SERIES[dataset].symbol, "1h" if dataset.has_interval else None
    looks = (
        lambda: ares.load_rows(dataset.name, symbol, interval, settings=settings),
        lambda: ares.coverage(settings=settings)._repr_html_(),
        lambda: ares.find_gaps(symbol, settings=settings)._repr_html_(),
        lambda: ares.download_history(settings=settings)._repr_html_(),
        lambda: str(
            ares.plan_downloads(
                symbol,
                interval,
                1 / 365.25,
                end="2025-01-02",
                datasets=(dataset.name,),
                settings=settings,
            )
        ),
        lambda: str(ares.validate_cache(settings=settings)),
        lambda: str(ares.prune_cache(keep=1, settings=settings)),
        lambda: str(ares.fingerprint(symbol, interval, dataset=dataset.name, settings=settings)),
    )
    for look in looks:
        try:
            look()
        except AresError:
            continue
        except UserWarning:
            # A window with gaps is told of by a warning, which is an error in tests.
            continue


def receipt_of(file, path):
    status = path.stat()
    return Receipt(
        file.name,
        status.st_size,
        status.st_mtime_ns,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        Facts(
            rows=8,
            first_ms=START_MS,
            last_ms=START_MS + 7 * HOUR_MS,
            covered_from_ms=START_MS,
            covered_until_ms=START_MS + 8 * HOUR_MS,
            first_id=0,
            last_id=7,
            gaps=(Gap(START_MS + HOUR_MS, START_MS + 2 * HOUR_MS, 1, after_id=1, before_id=3),),
            quiet=(Gap(START_MS + 2 * HOUR_MS, START_MS + 3 * HOUR_MS),),
        ),
        (Source("monthly archive", "http://here/a.zip", "2025-02-03T00:00:00Z", "ab" * 32),),
        (Absence(START_MS, START_MS + HOUR_MS, "rest", "2025-02-03T00:00:00+00:00", 1, 2),),
        trouble=Trouble("failed", "it did not come", "2025-02-03T00:00:00+00:00"),
    )


@by_dataset
def test_receipts(fuzz, dataset, tmp_path):
    """A receipt with anything in it is none, or one over which every public reader answers."""
    settings = Settings(cache_dir=tmp_path, market="demo", progress=False)
    file = FILES[dataset]
    path, note = tmp_path / file.name, tmp_path / ".ares" / "receipts" / f"{file.name}.json"
    note.parent.mkdir(parents=True)
    path.write_bytes(cached_texts(dataset)[0])
    text = receipt_of(file, path).to_json().encode()

    def check(reported):
        receipt = Receipt.from_json(reported)
        assert receipt is None or Receipt.from_json(receipt.to_json()) == receipt
        note.write_bytes(reported)
        Store(settings).entry(file)
        look_at_all(settings, dataset)

    fuzz(check, spoilt([text]), examples=30)


def test_receipts_alone(fuzz):
    """Bytes are a receipt, which is written again as the same, or none."""
    file = parse_file_name("klines_BTCUSDT_1h_2025-01.csv")
    receipt = Receipt(file.name, 1, 2, "ab" * 32, Facts(rows=1, gaps=(Gap(1, 2, 3),)))

    def check(reported):
        found = Receipt.from_json(reported)
        assert found is None or Receipt.from_json(found.to_json()) == found

    fuzz(check, spoilt([receipt.to_json().encode()]), examples=1000)


def test_run_history(fuzz, tmp_path):
    """A history with anything in it is a table that can be shown."""
    settings = Settings(cache_dir=tmp_path)
    path = tmp_path / ".ares" / "runs.jsonl"
    path.parent.mkdir()
    line = {
        "at": "2025-01-01T00:00:00.000+00:00", "what": "download", "symbol": "BTCUSDT",
        "interval": "1h", "datasets": "klines", "start": None, "end": "2025-01-01T00:00:00+00:00",
        "ending": "done", "files": 1, "rows": 2, "bytes_received": 3, "requests": 4, "retries": 5,
        "rate_limited": 6, "seconds": 7.5, "failures": 8, "error": "",
    }  # fmt: skip
    text = (json.dumps(line) + "\n").encode() * 2

    def check(reported):
        path.write_bytes(reported)
        table = ares.load_runs(settings=settings)
        assert table._repr_html_()
        assert str(table["rows"].dtype) == "Int64"

    fuzz(check, spoilt([text]), examples=120)


def test_origin(fuzz, tmp_path):
    """The note of a cache's market tells its name, or nothing."""
    note = tmp_path / ".ares" / "origin.json"
    note.parent.mkdir()

    def check(reported):
        note.write_bytes(reported)
        found = market_of(tmp_path)
        assert found is None or isinstance(found, str)

    fuzz(check, spoilt([b'{"market": "binance"}\n']), examples=500)


def test_file_names(fuzz):
    """A name is that of one cache file, whose name it is, or of none."""
    names = [file.name.encode() for file in FILES.values()] + [
        b"klines_BTC-A_B_1mo_2025-01.csv.zst"
    ]

    def check(name):
        text = name.decode("utf-8", "surrogateescape")
        file = parse_file_name(text)
        if file is not None:
            assert file.name == text.removesuffix(".zst")
            assert not set(file.name) & set("/\\\0\n:")
            assert Path(file.name).name == file.name

    fuzz(check, spoilt(names), examples=1000)


def test_settings_of_the_environment(fuzz):
    """A variable with anything in it is a setting or refused with its name."""
    samples = [
        b"data_cache", b"5", b"0.5", b"BTCUSDT", b"1h", b"https://api.binance.com:443/a", b"auto",
        b"zstd", b"true", b"none", b"20 GB", b"json://localhost", b"failed, finished",
    ]  # fmt: skip

    def check(name, value):
        text = value.replace(b"\0", b"").decode("utf-8", "surrogateescape")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(f"ARES_{name.upper()}", text)
            try:
                made = Settings()
            except BadArgument as error:
                said, made = str(error), None
        if made is None:
            assert f"{name}=" in said
        else:
            assert made.market_name
            os.fsencode(made.cache_dir)

    fuzz(
        check,
        st.sampled_from([each.name for each in fields(Settings)]),
        spoilt(samples),
        examples=500,
    )
