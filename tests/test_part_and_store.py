"""The cache folder: files whole or absent, receipts that are believed only while they hold."""

from __future__ import annotations

import json
import os
import shutil

import pyarrow as pa
import pytest
from msgspec.structs import replace
from nobody import as_nobody, reachable_folder

from ares_notebook.cache.entry import Source
from ares_notebook.cache.store import Store
from ares_notebook.cache.writer import FileWriter
from ares_notebook.errors import AresError, BadAnswer, CacheUnavailable, WrongMarket
from ares_notebook.model.facts import Trouble
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.gaps import Absence
from ares_notebook.model.rows import header_of, lines_of, schema_of
from ares_notebook.settings import Settings

FUNDING = parse_file_name("futures_BTCUSDT_2025-01.csv")
TRADES = parse_file_name("aggtrades_BTCUSDT_2025-01-15.csv")
SOURCES = (Source("rest", "https://example.org", "2025-02-01T00:00:00Z"),)
ABSENCES = (
    Absence(FUNDING.period.start_ms, FUNDING.period.end_ms, "rest", "2025-02-01T00:00:00Z"),
)
HOUR_US = 3_600_000_000


def events(*hours, rate="0.00010000"):
    start = FUNDING.period.start_ms * 1000
    columns = [[start + hour * HOUR_US for hour in hours], [rate] * len(hours)]
    return pa.table(columns, schema=schema_of(FUNDING.dataset))


@pytest.fixture
def opened(tmp_path):
    """Open the store of the test's folder, as a new process would."""

    def open_store(**changes):
        store = Store(Settings(cache_dir=tmp_path / "cache", **changes))
        store.prepare()
        return store

    return open_store


def put(store, *tables, file=FUNDING, absences=(), final=True):
    with store.writer(file) as part:
        for table in tables:
            part.write_lines(lines_of(file.dataset, table))
        store.commit(part, sources=SOURCES, absences=absences, final=final)


def visible(store):
    return sorted(path.name for path in store.folder.iterdir() if path.name != ".ares")


# --- whole or absent ---


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_a_part_that_is_not_committed_leaves_nothing(opened, compression):
    """What is abandoned, by an error or in peace, leaves neither a file nor a temporary one."""
    store = opened(compression=compression)

    with store.writer(FUNDING) as part:
        part.write_lines(lines_of(FUNDING.dataset, events(0, 8)))
        during = visible(store)
    with pytest.raises(BadAnswer), store.writer(FUNDING) as part:  # noqa: PT012 - the part is what fails
        part.write_lines(lines_of(FUNDING.dataset, events(0, 8)))
        part.write_lines(lines_of(FUNDING.dataset, events(0)))

    assert len(during) == 1
    assert during[0].startswith(".")
    assert during[0].endswith(".part")
    assert visible(store) == []
    assert store.entry(FUNDING).path is None


def test_a_committed_file_is_whole(opened):
    """The file has header and rows, nothing is beside it, and another process sees the receipt."""
    store = opened()

    put(store, events(0, 8), events(16))

    text = (store.folder / FUNDING.name).read_bytes()
    assert text.startswith(header_of(FUNDING.dataset))
    assert text.count(b"\n") == 4
    assert visible(store) == [FUNDING.name]
    entry = opened().entry(FUNDING)
    assert (entry.facts.rows, entry.sources, entry.final, entry.legacy) == (3, SOURCES, True, False)


def test_a_file_can_be_read_by_the_group(opened):
    """A cache file has the rights that the user's umask gives, not those of a temporary file."""
    store = opened()
    before = os.umask(0o027)
    try:
        put(store, events(0))
    finally:
        os.umask(before)

    assert (store.folder / FUNDING.name).stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "tables",
    [
        (events(8, 0),),
        (events(0, 0),),
        (events(0, 8), events(8)),
        (events(16), events(8)),
    ],
)
def test_rows_out_of_order_are_refused(opened, tables):
    """Rows that do not ascend, within a table or from one to the next, never become a file."""
    store = opened()

    with pytest.raises(BadAnswer, match="not in order"):
        put(store, *tables)

    assert visible(store) == []


def test_the_first_trade_ever_has_id_zero(opened):
    """Id 0 is an id like any other."""
    store = opened()
    rows = pa.table(
        [[TRADES.period.start_ms * 1000], ["1"], ["1"], ["True"], [0], [0], [0]],
        schema=schema_of(TRADES.dataset),
    )

    put(store, rows, file=TRADES)

    assert store.entry(TRADES).facts.first_id == 0


def test_a_part_without_rows_leaves_a_receipt_and_no_file(opened):
    """A period without a row has no file, even where there was one; its receipt says why."""
    store = opened()
    put(store, events(0))

    put(store, absences=ABSENCES)

    entry = opened().entry(FUNDING)
    assert visible(store) == []
    assert (entry.path, entry.absences, entry.final) == (None, ABSENCES, True)
    assert opened().files() == [FUNDING]


def test_a_commit_that_fails_leaves_the_old_file(opened):
    """Where the new file cannot take its place, the old one is still there, and is believed."""
    store = opened()
    put(store, events(0))
    old = (store.folder / FUNDING.name).read_bytes()
    # A folder with something in it stands where the compressed file would.
    (store.folder / f"{FUNDING.name}.zst" / "x").mkdir(parents=True)

    with pytest.raises(CacheUnavailable, match="zst"):
        put(opened(compression="zstd"), events(0, 8))

    assert (store.folder / FUNDING.name).read_bytes() == old
    assert [name for name in visible(store) if name.endswith(".part")] == []
    assert opened().entry(FUNDING).sources == SOURCES


def test_a_new_version_takes_the_place_of_the_old(opened):
    """A commit replaces the file whole."""
    store = opened()
    put(store, events(0, 8, 16))

    put(store, events(0, rate="0.5"))

    assert opened().entry(FUNDING).facts.rows == 1
    assert visible(store) == [FUNDING.name]


@pytest.mark.parametrize(("first", "then"), [(None, "zstd"), ("zstd", None)])
def test_the_two_forms_of_a_file_are_never_both_there(opened, first, then):
    """A file that is written in the other form takes the old form's place, with the same rows."""
    put(opened(compression=first), events(0, 8))
    store = opened(compression=then)

    put(store, *store.rows(FUNDING))

    assert visible(store) == [FUNDING.name + (".zst" if then else "")]
    fresh = opened()
    assert fresh.entry(FUNDING).sources == SOURCES
    assert pa.concat_tables(fresh.rows(FUNDING)).to_pylist() == events(0, 8).to_pylist()


def test_compressed_files_hold_the_same_text(opened):
    """Without its compression a compressed file is the plain one, byte for byte."""
    put(opened(compression="zstd"), events(0, 8))
    store = opened()
    with pa.input_stream(str(store.path_of(FUNDING)), compression="zstd") as stream:
        inflated = stream.read()
    put(store, events(0, 8))

    assert inflated == (store.folder / FUNDING.name).read_bytes()


def test_stale_parts_are_found(opened):
    """Temporary files of a killed process are listed, those of one file or all."""
    store = opened()
    left = FileWriter(TRADES, store.folder, compressed=False)
    left.close()

    assert store.parts(TRADES) == store.parts() == [left.path]
    assert store.parts(FUNDING) == []
    assert store.files() == []


# --- receipts ---


def forge(store):
    """Make the receipt of a file say something that its rows do not."""
    path = store.folder / ".ares" / "receipts" / f"{FUNDING.name}.json"
    data = json.loads(path.read_text())
    data["facts"]["rows"] = 77
    path.write_text(json.dumps(data))


def is_believed(store):
    """Whether the forged receipt is taken at its word."""
    return store.entry(FUNDING).facts.rows == 77


def test_a_receipt_is_trusted_while_size_and_mtime_match(opened):
    """A file that has not been touched is not opened again."""
    put(opened(), events(0, 8))

    forge(opened())

    assert is_believed(opened())


def test_where_only_the_mtime_differs_the_sha256_decides(opened):
    """A copied cache is believed without being measured; one with other bytes is not."""
    store = opened()
    put(store, events(0, 8))
    path = store.folder / FUNDING.name
    forge(store)

    os.utime(path, ns=(1, 1))
    copied = is_believed(opened())
    path.write_bytes(path.read_bytes().replace(b"0.00010000", b"0.00020000", 1))
    changed = opened().entry(FUNDING)

    assert copied
    assert changed.facts.rows == 2
    assert (changed.sources, changed.final) == ((), False)


def test_a_receipt_whose_file_has_grown_is_not_believed(opened):
    """Another size is another file, even with the old mtime; what it proves is measured."""
    store = opened()
    put(store, events(0, 8))
    path = store.folder / FUNDING.name
    status = path.stat()
    forge(store)

    path.write_bytes(path.read_bytes() + b"2025-01-01 16:00:00.000,0.1\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert opened().entry(FUNDING).facts.rows == 3


def test_confirmed_absences_survive_changes_of_the_file(opened):
    """What the exchange does not have is a fact about the exchange, whatever becomes of the file."""
    store = opened()
    put(store, events(0, 8), absences=ABSENCES)

    (store.folder / FUNDING.name).write_bytes(b"rubbish")
    broken = opened().entry(FUNDING)
    (store.folder / FUNDING.name).unlink()
    gone = opened().entry(FUNDING)

    assert broken.absences == gone.absences == ABSENCES
    assert FUNDING.name in broken.problem
    assert (gone.path, gone.final) == (None, False)


def test_a_file_that_went_since_the_folder_was_listed_is_absent(opened):
    """A file that somebody deletes while the cache is read is told of as not there, and never read as empty."""
    store = opened()
    put(store, events(0, 8))
    reader = opened()

    assert reader.files() == [FUNDING]
    (store.folder / FUNDING.name).unlink()

    assert (reader.entry(FUNDING).path, reader.entry(FUNDING).final) == (None, False)
    with pytest.raises(CacheUnavailable, match=f"{FUNDING.name} is not there any more"):
        list(reader.rows(FUNDING))


def test_deleting_all_of_ares_costs_no_data(opened):
    """Without receipts every row is still known: it is measured anew."""
    store = opened()
    put(store, events(0, 8, 16))
    before = store.entry(FUNDING)

    shutil.rmtree(store.folder / ".ares")
    after = opened().entry(FUNDING)

    assert after.facts == before.facts
    assert after.problem is None


@pytest.mark.parametrize("junk", [b"", b"null", b"{}", b"\xff", b'{"format": 1}'])
def test_a_broken_receipt_costs_no_data(opened, junk):
    """A receipt that cannot be read is as good as none."""
    store = opened()
    put(store, events(0, 8))
    (store.folder / ".ares" / "receipts" / f"{FUNDING.name}.json").write_bytes(junk)

    assert opened().entry(FUNDING).facts.rows == 2


def test_a_receipt_of_another_file_is_not_believed(opened):
    """A receipt that was copied under another name speaks of nothing."""
    store = opened()
    put(store, events(0, 8), absences=ABSENCES)
    receipts = store.folder / ".ares" / "receipts"
    other = parse_file_name("futures_ETHUSDT_2025-01.csv")
    shutil.copy(receipts / f"{FUNDING.name}.json", receipts / f"{other.name}.json")

    assert opened().entry(other).absences == ()


@pytest.mark.parametrize(
    ("suffix", "data"), [("", b"x,y\n"), ("", b""), (".zst", b"no zstd"), (".zst", b"")]
)
def test_a_file_that_cannot_be_read_is_a_finding(opened, suffix, data):
    """A broken file is told of, with its name, and raises nothing."""
    store = opened()
    (store.folder / (FUNDING.name + suffix)).write_bytes(data)

    entry = opened().entry(FUNDING)

    assert FUNDING.name in entry.problem
    assert entry.facts.rows == 0


def test_a_folder_under_a_files_name_is_reported(opened):
    """A folder that is called like a cache file is no cache file, and raises nothing raw."""
    store = opened()
    (store.folder / FUNDING.name).mkdir()

    try:
        entry = opened().entry(FUNDING)
    except CacheUnavailable as error:
        assert FUNDING.name in str(error)  # noqa: PT017 - either way of telling is good
        return
    assert entry.path is None or entry.problem


def test_what_was_learnt_of_an_unchanged_file_is_noted(opened):
    """An answer about a file that stays as it is goes into its receipt."""
    store = opened()
    (store.folder / FUNDING.name).write_bytes(
        header_of(FUNDING.dataset) + b"2025-01-01 00:00:00.000,0.1\n"
    )
    entry = opened().entry(FUNDING)

    source = Source("rest", "/fapi/v1/fundingRate", "2025-02-01T00:00:00+00:00")
    store.update_receipt(replace(entry, sources=(source,)), final=True)

    assert opened().entry(FUNDING).final


def test_what_no_source_is_told_of_is_not_final(opened):
    """A receipt that tells of no source, as earlier versions wrote, vouches for nothing."""
    store = opened()
    (store.folder / FUNDING.name).write_bytes(
        header_of(FUNDING.dataset) + b"2025-01-01 00:00:00.000,0.1\n"
    )
    store.update_receipt(opened().entry(FUNDING), final=True)

    assert not opened().entry(FUNDING).final
    assert not opened().entry(FUNDING).has_provenance


# --- whose cache it is ---


def test_a_cache_of_another_market_is_refused(opened):
    """Demo candles never mix with real ones; the error names both markets and the way out."""
    put(opened(market="demo"), events(0))

    with pytest.raises(WrongMarket, match=r"'demo'.*'binance'.*cache_dir"):
        opened()

    assert opened(market="demo") is not None


def test_the_origin_is_the_market_of_the_first_file(opened):
    """origin.json names the market from which the first file came, not one from which nothing did."""
    opened(market="wrong")
    store = opened(market="demo")
    late = opened(market="late")
    put(store, events(0))

    assert json.loads((store.folder / ".ares" / "origin.json").read_text()) == {"market": "demo"}
    with pytest.raises(WrongMarket, match="demo"):
        put(late, events(0))


@pytest.mark.parametrize("note", ["", "{", "[]", '{"market": 5}'])
def test_a_damaged_origin_is_no_leave_to_mix(opened, note):
    """Where the note of the market cannot be read, files that are there are added to by nobody, and the note is named."""
    store = opened(market="demo")
    put(store, events(0))
    (store.folder / ".ares" / "origin.json").write_text(note)

    for market in ("demo", "other"):
        with pytest.raises(CacheUnavailable, match=r"origin\.json is damaged"):
            opened(market=market)
    with pytest.raises(CacheUnavailable, match=r"origin\.json is damaged"):
        put(store, events(0, 8))


def test_a_damaged_origin_of_an_empty_folder_is_written_again(opened):
    """A note that was cut off before the first file came holds up nobody."""
    store = opened(market="demo")
    (store.folder / ".ares" / "origin.json").write_text("")
    put(opened(market="demo"), events(0))

    assert json.loads((store.folder / ".ares" / "origin.json").read_text()) == {"market": "demo"}
    assert list(store.folder.rglob("*.part")) == []


def test_a_folder_of_old_files_is_binances(opened, tmp_path):
    """The original downloader knew only Binance, so its files take no demo candles in, and real ones gladly."""
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / FUNDING.name).write_bytes(b"timestamp,fundingRate,x\n2025-01-01,0.1,1\n")

    with pytest.raises(WrongMarket, match="binance"):
        opened(market="demo")

    assert opened().entry(FUNDING).legacy


def test_looking_makes_nothing(tmp_path):
    """A store that is only asked creates no folder."""
    store = Store(Settings(cache_dir=tmp_path / "cache"))

    assert (store.files(), store.entry(FUNDING).path) == ([], None)
    assert not (tmp_path / "cache").exists()


# --- folders that are not ours ---

_ON_A_STORE = """
from ares_notebook.cache.store import Store
from ares_notebook.errors import AresError
from ares_notebook.model.files import parse_file_name

store = Store(ares.Settings(cache_dir=sys.argv[1]))
file = parse_file_name("futures_BTCUSDT_2025-01.csv")
try:
    {call}
    print("done")
except AresError as error:
    print(type(error).__name__, error)
"""


def called_by_nobody(folder, call):
    """Call something on a store as a user without rights; gives what was printed."""
    return as_nobody(_ON_A_STORE.format(call=call), folder)


@pytest.fixture
def reachable():
    """A folder that every user can reach."""
    with reachable_folder() as folder:
        yield folder


@pytest.mark.parametrize("inside", [False, True])
def test_a_folder_that_cannot_be_written_is_told_with_the_way_out(reachable, inside):
    """The error names the folder and cache_dir, whether it is there or would have to be made."""
    folder = reachable / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    asked = folder / "cache" if inside else folder

    said = called_by_nobody(asked, "store.prepare()")
    folder.chmod(0o755)

    assert said.startswith("CacheUnavailable")
    assert str(asked) in said
    assert "Permission denied" in said
    assert "cache_dir" in said


def test_a_folder_that_cannot_be_listed_is_reported(reachable):
    """A folder without rights is no empty cache."""
    folder = reachable / "closed"
    folder.mkdir()
    folder.chmod(0o000)

    said = called_by_nobody(folder, "store.files()")
    folder.chmod(0o755)

    assert said.startswith("CacheUnavailable")


def test_a_file_that_may_not_be_read_is_a_finding(reachable):
    """A cache file without rights is told of in our words, not by a raw error."""
    folder = reachable / "cache"
    folder.mkdir()
    (folder / FUNDING.name).write_bytes(header_of(FUNDING.dataset))
    folder.chmod(0o755)
    (folder / FUNDING.name).chmod(0o000)

    said = called_by_nobody(folder, "entry = store.entry(file); assert entry.problem, entry")

    assert said.startswith(("done", "CacheUnavailable"))


def test_a_file_in_place_of_the_folder_is_reported(tmp_path):
    """A cache_dir that is a file is an error of ours, not a raw one."""
    path = tmp_path / "file"
    path.touch()
    store = Store(Settings(cache_dir=path))

    with pytest.raises(CacheUnavailable, match="file"):
        store.prepare()
    with pytest.raises(AresError, match="file"):
        store.files()


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BTCUSDT_250627", "BTC"])
def test_the_files_of_a_symbol_are_those_of_all_that_carry_it(opened, symbol):
    """A symbol's files are found without the others', and another that begins alike is no such."""
    store = opened()
    for name in ("BTCUSDT", "BTCUSDT_250627", "BTC", "ETHUSDT"):
        put(store, events(0), file=parse_file_name(f"futures_{name}_2025-01.csv"))
        store.record_failure(
            parse_file_name(f"klines_{name}_1h_2025-01.csv"), Trouble("failed", "", "")
        )

    for looked in (store, opened()):
        found = looked.files(symbol)
        assert found == [file for file in looked.files() if file.series.symbol == symbol]
        assert len(found) == 2
