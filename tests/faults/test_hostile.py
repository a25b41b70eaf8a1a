"""Hostile input: arguments, answers, servers, files that somebody made to do harm."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import zipfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, fields
from datetime import UTC, date, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest

import ares_notebook as ares
from ares_notebook import Settings
from ares_notebook.binance.archive import Archive
from ares_notebook.binance.http import Ask, Transport
from ares_notebook.binance.rest import Rest
from ares_notebook.binance.zips import lines_of
from ares_notebook.errors import AresError, BadAnswer, BadArgument, Unreachable
from ares_notebook.model.files import Series
from ares_notebook.model.markets import SPOT
from ares_notebook.settings import URLS

DAY = 1 / 365.25
PACKAGE = Path(ares.__file__).parent
BIDI = "\u202e"

STRANGE = [
    "", " ", ".", "..", "../../etc/passwd", "/etc/passwd", "..\\..\\x", "C:\\x", "\\\\host\\x",
    "BTC\0USDT", "BTC\nUSDT", "BTC\r\nX-Evil: 1", "BTC%2F..%2F", "%2e%2e%2f", "BTC?x=1", "BTC#x",
    "BTC&symbol=X", "-rf", "--help", ".hidden", "_x", "BTC USDT", "BTC\tUSDT", "A" * 41, "A" * 10_000,
    "BTC" + BIDI + "TDSU", "BTC\u200bUSDT", "BTC\u2044USDT", "BTC\uff0fUSDT", "BTC\u2024USDT",
    "\ud800", "\udcff", "BTC\x7f", "BTC\x1b[2J", "<script>", "'; rm -rf /", "$(id)", "{symbol}", "*",
    None, 5, 5.5, b"BTCUSDT", [], ["BTCUSDT"], {}, ("BTCUSDT",), object, True,
]  # fmt: skip
# As a symbol these have the right form: they become names of files, and those lie where they should.
ODD_SYMBOLS = ["CON", "NUL", "AUX", "ВТСUSDT", "ＢＴＣUSDT", "null", "币安人生USDT", "ßßßß", "ı"]
MOMENTS = [
    "", "now", "yesterday", "../x", "2025-02-30", "2025-13-01", "99999-01-01", "0000-00-00", "\0", BIDI, "٢٠٢٥-٠١-٠١", "9" * 5000, "1e9", float("nan"), float("inf"), 10**30,
    -1, [], {}, object, b"2025-01-01", datetime(2025, 1, 1),  # noqa: DTZ001 - the point of it
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=23))),
]  # fmt: skip
FAR = [date.min, date.max, datetime.max.replace(tzinfo=UTC), "0001-01-01", "9999-12-31T23:59"]


def shown(value):
    return repr(value)[:30]


@pytest.fixture
def known(exchange, settings):
    """Settings of a cache that holds a month of candles."""
    job = ares.download_klines_data("BTCUSDT", "1h", 28 * DAY, end="2025-03-01", settings=settings)
    ares.run(job).raise_for_failures()
    exchange.requests.clear()
    return settings


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def verbs(settings, *, symbol="BTCUSDT", interval="1h", start=None, end=None, datasets=("klines",)):
    """Every public function that takes one of these, called with all of them."""
    window, own = {"start": start, "end": end}, {"settings": settings}
    return {
        "download_all_data": lambda: ares.run(
            ares.download_all_data(symbol, interval, DAY, end=end, datasets=datasets, **own)
        ),
        "download_klines_data": lambda: ares.run(
            ares.download_klines_data(symbol, interval, DAY, end=end, **own)
        ),
        "download_agg_trades_data": lambda: ares.run(
            ares.download_agg_trades_data(symbol, DAY, end=end, **own)
        ),
        "download_futures_data": lambda: ares.run(
            ares.download_futures_data(symbol, DAY, end=end, **own)
        ),
        "plan_downloads": lambda: ares.plan_downloads(
            symbol, interval, DAY, end=end, datasets=datasets, **own
        ),
        "fetch_missing_data": lambda: ares.run(
            ares.fetch_missing_data(
                symbol,
                0,
                1,
                dict.fromkeys(datasets) if isinstance(datasets, tuple) else {datasets: None},
                logging.getLogger("x"),
                interval=interval,
                **own,
            )
        ),
        "load_klines": lambda: ares.load_klines(symbol, interval, **window, **own),
        "load_agg_trades": lambda: ares.load_agg_trades(symbol, **window, **own),
        "load_futures": lambda: ares.load_futures(symbol, **window, **own),
        "coverage": lambda: ares.coverage(symbol, interval, **window, **own),
        "find_gaps": lambda: ares.find_gaps(symbol, interval, **window, **own),
        "repair_gaps": lambda: ares.run(ares.repair_gaps(symbol, interval, **window, **own)),
        "audit_cache": lambda: ares.run(ares.audit_cache(symbol, interval, **window, **own)),
        "validate_cache": lambda: ares.validate_cache(symbol, interval, **own),
        "assure_quality": lambda: ares.run(ares.assure_quality(symbol, interval, **own)),
        "download_history": lambda: ares.download_history(symbol, interval, **own),
        "fingerprint": lambda: ares.fingerprint(symbol, interval, start, end, **own),
        "prune_cache": lambda: ares.prune_cache(symbol, interval, keep=1, **own),
    }


TAKE_INTERVAL = {
    name
    for name in verbs(None)
    if name not in ("download_agg_trades_data", "download_futures_data")
    and name not in ("load_agg_trades", "load_futures")
}
TAKE_SEVERAL = {"load_klines", "load_futures"}
TAKE_DATASETS = {"download_all_data", "plan_downloads", "fetch_missing_data"}
TAKE_MOMENTS = set(verbs(None)) - {
    "fetch_missing_data",
    "validate_cache",
    "assure_quality",
    "download_history",
    "prune_cache",
}


def assert_refused(known, exchange, call, *, optional):
    """It is a bad argument, or left out; whichever, nothing was asked and nothing written."""
    before = tree(known.cache_dir.parent)
    try:
        call()
    except BadArgument:
        pass
    else:
        assert optional
    assert exchange.requests == []
    assert tree(known.cache_dir.parent) == before


@pytest.mark.parametrize("name", sorted(verbs(None)))
def test_no_strange_symbol_becomes_a_name_or_a_request(known, exchange, name):
    """Whatever verb it is given to, what cannot be a symbol is refused before disk and line are touched."""
    for symbol in STRANGE:
        optional = symbol is None and name in (
            "coverage", "validate_cache", "assure_quality", "download_history", "prune_cache", "audit_cache", "find_gaps",
        )  # fmt: skip
        is_several = isinstance(symbol, list | tuple) and bool(symbol)
        if optional or (is_several and name in TAKE_SEVERAL):
            continue
        assert_refused(known, exchange, verbs(known, symbol=symbol)[name], optional=False)


@pytest.mark.parametrize("name", sorted(TAKE_INTERVAL))
def test_no_strange_interval_becomes_a_name_or_a_request(known, exchange, name):
    """The same of intervals."""
    for interval in [each for each in STRANGE if each is not None]:
        assert_refused(known, exchange, verbs(known, interval=interval)[name], optional=False)


@pytest.mark.parametrize("name", sorted(TAKE_DATASETS))
def test_no_strange_dataset_becomes_a_name_or_a_request(known, exchange, name):
    """The same of names of datasets."""
    for dataset in [each for each in STRANGE if isinstance(each, str | int | float | bytes)]:
        call = verbs(known, datasets=(dataset,))[name]
        assert_refused(known, exchange, call, optional=False)


@pytest.mark.parametrize("name", sorted(TAKE_MOMENTS))
def test_no_strange_moment_becomes_a_name_or_a_request(known, exchange, name):
    """The same of moments; what lies before or behind all data is an error of ours, too, and soon."""
    for moment in MOMENTS:
        assert_refused(known, exchange, verbs(known, end=moment)[name], optional=False)
    for moment in FAR:
        for window in ({"start": moment}, {"end": moment}):
            try:
                verbs(known, **window)[name]()
            except (AresError, UserWarning):
                continue


@pytest.mark.parametrize("moment", [-1, 10**30, 2**63, 1.5, float("nan"), "0", None, True])
async def test_no_strange_stamp_is_asked_for(known, exchange, moment):
    """A stamp that is no moment in milliseconds is refused by step1."""
    for window in ((moment, 2**62), (0, moment)):
        with pytest.raises(BadArgument):
            await ares.fetch_missing_data(
                "BTCUSDT", *window, {"klines": None}, logging.getLogger("x"), interval="1h",
                settings=known,
            )  # fmt: skip
    assert exchange.requests == []


# A name that spot does not know may be that of a perpetual.
OF_SYMBOLS = ("/api/v3/", "/data/spot/", "/fapi/v1/", "/data/futures/um/monthly/fundingRate/")


@pytest.mark.parametrize("symbol", ODD_SYMBOLS)
def test_an_odd_symbol_stays_where_it_belongs(exchange, settings, symbol):
    """A symbol of the right form and of any script asks for its own address and names files in the cache alone."""
    before = tree(settings.cache_dir.parent)
    with suppress(AresError):
        ares.run(ares.download_klines_data(symbol, "1h", DAY, end="2025-03-01", settings=settings))
    for path in set(tree(settings.cache_dir.parent)) - set(before):
        assert Path(path).parts[0] == settings.cache_dir.name
    for request in exchange.requests:
        assert request.path.startswith((*OF_SYMBOLS, "/data.binance.vision"))
        assert ".." not in request.path


ADDRESSES = [
    "", "api.binance.com", "//api.binance.com", "ftp://x", "file:///etc/passwd", "javascript:alert(1)",
    "http://", "https://?", "https://x?", "https://x#", "https://x?a=1", "https://u@x", "https://:p@x",
    "https://@x", "https://u:p@x", "https://x:99999", "https://x:0", "https://x:-1", "https://x:y",
    "https://[::1", "https://x y", "https://x\n.y", "https://x\r\nHost: y", "https://x\0", "https://x\\y",
    f"https://x{BIDI}y", "https://x\u200by", "http://api.binance.com", "http://data.binance.vision",
    "http://BINANCE.COM", None, 5, b"https://x", ["https://x"],
]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES, ids=shown)
def test_no_strange_address_is_a_setting(address):
    """What is no plain address of http(s), or Binance without TLS, is refused by name."""
    for name in ("spot_url", "archive_listing_url"):
        with pytest.raises(BadArgument, match=f"{name}="):
            Settings(**{name: address})


@pytest.mark.parametrize("folder", ["", " ", "a\0b", "\ud800", "~nobody_of_that_name/x", None, 5, b"x"], ids=shown)  # fmt: skip
def test_no_strange_folder_is_a_setting(folder):
    """What no file system can call a folder is refused by name."""
    with pytest.raises(BadArgument, match="cache_dir="):
        Settings(cache_dir=folder)


@pytest.mark.parametrize(
    "symbol", ["../x", "BTC\nUSDT", "%2e%2e", "--cache-dir=/", f"BTC{BIDI}", "\udcff", "A" * 99], ids=shown
)  # fmt: skip
def test_the_command_line_refuses_the_same(tmp_path, symbol):
    """A strange word on the command line is status 2 with a sentence, without a traceback or a file."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "ares_notebook", "download", "--", symbol, "1h"],
        cwd=tmp_path,
        env={**os.environ, "ARES_ARCHIVE_URL": "http://127.0.0.1:9", "ARES_MARKET": "nobody"},
        capture_output=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 2
    assert b"symbol=" in done.stderr
    assert b"Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["../x", "<img src=x onerror=alert(1)>", f"BTC{BIDI}", "A" * 99])
def test_the_panel_refuses_the_same(known, exchange, text):
    """A strange word in a field of the panel is a remark, escaped, and leads to no plan."""
    panel = ares.DownloadPanel(known, end="2025-03-01", datasets=("klines",))
    before = tree(known.cache_dir.parent)
    try:
        panel.form.symbols.value = text
        with pytest.raises(BadArgument):
            panel.form.choice()
        with pytest.raises(BadArgument):
            ares.run(panel.download())
        panel.form.symbols.value = "BTCUSDT"
        panel.form.source.value = "Another address"
        for address in ("file:///etc/passwd", "http://x:99999", f"http://x{BIDI}"):
            panel.form.address.value = address
            with pytest.raises(BadArgument):
                panel.form.choice()
        panel.form.address.value = exchange.url
        panel.form.folder.value = "a\0b"
        with pytest.raises(BadArgument):
            panel.form.choice()
    finally:
        panel.close()

    assert tree(known.cache_dir.parent) == before
    assert {request.path for request in exchange.requests} <= {"/api/v3/exchangeInfo"}


# --- answers ---


@pytest.fixture
async def transport(exchange):
    settings = exchange.settings(max_retries=0, retry_delay_seconds=0, request_timeout_seconds=5)
    async with Transport(settings) as made:
        yield made


async def test_a_page_of_100_mb_is_refused(exchange, transport):
    """A page is read up to its bound; nobody holds a hundred megabytes of it."""
    exchange.fail("klines", replace_body=b"[" + b" " * (100 << 20))

    with pytest.raises(BadAnswer, match="answered with over 4,194,304 bytes"):
        await Rest(transport).page(Series.of("klines", "BTCUSDT", "1h"), {"startTime": 1}, 0, None)


async def test_an_archive_without_end_is_refused(exchange, transport, monkeypatch):
    """A zip is written to disk up to a bound."""
    monkeypatch.setattr("ares_notebook.binance.http._MOST_ARCHIVE_BYTES", 1 << 20)
    exchange.fail("ping", replace_body=b"x" * (2 << 20))
    sink = io.BytesIO()

    with pytest.raises(BadAnswer, match="answered with over 1,048,576 bytes"):
        await transport.download(
            Ask(f"{exchange.url}/api/v3/ping", "it"), sink, lambda file: file, fits=lambda _: None
        )
    assert len(sink.getvalue()) <= 1 << 20


@pytest.mark.parametrize("body", [b"[" * 1_000_000, b'{"a":' * 500_000, b"[" + b"[1]," * 900_000])
async def test_deep_and_long_answers_are_refused(exchange, transport, body):
    """Nesting a million deep ends in no overflow, wherever it comes."""
    for pattern in ("klines", "time", "exchangeInfo"):
        exchange.fail(pattern, times=None, replace_body=body)
    rest = Rest(transport)

    for ask in (
        lambda: rest.page(Series.of("klines", "BTCUSDT", "1h"), {"startTime": 1}, 0, None),
        rest.server_time_ms,
        partial(rest.symbols, SPOT),
    ):
        with pytest.raises(BadAnswer):
            await ask()


@pytest.mark.parametrize("now", [0, -1, 10**9, 10**18, 10**30, True, None, "soon", [], 1e300])
async def test_a_clock_that_cannot_be_is_no_clock(exchange, transport, now):
    """A time before the exchange opened, or none at all, is not believed: all data would lie behind it."""
    exchange.fail("time", replace_body=json.dumps({"serverTime": now}).encode())

    with pytest.raises(BadAnswer, match="its time"):
        await Rest(transport).server_time_ms()


async def test_a_listing_of_a_million_keys_is_refused(exchange, transport, tmp_path):
    """A listing is read up to its bound, and then is none."""
    entries = b"<Contents><Key>a</Key><Size>1</Size></Contents>" * 1_000_000
    exchange.fail("prefix=", times=None, replace_body=b"<ListBucketResult>" + entries)

    assert await Archive(transport, tmp_path)._listing("data/") is None


async def test_a_listing_without_end_has_one(exchange, transport, tmp_path):
    """A listing that always names a next page is asked for a hundred, and then none."""
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextMarker>a</NextMarker>"
        b"<Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>"
    )
    exchange.fail("prefix=", times=None, replace_body=page)

    assert await Archive(transport, tmp_path)._listing("data/") is None
    assert len(exchange.requests) <= 100


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
async def test_a_listing_with_entities_is_refused(exchange, transport, tmp_path, encoding):
    """A document type, behind which a bomb would hide, is refused in any encoding."""
    laughs = "".join(f'<!ENTITY a{at} "{f"&a{at - 1};" * 10}">' for at in range(1, 9))
    text = f'<!DOCTYPE x [<!ENTITY a0 "ha">{laughs}]><ListBucketResult>&a8;</ListBucketResult>'
    exchange.fail("prefix=", times=None, replace_body=text.encode(encoding))

    assert await Archive(transport, tmp_path)._listing("data/") is None


def test_a_directory_of_a_million_members_is_not_read():
    """A zip whose directory is larger than that of one member is refused before it is in memory."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for at in range(3_000):
            archive.writestr(f"{at}.csv", b"")

    with pytest.raises(BadAnswer, match="its directory has"):
        list(lines_of(io.BytesIO(sink.getvalue()), "a.csv", "here"))


NUMBERS = ["-1", f"{10**30}", "9" * 5000, "abc", "", "nan", "1e9", "٣", "0x10", "1, 2"]


@pytest.mark.parametrize("value", NUMBERS, ids=shown)
@pytest.mark.parametrize("name", ["X-MBX-USED-WEIGHT-1M", "Date", "Content-Language"])
async def test_absurd_headers_do_no_harm(exchange, transport, name, value):
    """Whatever a header says of weight or date, the answer comes, and so does the next."""
    exchange.fail("ping", headers={name: value.encode("ascii", "replace").decode()}, times=2)

    for _ in range(2):
        answer = await transport.get(
            Ask(f"{exchange.url}/api/v3/ping", "it", weight=1, counter="spot"), bytes
        )
        assert answer == b"{}"


@pytest.mark.parametrize(
    "value", ["Wed, 21 Oct 2099 07:28:00 GMT", "-5", "nan", f"{10**12}", "9" * 5000], ids=shown
)
async def test_absurd_waits_are_not_waited_for(exchange, value):
    """A Retry-After that is no number of seconds is a wait of our own; a ban of centuries is told at once."""
    exchange.fail("ping", status=429, headers={"Retry-After": value})
    settings = exchange.settings(retry_delay_seconds=0, max_retries=1)

    async with Transport(settings) as transport:
        answer = await transport.get(Ask(f"{exchange.url}/api/v3/ping", "it"), bytes)

    assert answer == b"{}"


# --- servers that speak no proper HTTP ---


@contextmanager
def speaking(said: bytes, forever: bytes = b"", context: ssl.SSLContext | None = None):
    """A server on loopback that says just this to whoever comes, and then goes on for ever or closes."""
    listening = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()

    def serve():
        while not stopping.is_set():
            try:
                line, _ = listening.accept()
            except OSError:
                return
            with ExitStack() as stack:
                stack.enter_context(line)
                try:
                    own = context.wrap_socket(line, server_side=True) if context else line
                    stack.enter_context(own)
                    own.recv(65_536)
                    own.sendall(said)
                    while forever and not stopping.is_set():
                        own.sendall(forever)
                except OSError:
                    # Who has had enough closes the line.
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        stopping.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(30)


OK = b"HTTP/1.1 200 OK\r\n"
SPEECHES = {
    "no HTTP": (b"hello\r\n\r\n", b""),
    "a status that is none": (b"HTTP/1.1 abc OK\r\n\r\n", b""),
    "a status of six digits": (b"HTTP/1.1 200000 OK\r\n\r\n", b""),
    "a header of a megabyte": (OK + b"X: " + b"x" * (1 << 20) + b"\r\n\r\n", b""),
    "headers without end": (OK, b"X-A: " + b"x" * 100 + b"\r\n"),
    "a header line without end": (OK + b"X: ", b"x" * 1000),
    "a header with a zero": (OK + b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}", b""),
    "a length below zero": (OK + b"Content-Length: -1\r\n\r\n{}", b""),
    "a length that is none": (OK + b"Content-Length: abc\r\n\r\n{}", b""),
    "two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", b""),
    "a length of a googol": (OK + b"Content-Length: 1" + b"0" * 100 + b"\r\n\r\n{}", b""),
    "chunks that are none": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b""),
    "a chunk without end": (
        OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
        b"x" * 65_536,
    ),
    "compression that is none": (
        OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"",
    ),
    "compression of no name": (OK + b"Content-Encoding: x\r\nContent-Length: 2\r\n\r\n{}", b""),
    "an empty line": (b"", b""),
    "a switch of protocols": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", b""),
    "a hundred continues": (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, b""),
}


@pytest.mark.parametrize("said", SPEECHES.values(), ids=SPEECHES)
async def test_a_server_that_speaks_no_proper_http(said):
    """Whatever comes in place of an answer is an error of ours, or a body that is none; and memory is bounded."""
    with speaking(*said) as place:
        settings = Settings(
            spot_url=f"http://{place}", archive_url=f"http://{place}", api_key="S3CRET",
            futures_url=f"http://{place}", spot_fallback_url=f"http://{place}",
            archive_listing_url=f"http://{place}",
            max_retries=0, request_timeout_seconds=5, operation_timeout_seconds=20,
        )  # fmt: skip
        async with Transport(settings) as transport:
            try:
                said = await transport.get(Ask(f"http://{place}/x", "it"), bytes)
            except AresError as error:
                said = f"{error!r} {error.__cause__!r}"
    assert said in (b"", b"{}") or "S3CRET" not in said


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that nobody has signed but itself, and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    both, key = folder / "both.pem", folder / "key.pem"
    subprocess.run(  # noqa: S603 - nothing from outside is in it
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",  # noqa: S607 - wherever it lies
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", both],
        capture_output=True,
        check=True,
    )  # fmt: skip
    both.write_text(both.read_text() + key.read_text())
    return both


@pytest.fixture
def signed_by_itself(certificate):
    """The address of a server on loopback that shows it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with speaking(
        OK + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}", context=context
    ) as place:
        yield f"https://{place}"


async def test_a_certificate_of_its_own_is_refused(signed_by_itself):
    """A server that signs for itself is not spoken to, and the message says what is wrong and what helps."""
    urls = dict.fromkeys(URLS, signed_by_itself)
    async with Transport(Settings(**urls, max_retries=0)) as transport:
        with pytest.raises(Unreachable, match=r"could not prove .* let SSL_CERT_FILE name"):
            await transport.get(Ask(f"{signed_by_itself}/x", "it"), bytes)


ASK = """
import asyncio, sys
from ares_notebook import Settings
from ares_notebook.binance.http import Ask
from ares_notebook.binance.http import Transport
async def main():
    async with Transport(Settings(max_retries=0)) as transport:
        return await transport.get(Ask(sys.argv[1], "it"), bytes)
print(asyncio.run(main()))
"""


def asked_with(url, **environment):
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", ASK, url],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_no_variable_turns_the_proof_off(signed_by_itself):
    """No variable that might be thought to do so makes it be believed."""
    names = ("VERIFY", "VERIFY_SSL", "SSL_VERIFY", "INSECURE", "TLS", "SSL")
    reported = {f"ARES_{name}": "0" for name in names}
    done = asked_with(
        signed_by_itself,
        **reported,
        PYTHONHTTPSVERIFY="0",
        CURL_CA_BUNDLE="",
        REQUESTS_CA_BUNDLE="",
    )

    assert done.returncode == 1
    assert "could not prove its identity" in done.stderr


def test_ssl_cert_file_names_who_is_believed(signed_by_itself, certificate):
    """The way out that the message names is one: with SSL_CERT_FILE the certificate is proof."""
    done = asked_with(signed_by_itself, SSL_CERT_FILE=str(certificate))

    assert done.stdout == "b'{}'\n", done.stderr


def test_no_setting_is_about_proof():
    """There is no setting by whose name TLS could be weakened, and no line that asks for it."""
    assert not [
        each.name for each in fields(Settings) if re.search("ssl|tls|verif|cert|insec", each.name)
    ]
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"ssl=|verify=False|CERT_NONE|check_hostname", path.read_text()), path


# --- the key ---


@pytest.mark.parametrize("name", ["spot_url", "spot_fallback_url", "futures_url"])
def test_a_key_is_not_sent_in_the_clear(name):
    """With a key an API without TLS that is not on this machine is refused before anything is asked."""
    settings = Settings(api_key="S3CRET", market="binance", **{name: "http://mirror.example"})

    with pytest.raises(BadArgument, match=r"http://mirror\.example") as caught:
        Transport(settings)
    assert "S3CRET" not in str(caught.value)


async def test_a_key_is_in_nothing_that_a_run_leaves(exchange, settings, caplog):
    """Plan, report, receipts, history, tables and the panel of a run with a key do not hold it."""
    own = settings.replace(api_key="S3CRET", source="rest")
    caplog.set_level(logging.DEBUG)
    plan = ares.plan_downloads(
        "BTCUSDT", "1h", DAY, end="2025-03-01", settings=own, datasets=["klines"]
    )
    report = await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-01", settings=own)
    panel = ares.DownloadPanel(own, end="2025-03-01", datasets=("klines",))
    try:
        shown = [
            repr(own), str(own), str(asdict(own)), repr(plan), plan._repr_html_(),
            repr(report), report._repr_html_(), report.to_frame().to_string(), repr(panel),
            str(panel._repr_mimebundle_()), panel._preview.code.value, panel._preview.estimate.value,
            ares.load_runs(settings=own).to_string(), ares.coverage(settings=own)._repr_html_(),
            ares.download_history(settings=own).to_string(), str(ares.validate_cache(settings=own)),
            repr(plan.steps), caplog.text,
        ]  # fmt: skip
        shown += [str(widget.get_state()) for widget in panel.form.box.children]
    finally:
        panel.close()
    written = b"".join(path.read_bytes() for path in own.cache_dir.rglob("*") if path.is_file())

    assert report.complete
    assert any(each.headers.get("x-mbx-apikey") == "S3CRET" for each in exchange.requests)
    assert not [text for text in shown if "S3CRET" in text]
    assert b"S3CRET" not in written
    assert all("S3CRET" not in f"{each.path}{each.query}" for each in exchange.requests)


# --- no code in data, no formula in cells ---

RUNNERS = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cloudpickle", "marshal", "shelve", "dill", "joblib", "yaml", "runpy", "code"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_nothing_that_is_read_is_run(path):
    """No module reads pickles or the like, evaluates text, or starts a shell."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not {name.partition(".")[0] for name in names} & MODULES
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in RUNNERS
            assert called not in ("os.system", "os.popen")
            assert not called.endswith((".read_pickle", ".to_pickle"))
            assert "shell" not in {keyword.arg for keyword in node.keywords}
            allowed = [keyword for keyword in node.keywords if keyword.arg == "allow_pickle"]
            assert not allowed


CELL = re.compile(
    r"-?[0-9]+(\.[0-9]+)?|True|False|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?"
)


def test_no_cell_is_a_formula(settings):
    """Each cell on disk is digits, a flag or a stamp; a sign stands only before a funding rate's digits."""
    report = ares.run(
        ares.download_all_data(
            "BTCUSDT",
            "1h",
            40 * DAY,
            end="2025-03-01",
            settings=settings,
            datasets=("klines", "futures"),
        )
    )
    report.raise_for_failures()
    ares.run(ares.download_agg_trades_data("BTCUSDT", DAY, end="2025-03-01", settings=settings))
    signs = 0
    for path in settings.cache_dir.glob("*.csv"):
        for line in path.read_text().splitlines()[1:]:
            for cell in line.split(","):
                assert CELL.fullmatch(cell), cell
                signs += cell.startswith("-")
    assert signs


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1+2", "@SUM(A1)", "=cmd|' /C calc'!A0", "-", "\t1"]
)
async def test_no_formula_comes_in(exchange, settings, cell):
    """A cell of the exchange that is a formula is refused, and nothing of its page is stored."""

    def spoil(body):
        page = json.loads(body)
        page[3][4] = cell
        return json.dumps(page).encode()

    exchange.fail("/api/v3/klines", times=None, replace_body=spoil)
    own = settings.replace(source="rest", max_retries=0)
    report = await ares.download_klines_data("BTCUSDT", "1h", DAY, end="2025-03-01", settings=own)

    assert report.failed
    assert list(own.cache_dir.glob("*.csv")) == []


def test_a_pattern_that_is_none_is_told_at_once(exchange):
    """A fault whose pattern is no regular expression is refused where it is written."""
    with pytest.raises(ValueError, match="is no regular expression"):
        exchange.fail("(")
    assert exchange.faults == []
