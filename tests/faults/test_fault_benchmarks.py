"""The benchmark of faults: ours is right in every case, and what it says of anybody is counted right."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as arrow_feather
import pyarrow.parquet as arrow_parquet
import pytest

from benchmarks import fault_page, rows, spoil
from benchmarks.contenders import OURS, Contender
from benchmarks.contest import PROGRAMS, WrongRows
from benchmarks.fault_cases import CONTENDERS, FAULT_CASES
from benchmarks.fault_contest import FaultContest, trouble_in
from benchmarks.killing import ended, killed_while_writing
from benchmarks.server import Server
from benchmarks.tasks import NOW
from benchmarks.venvs import pinned

CASES = {case.name: case for case in FAULT_CASES}
HERE = {"PATH": os.environ["PATH"]}
KLINE = "1733011200000,1.0,2.0,0.5,1.5,7.0,1733011259999,9,1,1,1,0\n"
# Takes what it gets, asks for nothing that it has, and complains of where it is.
NAIVE = """
import io, json, os, pathlib, sys, urllib.error, urllib.request, zipfile
task = json.loads(sys.argv[1])
out = pathlib.Path(task["out"])
for key in task["files"]:
    name = key.rpartition("/")[2].replace(".zip", ".csv")
    if not (out / name).exists():
        try:
            with urllib.request.urlopen(f"{task['url']}/{key}") as answer:
                zipfile.ZipFile(io.BytesIO(answer.read())).extractall(out)
        except urllib.error.HTTPError:
            pass
print("warning: in", os.environ["TZ"])
"""
# A child does the writing: one file that stays open, and another that never ends.
WRITER = """
import os, pathlib, signal, sys
out = pathlib.Path(sys.argv[1])
out.mkdir()
if os.fork():
    os.wait()
# Whatever becomes of the test.
signal.alarm(60)
(out / "pid").symlink_to(str(os.getpid()))
(out / "empty").touch()
with (out / "first").open("w") as first, (out / "second").open("w") as second:
    first.write("x")
    first.flush()
    while True:
        second.write("x")
        second.flush()
"""


@pytest.fixture(scope="module")
def server():
    with Server(now=NOW) as running:
        yield running


@pytest.fixture(scope="module")
def contest(server, tmp_path_factory):
    work = tmp_path_factory.mktemp("faults")
    return FaultContest(server, work / "venvs", work, most_kills=1)


@pytest.fixture
def naive(contest, tmp_path):
    """A peer that takes what comes."""
    program = tmp_path / "naive.py"
    program.write_text(NAIVE)
    python = contest.homes / "naive" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    if not python.exists():
        python.symlink_to(sys.executable)
    return Contender("naive", str(program), home="naive", leaves="raw")


# --- ours ---


@pytest.mark.parametrize("case", FAULT_CASES, ids=lambda case: case.name)
def test_ours_stands_every_case(contest, record_property, case):
    """Ours ends every case with all rows, each once and no other, and with status 0."""
    outcome = contest.outcome(case, OURS)

    last = outcome["runs"][-1]
    assert fault_page.summed_up(case, outcome).endswith("right")
    assert last["status"] == 0
    record_property("kills survived" if case.before == "kill" else "faults tried", 1)
    record_property("rows lost", last["rows"]["missing"])


@pytest.mark.parametrize(
    ("name", "missing"), [("hole", [300]), ("cut", [4459]), ("429", [8920, 0]), ("late", [8920, 0])]
)
def test_every_case_is_brought_about(contest, naive, name, missing):
    """Who only takes what comes lacks just what the case took away, until it gets it by asking again."""
    outcome = contest.outcome(CASES[name], naive)

    assert [run["rows"]["missing"] for run in outcome["runs"]] == missing


def test_a_machine_is_where_the_case_has_it(contest, naive):
    """In the case of another time zone a program is told of that one."""
    [run] = contest.outcome(CASES["place"], naive)["runs"]

    assert run["told"].endswith("New_York")


def test_ours_that_is_wrong_ends_the_benchmark(contest):
    """One of ours that leaves no row is no line on a page but an error."""
    nothing = Contender(OURS.name, "../__init__.py", leaves="cache")

    with pytest.raises(WrongRows, match="'missing': 17840"):
        contest.outcome(CASES["place"], nothing)


def test_every_case_can_be_carried_out():
    """Programs are there, who stays apart is a contender and says why, and ours never does."""
    names = {each.name for each in CONTENDERS}

    assert all((PROGRAMS / each.program).exists() for each in CONTENDERS)
    for case in FAULT_CASES:
        assert set(case.apart) < names - {OURS.name}
        assert all(case.apart.values())


def test_requests_go_wrong_as_the_server_is_told(server):
    """What it is told to refuse is refused once, what it is told to withhold is not there until released."""
    page = f"{server.url}/api/v3/klines?symbol=BTCUSDT&interval=1h&limit=1"
    key = "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12.zip.CHECKSUM"

    def status(url):
        try:
            with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own server
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    server.fail(pattern="/klines", status=429)
    server.withhold("2024-12")
    refused = [status(page), status(page), status(f"{server.url}/{key}")]
    server.release("2024-12")

    assert refused == [429, 200, 404]
    assert status(f"{server.url}/{key}") == 200


# --- what befalls files ---


@pytest.mark.parametrize("form", ["csv", "feather", "parquet"])
def test_a_hole_is_in_the_middle(tmp_path, form):
    """Of a thousand rows the middle 300 are gone, whatever the form, and the smaller file is untouched."""
    numbers = list(range(1000))
    path = tmp_path / f"large.{form}"
    if form == "csv":
        path.write_text("".join(f"{number}\n" for number in numbers))
    else:
        writes = {"feather": arrow_feather.write_feather, "parquet": arrow_parquet.write_table}
        writes[form](pa.table({"n": numbers}), path)
    (tmp_path / "a.csv").write_text("1\n")

    spoil.hole(tmp_path)

    reads = {"feather": arrow_feather.read_table, "parquet": arrow_parquet.read_table}
    left = reads[form](path)["n"].to_pylist() if form in reads else path.read_text().split()
    assert [int(number) for number in left] == [*range(500), *range(800, 1000)]
    assert (tmp_path / "a.csv").read_text() == "1\n"


def test_a_cut_file_is_half(tmp_path):
    """The larger of two files loses its second half."""
    (tmp_path / "a.csv").write_text("12")
    (tmp_path / "b.csv").write_text("1234567890")

    spoil.cut(tmp_path)

    assert (tmp_path / "a.csv").read_text() == "12"
    assert (tmp_path / "b.csv").read_text() == "12345"


# --- programs that end ---


@pytest.mark.parametrize(("number", "name"), [(0, "first"), (1, "second")])
def test_killed_while_it_writes(tmp_path, number, name):
    """The program is killed at the file that was asked for, and none of its processes lives on."""
    out = tmp_path / "out"
    command = [sys.executable, "-c", WRITER, str(out)]

    found = killed_while_writing(command, number, out, folder=tmp_path, environment=HERE)

    assert found == name
    assert (out / name).stat().st_size
    # A dead one that nobody has waited for yet still has a folder, but no open files.
    assert not Path(f"/proc/{(out / 'pid').readlink()}/fd/1").exists()


def test_who_is_never_at_that_file_is_not_killed(tmp_path):
    """A program that opens nothing to write ends by itself, and that is said."""
    command = [sys.executable, "-c", "print('done')"]

    found = killed_while_writing(command, 0, tmp_path / "out", folder=tmp_path, environment=HERE)

    assert found is None
    assert (tmp_path / "said.txt").read_text() == "done\n"


def test_a_bad_end_is_told(tmp_path):
    """The status and all that was said are kept, of output and errors alike."""
    program = "import sys; print('a', flush=True); sys.stderr.write('b'); sys.exit(3)"

    taken = ended([sys.executable, "-c", program], folder=tmp_path, environment=HERE)

    assert (taken.status, taken.said) == (3, "a\nb")


# --- what was said, and what is there ---


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        ("WARNING 2 retries\nall well", ""),
        ("WARNING 1 retry\rno data of May\ndone", "no data of May"),
        ("cannot read /home/her/x.csv", "cannot read x.csv"),
    ],
    ids=["as always", "the last", "no folders"],
)
def test_trouble_is_what_is_not_said_always(said, trouble):
    """A warning that comes every time tells nothing; a new one does, without the machine's folders."""
    assert trouble_in(said, usual="WARNING 3 retries\nall well") == trouble


def counted(*, missing=0, wrong=0, status=0, told="", **more):
    """What is kept of one run over five rows."""
    numbers = {"expected": 5, "correct": 5 - missing, "wrong": wrong, "missing": missing}
    run = {"status": status, "told": told, "requests": 7}
    return {**run, "rows": {**numbers, "doubled": 0}, **more}


@pytest.mark.parametrize(
    ("name", "runs", "words"),
    [
        ("hole", [counted()], "right"),
        ("hole", [counted(missing=2)], "**2 missing, silent**"),
        ("hole", [counted(missing=2, wrong=1, status=1)], "2 missing, 1 wrong, told"),
        ("hole", [counted(wrong=1, told="gap")], "1 wrong, told"),
        ("429", [counted(missing=5, status=1), counted()], "no row, told; again: right"),
        ("429", [counted(), counted(missing=1)], "right; again: **1 missing, silent**"),
        ("429", [counted(), counted()], "right"),
        ("kill", [counted(), counted()], "after all of 2: right"),
        ("kill", [counted(), counted(missing=1)], "after 1 of 2: **1 missing, silent**"),
        ("kill", [], "never caught writing"),
    ],
)
def test_an_outcome_in_words(name, runs, words):
    """Silent is who loses rows with status 0 and without a word; each of two runs counts."""
    assert fault_page.summed_up(CASES[name], {"runs": runs}) == words


def test_the_page_has_all_who_take_part():
    """Ours stands first and bold, a peer with its version, and who does not take part with the reason."""
    outcomes = {
        "funding": {OURS.name: {"runs": [counted()]}, "ccxt": {"runs": [counted(missing=1)]}},
        "hole": {OURS.name: {"runs": [counted()]}},
    }

    lines = fault_page.page(outcomes, "today").splitlines()

    assert "| **ares_notebook** | right | right |" in lines
    assert any(
        line.startswith("| ccxt 4.")
        and line.endswith("| – (it keeps no file) | **1 missing, silent** |")
        for line in lines
    )
    assert "| hourly funding | ccxt | 1 | 4 | 0 | 1 | 0 | 7 | 0 |" in lines


def test_the_published_page_is_of_these_cases_and_versions():
    """FAULTS.md has been written since a case or a pinned version was last changed."""
    text = (PROGRAMS.parent / "FAULTS.md").read_text()

    assert all(f"* **{case.title}**: {case.about}\n" in text for case in FAULT_CASES)
    assert all(f"| {each.name} {pinned(each.home)[each.name]} |" in text for each in CONTENDERS[1:])


def test_a_row_that_the_market_has_not_is_wrong():
    """A candle in a halt, between others, was made up; one before or after was not asked for."""
    keys, values = np.array([1, 2, 5, 6]), np.zeros((4, 1), int)
    delivered = np.array([0, 1, 2, 3, 5, 6, 7])

    found = rows.count(keys, values, delivered, np.zeros((7, 1), int))

    assert found == rows.Count(4, correct=4, wrong=1, missing=0, doubled=0, beyond=2)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("raw", KLINE + KLINE[:30]),
        ("headed", "# a remark\ndate,open,high,low,close,volume\n2024-12-01 00:00:00,1,2,.5,1.5,7\n2024-12"),
    ],
)  # fmt: skip
def test_half_a_line_is_no_row(tmp_path, form, text):
    """A file that was cut within a line has the rows before it, and no more."""
    (tmp_path / "a.csv").write_text(text)

    [(keys, values)] = rows.READERS[form](tmp_path, "klines")

    assert keys.tolist() == [1_733_011_200_000]
    assert values.tolist() == [[10**8, 2 * 10**8, 10**8 // 2, 3 * 10**8 // 2, 7 * 10**8]]
