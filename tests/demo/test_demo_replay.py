"""Recorded files come back as they were recorded."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import Reply, ask_of

from ares_notebook.demo import DemoExchange


@pytest.fixture(scope="module")
def replay(recorded: Path) -> Iterator[DemoExchange]:
    with DemoExchange(recorded, weight_limit=10**6) as running:
        yield running


def get(replay: DemoExchange, path: str, **query: object) -> Reply:
    return ask_of(replay, path, {}, **query)


def member(body: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        [name] = archive.namelist()
        return archive.read(name)


def test_recorded_zips_are_served_byte_for_byte(replay: DemoExchange, recorded: Path) -> None:
    """Every recorded zip file and checksum is served under its key, unchanged."""
    root = recorded / "archive"
    files = [path for path in root.rglob("*") if path.is_file()]

    for path in files:
        assert get(replay, f"/{path.relative_to(root)}").body == path.read_bytes()
    assert len(files) > 100


def test_checksums_are_made_where_none_was_recorded(replay: DemoExchange) -> None:
    """A zip file without a recorded checksum gets one that fits."""
    path = "/data/spot/daily/klines/ETHUSDT/15m/ETHUSDT-15m-2021-08-13.zip"
    digest = hashlib.sha256(get(replay, path).body).hexdigest()

    expected = f"{digest}  ETHUSDT-15m-2021-08-13.zip".encode()
    assert get(replay, f"{path}.CHECKSUM").body == expected


def test_members_are_served_as_monthly_zips(replay: DemoExchange, recorded: Path) -> None:
    """A recorded CSV comes back unchanged as the member of its monthly zip file."""
    for path in (recorded / "klines").rglob("*.csv"):
        source, symbol, interval = path.parts[-4:-1]
        home = "spot" if source == "spot" else "futures/um"
        key = f"/data/{home}/monthly/klines/{symbol}/{interval}/{path.stem}.zip"
        reply = get(replay, key)
        assert member(reply.body) == path.read_bytes()
    digest = hashlib.sha256(reply.body).hexdigest()
    assert get(replay, f"{key}.CHECKSUM").body.decode().startswith(digest)


def test_funding_is_cut_into_months(replay: DemoExchange, recorded: Path) -> None:
    """The months of a recorded funding file, put together, are that file."""
    folder = "data/futures/um/monthly/fundingRate/BTCUSDT/"
    months = [f"{year}-{month:02}" for year in range(2020, 2024) for month in range(1, 13)]
    texts = [member(get(replay, f"/{folder}BTCUSDT-fundingRate-{m}.zip").body) for m in months]
    whole = (recorded / "funding" / "BTCUSDT-fundingRate-2020-2023.csv").read_bytes()

    header = whole.splitlines(keepends=True)[0]
    assert header + b"".join(text.removeprefix(header) for text in texts) == whole
    assert all(text.startswith(header) for text in texts)


def test_rest_gives_the_recorded_klines(replay: DemoExchange, recorded: Path) -> None:
    """Paging through REST gives every recorded row that opened on the grid, with its digits, in order."""
    rows: list[list[str]] = []
    for path in sorted((recorded / "klines/spot/BTCUSDT/1h").glob("*.csv")):
        rows += csv.reader(io.StringIO(path.read_text()))
    # Of the 43 hours of February 2018 that the archive has off the grid, REST has none.
    expected = {int(row[0]): row for row in rows if int(row[0]) % 3_600_000 == 0}
    assert len(expected) == len(rows) - 43
    end = max(expected)
    pages: list[list[object]] = []
    start = 0
    while start <= end:
        query = {"symbol": "BTCUSDT", "interval": "1h", "limit": 1000}
        page = get(replay, "/api/v3/klines", **query, startTime=start, endTime=end).json
        pages += page
        start = page[-1][0] + 1

    assert [page[0] for page in pages] == sorted(expected)
    for page in pages:
        assert [str(cell) for cell in page] == expected[int(str(page[0]))]


def test_microsecond_files_are_milliseconds_on_rest(replay: DemoExchange) -> None:
    """k-lines recorded in µs have ms on REST, the close time too."""
    query = {"symbol": "BTCUSDT", "interval": "1h", "startTime": 1778198400000, "limit": 1}
    [row] = get(replay, "/api/v3/klines", **query).json

    assert (row[0], row[6]) == (1778198400000, 1778201999999)
    assert row[1] == "80006.00000000"


def test_rest_gives_the_recorded_funding(replay: DemoExchange) -> None:
    """Funding of REST is that of the archive, header or not, zip or not."""
    start = int(datetime(2026, 4, 1, tzinfo=UTC).timestamp() * 1000)
    page = get(replay, "/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=start, limit=1000).json
    recorded_rows = (
        member(
            get(
                replay,
                "/data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2026-04.zip",
            ).body
        )
        .decode()
        .splitlines()[1:]
    )

    assert [f"{row['fundingTime']},8,{row['fundingRate']}" for row in page] == recorded_rows


def test_what_was_not_recorded(replay: DemoExchange) -> None:
    """A known symbol has empty lists for what is missing; an unknown one is an error."""
    known = get(replay, "/api/v3/klines", symbol="BTCUSDT", interval="1d")
    trades = get(replay, "/api/v3/aggTrades", symbol="BTCUSDT")
    unknown = get(replay, "/api/v3/klines", symbol="SOLUSDT", interval="1h")
    info = get(replay, "/api/v3/exchangeInfo").json

    assert known.body == trades.body == b"[]"
    assert unknown.json["code"] == -1121
    assert [one["symbol"] for one in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    assert replay.settings().market == "replay"


def test_recordings_are_listed(replay: DemoExchange) -> None:
    """The listing has the recorded files, made ones among them, with their sizes."""
    prefix = "data/spot/monthly/klines/BTCUSDT/1h/"
    listing = get(replay, "/data.binance.vision", prefix=prefix, delimiter="/").body.decode()
    size = len(get(replay, f"/{prefix}BTCUSDT-1h-2018-02.zip").body)

    assert listing.count("<Key>") == 110
    assert f"<Size>{size}</Size>" in listing


def test_a_frozen_clock_holds_for_replay_too(recorded: Path) -> None:
    """With `now`, later files are not published and later rows not there."""
    with DemoExchange(recorded, now=datetime(2020, 2, 1, tzinfo=UTC)) as replay:
        newest = get(replay, "/api/v3/klines", symbol="BTCUSDT", interval="1h", limit=1).json
        missing = get(replay, "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2020-01.zip")
        present = get(replay, "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2019-12.zip")

    assert newest[0][0] == int(datetime(2020, 2, 1, tzinfo=UTC).timestamp() * 1000)
    assert (missing.status, present.status) == (404, 200)


def test_trades_are_answered_by_id_and_time(tmp_path: Path) -> None:
    """Recorded spot trades are paged by id and by time, in ms and in µs."""
    folder = tmp_path / "data/spot/daily/aggTrades/BTCUSDT"
    folder.mkdir(parents=True)
    rows = "".join(
        f"{100 + n},5.00000000,1.00000000,{200 + n},{200 + n},{1735689600000000 + n * 600},True,True\n"
        for n in range(10)
    )
    with zipfile.ZipFile(folder / "BTCUSDT-aggTrades-2025-01-01.zip", "w") as archive:
        archive.writestr("BTCUSDT-aggTrades-2025-01-01.csv", rows)

    with DemoExchange(tmp_path) as replay:
        path = "/api/v3/aggTrades"
        by_id = get(replay, path, symbol="BTCUSDT", fromId=104, limit=2).json
        by_time = get(replay, path, symbol="BTCUSDT", startTime=1735689600001, limit=2).json
        upto = get(replay, path, symbol="BTCUSDT", endTime=1735689600001, limit=2).json
        fine = ask_of(replay, path, {"X-MBX-TIME-UNIT": "MICROSECOND"}, symbol="BTCUSDT").json

    assert [row["a"] for row in by_id] == [104, 105]
    assert [row["a"] for row in by_time] == [102, 103]
    assert [row["a"] for row in upto] == [102, 103]
    assert json.dumps(fine[1]["T"]) == "1735689600000600"


FUTURES = {
    "um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2026-09-30": "um_klines/BTCUSDT-1m-2026-09-30",
    "um/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-09-30": "um_aggTrades/BTCUSDT-aggTrades-2026-09-30",
    "um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2026-09-30": "um_metrics/BTCUSDT-metrics-2026-09-30",
    "um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2025-10": "um_fundingRate/BTCUSDT-fundingRate-exponent",
    "cm/daily/aggTrades/BTCUSD_PERP/BTCUSD_PERP-aggTrades-2023-06-25": "cm_aggTrades/BTCUSD_PERP-aggTrades-2023-06-25",
    "cm/daily/metrics/BTCUSD_PERP/BTCUSD_PERP-metrics-2023-06-25": "cm_metrics/BTCUSD_PERP-metrics-2023-06-25",
    "cm/monthly/fundingRate/BTCUSD_PERP/BTCUSD_PERP-fundingRate-2023-06": "cm_fundingRate/BTCUSD_PERP-fundingRate-2023-06",
}
PRICES = "1727654400000,63000.10,63010.00,62990.00,-0.00001234,0,1727654459999,0,60,0,0,0\n"


def put(folder: Path, key: str, text: bytes) -> None:
    """Write a zip file with one member below a folder of recorded data."""
    path = folder / f"data/futures/{key}.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}.csv", text)


@pytest.fixture(scope="module")
def futures(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoExchange]:
    """Replays what Binance served of futures, and made rows of the kinds that were not recorded."""
    source, folder = recorded.parent / "futures/archive", tmp_path_factory.mktemp("futures")
    if not source.is_dir():
        pytest.skip("no folder ../futures of recorded data at ARES_TEST_DATA")
    for key, name in FUTURES.items():
        put(folder, key, (source / f"{name}.csv").read_bytes())
    for key in (
        "um/daily/premiumIndexKlines/BTCUSDT/1m/BTCUSDT-1m-2024-09-30",
        "cm/daily/markPriceKlines/BTCUSD_PERP/1m/BTCUSD_PERP-1m-2024-09-30",
        "cm/daily/indexPriceKlines/BTCUSD/1m/BTCUSD-1m-2024-09-30",
        "cm/monthly/klines/BTCUSD_241227/1m/BTCUSD_241227-1m-2024-09",
    ):
        put(folder, key, PRICES.encode())
    with DemoExchange(folder, now=datetime(2026, 10, 9, tzinfo=UTC)) as running:
        yield running


def test_rest_gives_the_recorded_rows_of_futures(futures: DemoExchange, recorded: Path) -> None:
    """K-lines and trades of futures come from recorded files, with the digits that were recorded."""
    source = recorded.parent / "futures/archive"
    _, first, *_ = (source / "um_klines/BTCUSDT-1m-2026-09-30.csv").read_text().splitlines()
    _, trade, *_ = (
        (source / "cm_aggTrades/BTCUSD_PERP-aggTrades-2023-06-25.csv").read_text().splitlines()
    )
    window = {"interval": "1m", "startTime": 1790726400000, "limit": 1}
    [row] = get(futures, "/fapi/v1/klines", symbol="BTCUSDT", **window).json
    [sent] = get(
        futures, "/dapi/v1/aggTrades", symbol="BTCUSD_PERP", fromId=261091940, limit=1
    ).json

    assert ",".join(map(str, row)) == first
    assert (
        ",".join(str(sent[name]) for name in ("a", "p", "q", "f", "l", "T", "m")).lower() == trade
    )


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/fapi/v1/premiumIndexKlines", {"symbol": "BTCUSDT"}),
        ("/dapi/v1/markPriceKlines", {"symbol": "BTCUSD_PERP"}),
        ("/dapi/v1/indexPriceKlines", {"pair": "BTCUSD"}),
        ("/dapi/v1/klines", {"symbol": "BTCUSD_241227"}),
    ],
)
def test_rest_gives_recorded_klines_of_each_kind(
    futures: DemoExchange, path: str, query: dict[str, str]
) -> None:
    """Each kind of k-lines that was recorded is answered, an index by its pair."""
    start = 1727654400000
    page = get(futures, path, **query, interval="1m", startTime=start, endTime=start).json

    assert [",".join(map(str, row)) + "\n" for row in page] == [PRICES]


def test_recorded_rates_lose_their_exponent_at_rest(futures: DemoExchange) -> None:
    """A rate that the archive writes as -1.8E-7 is -0.00000018 at REST; COIN-M has its own rows."""
    start = 1760976000000
    page = get(futures, "/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=start).json
    coin = get(futures, "/dapi/v1/fundingRate", symbol="BTCUSD_PERP", startTime=0).json

    assert page[0]["fundingRate"] == "-0.00000018"
    assert all(len(row["fundingRate"].partition(".")[2]) == 8 for row in page)
    assert [row["fundingTime"] for row in coin] == [1685577600011, 1685606400000, 1685635200001]


def test_recorded_metrics_are_statistics_at_rest(futures: DemoExchange, recorded: Path) -> None:
    """A recorded row of metrics is open interest and ratio at REST, five minutes after its label."""
    path = recorded.parent / "futures/archive/um_metrics/BTCUSDT-metrics-2026-09-30.csv"
    cells = path.read_text().splitlines()[1].split(",")
    at = int(datetime.fromisoformat(cells[0] + "+00:00").timestamp() * 1000) + 300_000
    query = {"symbol": "BTCUSDT", "period": "5m", "startTime": at, "limit": 1}
    [held] = get(futures, "/futures/data/openInterestHist", **query).json
    [ratio] = get(futures, "/futures/data/globalLongShortAccountRatio", **query).json

    assert held["timestamp"] == ratio["timestamp"] == at
    assert held["sumOpenInterest"] + "0" * 8 == cells[2]
    assert ratio["longShortRatio"] == f"{float(cells[6]):.4f}"


def test_exchange_info_has_the_recorded_contracts(futures: DemoExchange) -> None:
    """Contracts are named as their files: a quarter has the delivery date of its name."""
    info = {one["symbol"]: one for one in get(futures, "/dapi/v1/exchangeInfo").json["symbols"]}

    assert sorted(info) == ["BTCUSD_241227", "BTCUSD_PERP"]
    quarter = info["BTCUSD_241227"]
    assert quarter["deliveryDate"] == 1735286400000
    assert (quarter["pair"], quarter["baseAsset"], quarter["contractSize"]) == (
        "BTCUSD",
        "BTC",
        100,
    )


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    """An empty or missing folder is an error at once, not an empty market later."""
    with pytest.raises(FileNotFoundError, match="no recorded"):
        DemoExchange(tmp_path)
    with pytest.raises(FileNotFoundError, match="not a folder"):
        DemoExchange(tmp_path / "nope")
