"""The doctor finds what is wrong, says what to do, changes nothing, and shows no secret."""

from __future__ import annotations

import errno
import os
import re
import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR

import pytest

import ares_notebook as ares
from ares_notebook.binance.reach import HostAnswer, ask_hosts
from ares_notebook.cache.entry import COPIES
from ares_notebook.cache.folder_probe import FolderFacts, probe_folder
from ares_notebook.cache.quarantine import quarantine, quarantine_of
from ares_notebook.diagnosis import InstalledPackage, Observed, diagnosed
from ares_notebook.settings import URLS

HEALTHY = Observed(
    versions={"Python": "3.11.7"},
    packages=(InstalledPackage("ipywidgets", "8.1.9", ">=8.1.9,<9", "lab"),),
    kernel="the fast one",
    kernel_problem="",
    folder=FolderFacts(Path("data_cache"), is_there=True, free_bytes=10**11, files=3),
    hosts=tuple(
        HostAnswer(name, f"https://{name}", "", ahead_seconds=0.1)
        for name in ("spot_url", "spot_fallback_url", "futures_url", "archive_url")
    ),
)


def with_folder(**changes) -> Observed:
    """The same with another folder."""
    return replace(HEALTHY, folder=replace(HEALTHY.folder, **changes))


def with_host(field: str, **changes) -> Observed:
    """The same with another answer of one host."""
    hosts = [replace(each, **changes) if each.field == field else each for each in HEALTHY.hosts]
    return replace(HEALTHY, hosts=tuple(hosts))


def with_package(version: str | None, extra: str) -> Observed:
    """The same with another package."""
    return replace(HEALTHY, packages=(InstalledPackage("pandas", version, ">=2.2,<4", extra),))


ALL_SILENT = replace(
    HEALTHY, hosts=tuple(replace(each, problem="no answer", ahead_seconds=None) for each in HEALTHY.hosts)
)  # fmt: skip
PROXY = HostAnswer("futures_url", "https://futures_url", "http://proxy:1")
# What was observed, of which subject what is found and advised.
TROUBLES = [
    (with_package(None, ""), "pandas", "failure", "pip install --upgrade"),
    (with_package("4.1", ""), "pandas", "failure", "4.1 is not >=2.2,<4"),
    (with_package("1.5.3", "lab"), "pandas", "warning", "ares-notebook[lab]"),
    (replace(HEALTHY, kernel_problem="no compiler"), "reader", "warning", "no compiler"),
    (with_folder(write_problem="chmod it"), "cache folder", "failure", "chmod it"),
    (with_folder(market_problem="of another market"), "cache folder", "failure", "of another"),
    (with_folder(flush_problem="EIO"), "flush of a file", "failure", "local disk"),
    (with_folder(folder_flush_problem="EINVAL"), "flush of a folder", "warning", "renames"),
    (with_folder(lock_problem="no locks"), "locks", "failure", "local disk"),
    (with_folder(free_bytes=10**8), "free space", "warning", "prune"),
    (with_folder(orphans=2, orphan_bytes=5), "orphans", "warning", "2 files"),
    (with_folder(quarantined=1, oldest_at=datetime(2025, 1, 2, tzinfo=UTC)), "quarantine", "warning", "2025-01-02"),
    (with_host("archive_url", problem="403"), "https://archive_url", "failure", "older than a month"),
    (with_host("futures_url", problem="451: closed"), "https://futures_url", "warning", 'source="archive"'),
    (with_host("spot_url", problem="451: closed"), "https://spot_url", "warning", "spot_fallback_url answers"),
    (ALL_SILENT, "https://spot_url", "failure", "nothing answers"),
    (ALL_SILENT, "clock", "warning", "nothing was compared"),
    (with_host("spot_url", problem="x", proxy="http://proxy:1"), "https://spot_url", "warning", "spot_fallback_url"),
    (replace(HEALTHY, hosts=(*HEALTHY.hosts, replace(PROXY, problem="x"))), "https://futures_url through", "warning", "NO_PROXY"),
    (replace(HEALTHY, hosts=tuple(replace(each, ahead_seconds=-90.0) for each in HEALTHY.hosts)), "clock", "warning", "90.0 seconds behind"),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "subject", "verdict", "words"), TROUBLES)
def test_each_trouble_has_its_verdict_and_what_to_do(seen, subject, verdict, words):
    """What was observed decides alone: the worst verdict of a subject, what was found, and what to do."""
    [bad] = [
        each
        for each in diagnosed(seen)
        if each.subject.startswith(subject) and each.verdict != "ok"
    ]

    assert bad.verdict == verdict
    assert words in f"{bad.found}; {bad.remedy}"
    assert {each.verdict for each in diagnosed(HEALTHY)} == {"ok"}


def test_a_host_that_the_proxy_reaches_need_not_answer_directly():
    """Where a run goes through a proxy, a direct way that is closed is no trouble."""
    direct = with_host("futures_url", problem="refused").hosts

    found = diagnosed(replace(HEALTHY, hosts=(*direct, PROXY)))
    assert {each.verdict for each in found} == {"ok"}


def test_a_sound_installation_has_no_finding_and_is_left_as_it_was(settings):
    """On a whole cache all is ok but what the machine itself lacks, and no file is made or changed."""
    ares.run(ares.download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    before = {path: path.stat().st_mtime_ns for path in settings.cache_dir.rglob("*")}
    report = ares.run(ares.doctor(settings=settings))

    assert report
    assert [each for each in report.findings if each.verdict == "failure"] == []
    assert {path: path.stat().st_mtime_ns for path in settings.cache_dir.rglob("*")} == before
    subjects = {each.subject for each in report.findings if each.verdict == "ok"}
    assert {"Python", "pandas", "locks", "flush of a file", "clock"} <= subjects
    assert f"ares_notebook: {ares.__version__}" in str(report)
    assert report.to_frame()["verdict"].isin(["ok", "warning"]).all()
    assert "<table" in report._repr_html_()


def test_each_host_is_judged_by_its_answer(settings, exchange):
    """A page for browsers, a refusal and a silent API are told apart, each at its host."""
    exchange.fail("time$", times=None, status=451)
    exchange.fail("CHECKSUM$", times=None, replace_body=b"<html>log in</html>")
    found = {each.field: each for each in ares.run(ask_hosts(settings, 30))}

    assert found["spot_url"].problem.startswith("451: closed")
    assert found["archive_url"].problem == "200: not the answer of an archive"
    assert found["archive_listing_url"].problem == ""


def test_it_ends_where_nothing_answers(settings, tmp_path):
    """Hosts that take a connection and stay silent cost the given time once, and the report is false."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        urls = dict.fromkeys(URLS, url)
        dead = settings.replace(**urls, cache_dir=tmp_path / "none")
        found = ares.run(ask_hosts(dead, 0.05))

    assert {each.problem for each in found} == {"no answer within 0.05 seconds"}
    assert not ares.run(ares.doctor(settings=dead)), "now the connection is refused"


def test_no_secret_is_shown(settings, monkeypatch):
    """Keys, notifiers and the password of a proxy are in no face of the report; proxy and host are told apart."""
    said = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def answer() -> None:
            while True:
                try:
                    taken, _ = proxy.accept()
                except OSError:
                    return
                with taken:
                    taken.recv(4096)
                    taken.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setenv("HTTP_PROXY", f"http://me:WORD@127.0.0.1:{proxy.getsockname()[1]}")
        # Not loopback by its name, so that the proxy counts for it.
        port = settings.spot_url.rpartition(":")[2]
        secret = settings.replace(futures_url=f"http://0.0.0.0:{port}", notify=["slack://T/WORD"])
        report = ares.run(ares.doctor(settings=secret))
        proxy.shutdown(socket.SHUT_RDWR)

    shown = f"{report}{report._repr_html_()}{report.to_frame().to_csv()}"
    assert "WORD" not in shown
    assert re.search(r"notify: \*+", str(report))
    [bad] = [each for each in report.findings if "***@127.0.0.1" in each.subject]
    assert (bad.verdict, bad.found[:3]) == ("warning", "407")


def test_what_a_folder_cannot_do_and_what_lies_there_is_found(settings, tmp_path, monkeypatch):
    """A folder that cannot be flushed, files of killed runs, copies of nothing and damaged files are counted."""
    ares.run(ares.download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    folder = settings.cache_dir
    (folder / ".klines_BTCUSDT_1d_2025-01.csv.1-2.part").write_text("half")
    (folder / COPIES).mkdir(parents=True, exist_ok=True)
    (folder / COPIES / "klines_GONE_1d_2025-01.csv.arrow").write_text("copy")
    quarantine(quarantine_of(folder), folder / "klines_BTCUSDT_1d_2025-02.csv", "a test", keep=True)
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        if S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    facts = probe_folder(settings)

    assert (facts.orphans, facts.orphan_bytes, facts.quarantined) == (2, 8, 1)
    assert facts.folder_flush_problem == os.strerror(errno.EINVAL)
    assert (facts.flush_problem, facts.lock_problem, facts.write_problem) == ("", "", "")
    (tmp_path / "file").write_text("")
    assert "there is a file" in probe_folder(settings.replace(cache_dir=tmp_path / "file")).write_problem  # fmt: skip
    assert "would be mixed" in probe_folder(settings.replace(market="other")).market_problem
