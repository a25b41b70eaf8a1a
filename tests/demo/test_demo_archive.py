"""The archive publishes, lists and serves files as Binance's does."""

from __future__ import annotations

import hashlib
import io
import re
import xml.etree.ElementTree as ET
import zipfile
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest
from conftest import NOW, Ask, Reply, ask_of

from ares_notebook.demo import DemoExchange
from ares_notebook.demo.archive import published_at
from ares_notebook.demo.archive_files import SyntheticFiles, pack

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
SPOT = "data/spot"
HOURS = f"{SPOT}/monthly/klines/BTCUSDT/1h/"


def listed(ask: Ask, **query: object) -> tuple[ET.Element, list[str]]:
    """A page of a listing, and the keys on it."""
    page = ET.fromstring(ask("/data.binance.vision", **query).body)  # noqa: S314 - our own XML
    assert page.tag == f"{NAMESPACE}ListBucketResult"
    return page, [item.text or "" for item in page.iterfind(f"{NAMESPACE}Contents/{NAMESPACE}Key")]


def text(page: ET.Element, name: str) -> str | None:
    return page.findtext(NAMESPACE + name)


@pytest.mark.parametrize(
    "key",
    [
        f"{SPOT}/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2017-08.zip",
        f"{SPOT}/monthly/klines/ETHBTC/1m/ETHBTC-1m-2025-02.zip",
        f"{SPOT}/monthly/klines/MATICUSDT/5m/MATICUSDT-5m-2024-09.zip",
        f"{SPOT}/monthly/klines/BTCUSDT/3d/BTCUSDT-3d-2026-04.zip",
        f"{SPOT}/monthly/klines/BTCUSDT/1mo/BTCUSDT-1mo-2026-04.zip",
        f"{SPOT}/daily/klines/BTCUSDT/1s/BTCUSDT-1s-2025-03-14.zip",
        f"{SPOT}/daily/klines/BTCUSDT/1d/BTCUSDT-1d-2026-05-30.zip",
        f"{SPOT}/daily/aggTrades/DOGEUSDT/DOGEUSDT-aggTrades-2019-07-05.zip",
        f"{SPOT}/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-03-14.zip",
        f"{SPOT}/monthly/aggTrades/币安人生USDT/币安人生USDT-aggTrades-2025-10.zip",
        "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2026-04.zip",
    ],
)
def test_objects_are_what_the_listing_says(ask: Ask, key: str) -> None:
    """Size, tag and time of an object are those of its listing, its hash that of its checksum."""
    page, keys = listed(ask, prefix=key, delimiter="/")
    sizes = [int(item.text or 0) for item in page.iter(f"{NAMESPACE}Size")]
    tags = [item.text for item in page.iter(f"{NAMESPACE}ETag")]
    dates = [item.text for item in page.iter(f"{NAMESPACE}LastModified")]
    body, checksum = ask("/" + key), ask(f"/{key}.CHECKSUM")

    assert keys == [key, f"{key}.CHECKSUM"]
    assert [(200, len(body.body)), (200, len(checksum.body))] == [(200, size) for size in sizes]
    assert [body.headers["etag"], checksum.headers["etag"]] == tags
    modified = parsedate_to_datetime(body.headers["last-modified"])
    assert dates[0] == f"{modified:%Y-%m-%dT%H:%M:%S.000Z}"
    assert body.headers["content-type"] == "application/zip"
    digest = hashlib.sha256(body.body).hexdigest()
    name = key.rpartition("/")[2]
    ending = "\n" if "futures" in key else ""
    assert f"{digest}  {name}{ending}".encode() == checksum.body


def test_zips_are_whole(ask: Ask) -> None:
    """A zip file has one deflated member of its own name, and nothing is wrong with it."""
    reply = ask(f"/{SPOT}/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2025-03-14.zip")

    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        [info] = archive.infolist()
        assert archive.testzip() is None
        assert info.compress_type == zipfile.ZIP_DEFLATED
        assert info.filename == "BTCUSDT-aggTrades-2025-03-14.csv"
        first = archive.read(info).splitlines()[0]
    assert re.fullmatch(rb"\d+,\d+\.\d{8},\d+\.\d{8},\d+,\d+,\d{16},(True|False),True", first)


@pytest.mark.parametrize("spare", [0, 1, 4, 5, 1_234, 100_000])
def test_zips_have_the_size_they_shall_have(spare: int) -> None:
    """A zip file can be made any number of bytes larger, and still reads the same."""
    rows = b"".join(b"%d,%d\n" % (n, n * n) for n in range(3_000))
    small = pack("a.csv", lambda: [rows])

    made = pack("a.csv", lambda: [rows[:100], rows[100:]], len(small) + spare)

    assert len(made) == len(small) + spare
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.read("a.csv") == rows


def test_zips_that_must_be_smaller_are_compressed_harder() -> None:
    """A size that fast compression misses is met by slow compression, or refused."""
    rows = b"".join(b"%.8f,%d,False\n" % (n % 97 * 0.01, n) for n in range(3_000))
    small = pack("a.csv", lambda: [rows])

    assert len(pack("a.csv", lambda: [rows], len(small) - 50)) == len(small) - 50
    with pytest.raises(ValueError, match="announced"):
        pack("a.csv", lambda: [rows], 500)


@pytest.mark.parametrize(
    "key",
    [
        f"{HOURS}BTCUSDT-1h-2017-07.zip",  # before the listing
        f"{HOURS}BTCUSDT-1h-2026-06.zip",  # not published
        f"{HOURS}BTCUSDT-1h-2026-13.zip",
        f"{HOURS}ETHUSDT-1h-2026-01.zip",  # in the wrong folder
        f"{SPOT}/daily/klines/BTCUSDT/1w/BTCUSDT-1w-2026-01-05.zip",  # monthly only
        f"{SPOT}/monthly/klines/BTCUSDT/1M/BTCUSDT-1M-2026-01.zip",  # spelt 1mo there
        f"{SPOT}/monthly/klines/NOPEUSDT/1h/NOPEUSDT-1h-2026-01.zip",
        f"{SPOT}/daily/aggTrades/MATICUSDT/MATICUSDT-aggTrades-2024-09-11.zip",  # gone
        "data/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2019-12.zip",
        "data/<&>.zip",
    ],
)
def test_what_is_not_there(ask: Ask, key: str) -> None:
    """A key without an object gets 404 and S3's XML, and so does its checksum."""
    reply = ask("/" + key)
    root = ET.fromstring(reply.body)  # noqa: S314 - our own XML

    assert (reply.status, reply.headers["content-type"]) == (404, "application/xml")
    assert (root.tag, root.findtext("Code"), root.findtext("Key")) == ("Error", "NoSuchKey", key)
    assert ask(f"/{key}.CHECKSUM").status == 404


@pytest.mark.parametrize(
    ("key", "moment"),
    [
        (f"{SPOT}/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2026-05-30.zip", "2026-05-31T04:00"),
        (f"{HOURS}BTCUSDT-1h-2025-09.zip", "2025-10-06T02:01"),
        (f"{HOURS}BTCUSDT-1h-2025-08.zip", "2025-09-01T02:01"),
        (f"{SPOT}/monthly/klines/BTCUSDT/1w/BTCUSDT-1w-2025-09.zip", "2025-10-06T02:01"),
        (f"{SPOT}/monthly/klines/BTCUSDT/3d/BTCUSDT-3d-2025-08.zip", "2025-09-01T02:01"),
        (f"{SPOT}/monthly/klines/BTCUSDT/3d/BTCUSDT-3d-2024-06.zip", "2024-07-02T02:01"),
    ],
)
def test_publication(key: str, moment: str) -> None:
    """A day appears at 04:00 of the next, a month on the first Monday after it at 02:01."""
    published = datetime.fromisoformat(moment).replace(tzinfo=UTC)

    with DemoExchange(now=published - timedelta(seconds=1)) as exchange:
        before = ask_of(exchange, "/" + key, {}).status
        exchange.now = published
        after = ask_of(exchange, "/" + key, {})

    assert published_at(key) == published
    assert (before, after.status) == (404, 200)
    assert parsedate_to_datetime(after.headers["last-modified"]) == published


def test_withheld_files(ask: Ask) -> None:
    """What is withheld is neither served nor listed until it is released."""
    key = f"{HOURS}BTCUSDT-1h-2025-09.zip"
    with DemoExchange(now=NOW) as exchange:

        def ask_it(path: str, **query: object) -> Reply:
            return ask_of(exchange, path, {}, **query)

        exchange.withhold(r"-1h-2025-09\.zip")
        assert ask_it("/" + key).status == 404
        assert not [k for k in listed(ask_it, prefix=HOURS)[1] if "2025-09" in k]
        exchange.release(r"-1h-2025-09\.zip")
        assert ask_it("/" + key).status == 200
        exchange.withhold(r"CHECKSUM$")
        assert (ask_it("/" + key).status, ask_it(f"/{key}.CHECKSUM").status) == (200, 404)
    assert ask("/" + key).status == 200


def test_listing_goes_page_by_page(ask: Ask) -> None:
    """Pages of 1,000 keys, followed by their markers, give each key once and in order."""
    prefix = f"{SPOT}/daily/aggTrades/BTCUSDT/"
    keys: list[str] = []
    marker = ""
    pages = 0
    while True:
        page, found = listed(ask, prefix=prefix, delimiter="/", marker=marker)
        keys += found
        pages += 1
        assert text(page, "Marker") == marker
        if text(page, "IsTruncated") == "false":
            assert text(page, "NextMarker") is None
            break
        assert len(found) == 1000
        assert text(page, "NextMarker") == found[-1]
        marker = found[-1]

    days = (datetime(2026, 5, 31, tzinfo=UTC) - datetime(2017, 8, 17, tzinfo=UTC)).days
    assert len(keys) == 2 * (days + 1)
    assert keys == sorted(set(keys))
    assert pages == -(-len(keys) // 1000)


def test_listing_rolls_folders_up(ask: Ask) -> None:
    """With a delimiter, folders are common prefixes, each listed once, and pages count them."""
    prefix = f"{SPOT}/monthly/klines/"
    page, keys = listed(ask, prefix=prefix, delimiter="/")
    folders = [item.text or "" for item in page.iterfind(f"{NAMESPACE}CommonPrefixes/*")]
    few, _ = listed(ask, **{"prefix": prefix, "delimiter": "/", "max-keys": 3})
    following, _ = listed(ask, prefix=prefix, delimiter="/", marker=text(few, "NextMarker"))

    assert not keys
    assert len(folders) == 53
    assert folders == sorted(folders)
    assert f"{prefix}币安人生USDT/" in folders
    assert text(few, "NextMarker") == folders[2]
    assert [item.text for item in following.iterfind(f"{NAMESPACE}CommonPrefixes/*")] == folders[3:]


def test_listing_without_a_delimiter_goes_into_folders(ask: Ask) -> None:
    """Without a delimiter all keys below a prefix come, and no NextMarker."""
    page, keys = listed(ask, **{"prefix": "data/futures/um/monthly/funding", "max-keys": 1000})

    assert text(page, "IsTruncated") == "true"
    assert text(page, "NextMarker") is None
    assert keys == sorted(keys)
    assert len({key.rpartition("/")[0] for key in keys}) > 3


def test_unknown_prefixes_list_nothing(ask: Ask) -> None:
    """A prefix without objects gives an empty list and status 200."""
    page, keys = listed(ask, prefix=f"{SPOT}/monthly/klines/NOPEUSDT/1h/", delimiter="/")

    assert not keys
    assert text(page, "IsTruncated") == "false"


def test_the_data_host_shows_browsers_a_page(ask: Ask) -> None:
    """The listing's query on the archive host itself gives HTML and 200, not a listing."""
    reply = ask("/", prefix=HOURS, delimiter="/")

    assert (reply.status, reply.headers["content-type"]) == (200, "text/html")


def test_two_exchanges_serve_the_same_bytes(ask: Ask) -> None:
    """Another exchange, asked in another order, serves the same bytes for the same key."""
    keys = [
        f"/{SPOT}/daily/aggTrades/ETHUSDT/ETHUSDT-aggTrades-2025-03-14.zip",
        f"/{SPOT}/monthly/klines/ETHUSDT/15m/ETHUSDT-15m-2024-12.zip",
    ]
    first = [ask(key).body for key in keys]

    with DemoExchange() as other:
        second = [ask_of(other, key, {}).body for key in reversed(keys)]

    assert first == second[::-1]


def test_warming_makes_files_ahead() -> None:
    """Warming up makes every published file that matches, and says how many."""
    with DemoExchange(now=NOW) as exchange:
        assert exchange.warm(r"spot/monthly/klines/SOLUSDT/1h/.*2025") == 12


def test_the_page_for_browsers_names_the_listing() -> None:
    """The bucket's page says where its listing is, as programs look it up there."""
    with DemoExchange(now=NOW) as exchange:
        page = ask_of(exchange, "/", {}).body.decode()

        assert f"var BUCKET_URL = '{exchange.url}/data.binance.vision';" in page


def test_the_archive_forgets_what_was_not_asked_for_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond its memory only the newest file is kept; the one before is made anew, the same."""
    made: list[str] = []
    build = SyntheticFiles.build
    monkeypatch.setattr(
        SyntheticFiles, "build", lambda s, key: (made.append(key), build(s, key))[1]
    )
    days = [f"/{SPOT}/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01-0{day}.zip" for day in (1, 2)]
    with DemoExchange(now=NOW, archive_memory_bytes=1) as exchange:
        first, *_, again = [ask_of(exchange, path, {}).body for path in (*days, days[1], days[0])]

    assert [f"/{key}" for key in made] == [*days, days[0]]
    assert first == again


def test_candles_of_perpetuals_are_as_the_exchange_writes_them(ask: Ask) -> None:
    """They have a header, milliseconds in every year, and begin with the archive of futures."""
    folder = "data/futures/um/daily/klines/BTCUSDT/1h"
    reply = ask(f"/{folder}/BTCUSDT-1h-2025-03-14.zip")
    _, keys = listed(ask, prefix=f"{folder}/", delimiter="/", **{"max-keys": 2})

    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        header, first, *_ = archive.read("BTCUSDT-1h-2025-03-14.csv").splitlines()
    assert header.startswith(b"open_time,open,high,low,close,volume,close_time,quote_volume,count")
    assert first.startswith(b"1741910400000,")
    assert keys[0] == f"{folder}/BTCUSDT-1h-2019-12-31.zip"
