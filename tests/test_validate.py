"""Validation of a whole cache: it finds what is wrong, and nothing else; it repairs nothing."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path

import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.errors import BadArgument, CacheUnavailable, NeverDownloaded, PoorQuality
from ares_notebook.quality.validate import _differences, validate_cache

DAY = 1 / 365.25
FEBRUARY = "klines_BTCUSDT_1h_2025-02.csv"
TRADES = "aggtrades_BTCUSDT_2025-03-15.csv"
FUNDING = "futures_BTCUSDT_2025-02.csv"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DemoExchange, Path]]:
    """An exchange, and a cache of two months of hours, two days of trades, two months of funding."""
    folder = tmp_path_factory.mktemp("sound")
    with DemoExchange(trades_per_day=6_000) as exchange:
        settings = exchange.settings(cache_dir=folder, progress=False)
        for coroutine in (
            ares.download_klines_data(
                "BTCUSDT", "1h", 40 * DAY, end="2025-03-16", settings=settings
            ),
            ares.download_agg_trades_data("BTCUSDT", 2 * DAY, end="2025-03-16", settings=settings),
            ares.download_futures_data("BTCUSDT", 40 * DAY, end="2025-03-16", settings=settings),
        ):
            assert ares.run(coroutine).complete
        yield exchange, folder


@pytest.fixture
def cache(sound: tuple[DemoExchange, Path], tmp_path: Path) -> Settings:
    """Settings of a copy of it, whose receipts hold."""
    exchange, folder = sound
    # copytree keeps the times of files, by which receipts know them.
    shutil.copytree(folder, tmp_path / "cache")
    return exchange.settings(cache_dir=tmp_path / "cache", progress=False)


def checks(report, severity: str) -> dict[str, set[str]]:
    """The names of what was found, by file."""
    found: dict[str, set[str]] = {}
    for each in report.findings:
        if each.severity == severity:
            found.setdefault(each.file, set()).add(each.check)
    return found


def rewrite(path: Path, change: Callable[[list[list[str]]], None], *, unseen: bool) -> None:
    """Edit the cells of a file by hand; *unseen* leaves its time, and so its receipt, as it was."""
    status = path.stat()
    cells = [line.split(",") for line in path.read_text().splitlines()]
    change(cells)
    path.write_text("".join(",".join(row) + "\n" for row in cells))
    if unseen:
        assert path.stat().st_size == status.st_size
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def to(
    column: str, value: Callable[[str], str], line: int = 50
) -> Callable[[list[list[str]]], None]:
    """An edit of one cell that keeps its length."""

    def change(cells: list[list[str]]) -> None:
        at = cells[0].index(column)
        new = value(cells[line][at])
        cells[line][at] = new.ljust(len(cells[line][at]), "0")

    return change


def a_quarter(old: str) -> str:
    """Another price, of the same length."""
    return ("4" if old[0] != "4" else "6") + old[1:]


def swap(cells: list[list[str]]) -> None:
    """Two rows out of order."""
    cells[50], cells[51] = cells[51], cells[50]


def jump(cells: list[list[str]]) -> None:
    """A candle whose prices are all far off."""
    for column in range(1, 5):
        cells[50][column] = "4" + cells[50][column][1:]


def tiny(old: str) -> str:
    """The smallest volume of the same length."""
    return "0." + "0" * (len(old) - 3) + "1"


def nothing(old: str) -> str:
    """No volume, of the same length."""
    return "0." + "0" * (len(old) - 2)


DEFECTS = {
    "schema": (FEBRUARY, to("open", lambda old: "x" + old[1:]), "schema", "error"),
    "count": (FEBRUARY, to("number_of_trades", lambda old: "x" + old[1:]), "schema", "error"),
    "order": (FEBRUARY, swap, "order and uniqueness", "error"),
    "outside": (
        FEBRUARY,
        to("timestamp", lambda _: "2025-01-31 23:00:00", 1),
        "stamps inside the period",
        "error",
    ),
    "range": (
        FEBRUARY,
        to("open", lambda old: "99" + old[2:]),
        "low ≤ open, close ≤ high",
        "error",
    ),
    "volume": (FEBRUARY, to("volume", lambda old: "-" + old[1:]), "non-negative volumes", "error"),
    "taker": (FEBRUARY, to("volume", tiny), "taker ≤ total", "error"),
    "flat": (FEBRUARY, to("volume", nothing), "zero volume is flat", "warning"),
    "grid": (FEBRUARY, to("timestamp", lambda old: old[:-5] + "30:00"), "grid", "warning"),
    "jump": (FEBRUARY, jump, "price jumps", "warning"),
    "flag": (TRADES, to("is_buyer_maker", lambda old: "x" + old[1:]), "schema", "error"),
    "time": (
        TRADES,
        to("timestamp", lambda old: old[:11] + "00:00:00.000000"),
        "stamps in order",
        "warning",
    ),
    "price": (TRADES, to("price", a_quarter), "price jumps", "warning"),
    "zero": (TRADES, to("quantity", nothing), "prices above zero", "warning"),
    "fills": (
        TRADES,
        to("last_trade_id", lambda old: "1" + old[1:]),
        "trade ids run on",
        "information",
    ),
    "pace": (
        FUNDING,
        to("timestamp", lambda old: old[:14] + "30" + old[16:]),
        "funding interval",
        "warning",
    ),
    "rate": (FUNDING, to("fundingRate", lambda old: "x" + old[1:]), "schema", "error"),
}


def test_a_sound_cache_has_no_finding_but_information(cache):
    """Of a cache just downloaded every row is looked at, and there is neither error nor warning."""
    report = validate_cache(settings=cache)
    lines = sum(len(path.read_text().splitlines()) - 1 for path in cache.cache_dir.glob("*.csv"))

    assert report
    assert (report.errors, report.warnings) == ((), ())
    assert report.files == len(list(cache.cache_dir.glob("*.csv")))
    assert report.rows == lines > 12_000
    # The halt of the demo's March, and months that end where the download did.
    assert checks(report, "information") == {
        "futures_BTCUSDT_2025-03.csv": {"open end"},
        "klines_BTCUSDT_1h_2025-03.csv": {"open end", "holes"},
    }


@pytest.mark.parametrize("unseen", [True, False], ids=["receipt believed", "receipt broken"])
@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_found(cache, defect, unseen):
    """A defect made by hand is found by its check and by the file's bytes, receipt or not."""
    name, change, check, severity = DEFECTS[defect]
    rewrite(cache.cache_dir / name, change, unseen=unseen)
    report = validate_cache(settings=cache)

    assert check in checks(report, severity)[name]
    assert "bytes" in checks(report, "error")[name]
    assert not report
    assert set(checks(report, "error")) == {name}


@pytest.mark.parametrize("name", [FEBRUARY, TRADES, FUNDING])
@pytest.mark.parametrize("kept", [slice(1, 40), slice(60, None)])
def test_rows_cut_off_by_hand_are_gaps(cache, name, kept):
    """Rows that were cut from a file's end or beginning are missing, not merely not asked for."""

    def cut(cells: list[list[str]]) -> None:
        cells[1:] = cells[kept]

    rewrite(cache.cache_dir / name, cut, unseen=False)
    found = checks(validate_cache(settings=cache), "error")

    assert {"bytes", "holes"} <= found[name]


def test_rows_cut_out_by_hand_are_a_gap(cache):
    """A gap is one finding, which says from when to when and how many rows."""

    def cut(cells: list[list[str]]) -> None:
        del cells[25:30]

    rewrite(cache.cache_dir / FEBRUARY, cut, unseen=False)
    # With its receipt the whole file would count for altered.
    (cache.cache_dir / ".ares" / "receipts" / f"{FEBRUARY}.json").unlink()
    [gap] = [each for each in validate_cache(settings=cache).errors if each.check == "holes"]

    assert (gap.file, gap.count) == (FEBRUARY, 1)
    assert gap.example == "2025-02-02 00:00:00 to 2025-02-02 05:00:00, 5 rows"


def test_the_end_of_a_file_within_a_series_is_a_gap(cache, sound):
    """That no more was asked for excuses the last file of a series alone."""
    exchange, _ = sound
    settings = exchange.settings(cache_dir=cache.cache_dir, progress=False)
    ares.run(ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-04-03", settings=settings))
    report = validate_cache(settings=cache)

    assert checks(report, "error") == {"klines_BTCUSDT_1h_2025-03.csv": {"holes"}}
    assert checks(report, "information")["klines_BTCUSDT_1h_2025-04.csv"] == {"open end"}


def test_periods_that_nobody_asked_for_are_reported(cache, sound):
    """A month between two others without file and receipt is a warning, one for all that adjoin."""
    exchange, _ = sound
    settings = exchange.settings(cache_dir=cache.cache_dir, progress=False)
    ares.run(ares.download_futures_data("BTCUSDT", DAY, end="2025-06-03", settings=settings))
    found = validate_cache(settings=cache).warnings

    assert [(each.file, each.check, each.count) for each in found] == [
        ("futures_BTCUSDT_2025-04.csv", "never downloaded", 2)
    ]


def test_a_file_that_is_gone_is_an_error(cache):
    """A receipt without its file is an error, in the middle of a series and at its end."""
    for name in (FEBRUARY, TRADES):
        (cache.cache_dir / name).unlink()
    report = validate_cache(settings=cache)

    assert checks(report, "error") == {FEBRUARY: {"bytes", "holes"}, TRADES: {"bytes", "holes"}}
    assert "672 rows" in next(each.example for each in report.errors if each.file == FEBRUARY)


def test_a_failed_download_is_no_open_end(cache, sound):
    """What was asked for and did not come is a gap that says why, at the end of a series too."""
    exchange, _ = sound
    settings = exchange.settings(cache_dir=cache.cache_dir, progress=False, source="archive")
    exchange.fail("2025-03-16", status=404, times=None)
    try:
        ares.run(
            ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-17", settings=settings)
        )
    finally:
        exchange.faults.clear()
    report = validate_cache(settings=cache)
    [error] = report.errors

    assert (error.file, error.check) == ("klines_BTCUSDT_1h_2025-03.csv", "holes")
    assert error.example.startswith("2025-03-16 00:00:00 to ")
    assert error.example.endswith(")")
    with pytest.raises(
        PoorQuality,
        match=r'1 error in 1 file: .*\. `await ares.repair_gaps\("BTCUSDT", "1h", settings=settings\)`',
    ):
        report.raise_for_errors()


def test_lost_receipts_are_information(cache):
    """Without receipts nobody tells where the bytes came from; the rows are checked all the same."""
    shutil.rmtree(cache.cache_dir / ".ares")
    report = validate_cache(settings=cache)

    assert checks(report, "information")[FEBRUARY] == {"receipt"}
    assert report.rows > 12_000
    # Nobody knows of the halt any more, nor where the download ended.
    assert checks(report, "error")["klines_BTCUSDT_1h_2025-03.csv"] == {"holes"}


def test_a_copied_cache_is_as_sound(cache):
    """Another time of a file is no finding while its bytes are those of the receipt."""
    for path in cache.cache_dir.glob("*.csv"):
        os.utime(path)

    assert validate_cache(settings=cache).ok


def test_files_of_a_series_are_neighbours(cache):
    """A price that jumps from one file to the next is found; a file that is gone parts them."""
    name = "klines_BTCUSDT_1h_2025-03.csv"
    rewrite(cache.cache_dir / name, to("open", a_quarter, 1), unseen=True)

    assert checks(validate_cache(settings=cache), "warning") == {name: {"price jumps"}}
    (cache.cache_dir / FEBRUARY).unlink()
    assert checks(validate_cache(settings=cache), "warning") == {}


async def test_a_period_before_listing_is_explained(settings):
    """A month of which the exchange says that it has nothing is information, funding too."""
    await ares.download_futures_data("SOLUSDT", 0.2, end="2020-09-01", settings=settings)
    report = validate_cache(settings=settings)

    assert report.errors == ()
    assert checks(report, "information")["futures_SOLUSDT_2020-07.csv"] == {"holes"}


def test_what_does_not_add_up_is_a_warning():
    """Of what was compared, each pair with a difference is one warning, and equal ones none."""
    columns = ["symbol", "what", "compared", "equal", "missing", "first_difference"]
    rows = [["BTCUSDT", "1m → 1h", 24, 24, 0, None], ["ETHUSDT", "1m → 1h", 24, 21, 0, "close"]]
    [found] = _differences(pd.DataFrame(rows, columns=columns))

    assert (found.file, found.check, found.severity) == ("ETHUSDT", "reconciliation", "warning")
    assert (found.count, found.example) == (3, "1m → 1h: first at close")


def test_an_old_file_is_information(cache):
    """A file of the original downloader is told as such, and what it stored is checked."""
    text = "timestamp,open,high,low,close,volume\n2025-01-01,1.0,1.0,1.5,1.0,1.0\n"
    name = "klines_OLDUSDT_1d_2025-01.csv"
    (cache.cache_dir / name).write_text(text)
    report = validate_cache("OLDUSDT", settings=cache)

    assert checks(report, "information") == {name: {"legacy format"}}
    assert checks(report, "error") == {name: {"low ≤ open, close ≤ high", "holes"}}


def test_text_that_is_not_ours_is_a_finding(cache):
    """A file cut inside a line, a strange text and an empty file are errors, each with its reason."""
    path = cache.cache_dir / FEBRUARY
    path.write_bytes(path.read_bytes()[:-9])
    (cache.cache_dir / "klines_BTCUSDT_1h_2025-03.csv").write_text("hello\n")
    (cache.cache_dir / TRADES).write_text("")
    report = validate_cache(settings=cache)
    found = {each.file: each for each in report.errors if each.check == "schema"}

    assert "inside a line" in found[FEBRUARY].example
    # What cannot be read is not called missing as well.
    assert not any(each.check == "holes" for each in report.errors)
    assert set(found) == {FEBRUARY, TRADES, "klines_BTCUSDT_1h_2025-03.csv"}


def test_rows_of_another_symbol_are_a_finding(cache):
    """Rows of another scale, of which no receipt tells, are an error of their own."""
    shutil.rmtree(cache.cache_dir / ".ares")

    def strange(cells: list[list[str]]) -> None:
        for row in cells[60:]:
            row[1:5] = ["1.00"] * 4

    rewrite(cache.cache_dir / FEBRUARY, strange, unseen=False)

    assert "scale of prices" in checks(validate_cache(settings=cache), "error")[FEBRUARY]


def test_nothing_is_repaired_and_nothing_asked(cache, sound):
    """Validation changes no file of the cache, a damaged one least of all, and sends no request."""
    exchange, _ = sound
    rewrite(cache.cache_dir / FEBRUARY, swap, unseen=False)

    def state() -> dict[Path, str]:
        files = (path for path in cache.cache_dir.rglob("*") if path.is_file())
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = state()
    exchange.requests.clear()
    validate_cache(settings=cache)

    assert state() == before
    assert exchange.requests == []


def test_symbol_and_interval_choose(cache):
    """Only what was asked for is looked at, and what is there of a missing interval is named."""
    both = ("klines", "futures")
    assert validate_cache("btcusdt", settings=cache).files == 6
    assert validate_cache("btcusdt", "1h", settings=cache).files == 2
    for datasets in (None, both):
        with pytest.raises(NeverDownloaded, match=r"BTCUSDT 1m klines .* it holds .*USDT_1h"):
            validate_cache("BTCUSDT", "1m", settings=cache, datasets=datasets)


def test_what_is_not_there_is_named(cache, tmp_path):
    """No folder, an empty one, one that is no cache, an unknown symbol: each has its sentence."""
    empty, strange = tmp_path / "empty", tmp_path / "strange"
    empty.mkdir()
    strange.mkdir()
    (strange / "notes.txt").write_text("x")

    def words(**ask: object) -> str:
        with pytest.raises(NeverDownloaded) as caught:
            validate_cache(**ask)
        return str(caught.value)

    other = {"settings": cache.replace(cache_dir=tmp_path / "none")}
    assert "there is no cache folder" in words(**other)
    assert "holds no cache file" in words(settings=cache.replace(cache_dir=empty))
    assert "is not a cache" in words(settings=cache.replace(cache_dir=strange))
    assert "holds nothing of ETHUSDT" in words(symbol="ETHUSDT", settings=cache)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("wrong", [{"symbol": "BTC/USDT"}, {"interval": "7m"}])
def test_wrong_argument_is_refused(cache, wrong):
    """An argument that cannot be meant is named."""
    with pytest.raises(BadArgument, match=next(iter(wrong))):
        validate_cache(**wrong, settings=cache)


def test_the_share_of_a_jump_comes_from_the_settings(cache):
    """With a small enough share, sound candles jump; with none of it, no setting is taken."""
    small = cache.replace(price_jump_share=1e-9)

    assert checks(validate_cache("BTCUSDT", settings=small), "warning")[TRADES] == {"price jumps"}
    with pytest.raises(BadArgument, match="price_jump_share"):
        Settings(price_jump_share=0)


def test_the_report_carries_its_evidence(cache):
    """Coverage, gaps, sources, fingerprints, market and time of making belong to a report."""
    report = validate_cache(settings=cache)

    assert len(report.coverage) == report.files
    assert "confirmed absent upstream" in set(report.gaps["reason"])
    assert report.sources.columns.tolist() == ["file", "road", "url", "sha256", "at"]
    assert set(report.sources["file"]) == {path.name for path in cache.cache_dir.glob("*.csv")}
    assert {each.dataset for each in report.fingerprints} == {"klines", "agg_trades", "futures"}
    assert report.market == "demo"
    assert report.made_at.tzinfo is UTC
    assert "first_difference" in report.reconciliation.columns


def test_the_market_is_that_of_the_cache(cache):
    """Whatever the settings point at now, the market is the one that filled the cache."""
    elsewhere = Settings(cache_dir=cache.cache_dir, progress=False)

    assert validate_cache(settings=elsewhere).market == "demo"


def test_errors_raise_with_names_and_remedy(cache):
    """A pipeline hears of the first errors and what to do, and gets the report; else nothing."""
    validate_cache(settings=cache).raise_for_errors()
    (cache.cache_dir / FEBRUARY).unlink()
    report = validate_cache(settings=cache)
    with pytest.raises(PoorQuality, match=rf"{FEBRUARY}: bytes.*repair_gaps") as caught:
        report.raise_for_errors()

    assert caught.value.report is report


def test_the_table_has_a_row_a_finding(cache):
    """The table of findings has the promised columns, with findings and without any."""
    (cache.cache_dir / FEBRUARY).unlink()
    report = validate_cache(settings=cache)
    table = report.to_frame()

    assert table.columns.tolist() == ["file", "check", "severity", "count", "example"]
    assert len(table) == len(report.findings)
    assert table.loc[table["check"] == "bytes", "file"].tolist() == [FEBRUARY]


def test_faces_tell_the_worst_first_and_escape(cache):
    """Both faces begin with the errors; HTML has no script, and text from outside is escaped."""
    text = "timestamp,open,high,low,close,volume\n2025-01-01,<b>,1.0,1.0,1.0,1.0\n"
    (cache.cache_dir / "klines_BTCUSDT_1h_2025-02.csv").write_text(text)
    path = cache.cache_dir / TRADES
    rewrite(path, to("price", lambda old: "<script>"[: len(old)]), unseen=False)
    report = validate_cache(settings=cache)
    lines, face = str(report).splitlines(), report._repr_html_()

    assert re.match(r"\d+ ERRORS: 6 files of demo, [\d,]+ rows, ", lines[0])
    order = [("error", "warning", "information").index(line.split()[0]) for line in lines[1:]]
    assert order == sorted(order)
    assert {0, 2} <= set(order)
    assert "&lt;" in face
    assert "<script" not in face
    assert "var(--jp-ui-font-color1, inherit)" in face


def test_a_long_report_is_shortened(cache):
    """Of many findings the first dozen are shown, and how many more there are."""
    for path in cache.cache_dir.glob("*.csv"):
        path.write_text("")
    shutil.rmtree(cache.cache_dir / ".ares" / "receipts")
    for month in range(1, 10):
        (cache.cache_dir / f"klines_ETHUSDT_1h_2024-0{month}.csv").write_text("")
    report = validate_cache(settings=cache)
    more = f"… and {len(report.findings) - 12} more"

    assert len(str(report).splitlines()) == 14
    assert more in str(report)
    assert more in report._repr_html_()


def test_a_page_is_saved(cache, tmp_path):
    """The page is one whole file; a folder that is not there is named."""
    report = validate_cache(settings=cache)
    target = report.save(tmp_path / "proof.html")

    assert target == tmp_path / "proof.html"
    assert target.read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    with pytest.raises(CacheUnavailable, match="nowhere"):
        report.save(tmp_path / "nowhere" / "proof.html")


def test_a_finding_survives_pickling(cache):
    """Findings travel to workers and back."""
    (cache.cache_dir / FEBRUARY).unlink()
    found = validate_cache(settings=cache).findings

    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own bytes


async def test_real_candles_hold_but_for_facts_of_life(recorded, tmp_path):
    """55 months of Binance's hours have no error; 43 candles off the grid are all that is odd."""
    with DemoExchange(recorded, weight_limit=10**6) as exchange:
        settings = exchange.settings(cache_dir=tmp_path / "cache", progress=False)
        await ares.download_klines_data("BTCUSDT", "1h", 4.6, end="2022-03-01", settings=settings)
        report = validate_cache("BTCUSDT", "1h", settings=settings)

    assert report.rows == 39_638
    assert report.errors == ()
    assert [(each.check, each.count) for each in report.warnings] == [("grid", 43)]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
async def test_real_funding_holds(recorded, tmp_path, symbol):
    """Four years of funding with the exchange's own jitter have neither error nor warning."""
    with DemoExchange(recorded, weight_limit=10**6) as exchange:
        settings = exchange.settings(cache_dir=tmp_path / "cache", progress=False)
        await ares.download_futures_data(symbol, 4, end="2024-01-01", settings=settings)
        report = validate_cache(settings=settings)

    assert report.rows == 4_383
    assert (report.errors, report.warnings) == ((), ())
