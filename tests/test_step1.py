"""What step1 of a training pipeline asks: frames filled up through the cache."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import ares_notebook as ares
from ares_notebook.errors import BadArgument, NotEnoughMemory, UnknownSymbol

DAY = 1 / 365.25
LOGGER = logging.getLogger("step1")
HOUR_MS = 3_600_000


def ms(text: str) -> int:
    """Milliseconds since the epoch of an ISO moment, UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


START, END = ms("2025-02-10"), ms("2025-02-12")


@pytest.fixture
async def truth(settings):
    """The two days as a download into another cache has them."""
    own = settings.replace(cache_dir=settings.cache_dir.with_name("truth"))
    await ares.download_klines_data("BTCUSDT", "1h", 5 * DAY, end="2025-02-12", settings=own)
    return ares.load_klines("BTCUSDT", "1h", "2025-02-10", "2025-02-12", settings=own)


async def filled(settings, given, **changes):
    """The k-lines of the two days, completed."""
    ask = {"start_time_ms": START, "end_time_ms": END, "interval": "1h", **changes}
    data = await ares.fetch_missing_data(
        "BTCUSDT", available_data={"klines": given}, logger=LOGGER, settings=settings, **ask
    )
    return data["klines"]


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two frames have the same stamps and cells."""
    return one.index.equals(other.index) and one.equals(other)


# --- what is given ---


@pytest.mark.parametrize("given", [None, pd.DataFrame()], ids=["None", "empty"])
async def test_nothing_given(settings, truth, given):
    """Where nothing is at hand the answer is the whole range in the shape of the loaders."""
    answer = await filled(settings, given)

    assert same(truth, answer)
    assert (answer.attrs["complete"], answer.attrs["missing"]) == (True, [])


async def test_empty_frame_of_the_loaders(settings, truth):
    """An empty frame with columns is filled up too."""
    assert same(truth, await filled(settings, truth.iloc[:0]))


@pytest.mark.parametrize(
    "rows",
    [slice(0, 10), slice(30, 48), slice(10, 20), slice(0, 48, 3)],
    ids=["beginning", "end", "middle", "every third"],
)
async def test_part_given(settings, truth, rows):
    """Whatever part is given, the answer is the whole, ascending and unique."""
    answer = await filled(settings, truth.iloc[rows])

    assert same(truth, answer)
    assert answer.attrs["complete"]


async def test_whole_given_asks_nothing(exchange, settings, truth):
    """Where the given frame is complete no request is made."""
    exchange.requests.clear()
    answer = await filled(settings, truth)

    assert same(truth, answer)
    assert exchange.requests == []


async def test_second_call_asks_nothing(exchange, settings):
    """What one call fetched the next one finds in the cache."""
    await filled(settings, None)
    exchange.requests.clear()
    answer = await filled(settings, None)

    assert len(answer) == 48
    assert exchange.requests == []


async def test_disorder_and_doubles(settings, truth):
    """An unsorted frame with doubled rows comes back sorted, each row once."""
    messy = pd.concat([truth.iloc[20:30], truth.iloc[:25]]).sample(frac=1, random_state=1)

    assert same(truth, await filled(settings, messy))


async def test_given_rows_win(settings, truth):
    """A given row that differs from the exchange's is kept as it was given."""
    given = truth.iloc[:10].assign(close=-1.0)
    answer = await filled(settings, given)

    assert answer["close"].tolist()[:10] == [-1.0] * 10
    assert truth["close"].tolist()[10:] == answer["close"].tolist()[10:]


async def test_rows_outside_the_range_are_kept(settings, truth):
    """Rows given from before and after the range are in the answer: none is lost."""
    answer = await filled(
        settings, truth, start_time_ms=START + 5 * HOUR_MS, end_time_ms=END - 5 * HOUR_MS
    )

    assert same(truth, answer)


async def test_the_given_frame_is_not_changed(settings, truth):
    """The caller's own frame stays as it was."""
    given = truth.iloc[:10].copy()
    before = given.copy()
    await filled(settings, given)

    assert same(before, given)


# --- shapes ---


def _column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index()


def _naive_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index().assign(timestamp=lambda each: each["timestamp"].dt.tz_localize(None))


def _ms_column(frame: pd.DataFrame) -> pd.DataFrame:
    stamps = frame.index.as_unit("ms").astype("int64")
    return frame.reset_index(drop=True).assign(timestamp=stamps)


def _text_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index(drop=True).assign(timestamp=frame.index.strftime("%Y-%m-%d %H:%M:%S"))


def _naive_index(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.tz_localize(None)


def _other_zone(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.tz_convert("America/New_York")


def _nanoseconds(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_axis(frame.index.as_unit("ns"))


def _unnamed_index(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename_axis(None)


def _float32(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype("float32")


def _few_columns(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["close", "open"]]


SHAPES = [
    _column,
    _naive_column,
    _ms_column,
    _naive_index,
    _other_zone,
    _nanoseconds,
    _unnamed_index,
    _float32,
    _few_columns,
]


@pytest.mark.parametrize("shape", SHAPES)
async def test_shape_is_kept(settings, truth, shape):
    """The answer has columns, dtypes and stamps of the given frame, whatever they are."""
    answer = await filled(settings, shape(truth.iloc[5:15]))
    expected = shape(truth)

    assert expected.columns.tolist() == sorted(answer.columns, key=expected.columns.tolist().index)
    assert expected.dtypes.to_dict() == answer.dtypes.to_dict()
    pd.testing.assert_frame_equal(expected, answer[expected.columns.tolist()], check_names=False)
    assert answer.attrs["complete"]


@pytest.mark.parametrize(
    "written",
    [
        lambda numbers: [Decimal(str(each)) for each in numbers],
        lambda numbers: [str(each) for each in numbers],
        lambda numbers: numbers.astype("str"),
        lambda numbers: numbers.astype("category"),
        lambda numbers: numbers.astype("int64"),
        lambda numbers: numbers.astype("Float64"),
        lambda numbers: numbers.astype("float64[pyarrow]"),
    ],
    ids=["Decimal", "objects of text", "text", "category", "int64", "Float64", "pyarrow"],
)
async def test_no_number_is_changed_by_the_dtype_of_the_given(settings, truth, written):
    """Whatever dtype a given column has, each fetched number is the exchange's, none cut and none NaN."""
    given = truth.iloc[5:15].assign(close=lambda frame: written(frame["close"]))
    answer = await filled(settings, given)
    fetched = answer["close"].drop(given.index)

    assert fetched.map(float).tolist() == truth["close"].drop(given.index).tolist()
    assert len({type(each) for each in answer["close"]}) == 1


async def test_stamps_of_pyarrow_stay_so(settings, truth):
    """A column of PyArrow's timestamps is filled with such, not with text."""
    given = truth.iloc[5:15].reset_index().astype({"timestamp": "timestamp[us, tz=UTC][pyarrow]"})
    answer = await filled(settings, given)

    assert answer["timestamp"].dtype == given["timestamp"].dtype
    assert answer["timestamp"].tolist() == truth.index.tolist()


@pytest.mark.parametrize(
    "given", [[1, 2], pd.Series([1.0]), "klines"], ids=["list", "Series", "text"]
)
async def test_what_is_no_frame_is_refused(settings, given):
    """Something else than a frame is named as what it is."""
    with pytest.raises(BadArgument, match=f"are a {type(given).__name__}; pass a DataFrame"):
        await filled(settings, given)


async def test_trades_without_an_id_are_refused(settings):
    """A trade whose id is missing cannot be told from another."""
    frame = pd.DataFrame(
        {"timestamp": pd.to_datetime([START], unit="ms", utc=True), "agg_trade_id": [float("nan")]}
    )
    with pytest.raises(BadArgument, match="without an 'agg_trade_id'"):
        await ares.fetch_missing_data(
            "BTCUSDT", START, END, {"agg_trades": frame}, LOGGER, settings=settings
        )


async def test_two_columns_of_one_name_are_refused(settings, truth):
    """Nobody guesses which of two columns is meant."""
    with pytest.raises(BadArgument, match="columns of one name: close"):
        await filled(settings, pd.concat([truth, truth[["close"]]], axis=1))


async def test_stamps_as_text(settings, truth):
    """Stamps given as text are read as UTC, and every row of the range is there."""
    answer = await filled(settings, _text_column(truth.iloc[5:15]))

    stamps = pd.DatetimeIndex(pd.to_datetime(answer["timestamp"], utc=True, format="ISO8601"))
    assert truth.index.tolist() == stamps.tolist()


async def test_own_columns_are_kept(settings, truth):
    """A column that is the caller's own stays, empty in rows that were fetched."""
    answer = await filled(settings, truth.iloc[:10].assign(signal=7.0))

    assert answer["signal"].tolist()[:10] == [7.0] * 10
    assert answer["signal"].isna().sum() == 38
    assert len(answer) == 48


async def test_frames_that_cannot_be_read_are_refused(settings, truth):
    """A frame without stamps, with a stamp missing, or trades without ids, is refused."""
    no_stamps = truth.reset_index(drop=True)
    lost_stamp = _column(truth).assign(
        timestamp=lambda each: each["timestamp"].where(each.index != 3)
    )
    for given in (no_stamps, lost_stamp):
        with pytest.raises(BadArgument, match="timestamp"):
            await filled(settings, given)
    with pytest.raises(BadArgument, match="agg_trade_id"):
        await ares.fetch_missing_data(
            "BTCUSDT", START, END, {"agg_trades": truth}, LOGGER, settings=settings
        )


# --- which data ---


async def test_absent_key_is_not_fetched(exchange, settings):
    """Only the datasets named are in the answer, and asked for."""
    data = await ares.fetch_missing_data(
        "BTCUSDT", START, END, {"futures": None}, LOGGER, settings=settings
    )

    assert list(data) == ["futures"]
    assert len(data["futures"]) == 6
    assert not any("klines" in each.path or "aggTrades" in each.path for each in exchange.requests)


async def test_no_key_is_nothing(exchange, settings):
    """Without a dataset the answer is empty and nothing is asked."""
    assert await ares.fetch_missing_data("BTCUSDT", START, END, {}, LOGGER, settings=settings) == {}
    assert exchange.requests == []


async def test_all_three(settings):
    """K-lines, trades and funding come in one call, each complete."""
    none = dict.fromkeys(("klines", "agg_trades", "futures"))
    data = await ares.fetch_missing_data(
        "btcusdt", START, START + 6 * HOUR_MS, none, LOGGER, interval="15m", settings=settings
    )

    assert all(frame.attrs["complete"] for frame in data.values())
    assert len(data["klines"]) == 24
    assert (data["agg_trades"]["agg_trade_id"].diff().dropna() == 1).all()
    assert data["agg_trades"].index.max() < pd.Timestamp("2025-02-10T06:00Z")


async def test_trades_go_on_by_id(settings):
    """Given trades, some of one millisecond among them, are completed to all ids of the range."""
    ask = ("BTCUSDT", START, START + HOUR_MS)
    whole = await ares.fetch_missing_data(*ask, {"agg_trades": None}, LOGGER, settings=settings)
    given = whole["agg_trades"].iloc[100:150]
    answer = await ares.fetch_missing_data(*ask, {"agg_trades": given}, LOGGER, settings=settings)

    assert same(whole["agg_trades"], answer["agg_trades"])


async def test_funding_of_another_jitter_is_the_same_event(settings):
    """A given event whose stamp lacks the exchange's jitter is not doubled."""
    ask = ("BTCUSDT", START, END)
    whole = await ares.fetch_missing_data(*ask, {"futures": None}, LOGGER, settings=settings)
    given = whole["futures"].set_axis(whole["futures"].index.floor("h")).rename_axis("timestamp")
    answer = await ares.fetch_missing_data(
        *ask, {"futures": given.iloc[:3]}, LOGGER, settings=settings
    )

    assert len(answer["futures"]) == 6
    assert given.index[:3].tolist() == answer["futures"].index[:3].tolist()


@pytest.mark.parametrize("interval", ["15m", "1h"])
async def test_interval_is_read_off_the_frame(settings, interval):
    """Without interval= the spacing of the given candles decides, gaps or not."""
    end = ms("2025-02-20")
    whole = await filled(settings, None, interval=interval, end_time_ms=end)
    answer = await filled(settings, whole.drop(whole.index[3]), interval=None, end_time_ms=end)

    assert same(whole, answer)


@pytest.mark.parametrize("rows", [slice(None, None, 2), slice(0, 13, 12)], ids=["half", "two"])
async def test_wide_candles_are_not_taken_for_another_interval(exchange, settings, truth, rows):
    """Hours of which every second is missing are not complete as two hours: interval= must be said."""
    exchange.requests.clear()
    with pytest.raises(BadArgument, match="are some missing"):
        await filled(settings, truth.iloc[rows], interval=None)

    assert exchange.requests == []
    assert same(truth, await filled(settings, truth.iloc[rows]))


async def test_interval_of_the_settings(settings):
    """Without interval= and without candles that of the settings is taken."""
    own = settings.replace(interval="4h")

    assert len(await filled(own, None, interval=None)) == 12


async def test_spacing_that_is_no_interval_is_refused(settings, truth):
    """Candles seven hours apart are no interval of Binance's."""
    with pytest.raises(BadArgument, match="interval"):
        await filled(settings, truth.iloc[::7], interval=None)


# --- ranges ---


async def test_halt_is_complete(settings):
    """A range with a confirmed halt is complete, and has no row for it."""
    answer = await filled(
        settings, None, start_time_ms=ms("2025-03-14"), end_time_ms=ms("2025-03-15")
    )

    assert len(answer) == 22
    assert (answer.attrs["complete"], answer.attrs["missing"]) == (True, [])


async def test_range_before_listing(settings):
    """A range before the symbol was listed is empty and complete: the exchange said so."""
    data = await ares.fetch_missing_data(
        "SOLUSDT",
        ms("2019-05-01"),
        ms("2019-05-03"),
        {"klines": None},
        LOGGER,
        interval="1h",
        settings=settings,
    )

    assert data["klines"].empty
    assert (data["klines"].attrs["complete"], data["klines"].attrs["missing"]) == (True, [])


async def test_range_in_the_future(exchange, settings):
    """A range in the future is empty, incomplete, and costs no request."""
    start = int((datetime.now(UTC) + timedelta(days=2)).timestamp()) // 3600 * HOUR_MS
    answer = await filled(settings, None, start_time_ms=start, end_time_ms=start + HOUR_MS)

    [[first, last]] = ares.missing(answer)[["start", "end"]].to_numpy().tolist()
    assert answer.empty
    assert not answer.attrs["complete"]
    assert (start, start + HOUR_MS) == (int(first.timestamp()) * 1000, int(last.timestamp()) * 1000)
    assert exchange.requests == []


@pytest.mark.parametrize(("at", "rows"), [(START, 0), (START + 1, 0), (START + HOUR_MS - 1, 0)])
async def test_range_of_one_millisecond(settings, at, rows):
    """A range too short for a candle to close in it is empty, without an error."""
    answer = await filled(settings, None, start_time_ms=at, end_time_ms=at + 1)

    assert len(answer) == rows


async def test_range_of_one_millisecond_of_funding(settings):
    """The millisecond of an event holds the event."""
    whole = await ares.fetch_missing_data(
        "BTCUSDT", START, END, {"futures": None}, LOGGER, settings=settings
    )
    at = int(whole["futures"].index[2].timestamp() * 1000)
    answer = await ares.fetch_missing_data(
        "BTCUSDT", at, at + 1, {"futures": None}, LOGGER, settings=settings
    )

    assert len(answer["futures"]) == 1
    assert answer["futures"].attrs["complete"]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (END, START),
        (START, START),
        (-5, END),
        (1.5, END),
        (True, END),
        ("2025", END),
        (START, None),
    ],
)
async def test_wrong_range_is_refused(exchange, settings, start, end):
    """A range that ends before it begins, or is not whole milliseconds, is refused at once."""
    with pytest.raises(BadArgument, match="time_ms"):
        await filled(settings, None, start_time_ms=start, end_time_ms=end)

    assert exchange.requests == []


async def test_numpy_milliseconds_are_welcome(settings):
    """Times may be NumPy's integers, as they come out of a frame."""
    answer = await filled(settings, None, start_time_ms=np.int64(START), end_time_ms=np.int64(END))

    assert len(answer) == 48


async def test_years_of_trades_are_refused(exchange, settings):
    """Trades that would not fit in memory are refused with the numbers, before any is fetched."""

    def terabyte(listing: bytes) -> bytes:
        return listing.replace(b"<Size>", b"<Size>999999")

    exchange.fail("aggTrades", times=None, replace_body=terabyte)
    with pytest.raises(NotEnoughMemory, match=r"[\d,]+ days.*rows.*GB"):
        await ares.fetch_missing_data(
            "BTCUSDT",
            ms("2022-01-01"),
            ms("2024-01-01"),
            {"agg_trades": None},
            LOGGER,
            settings=settings,
        )

    assert not any(each.path.endswith(".zip") for each in exchange.requests)


async def test_five_years_with_a_piece_in_the_middle(exchange, settings):
    """Five years around a year that is given: each row once, and no candles of that year are fetched."""
    start, end = ms("2020-01-01"), ms("2025-01-01")
    data = await ares.fetch_missing_data(
        "BTCUSDT",
        start,
        end,
        {"klines": None, "futures": None},
        LOGGER,
        interval="4h",
        settings=settings,
    )
    other = settings.replace(cache_dir=settings.cache_dir.with_name("other"))
    exchange.requests.clear()
    given = {name: frame.loc["2022":"2022"] for name, frame in data.items()}
    again = await ares.fetch_missing_data(
        "BTCUSDT", start, end, given, LOGGER, interval="4h", settings=other
    )

    # Funding alone cannot prove where its last event of a month is, so that is asked for.
    assert not any("klines" in each.path and "2022" in each.path for each in exchange.requests)
    for name, frame in data.items():
        assert again[name].attrs == frame.attrs
        assert frame.attrs["complete"]
        assert same(frame, again[name])


async def test_datasets_are_fetched_side_by_side_as_one_run(exchange, settings):
    """Several datasets are one run, which asks for the exchange's limits but once."""
    await ares.fetch_missing_data(
        "BTCUSDT",
        START,
        END,
        {"klines": None, "agg_trades": None, "futures": None},
        LOGGER,
        interval="1h",
        settings=settings,
    )

    assert len(ares.load_runs(settings=settings)) == 1
    assert sum(each.path == "/api/v3/exchangeInfo" for each in exchange.requests) == 1


# --- when it fails ---


async def test_exchange_down(exchange, settings, truth, caplog):
    """Where the exchange is down an error is logged, what was given comes back, and attrs tell the truth."""
    exchange.fail(".", status=503, times=None)
    own = settings.replace(max_retries=0)
    given = truth.iloc[:10]
    answer = await filled(own, given)

    errors = [
        each for each in caplog.records if each.name == "step1" and each.levelno == logging.ERROR
    ]
    assert same(given, answer)
    assert answer.attrs["complete"] is False
    assert answer.attrs["missing"] == [["2025-02-10T10:00:00+00:00", "2025-02-12T00:00:00+00:00"]]
    assert len(errors) == 1
    assert "k-lines of BTCUSDT" in errors[0].getMessage()


async def test_exchange_down_and_a_cache(exchange, settings, truth):
    """Where the exchange is down what the cache has is still used."""
    await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-02-11", settings=settings)
    exchange.fail(".", status=503, times=None)
    own = settings.replace(max_retries=0)
    answer = await filled(own, None)

    assert same(truth.iloc[:24], answer)
    assert answer.attrs["missing"] == [["2025-02-11T00:00:00+00:00", "2025-02-12T00:00:00+00:00"]]


async def test_nothing_and_nobody(exchange, settings):
    """With nothing given and nobody there the answer is an empty frame of the right shape, incomplete."""
    exchange.stop()
    own = settings.replace(max_retries=0)
    answer = await filled(own, None)

    assert answer.empty
    assert "close" in answer.columns
    assert not answer.attrs["complete"]


async def test_unknown_symbol_raises(settings):
    """A symbol that does not exist is an error, not an empty frame."""
    with pytest.raises(UnknownSymbol):
        await ares.fetch_missing_data(
            "NOSUCHUSDT", START, END, {"klines": None}, LOGGER, interval="1h", settings=settings
        )


async def test_unknown_dataset_is_refused(exchange, settings):
    """A key that is no dataset is named in the error."""
    with pytest.raises(BadArgument, match="order_book"):
        await ares.fetch_missing_data(
            "BTCUSDT", START, END, {"order_book": None}, LOGGER, settings=settings
        )

    assert exchange.requests == []


def test_from_a_script(settings):
    """The coroutine runs from plain code, by `run`."""
    data = ares.run(
        ares.fetch_missing_data(
            "BTCUSDT", START, END, {"klines": None}, LOGGER, interval="1d", settings=settings
        )
    )

    assert len(data["klines"]) == 2


async def test_a_cache_that_is_broken_costs_no_given_row(settings, truth, caplog):
    """Given rows come back whatever state the cache is in, and what they lack is said."""
    await filled(settings, None)
    path = settings.cache_dir / "klines_BTCUSDT_1h_2025-02.csv"
    path.write_bytes(path.read_bytes()[:-7])
    nowhere = {
        f"{name}_url": "http://127.0.0.1:9" for name in ("spot", "archive", "archive_listing")
    }
    own = settings.replace(**nowhere, max_retries=0)
    answer = await filled(own, truth.iloc[:20])

    # What is good in the damaged file helps too.
    assert same(truth.iloc[:20], answer.loc[truth.index[:20]])
    assert answer.attrs["complete"] is False
    assert answer.attrs["missing"][-1][1] == "2025-02-12T00:00:00+00:00"
    assert "could not be completed" in caplog.text


async def test_a_cache_folder_that_is_a_file_costs_no_given_row(settings, truth, caplog):
    """A cache that cannot even be opened is told of, and the given rows come back."""
    settings.cache_dir.write_text("not a folder")
    answer = await filled(settings, truth.iloc[:20])

    assert same(truth.iloc[:20], answer)
    assert "there is a file where a folder should be" in caplog.text


async def test_every_key_is_checked_before_the_first_is_fetched(exchange, settings):
    """A wrong key or frame is refused before anything is asked for."""
    for wrong in ({"ticks": None}, {"agg_trades": pd.DataFrame({"timestamp": [START]})}):
        with pytest.raises(BadArgument):
            await ares.fetch_missing_data(
                "BTCUSDT", START, END, {"klines": None, **wrong}, LOGGER, settings=settings
            )

    assert exchange.requests == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ("BTCUSDT", START, END, None, LOGGER),
            "available_data=None is a NoneType; pass a mapping",
        ),
        (("BTCUSDT", START, END, {"klines": None}, None), "logger=None is no logger; pass one"),
        ((None, START, END, {"klines": None}, LOGGER), "symbol=None is not a trading symbol"),
        (("BTCUSDT", None, END, {"klines": None}, LOGGER), "start_time_ms=None must be whole"),
    ],
    ids=["data", "logger", "symbol", "start"],
)
async def test_none_is_answered_by_a_sentence(exchange, settings, given, words):
    """Whatever argument is None, the error names it and what to pass, and nothing is asked for."""
    with pytest.raises(BadArgument, match=words):
        await ares.fetch_missing_data(*given, settings=settings)

    assert exchange.requests == []


@pytest.mark.parametrize("unit", ["s", "us"])
async def test_stamps_in_another_unit_are_refused(settings, truth, unit):
    """Numbers are milliseconds; seconds or microseconds would be other centuries."""
    factor = {"s": 0.001, "us": 1000}[unit]
    stamps = (truth.index.as_unit("ms").astype("int64") * factor).astype("int64")

    with pytest.raises(BadArgument, match="milliseconds"):
        await filled(settings, truth.reset_index(drop=True).assign(timestamp=stamps))
