"""
The same bytes everywhere: in any time zone, under any locale, by any clock.

Each place is a real process with an environment of its own. It goes over both sources, over
the days on which calendars trip, and its files are compared with those of a process in UTC.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import ares_notebook as ares
from ares_notebook import DemoExchange

DAY = 1 / 365.25
ADDRESSES = (
    "spot_url",
    "spot_fallback_url",
    "futures_url",
    "coin_futures_url",
    "archive_url",
    "archive_listing_url",
)
# The whole of it, in one process: what was stored by each source, and what is told of it.
PROGRAM = """
import hashlib, json, locale, sys
from pathlib import Path
import ares_notebook as ares

DAY = 1 / 365.25
CANDLES, TRADES, FUNDING = "klines", "agg_trades", "futures"
WINDOWS = (
    ("1h", 2 * DAY, "2024-03-02", (CANDLES, TRADES)),      # leap day, and the border of two months
    ("1d", 40 * DAY, "2024-11-04T12:00", (CANDLES,)),      # New York sets its clocks back
    ("15m", 1 * DAY, "2025-01-02", (CANDLES,)),
    ("1h", DAY / 6, "2025-01-01T03:00", (TRADES,)),        # the year's end; microseconds begin
    ("1h", 1 * DAY, "2025-03-10T07:30", (CANDLES, TRADES)),  # New York sets them forward
    ("1M", 100 * DAY, "2025-04-01", (CANDLES, FUNDING)),
    ("1M", 1, "2024-12-01", (FUNDING,)),
)
FUTURES = {
    "BTCUSDT": ["um_klines", "um_agg_trades", "mark_price_klines", "premium_index_klines"],
    "BTCUSD_PERP": ["cm_klines", "cm_agg_trades", "cm_funding", "mark_price_klines"],
    "BTCUSD": ["index_price_klines"],
}
DAYS = {"start": "2025-03-08", "end": "2025-03-10"}
if sys.argv[1]:
    locale.setlocale(locale.LC_ALL, sys.argv[1])
came = {"point": locale.localeconv()["decimal_point"]}
for source in ("archive", "rest"):
    settings = ares.Settings(cache_dir=Path(sys.argv[2]) / source, source=source)
    for interval, years, end, datasets in WINDOWS:
        ares.run(ares.download_all_data(
            "BTCUSDT", interval, years, end=end, datasets=datasets, settings=settings
        )).raise_for_failures()
    for symbol, datasets in FUTURES.items():
        ares.run(ares.download_all_data(
            symbol, "1h", **DAYS, datasets=datasets, settings=settings
        )).raise_for_failures()
    came[source] = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(settings.cache_dir.glob("*.csv"))
    }
archive = ares.Settings(cache_dir=Path(sys.argv[2]) / "metrics", source="archive")
ares.run(ares.download_all_data("BTCUSDT", "1h", **DAYS, datasets=["metrics"], settings=archive))
klines = ares.load_klines("BTCUSDT", "1h", "2025-03-09", "2025-03-10", settings=settings)
trades = ares.load_agg_trades("BTCUSDT", "2024-12-31T23:00", "2025-01-01T03:00", settings=settings)
gaps = ares.find_gaps("BTCUSDT", "1h", start="2025-03-08", end="2025-03-12", settings=settings)
came["loaded"] = {
    "klines": klines.to_csv(),
    "trades": trades.to_csv(),
    "futures": ares.load_futures("BTCUSDT", "2025-03-01", "2025-04-01", settings=settings).to_csv(),
    "metrics": ares.load_rows("metrics", "BTCUSDT", **DAYS, settings=archive).to_csv(),
    "premium": ares.load_rows("premium_index_klines", "BTCUSDT", "1h", **DAYS, settings=settings).to_csv(),
    "gaps": gaps.drop(columns="note").to_csv(),
    "fingerprint": str(ares.fingerprint("BTCUSDT", "1h", "2025-03-08", "2025-03-10", settings=settings)),
    "plan": str(ares.plan_downloads("BTCUSDT", "1h", 0.1, end="2025-05-01T01:30", settings=settings,
        datasets=("klines",))).replace(str(settings.cache_dir), ""),
    "periods": str(ares.get_monthly_periods(0.5, end="2025-03-31T23:30")),
}
print(json.dumps(came))
"""


@pytest.fixture(scope="module")
def exchange():
    with DemoExchange(trades_per_day=6_000, weight_limit=10**6) as running:
        yield running


@pytest.fixture(autouse=True)
def _without_faults(exchange):
    yield
    exchange.faults.clear()


def run_at(exchange, folder, *command, **environment):
    """Run a command of Python in a process of its own, in that environment alone; how it ended."""
    settings = exchange.settings(cache_dir=folder)
    reported = {f"ARES_{name.upper()}": getattr(settings, name) for name in (*ADDRESSES, "market")}
    # What the machine itself says of places and languages must not be heard.
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("TZ", "LANG", "LANGUAGE") and not name.startswith(("LC_", "PYTHON"))
    }
    own = {
        "ARES_CACHE_DIR": str(folder),
        "ARES_RETRY_DELAY_SECONDS": "0",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return subprocess.run(  # noqa: S603 - our own interpreter and programs
        [sys.executable, *command],
        env={**kept, **reported, **own, **environment},
        capture_output=True,
        timeout=110,
        check=False,
    )


def at_place(exchange, folder, locale="", **environment):
    """What the program above found at a place."""
    done = run_at(exchange, folder, "-c", PROGRAM, locale, str(folder), **environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def in_utc(exchange, tmp_path_factory):
    """What a process in UTC found."""
    return at_place(exchange, tmp_path_factory.mktemp("utc"), TZ="UTC", LC_ALL="C.UTF-8")


def test_the_days_on_which_calendars_trip(in_utc):
    """Both sources end in the same bytes, and leap day, year's end and changes of clocks are there, hour by hour."""
    assert in_utc["archive"] == in_utc["rest"]
    assert {
        "aggtrades_BTCUSDT_2024-02-29.csv",
        "aggtrades_BTCUSDT_2024-12-31.csv",
        "aggtrades_BTCUSDT_2025-01-01.csv",
        "klines_BTCUSDT_1h_2024-02.csv",
        "klines_BTCUSDT_1h_2024-03.csv",
        "klines_BTCUSDT_1mo_2025-01.csv",
        "futures_BTCUSDT_2024-11.csv",
        "umklines_BTCUSDT_1h_2025-03.csv",
        "cmaggtrades_BTCUSD_PERP_2025-03-09.csv",
        "cmfunding_BTCUSD_PERP_2025-03.csv",
        "indexpriceklines_BTCUSD_1h_2025-03.csv",
    } <= set(in_utc["rest"])
    loaded = in_utc["loaded"]
    hours = [line.split(",")[0] for line in loaded["klines"].splitlines()[1:]]
    assert hours == [f"2025-03-09 {hour:02}:00:00+00:00" for hour in range(24)]
    stamps = [line.split(",")[0] for line in loaded["trades"].splitlines()[1:]]
    of_2024 = [stamp for stamp in stamps if stamp.startswith("2024")]
    assert of_2024
    assert all(len(stamp.partition("+")[0].partition(".")[2].rstrip("0")) <= 3 for stamp in of_2024)
    assert any(stamp.partition("+")[0][-3:] != "000" for stamp in stamps[len(of_2024) :])
    labels = [line.split(",")[0] for line in loaded["metrics"].splitlines()[1:]]
    assert labels[0] == "2025-03-08 00:00:00+00:00"
    assert len(labels) == 2 * 288
    assert " UTC" in loaded["fingerprint"]
    assert "2025-05-01 01:30 UTC" in loaded["plan"]


@pytest.mark.parametrize(
    "zone", ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "<+14>-14"]
)
def test_time_zones(exchange, in_utc, tmp_path, record_property, zone):
    """In any zone the files, what is loaded, the gaps, the fingerprint and all times that are told are those of UTC."""
    assert at_place(exchange, tmp_path, TZ=zone) == in_utc
    record_property("faults tried", 1)


@pytest.fixture(scope="module")
def comma(tmp_path_factory):
    """A locale that writes 1,5 for one and a half, with the environment that finds it; made where there is none."""
    if shutil.which("localedef") is None:
        pytest.skip("no localedef, so no locale with decimal commas can be made")
    folder = tmp_path_factory.mktemp("locales")
    made = subprocess.run(  # noqa: S603 - as it stands here
        ["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")],  # noqa: S607 - the system's own
        capture_output=True,
        text=True,
        check=False,
    )
    if not (folder / "de_DE.UTF-8").is_dir():
        pytest.skip(f"no locale with decimal commas can be made: {made.stderr.strip()}")
    return {"LOCPATH": str(folder), "LC_ALL": "de_DE.UTF-8"}


def test_decimal_commas(exchange, in_utc, tmp_path, comma):
    """Under a locale whose numbers have commas the same bytes are stored, and the same numbers loaded."""
    came = at_place(exchange, tmp_path, "de_DE.UTF-8", **comma)

    assert came.pop("point") == ","
    assert came == {name: value for name, value in in_utc.items() if name != "point"}


# Python takes UTF-8 where the system names no language, unless it is told not to.
BARE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_path_of_letters_that_the_place_does_not_know(exchange, in_utc, tmp_path):
    """Where the system names no language a folder with other letters than ASCII holds the same bytes."""
    assert at_place(exchange, tmp_path / "Größe 数据", LANG="C") == in_utc


SYMBOL = "币安人生USDT"


def command_line(exchange, folder, *arguments, **environment):
    done = run_at(exchange, folder, "-m", "ares_notebook", *arguments, **environment)
    return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")


ASKED = (
    "download",
    SYMBOL,
    "1d",
    "--years",
    "0.1",
    "--end",
    "2026-01-02",
    "--datasets",
    "klines,futures",
)


@pytest.mark.parametrize("place", [{"LC_ALL": "C.UTF-8"}, {"LANG": "C"}], ids=["UTF-8", "LANG=C"])
def test_a_symbol_of_another_script(exchange, tmp_path, place):
    """A symbol in Chinese goes through the command line into files of its name, and is shown."""
    status, reported, wrong = command_line(exchange, tmp_path / "缓存", *ASKED, **place)

    assert (status, wrong) == (0, "")
    assert reported.startswith("complete")
    assert (tmp_path / "缓存" / f"klines_{SYMBOL}_1d_2025-12.csv").is_file()
    status, reported, _ = command_line(exchange, tmp_path / "缓存", "coverage", **place)
    assert status == 0
    assert f"klines_{SYMBOL}_1d_2025-12.csv" in reported


REFUSED = """
import ares_notebook as ares
from ares_notebook.errors import BadArgument

for call in (
    ares.Settings,
    lambda: ares.Settings(cache_dir="\\u5e01"),
    lambda: ares.plan_downloads("\\u5e01USDT", "1d", 1, settings=ares.Settings(cache_dir="cache")),
):
    try:
        call()
    except BadArgument as error:
        print(ascii(str(error)))
"""


def test_names_that_no_file_can_have(exchange, tmp_path):
    """Where file names are of ASCII alone, a folder or symbol of other letters is refused with the way out."""
    done = run_at(exchange, tmp_path / "数据", "-c", REFUSED, **BARE)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"start it with PYTHONUTF8=1") == 3
    assert not (tmp_path / "数据").exists()


async def test_output_that_cannot_be_written_as_it_is(exchange, tmp_path):
    """Letters that a pipe does not know are shown by their numbers, and end no program."""
    settings = exchange.settings(cache_dir=tmp_path, progress=False)
    await ares.download_klines_data(SYMBOL, "1d", 0.1, end="2026-01-02", settings=settings)

    place = {"PYTHONIOENCODING": "latin-1"}
    status, reported, wrong = command_line(exchange, tmp_path, "coverage", **place)
    as_json = command_line(exchange, tmp_path, "coverage", "--json", **place)

    assert (status, wrong) == (0, "")
    assert r"klines_\u5e01\u5b89\u4eba\u751fUSDT_1d_2025-12.csv" in reported
    assert {each["symbol"] for each in json.loads(as_json[1])} == {SYMBOL}


VERBS = """
import sys
from ares_notebook.cli import main

for verb in (
    ["plan", "BTCUSDT", "1h", "--years", "0.05", "--end", "2025-03-10T12:00"],
    ["coverage"],
    ["gaps", "BTCUSDT"],
    ["runs"],
    ["fingerprint", "BTCUSDT", "1h", "--end", "2025-03-10T06:00"],
    ["coverage", "--json"],
    ["runs", "--json"],
):
    sys.argv = ["ares-notebook", *verb]
    try:
        main()
    except SystemExit as ended:
        print(verb, ended.code)
"""


async def test_what_the_command_line_tells_is_utc(exchange, tmp_path):
    """Of the same cache every verb of the command line prints the same in New York as in UTC."""
    await ares.download_all_data(
        "BTCUSDT", "1h", 0.05, end="2025-03-10T06:00", datasets=("klines", "futures"),
        settings=exchange.settings(cache_dir=tmp_path, progress=False),
    )  # fmt: skip

    here, there = (
        run_at(exchange, tmp_path, "-c", VERBS, TZ=zone) for zone in ("UTC", "America/New_York")
    )

    assert here.stdout.count(b"] 0\n") == 7, here.stdout
    assert b"2025-03-10 05:00" in here.stdout
    assert (here.stdout, here.stderr) == (there.stdout, there.stderr)


# --- clocks ---


def rows(settings, pattern):
    """The first cells of all rows of some files."""
    return [
        line.split(",")[0]
        for path in sorted(settings.cache_dir.glob(pattern))
        for line in path.read_text().splitlines()[1:]
    ]


def of_minutes(exchange, tmp_path):
    return exchange.settings(
        cache_dir=tmp_path / "cache", retry_delay_seconds=0, max_retries=0, progress=False
    )


async def minutes(settings):
    return await ares.download_all_data(
        "BTCUSDT", "1m", 2 * DAY, datasets=("klines", "agg_trades"), settings=settings
    )


async def assert_only_closed(exchange, settings, report):
    """No candle is there that the exchange held open, and a later run changes none that is there."""
    now = exchange.now
    newest = rows(settings, "klines_*.csv")[-1]
    assert newest <= f"{now - timedelta(minutes=1):%Y-%m-%d %H:%M:%S}"
    assert rows(settings, "aggtrades_*.csv")[-1] < f"{now:%Y-%m-%d %H:%M:%S.%f}"
    before = {path.name: path.read_bytes() for path in settings.cache_dir.glob("[!.]*.csv")}
    exchange.faults.clear()
    exchange.now = now + timedelta(minutes=30)
    again = await minutes(settings)
    assert report
    assert again.complete
    for name, text in before.items():
        assert (settings.cache_dir / name).read_bytes().startswith(text)


@pytest.fixture
def behind(exchange):
    """The exchange ten minutes behind this machine's clock: the laptop is fast."""
    exchange.now = datetime.now(UTC) - timedelta(minutes=10)
    yield exchange
    exchange._now_ms = None


async def test_a_laptop_that_is_fast(behind, tmp_path):
    """What is closed goes by the exchange's clock, where ours is ten minutes ahead."""
    settings = of_minutes(behind, tmp_path)

    report = await minutes(settings)

    newest = f"{behind.now - timedelta(minutes=1):%Y-%m-%d %H:%M}:00"
    assert rows(settings, "klines_*.csv")[-1] == newest
    await assert_only_closed(behind, settings, report)


async def test_a_laptop_that_is_fast_while_the_clock_cannot_be_asked(behind, tmp_path):
    """Where nobody tells the time no candle is taken for closed that may be open; the next run brings it."""
    settings = of_minutes(behind, tmp_path)
    behind.fail("/api/v3/time", status=503, times=None)

    report = await minutes(settings)

    assert any("clock could not be asked" in note and " UTC " in note for note in report.notes)
    await assert_only_closed(behind, settings, report)


@pytest.mark.parametrize("minutes_off", [-10, 10])
async def test_an_exchange_whose_clock_is_off(behind, tmp_path, minutes_off):
    """A clock of the exchange that is wrong by ten minutes stores nothing that is still open by its own rows."""
    settings = of_minutes(behind, tmp_path)
    behind.now = datetime.now(UTC)
    reported = int((behind.now + timedelta(minutes=minutes_off)).timestamp() * 1000)
    behind.fail(
        "/api/v3/time", replace_body=json.dumps({"serverTime": reported}).encode(), times=None
    )

    report = await minutes(settings)

    await assert_only_closed(behind, settings, report)


async def test_pipeline_on_a_laptop_that_is_fast(behind, tmp_path):
    """What step1 is given ends with the last candle that is closed on the exchange, and says that more was asked for."""
    settings = of_minutes(behind, tmp_path)
    now_ms = int(datetime.now(UTC).timestamp() * 1000)

    data = await ares.fetch_missing_data(
        "BTCUSDT", now_ms - 7_200_000, now_ms, {"klines": None}, logging.getLogger("step1"),
        interval="1m", settings=settings,
    )  # fmt: skip

    frame = data["klines"]
    assert frame.index[-1] <= behind.now - timedelta(minutes=1)
    assert not frame.attrs["complete"]
