"""Long runs of one funding rate and of candles without volume: found whole, wherever tables and files end."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ares_notebook as ares
from ares_notebook.model.files import files_between, parse_file_name
from ares_notebook.model.rows import schema_of
from ares_notebook.quality.checks import RowTally

RATE, FLAT = "unchanged funding rate", "flat candles without volume"
START = datetime(2025, 1, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
HOUR_MS = 3_600_000
FUNDING = parse_file_name("futures_BTCUSDT_2025-01.csv")
HOURS = parse_file_name("klines_BTCUSDT_1h_2025-01.csv")


def rates(file, values, *, every=8):
    """Payments of these rates, some hours apart, from the start of the file on; None is a gap."""
    return [
        {"timestamp": (file.start_ms + at * every * HOUR_MS) * 1000, "fundingRate": value}
        for at, value in enumerate(values)
        if value is not None
    ]


def candles(file, prices, step_ms=HOUR_MS):
    """Flat candles without volume at these prices; a letter is a traded one, None a gap."""
    return [
        {
            "timestamp": (file.start_ms + at * step_ms) * 1000,
            **dict.fromkeys(("open", "high", "low", "close"), price.strip("x")),
            **dict.fromkeys(
                (
                    "volume",
                    "quote_asset_volume",
                    "taker_buy_base_asset_volume",
                    "taker_buy_quote_asset_volume",
                ),
                "1.0" if "x" in price else "0.00",
            ),
            "number_of_trades": int("x" in price),
        }
        for at, price in enumerate(prices)
        if price is not None
    ]


def tallied(file, rows, cuts=(), before=None):
    """The tally of rows whose tables end at these places."""
    tally = RowTally(file, 0.2, before)
    for begin, end in pairwise([0, *sorted(cuts), len(rows)]):
        tally.add(pa.Table.from_pylist(rows[begin:end], schema_of(file.dataset)))
    return tally


def found(tally, check):
    """How many rows a check has found, and the first of them."""
    return next(((e.count, e.example) for e in tally.findings() if e.check == check), None)


@pytest.mark.parametrize(("payments", "count"), [(180, None), (181, 181), (417, 417)])
def test_one_rate_for_60_days_is_reported(payments, count):
    """A rate that stays for 60 days, from its first payment to its last, is one finding of all its rows."""
    values = ["0.00020000", *["0.00010000"] * payments, "0.00020000"]
    reported = found(tallied(FUNDING, rates(FUNDING, values)), RATE)

    assert reported == (count and (count, "2025-01-01 08:00:00.000 fundingRate=0.00010000"))


def test_time_counts_and_not_the_number_of_payments():
    """Hourly payments of one rate for 59 days are no finding, though they are 1,400."""
    assert found(tallied(FUNDING, rates(FUNDING, ["0.0001"] * 1417, every=1)), RATE) is None
    assert found(tallied(FUNDING, rates(FUNDING, ["0.0001"] * 1441, every=1)), RATE)[0] == 1441


@pytest.mark.parametrize(("candles_", "count"), [(167, None), (168, 168), (700, 700)])
def test_flat_candles_for_7_days_are_reported(candles_, count):
    """A week of hours without a trade is one finding of all its rows; an hour less is none."""
    rows = candles(HOURS, ["x5.0", *["5.0"] * candles_, "x5.0"])
    reported = found(tallied(HOURS, rows), FLAT)

    words = "2025-01-01 01:00:00 open=5.0 high=5.0 low=5.0 close=5.0 volume=0.00"
    assert reported == (count and (count, words))


@pytest.mark.parametrize(
    ("name", "number", "step_hours"),
    [("1d", 7, 24), ("3d", 3, 72), ("1w", 1, 168), ("1mo", 1, 744), ("1d", 6, 24), ("3d", 2, 72)],
)
def test_a_week_is_a_week_at_every_interval(name, number, step_hours):
    """How many candles make a week is the interval's affair, and one of a month is more than one."""
    file = parse_file_name(f"klines_BTCUSDT_{name}_2025-01.csv")
    reported = found(tallied(file, candles(file, ["5.0"] * number, step_hours * HOUR_MS)), FLAT)

    assert (reported is not None) == (number * step_hours >= 168)


def test_a_gap_ends_a_run():
    """Where rows are missing nothing is claimed of the time between."""
    week = ["5.0"] * 100
    assert found(tallied(HOURS, candles(HOURS, [*week, None, *week])), FLAT) is None
    month = ["0.0001"] * 100
    assert found(tallied(FUNDING, rates(FUNDING, [*month, None, *month])), RATE) is None


def test_a_run_goes_on_from_file_to_file():
    """A rate that stays over three months is told in the file where it is long, with its beginning."""
    files = files_between(FUNDING.series, START, START + timedelta(days=90))
    tallies = [None]
    for file in files:
        payments = (file.end_ms - file.start_ms) // (8 * HOUR_MS)
        tallies.append(tallied(file, rates(file, ["0.0001"] * payments), before=tallies[-1]))
    reported = [found(each, RATE) for each in tallies[1:]]

    since = "2025-03-01 00:00:00.000 fundingRate=0.0001, the same since 2025-01-01 00:00:00"
    assert reported == [None, None, (93, since)]


def test_two_runs_of_a_file_are_one_finding():
    """Long runs of one file are counted together, and the first of them is shown."""
    week, traded = ["5.0"] * 200, ["x5.0"]
    reported = found(tallied(HOURS, candles(HOURS, [*week, *traded, *week, *traded, *week])), FLAT)

    assert reported[0] == 600
    assert reported[1].startswith("2025-01-01 00:00:00 ")


def test_a_price_that_moves_ends_a_run():
    """Flat candles at another price are another run."""
    assert found(tallied(HOURS, candles(HOURS, ["5.0"] * 100 + ["6.0"] * 100)), FLAT) is None


def naive(values, steps, *, is_last_counted):
    """Of runs of equal values, one after the other: the rows of those that last that many steps."""
    count, first, begin = 0, None, 0
    for at in range(1, len(values) + 1):
        if at < len(values) and values[at] == values[begin] is not None:
            continue
        lasting = at - begin - (0 if is_last_counted else 1)
        if values[begin] is not None and lasting >= steps:
            count += at - begin
            first = begin if first is None else first
        begin = at
    return count, first


PIECES = st.lists(
    st.tuples(st.sampled_from(["a", "b", None]), st.integers(1, 260)), min_size=1, max_size=6
)


@given(pieces=PIECES, data=st.data())
def test_where_tables_end_changes_nothing(pieces, data):
    """Whatever the runs are and wherever tables are cut, the same rows are counted, and no others."""
    values = [value for value, times in pieces for _ in range(times)]
    cuts = data.draw(st.lists(st.integers(0, len(values)), max_size=8))
    words = {"a": "5.0", "b": "x5.0", None: None}
    rows = candles(HOURS, [words[each] for each in values])
    count, first = naive(
        [each if each == "a" else None for each in values], 168, is_last_counted=True
    )
    reported = found(tallied(HOURS, rows, [cut for cut in cuts if cut <= len(rows)]), FLAT)

    assert (reported[0] if reported else 0) == count
    if reported:
        moment = START + timedelta(hours=first)
        assert reported[1].startswith(f"{moment:%Y-%m-%d %H:%M:%S} ")


@given(pieces=PIECES, cut=st.integers(0, 400), data=st.data())
def test_where_tables_end_changes_nothing_of_rates(pieces, cut, data):
    """Rates too are counted the same wherever tables end, and a run is as long as in one file where a file ends."""
    words = {"a": "0.0001", "b": "-0.0002", None: None}
    values = [words[value] for value, times in pieces for _ in range(times)]
    rows = rates(FUNDING, values)
    count, _ = naive(values, 180, is_last_counted=False)
    cuts = [each for each in data.draw(st.lists(st.integers(0, 400))) if each <= len(rows)]
    reported = found(tallied(FUNDING, rows, cuts), RATE)
    at = min(cut, len(rows))
    first = tallied(FUNDING, rows[:at])
    second = tallied(FUNDING, rows[at:], before=first)
    parted = [found(each, RATE) for each in (first, second)]

    assert (reported[0] if reported else 0) == count
    assert any(parted) == bool(reported)


def test_a_settled_perpetual_whose_zips_go_on_is_reported(settings, publish_anew):
    """Months of zips that repeat one rate are stored as they are, and validation warns of them."""
    for month in ("2025-01", "2025-02", "2025-03"):
        file = parse_file_name(f"futures_BTCUSDT_{month}.csv")
        stamps = range(file.start_ms, file.end_ms, 8 * HOUR_MS)
        lines = "".join(f"{stamp},8,0.00010000\n" for stamp in stamps)
        header = "calc_time,funding_interval_hours,last_funding_rate\n"
        publish_anew(f"BTCUSDT-fundingRate-{month}", header + lines)
    own = settings.replace(source="archive")
    ares.run(ares.download_futures_data("BTCUSDT", 0.2, end="2025-04-01", settings=own))
    reported = ares.validate_cache("BTCUSDT", settings=own).findings

    since = "the same since 2025-01-01 00:00:00"
    assert [
        (each.severity, each.file, each.count, since in each.example)
        for each in reported
        if each.check == RATE
    ] == [("warning", "futures_BTCUSDT_2025-03.csv", 93, True)]


def test_candles_after_a_suspension_are_reported(settings, publish_anew):
    """Two months of flat candles without volume are a warning for each file, and no error."""
    for month in ("2025-01", "2025-02"):
        file = parse_file_name(f"klines_BTCUSDT_1h_{month}.csv")
        lines = "".join(
            f"{at * 1000},5.0,5.0,5.0,5.0,0.0,{(at + HOUR_MS) * 1000 - 1},0.0,0,0.0,0.0,0\n"
            for at in range(file.start_ms, file.end_ms, HOUR_MS)
        )
        publish_anew(f"BTCUSDT-1h-{month}", lines)
    own = settings.replace(source="archive")
    ares.run(ares.download_klines_data("BTCUSDT", "1h", 0.1, end="2025-03-01", settings=own))
    report = ares.validate_cache("BTCUSDT", settings=own)

    assert report.ok
    assert {each.file: each.count for each in report.findings if each.check == FLAT} == {
        "klines_BTCUSDT_1h_2025-01.csv": 744,
        "klines_BTCUSDT_1h_2025-02.csv": 672,
    }


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_four_years_of_real_funding_are_no_finding(recorded, symbol):
    """What Binance paid from 2020 to 2023 has no run of 60 days: its longest is 27.3 days."""
    with (recorded / "funding" / f"{symbol}-fundingRate-2020-2023.csv").open() as lines:
        rows = [
            {"timestamp": int(row["calc_time"]) * 1000, "fundingRate": row["last_funding_rate"]}
            for row in csv.DictReader(lines)
        ]

    assert len(rows) == 4383
    assert found(tallied(FUNDING, rows, [1000, 2000]), RATE) is None
    longest, begin = timedelta(), 0
    for at, row in enumerate(rows):
        if row["fundingRate"] != rows[begin]["fundingRate"]:
            begin = at
        lasting = timedelta(microseconds=row["timestamp"] - rows[begin]["timestamp"])
        longest = max(longest, lasting)
    assert timedelta(days=27) < longest < timedelta(days=28)


def test_55_months_of_real_candles_are_no_finding(recorded):
    """No hour of BTCUSDT from 2017 to 2022 is of a long run, and none follows a flat one without volume."""
    tally = None
    for path in sorted((recorded / "klines/spot/BTCUSDT/1h").iterdir()):
        names = [column.name for column in HOURS.dataset.columns]
        with path.open() as lines:
            rows = [
                dict(zip(names, [*row[:6], row[7], *row[8:11]], strict=True))
                for row in csv.reader(lines)
            ]
        for row in rows:
            row["timestamp"] = int(row["timestamp"]) * 1000
            row["number_of_trades"] = int(row["number_of_trades"])
        file = parse_file_name(f"klines_BTCUSDT_1h_{path.stem[-7:]}.csv")
        tally = tallied(file, rows, [300], before=tally)
        assert found(tally, FLAT) is None
