"""A cache as an object: its methods are the verbs with the settings bound, its faces what it holds."""

from __future__ import annotations

import inspect
import os
import pickle
import pydoc
import re
import shutil
import subprocess
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import pytest

import ares_notebook as ares
from ares_notebook.cache.store import Store
from ares_notebook.cache_object import BoundVerb
from ares_notebook.cached_window import IncompleteData
from ares_notebook.errors import BadArgument, NeverDownloaded
from ares_notebook.model.facts import NOT_PUBLISHED, Trouble
from ares_notebook.model.files import parse_file_name

METHODS = {name: each for name, each in vars(ares.Cache).items() if isinstance(each, BoundVerb)}
# A call of any API with patience, which no cache takes part in.
NO_METHOD = {"download_with_retry"}


def function_of(name):
    """The function of the package that a method is."""
    return METHODS[name].find()


def test_every_verb_with_settings_is_a_method():
    """Each public function that takes settings is a method, and each method is one of these functions."""
    takes = {
        name
        for name in ares.__all__
        if inspect.isfunction(value := getattr(ares, name))
        and "settings" in inspect.signature(value).parameters
    }

    assert {function_of(name).__name__ for name in METHODS} == takes - NO_METHOD


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_signature_and_the_words_of_its_function(name, tmp_path):
    """Signature and docstring of a method are those of the function, without the settings."""
    method, function = getattr(ares.Cache(tmp_path), name), function_of(name)
    own, given = inspect.signature(method), inspect.signature(function)

    expected = [each for each in given.parameters.values() if each.name != "settings"]
    assert list(own.parameters.values()) == expected
    assert own.return_annotation == given.return_annotation
    assert inspect.iscoroutinefunction(method) == inspect.iscoroutinefunction(function)
    assert method.__name__ == name
    text = pydoc.render_doc(method, renderer=pydoc.plaintext)
    assert inspect.getdoc(function).partition("\n\n")[0].splitlines()[0] in text
    assert f"`ares_notebook.{function.__name__}`" in text
    parameters = inspect.getdoc(method).partition("Parameters\n")[2].partition("Returns\n")[0]
    assert not re.search(r"^(\w+, )*settings\b", parameters, flags=re.MULTILINE)
    terms = re.findall(r"^(\w+(?:, \w+)*)(?: : .*)?$", parameters, flags=re.MULTILINE)
    assert [word for term in terms for word in term.split(", ")] == list(own.parameters)
    assert ("Parameters\n" in inspect.getdoc(method)) == bool(own.parameters)


@pytest.mark.parametrize("name", METHODS)
def test_the_class_shows_its_methods(name):
    """Help on the class, and what the class has under a name, show the same with `self` before it."""
    method = getattr(ares.Cache, name)
    names = list(inspect.signature(method).parameters)

    assert names == [
        "self",
        *(each for each in inspect.signature(function_of(name)).parameters if each != "settings"),
    ]
    assert method.__doc__ == METHODS[name].__doc__


async def test_methods_work_on_the_cache_that_they_are_of(settings, tmp_path):
    """What one object downloads is in its folder, and not in that of another."""
    cache = ares.Cache(settings)
    other = ares.Cache(settings.replace(cache_dir=tmp_path / "other"))

    report = await cache.download(
        "BTCUSDT", "1d", 0.2, end="2025-03-01", datasets=("klines", "funding")
    )
    await other.klines("ETHUSDT", "1d", "2025-01-01", "2025-03-01")

    assert report.complete
    assert cache.symbols() == ["BTCUSDT"]
    assert other.symbols() == ["ETHUSDT"]
    assert cache.load_klines("BTCUSDT", "1d").equals(
        ares.load_klines("BTCUSDT", "1d", settings=settings)
    )
    assert cache.coverage().equals(ares.coverage(settings=settings))
    assert cache.gaps("BTCUSDT").equals(ares.find_gaps("BTCUSDT", settings=settings))
    assert (await cache.update(end="2025-03-01")).requests == 0
    assert cache.plan("BTCUSDT", "1d", 0.2, end="2025-03-01", datasets=("klines",)).to_do == ()
    assert cache.arrow_table("klines", "BTCUSDT", "1d").num_rows == len(
        cache.load_klines("BTCUSDT", "1d")
    )
    assert ares.Cache.symbols(other) == ["ETHUSDT"]


async def test_a_warning_names_the_line_of_the_caller(settings):
    """A method takes no frame on the stack: a warning is about the line that calls it."""
    cache = ares.Cache(settings)
    await cache.download_klines("BTCUSDT", "1d", start="2025-01-01", end="2025-02-01")

    with pytest.warns(IncompleteData) as caught:
        cache.load_klines("BTCUSDT", "1d", "2025-01-01", "2025-03-01")

    assert [each.filename for each in caught] == [__file__]


def test_a_folder_is_named_in_any_form(tmp_path, monkeypatch):
    """A folder is text or a path; without one it is that of the environment."""
    monkeypatch.setenv("ARES_CACHE_DIR", "from_environment")

    assert ares.Cache("here").settings.cache_dir == Path("here")
    assert ares.Cache(tmp_path).settings.cache_dir == tmp_path
    assert ares.Cache().settings.cache_dir == Path("from_environment")
    assert ares.Cache(ares.Settings(max_retries=7)).settings.max_retries == 7


@pytest.mark.parametrize("wrong", [5, ["a"], True, b"folder", ""])
def test_what_is_no_folder_is_refused(wrong):
    """What is neither settings nor a folder is an argument that cannot be meant."""
    with pytest.raises(BadArgument):
        ares.Cache(wrong)


# --- what messages advise ---


def names_a_contract(settings, call):
    """Trades of a perpetual, of which the cache has candles, by the name of spot trades."""
    ares.run(
        ares.download_all_data(
            "BTCUSD_PERP",
            "1d",
            start="2025-01-01",
            end="2025-01-05",
            settings=settings,
            datasets=("cm_klines",),
        )
    )
    call("plan_repair", "BTCUSD_PERP", datasets=("klines",))


def lacks_rows(settings, call):
    """A load of a month of which a day is there."""
    ares.run(
        ares.download_klines_data(
            "BTCUSDT", "1d", start="2025-01-01", end="2025-01-02", settings=settings
        )
    )
    with warnings.catch_warnings(action="error"):
        call("load_klines", "BTCUSDT", "1d", "2025-01-01", "2025-01-05")


def lacks_rows_of_several(settings, call):
    """A load of two symbols, of which one has a day."""
    ares.run(
        ares.download_klines_data(
            "BTCUSDT", "1d", start="2025-01-01", end="2025-01-05", settings=settings
        )
    )
    ares.run(
        ares.download_klines_data(
            "ETHUSDT", "1d", start="2025-01-01", end="2025-01-02", settings=settings
        )
    )
    with warnings.catch_warnings(action="error"):
        call("load_klines", ["BTCUSDT", "ETHUSDT"], "1d", "2025-01-01", "2025-01-05")


def lacks_a_file(settings, call):
    """The quality of a series that lost its month in the middle."""
    ares.run(
        ares.download_klines_data(
            "BTCUSDT", "1d", start="2025-01-01", end="2025-03-20", settings=settings
        )
    )
    (settings.cache_dir / "klines_BTCUSDT_1d_2025-02.csv").unlink()
    call("validate_cache").raise_for_errors()


def has_two_intervals(settings, call):
    """The fingerprint of a symbol without saying of which interval."""
    for interval in ("1d", "12h"):
        ares.run(
            ares.download_klines_data(
                "BTCUSDT", interval, start="2025-01-01", end="2025-01-05", settings=settings
            )
        )
    call("fingerprint", "BTCUSDT")


ADVICE = {
    "an empty cache": lambda _, call: call("load_klines", "ETHUSDT", "1d"),
    "trades": lambda _, call: call("load_agg_trades", "ETHUSDT", "2025-01-01", "2025-01-02"),
    "several": lambda _, call: call("load_klines", ["BTCUSDT", "ETHUSDT"], "1d", "2025-01-01", "2025-01-03"),
    "coverage": lambda _, call: call("coverage"),
    "update": lambda _, call: ares.run(call("update")),
    "sql": lambda _, call: call("sql", "select 1"),
    "a contract": names_a_contract,
    "rows": lacks_rows,
    "rows of several": lacks_rows_of_several,
    "a file": lacks_a_file,
    "an interval": has_two_intervals,
}  # fmt: skip
OF_THE_PACKAGE = {function_of(name).__name__: name for name in METHODS}


@pytest.mark.parametrize("bound", [True, False], ids=["cache", "settings"])
@pytest.mark.parametrize("case", ADVICE)
def test_advice_works_on_the_cache_that_it_is_about(case, bound, settings, tmp_path, monkeypatch):
    """A call that a message names, pasted, works on the cache of the message, and makes no other."""
    monkeypatch.chdir(tmp_path)
    cache, words = ares.Cache(settings), {"settings": settings, "ares": ares}

    def call(function, *arguments, **options):
        if bound:
            return getattr(cache, OF_THE_PACKAGE[function])(*arguments, **options)
        return getattr(ares, function)(*arguments, **options, settings=settings)

    with pytest.raises((ares.errors.AresError, IncompleteData)) as caught:
        ADVICE[case](settings, call)
    calls = re.findall(r"`((?:await )?\w+\.\w+\(.*?\))`", str(caught.value))
    names = {"cache": cache} if bound else words
    assert calls
    for each in calls:
        assert ("settings=settings" in each) != bound
        if "…" in each:
            assert each.removeprefix("await ").startswith("cache." if bound else "ares.")
            continue
        made = eval(each.removeprefix("await "), names)  # noqa: S307 - what users do with it
        if inspect.isawaitable(made):
            assert ares.run(made).complete
            assert cache.symbols()

    assert not Path("data_cache").exists()


def test_advice_on_the_cache_of_the_environment_needs_no_settings(tmp_path, monkeypatch):
    """Where no settings were passed, or those of the environment, the call names none."""
    monkeypatch.setenv("ARES_CACHE_DIR", str(tmp_path / "there"))
    for options in ({}, {"settings": ares.Settings()}):
        with pytest.raises(ares.errors.NeverDownloaded) as caught:
            ares.load_klines("ETHUSDT", "1h", **options)
        assert '`await ares.download_klines_data("ETHUSDT", "1h", 1)`' in str(caught.value)


def test_bound_settings_are_the_same_settings(settings):
    """What a method gives back of its settings equals those of the cache, also after a copy."""
    plan = ares.Cache(settings).plan("BTCUSDT", "1d", 0.1, end="2025-03-01")

    assert plan.settings == settings
    assert pickle.loads(pickle.dumps(plan.settings)) == settings  # noqa: S301 - our own
    assert asdict(plan.settings) == asdict(settings)


# --- the demo ---


async def test_the_demo_is_there_at_once(tmp_path, monkeypatch):
    """Offline, without an address, the demo fills its own folder, and two objects share one exchange."""
    monkeypatch.chdir(tmp_path)
    cache, other = ares.Cache(demo=True), ares.Cache("other", demo=True)

    frame = await cache.klines("BTCUSDT", "1d", "2025-01-01", "2025-03-01")

    assert len(frame) == 59
    assert frame.attrs["market"] == "demo"
    assert [each.name for each in tmp_path.iterdir()] == ["demo_cache"]
    assert other.settings.cache_dir == Path("other")
    assert other.settings.spot_url == cache.settings.spot_url
    assert cache.settings.spot_url.startswith("http://127.0.0.1:")


def test_settings_are_kept_for_the_demo_but_for_what_is_of_binance(tmp_path, monkeypatch, settings):
    """With settings the demo has their values, without the addresses, the key and the folder of Binance's data."""
    monkeypatch.setenv("ARES_CACHE_DIR", "of_binance")
    given = ares.Settings(max_retries=7, api_key="secret")
    cache = ares.Cache(given, demo=True)
    with_folder = ares.Cache(ares.Settings(cache_dir=tmp_path), demo=True)

    assert cache.settings.max_retries == 7
    assert cache.settings.market_name == "demo"
    assert cache.settings.api_key is None
    assert cache.settings.cache_dir == Path("demo_cache")
    assert with_folder.settings.cache_dir == tmp_path
    assert with_folder.settings.market_name == "demo"
    assert ares.Cache(settings, demo=True).settings is settings


# --- the faces ---


async def filled(settings, **options):
    """A cache of two series, both complete."""
    cache = ares.Cache(settings)
    await cache.download(
        "BTCUSDT", "1d", 0.2, end="2025-03-11", datasets=("klines", "funding"), **options
    )
    return cache


def rows_of(text):
    """The lines of the table in a text, cell by cell."""
    return [
        re.split(r"  +", line.strip()) for line in text.splitlines()[2:] if line.startswith("  ")
    ]


async def test_the_text_says_what_is_there(settings):
    """Series, span, completeness, rows, files and size stand in a line each, their sums above them."""
    cache = await filled(settings)

    text = str(cache)

    size = sum(each.stat().st_size for each in settings.cache_dir.glob("klines*.csv"))
    assert repr(cache) == text
    assert text.splitlines()[0].startswith(
        f"Cache {settings.cache_dir} (demo): 2 series of 1 symbol; 8 files, "
    )
    assert text.splitlines()[0].endswith("; all complete")
    [funding, klines] = rows_of(text)
    assert klines == [
        "klines", "BTCUSDT", "1d", "2024-12-01 00:00", "2025-03-11 00:00",
        "complete", "100", "4", f"{size / 1000:.1f} KB",
    ]  # fmt: skip
    assert funding[:2] + funding[4:6] == ["futures", "BTCUSDT", "complete", "300"]


async def test_the_page_says_the_same_and_escapes(settings, tmp_path):
    """HTML has every cell of the text; a name with markup in it is text, in the headline and in an error."""
    odd = settings.replace(cache_dir=tmp_path / "<b>x")
    cache = await filled(odd)
    no_folder = tmp_path / "<i>y"
    no_folder.write_text("")

    html = cache._repr_html_()
    failed = ares.Cache(no_folder)._repr_html_()

    cells = [cell for row in rows_of(str(cache)) for cell in row]
    assert all(f">{cell}</td>" in html for cell in cells)
    assert "&lt;b&gt;x" in html
    assert "<b>" not in html
    assert "&lt;i&gt;y cannot be read" in failed
    assert "<i>" not in failed
    assert cache._repr_mimebundle_() == {"text/plain": str(cache), "text/html": html}


async def test_what_is_not_complete_comes_first_and_says_why(settings):
    """A series with a gap comes first, and its line says how many gaps there are."""
    cache = await filled(settings)
    await cache.download_klines("ETHUSDT", "1d", 0.2, end="2025-03-11")
    (settings.cache_dir / "klines_BTCUSDT_1d_2025-01.csv").unlink()

    head, *_ = str(cache).splitlines()
    first = rows_of(str(cache))[0]

    assert head.endswith("; 2 complete, 1 lacks rows")
    assert first[:2] == ["klines", "BTCUSDT"]
    assert first[5] == "1 open gap"


@pytest.mark.filterwarnings("ignore::ares_notebook.cached_window.IncompleteData")
@pytest.mark.parametrize("dataset", ["klines", "futures", "agg_trades"])
@pytest.mark.parametrize(
    "harm", ["none", "middle", "first receipt", "last receipt", "all receipts"]
)
async def test_a_line_never_says_more_than_a_load(settings, dataset, harm):
    """A series is called complete only if all that the cache has of it loads as complete, whatever was deleted."""
    cache = ares.Cache(settings)
    start = {"agg_trades": "2025-01-01"}.get(dataset, "2024-11-01")
    end = {"agg_trades": "2025-01-04T12:00"}.get(dataset, "2025-03-11")
    await cache.download("BTCUSDT", "1d", start=start, end=end, datasets=(dataset,))
    files = sorted(settings.cache_dir.glob("*.csv"))
    receipts = sorted((settings.cache_dir / ".ares" / "receipts").glob("*.json"))
    harmed = {
        "none": [],
        "middle": [files[1]],
        "first receipt": receipts[:1],
        "last receipt": receipts[-1:],
        "all receipts": receipts,
    }[harm]
    for path in harmed:
        path.unlink()

    [line] = rows_of(str(cache))
    frame = cache.load_rows(dataset, "BTCUSDT", "1d")

    assert (line[-4] == "complete") == frame.attrs["complete"]
    assert line[-3] == f"{len(frame):,}"
    assert (harm == "middle") <= (line[-4] == "1 open gap")


async def test_a_copied_cache_is_told_as_it_was(settings, tmp_path):
    """A copy, whose files have other times, shows the lines of the original, gaps too, and is not written."""
    await filled(settings)
    await ares.Cache(settings).download_klines("ETHUSDT", "1d", 0.2, end="2025-03-11")
    (settings.cache_dir / "klines_ETHUSDT_1d_2025-01.csv").unlink()
    shutil.copytree(settings.cache_dir, tmp_path / "copy", copy_function=shutil.copyfile)
    before = sorted((tmp_path / "copy").rglob("*"))

    shown = str(ares.Cache(tmp_path / "copy"))

    assert rows_of(shown) == rows_of(str(ares.Cache(settings)))
    assert shown.splitlines()[0].endswith("; 2 complete, 1 lacks rows")
    assert sorted((tmp_path / "copy").rglob("*")) == before


async def test_other_bytes_are_never_complete(settings):
    """A file that was altered beside its receipt, and one that cannot be read, are told, and raise nothing."""
    cache = await filled(settings)
    path = settings.cache_dir / "klines_BTCUSDT_1d_2025-01.csv"
    path.write_text(path.read_text().replace("2025-01-20", "no time", 1))
    (settings.cache_dir / "futures_BTCUSDT_2025-03.csv").write_bytes(b"\0" * 100)

    head, *_ = str(cache).splitlines()

    assert head.endswith("; 2 lack rows")
    assert all("unreadable file" in row[-4] for row in rows_of(str(cache)))


async def test_what_would_take_long_to_read_is_not_counted(settings):
    """A series with much that no receipt vouches for is not read: neither complete nor lacking rows."""
    cache = await filled(settings)
    os.truncate(settings.cache_dir / "klines_BTCUSDT_1d_2025-01.csv", 40_000_000)

    text = str(cache)

    assert text.splitlines()[0].endswith("; 1 complete, 1 not counted")
    assert rows_of(text)[0][5:7] == ["1 file not counted", "not counted"]
    assert "`cache.coverage()` counts what is not counted here; that may take long" in text


async def test_what_complete_means_is_told(settings):
    """A series that ends inside its last file is complete up to there, the gaps go on, and the text says so."""
    cache = await filled(settings)

    text = str(cache)
    [gap] = cache.gaps("BTCUSDT", "1d").itertuples()

    assert text.splitlines()[0].endswith("; all complete")
    assert rows_of(text)[1][4] == f"{gap.start:%Y-%m-%d %H:%M}" == "2025-03-11 00:00"
    assert text.splitlines()[-1] == (
        "complete: no row is missing from the start of the first file of a series to its last row; "
        "`cache.gaps()` and `cache.coverage()` look on to the end of its last file, or to now"
    )
    assert "from (UTC)" in text.splitlines()[1]
    assert ">until (UTC)</th>" in cache._repr_html_()


async def test_a_failed_file_is_told(settings, exchange):
    """What was requested and did not come is in the line of its series."""
    cache = ares.Cache(settings.replace(max_retries=0))
    exchange.fail("2025-01", times=None, status=503)
    exchange.fail("api/v3/klines", times=None, status=503)
    await cache.download_klines("BTCUSDT", "1d", start="2024-12-01", end="2025-03-01")

    [line] = rows_of(str(cache))

    assert line[5] == "1 open gap, 1 failed file"


async def test_nothing_that_came_is_not_nothing_that_is(settings, exchange):
    """A series of which every file failed is not called empty."""
    cache = ares.Cache(settings.replace(max_retries=0))
    exchange.fail("klines", times=None, status=503)
    await cache.download_klines("BTCUSDT", "1d", start="2025-01-01", end="2025-03-01")

    [line] = rows_of(str(cache))

    assert line[5:] == ["1 open gap, 2 failed files", "0", "0", "0 B"]


async def test_the_end_of_a_file_inside_a_series_is_a_gap(settings):
    """A month that ends early, and has another after it, is not complete."""
    cache = ares.Cache(settings)
    await cache.download_klines("BTCUSDT", "1d", start="2025-01-01", end="2025-01-15")
    assert rows_of(str(cache))[0][5] == "complete"

    await cache.download_klines("BTCUSDT", "1d", start="2025-02-01", end="2025-03-01")

    assert rows_of(str(cache))[0][5] == "1 open gap"


async def test_arrow_copies_are_counted_apart(settings):
    """What loads have copied is in the headline, with its size, and not in the size of the files."""
    cache = await filled(settings)
    before = rows_of(str(cache))
    cache.load_klines("BTCUSDT", "1d")

    copies = sum(each.stat().st_size for each in (settings.cache_dir / ".ares" / "arrow").iterdir())
    assert f"; Arrow copies, {copies / 1000:.1f} KB; all complete" in str(cache).splitlines()[0]
    assert rows_of(str(cache)) == before


async def test_what_is_not_published_yet_has_not_failed(settings):
    """Open interest up to now, whose last day is not in the archive yet, is complete to where it ends."""
    cache = ares.Cache(settings)
    now = ares.get_daily_periods("1d")[-1].end
    await cache.download("BTCUSDT", "1d", "3d", datasets=("metrics",), end=now)

    [line] = rows_of(str(cache))

    assert line[4] == "complete"
    assert line[3] <= f"{now:%Y-%m-%d} 00:00"


@pytest.mark.parametrize("months", [("2025-02",), ("2025-02", "2025-03"), ("2025-01",)])
async def test_rows_end_before_a_month_of_which_nothing_is_published(months, settings):
    """As on the first of a month: its file has no row yet, and the rows before it are complete; alone it is not empty."""
    cache = ares.Cache(settings)
    is_alone = "2025-01" in months
    if not is_alone:
        await cache.download(
            "BTCUSDT", "1d", start="2025-01-30", end="2025-02-01", datasets=("metrics",)
        )
    store = Store(settings)
    store.prepare()
    for month in months:
        file = parse_file_name(f"metrics_BTCUSDT_{month}.csv")
        store.record_failure(
            file, Trouble(NOT_PUBLISHED, "the archive does not have it", "2025-02-01")
        )

    [line] = rows_of(str(cache))

    assert line[4] == ("not yet published" if is_alone else "complete")
    if is_alone:
        with pytest.raises(NeverDownloaded, match="metrics"):
            cache.load_rows("metrics", "BTCUSDT")
    else:
        frame = cache.load_rows("metrics", ["BTCUSDT"])
        assert cache.load_rows("metrics", "BTCUSDT").attrs["complete"]
        assert frame.attrs["complete"]
        assert f"{frame.index[-1]:%Y-%m-%d %H:%M}" == "2025-01-31 23:55"


async def test_what_is_proven_to_be_empty_says_so(settings):
    """Funding of a symbol without a perpetual has no rows, and that is no gap."""
    cache = ares.Cache(settings)
    await cache.download("ETHBTC", "1d", 0.1, end="2025-02-01", datasets=("klines", "futures"))

    lines = {row[0]: row for row in rows_of(str(cache))}

    assert lines["futures"][4] == "proven to have no rows"
    assert str(cache).splitlines()[0].endswith("all complete")


async def test_of_many_series_the_first_are_shown(settings):
    """Of more series than fit, the others are counted, and the call that lists all is named."""
    cache = ares.Cache(settings)
    await ares.download_universe(
        ["BTCUSDT", "ETHUSDT", "BNBUSDT", "LTCUSDT", "ADAUSDT", "XRPUSDT", "XLMUSDT", "TRXUSDT",
         "ETCUSDT", "LINKUSDT", "ATOMUSDT"],
        "1d", 0.05, end="2025-02-01", settings=settings, datasets=("klines", "futures"),
    )  # fmt: skip

    text = str(cache)

    assert text.splitlines()[0].split(": ")[1].startswith("22 series of 11 symbols; 22 files, ")
    assert len(rows_of(text)) == 20
    assert text.splitlines()[22] == "… and 2 more series; `cache.coverage()` has all"
    assert "… and 2 more series" in cache._repr_html_()


def test_an_empty_cache_says_what_to_do(tmp_path):
    """An absent and an empty folder are told apart, and both name the call that fills them."""
    empty = tmp_path / "empty"
    empty.mkdir()

    for folder, state in (
        (tmp_path / "absent", "does not exist yet"),
        (empty, "holds no cache file yet"),
    ):
        cache = ares.Cache(folder)
        assert str(cache).splitlines()[0] == f"Cache {folder} {state}"
        assert 'await cache.download("BTCUSDT", "1h", 1)' in str(cache)
        assert "await cache.download(&quot;BTCUSDT&quot;, &quot;1h&quot;, 1)" in cache._repr_html_()


def test_what_cannot_be_read_is_told(tmp_path):
    """A file in the place of the folder is shown as the error that it is, and not as an empty cache."""
    path = tmp_path / "cache"
    path.write_text("")

    assert "cannot be read" in str(ares.Cache(path))
    assert "there is a file where a folder should be" in str(ares.Cache(path))


_LIGHT = """
import sys
import ares_notebook as ares

cache = ares.Cache(sys.argv[1])
print(cache)
cache.symbols()
report = ares.run(ares.Cache(ares.Settings(cache_dir=sys.argv[1], market="demo", progress=False)).update(end="2025-03-11"))
print(report.requests, sorted({"aiohttp", "numpy", "pandas", "pyarrow"} & set(sys.modules)))
"""


async def test_to_show_a_cache_imports_nothing_slow(settings):
    """To make an object, to show it and to update a complete cache imports neither pandas nor HTTP nor Arrow."""
    await filled(settings)
    done = subprocess.run(  # noqa: S603, ASYNC221 - our own code, and nothing else waits
        [sys.executable, "-c", _LIGHT, str(settings.cache_dir)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "all complete" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 []"
