"""The names that people use: of symbols, of datasets, and of what the package offers."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys

import pytest

import ares_notebook as ares
from ares_notebook.errors import BadArgument, NeverDownloaded, UnknownSymbol

WINDOW = {"start": "2025-02-01", "end": "2025-02-03"}
SOURCES = pytest.mark.parametrize("source", ["auto", "archive", "rest"])


def left(settings: ares.Settings) -> list[str]:
    """The cache files that are there."""
    return sorted(path.name for path in settings.cache_dir.glob("*.csv"))


@SOURCES
@pytest.mark.parametrize("datasets", [("klines",), ("futures",), ("klines", "futures")])
@pytest.mark.parametrize(("slip", "meant"), [("BTCUSD", "BTCUSDT"), ("ETHUSTD", "ETHUSDT")])
async def test_a_symbol_that_nobody_knows_gets_a_hint(settings, source, datasets, slip, meant):
    """One error names the listed symbol that is near, whatever the source, and no file is asked for."""
    own = settings.replace(source=source)
    with pytest.raises(UnknownSymbol, match=rf"{slip}.*; did you mean {meant}\?$"):
        await ares.download_all_data(
            slip, "1h", 1, end="2025-03-01", settings=own, datasets=datasets
        )

    assert left(own) == []


async def test_the_lists_are_asked_for_once_and_no_file_is(exchange, settings):
    """A slip costs a few requests for lists, and none for rows of candles or for zips."""
    with pytest.raises(UnknownSymbol):
        await ares.download_klines_data("BTCUSD", "1h", 2, end="2025-03-01", settings=settings)
    paths = [each.path for each in exchange.requests]

    assert not [path for path in paths if path.endswith(("klines", ".zip", ".CHECKSUM"))]
    # The symbol and all symbols; the folders of the symbol in the archive, and no list of all.
    assert paths.count("/api/v3/exchangeInfo") == 2
    assert paths.count("/data.binance.vision") == 3


async def test_several_slips_ask_for_one_list(exchange, settings):
    """All unknown symbols of one run are looked up in one list, and each has its own suggestion."""
    slips = ["BTCUSD", "ETHUSTD", "LTCUDST"]
    report = await ares.download_universe(
        slips, "1d", **WINDOW, settings=settings, datasets=("klines",)
    )
    hints = [str(step.error).rpartition("; ")[2] for step in report.failed]

    assert hints == [f"did you mean {coin}USDT?" for coin in ("BTC", "ETH", "LTC")]
    assert len([each for each in exchange.requests if "symbolStatus" in each.query]) == 1


async def test_a_delisted_symbol_is_suggested_too(settings):
    """What the API lists no more is found in the archive's listing."""
    with pytest.raises(UnknownSymbol, match=r"did you mean MATICUSDT\?"):
        await ares.download_klines_data("MATICUSTD", "1h", **WINDOW, settings=settings)


@SOURCES
async def test_only_what_was_asked_is_said_to_know_nothing(settings, source):
    """The error names the exchange and its archive only where each was asked."""
    own = settings.replace(source=source)
    with pytest.raises(UnknownSymbol) as error:
        await ares.download_klines_data("NOSUCHUSDT", "1h", **WINDOW, settings=own)

    assert ("archive" in str(error.value)) == (source != "rest")
    assert ("is not known to the exchange" in str(error.value)) == (source != "archive")
    assert "check the spelling" in str(error.value)


async def test_where_no_list_comes_the_cache_tells(exchange, settings):
    """Without any list of the exchange the symbols in the cache are suggested."""
    await ares.download_klines_data("BTCUSDT", "1d", **WINDOW, settings=settings)
    exchange.fail("exchangeInfo.*TRADING", times=None, status=400)
    exchange.fail("fapi/v1/exchangeInfo", times=None, status=400)
    own = settings.replace(source="rest")
    with pytest.raises(UnknownSymbol, match=r"did you mean BTCUSDT\?"):
        await ares.download_klines_data("BTCUSD", "1d", **WINDOW, settings=own)


@SOURCES
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("BTCUSDT_250328", "USD-M delivery.*um_klines"),
        ("BTCUSD_PERP", "COIN-M perpetual.*cm_klines"),
        ("BTCUSD_250328", "COIN-M delivery.*cm_klines"),
    ],
)
async def test_a_contract_says_what_it_is(settings, source, name, kind):
    """The name of a contract that spot does not have says so, and which datasets have it."""
    own = settings.replace(source=source)
    with pytest.raises(UnknownSymbol, match=rf"{kind}.*did you mean BTCUSDT\?"):
        await ares.download_klines_data(name, "1h", **WINDOW, settings=own)
    with pytest.raises((UnknownSymbol, BadArgument), match=kind):
        await ares.download_funding_data(name, **WINDOW, settings=own)


@pytest.mark.parametrize(
    ("slip", "dataset", "meant"),
    [
        ("BTXUSD_PERP", "cm_klines", "BTCUSD_PERP"),
        ("BTCUSTD", "um_klines", "BTCUSDT"),
        ("BTCUSDT_261226", "um_klines", "BTCUSDT_261225"),
    ],
)
async def test_a_slip_is_looked_up_in_the_market_that_is_asked(settings, slip, dataset, meant):
    """The name that is suggested is one of the market whose dataset is asked for."""
    with pytest.raises(UnknownSymbol, match=rf"; did you mean {meant}\?$"):
        await ares.download_all_data(slip, "1h", **WINDOW, settings=settings, datasets=[dataset])


async def test_an_unknown_name_gets_an_example_of_its_market(settings):
    """Where nothing is near, the example is a symbol of the market that is asked for."""
    with pytest.raises(UnknownSymbol, match=r"check the spelling, such as BTCUSD_PERP$"):
        await ares.download_all_data(
            "NOSUCHUSD_PERP", "1h", **WINDOW, settings=settings, datasets=["cm_klines"]
        )


async def test_a_contract_comes_beside_spot_datasets_that_it_lacks(settings):
    """A delivery contract has no spot candles, which is a note and no failure."""
    report = await ares.download_all_data(
        "BTCUSDT_250627", "1d", **WINDOW, settings=settings, datasets=["klines", "um_klines"]
    )

    assert report.complete
    assert left(settings) == ["umklines_BTCUSDT_250627_1d_2025-02.csv"]
    assert any("no spot candles" in note for note in report.notes)


async def test_a_reader_suggests_what_the_cache_has(settings):
    """Who reads a symbol that is not in the cache is told of the near one that is."""
    await ares.download_klines_data("BTCUSDT", "1d", **WINDOW, settings=settings)
    with pytest.raises(NeverDownloaded, match=r"BTCUSD 1d .*\(did you mean BTCUSDT\?\)$"):
        ares.load_klines("BTCUSD", "1d", settings=settings)
    with pytest.raises(NeverDownloaded, match=r"did you mean BTCUSDT\?"):
        ares.coverage("BTCUSTD", settings=settings)
    with pytest.raises(
        NeverDownloaded, match=r"a COIN-M perpetual.*cm_klines.*did you mean BTCUSDT\?\)$"
    ):
        ares.load_klines("BTCUSD_PERP", "1d", settings=settings)


async def test_a_symbol_that_the_cache_has_is_no_slip(settings):
    """Where only the interval is not in the cache, no other symbol is suggested."""
    for symbol in ("ETHUSDT", "ETCUSDT"):
        await ares.download_klines_data(symbol, "1d", **WINDOW, settings=settings)
    with pytest.raises(
        NeverDownloaded, match="nothing of ETHUSDT 1h klines in that window; of ETHUSDT it holds"
    ):
        ares.load_klines("ETHUSDT", "1h", settings=settings)


async def test_symbols_in_cache(settings):
    """The symbols are those of files, sorted, each once; what is no cache file does not count."""
    before = ares.symbols_in_cache(settings=settings)
    for symbol in ("ETHUSDT", "BTCUSDT"):
        await ares.download_klines_data(symbol, "1d", 0.2, end="2025-02-03", settings=settings)
    await ares.download_funding_data("LTCUSDT", **WINDOW, settings=settings)
    (settings.cache_dir / "klines_XRPUSDT_1d_soon.csv").touch()
    (settings.cache_dir / "klines_BTCUSDT_1d_z.csv").touch()
    (settings.cache_dir / "klines_ETHUSDT_1d_2025-01.csv").unlink()
    listed = ares.symbols_in_cache(settings=settings)
    for path in settings.cache_dir.glob("*_ETHUSDT_*.csv"):
        path.unlink()

    assert before == []
    assert listed == ["BTCUSDT", "ETHUSDT", "LTCUSDT"]
    # A receipt alone is no file.
    assert ares.symbols_in_cache(settings=settings) == ["BTCUSDT", "LTCUSDT"]


def test_lists_of_names():
    """The constants name all that datasets= and interval= take, in their order."""
    assert ares.DATASETS[:3] == ("klines", "agg_trades", "futures")
    assert {"um_klines", "cm_klines", "premium_index_klines"} < set(ares.DATASETS)
    assert ares.INTERVALS[0] == "1s"
    assert ares.INTERVALS[-2:] == ("1w", "1M")
    assert len(ares.INTERVALS) == 16


@pytest.mark.parametrize(
    ("new", "old"),
    [("load_funding", "load_futures"), ("download_funding_data", "download_futures_data")],
)
def test_a_second_name_is_the_same_function(new, old):
    """A function under its second name has the code, the signature and the promises of the first."""
    one, other = getattr(ares, new), getattr(ares, old)

    assert one.__code__.co_code == other.__code__.co_code
    assert inspect.signature(one) == inspect.signature(other)
    assert inspect.iscoroutinefunction(one) == inspect.iscoroutinefunction(other)
    assert (one.__name__, one.__qualname__) == (new, new)
    assert one.__doc__ == other.__doc__.replace(old, new)


async def test_funding_and_trades_are_names_everywhere(settings):
    """Verbs in Python take the aliases, and write and read the same files as by the first names."""
    made = ares.plan_downloads(
        "BTCUSDT", None, **WINDOW, settings=settings, datasets=("trades", "funding")
    )
    report = await ares.download_all_data(
        "BTCUSDT", "1h", **WINDOW, settings=settings, datasets="funding"
    )
    fingerprints = [
        ares.fingerprint("BTCUSDT", dataset=name, settings=settings)
        for name in ("funding", "futures")
    ]

    assert [step.file.dataset.name for step in made.steps] == [
        "agg_trades",
        "agg_trades",
        "futures",
    ]
    assert [step.dataset for step in report.steps] == ["futures"]
    assert left(settings) == ["futures_BTCUSDT_2025-02.csv"]
    assert fingerprints[0] == fingerprints[1]
    assert ares.load_funding("BTCUSDT", settings=settings).equals(
        ares.load_futures("BTCUSDT", settings=settings)
    )


async def test_aliases_in_panel_and_pipeline(settings):
    """The panel ticks a dataset by its alias, and the pipeline's keys come back as given."""
    panel = ares.DownloadPanel(settings, datasets=("funding",))
    ticked = [name for name, tick in panel.form.ticks.items() if tick.value]
    panel.close()
    day = (1_738_368_000_000, 1_738_454_400_000)
    frames = await ares.fetch_missing_data(
        "BTCUSDT", *day, {"funding": None}, logging.getLogger("step1"), settings=settings
    )

    assert ticked == ["futures"]
    assert list(frames) == ["funding"]
    assert len(frames["funding"]) == 3


def shown(module: str) -> list[str]:
    """What dir() shows of a module in a fresh interpreter that has used the package."""
    code = (
        "import importlib, ares_notebook\n"
        "ares_notebook.Settings, ares_notebook.plan_downloads, ares_notebook.load_klines\n"
        f"module = importlib.import_module({module!r})\n"
        "print(*(name for name in dir(module) if not name.startswith('_')))"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_dir_shows_public_names_only():
    """Tab completion lists the public names, all of them, and nothing that the package imports."""
    assert shown("ares_notebook") == sorted(ares.__all__)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("ares_notebook.scale", {"download", "verify"}),
        ("ares_notebook.lab", {"allow_nested_loops", "demo_or_binance"}),
        ("ares_notebook.demo", {"DemoExchange", "Fault", "Request"}),
    ],
)
def test_dir_of_a_submodule(module, names):
    """A folder that users import shows what it offers, and no module of its own."""
    assert set(shown(module)) == names


def test_dir_of_the_errors():
    """The module of the errors shows errors, and all of them."""
    names = shown("ares_notebook.errors")

    assert {"AresError", "BadArgument", "UnknownSymbol", "PoorQuality"} <= set(names)
    assert all(issubclass(getattr(ares.errors, name), ares.errors.AresError) for name in names)


def cells(*codes: str) -> str:
    """What IPython shows of some cells, one after the other."""
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        f"for cell in {codes!r}:\n"
        "    shell.run_cell(cell, store_history=True)"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout


VERBS = [name for name in ares.__all__ if inspect.iscoroutinefunction(getattr(ares, name))]


def test_a_cell_says_that_a_forgotten_await_has_run_nothing():
    """A coroutine of ours that a cell shows says that nothing has run, and how to run it; no other does."""
    text = cells(
        "import asyncio, ares_notebook as ares",
        'ares.download_klines_data("BTCUSDT", "1h", 1)',
        'ares.plan_downloads("BTCUSDT", "1h", 1).measure()',
        "asyncio.sleep(0)",
    )

    call = "download_klines_data(…)"
    assert (
        f"Out[2]: {call} was not awaited, so nothing has run yet; write `await {call}` or `ares.run({call})`"
        in text
    )
    assert "Out[3]: Plan.measure(…) was not awaited, so nothing has run yet" in text
    assert "Out[4]: <coroutine object sleep" in text


def test_a_coroutine_that_was_shown_still_runs():
    """To show a coroutine takes nothing from it, and one that has run does not claim the contrary."""
    text = cells(
        "import ares_notebook as ares",
        "async def failing(): raise ZeroDivisionError",
        'job = ares.download_with_retry(failing, "x")',
        "job",
        "try:\n    await job\nexcept ZeroDivisionError:\n    print('it has run')",
        "job",
    )

    assert "Out[4]: download_with_retry(…) was not awaited" in text
    assert "it has run" in text
    assert "Out[6]: <coroutine object download_with_retry" in text


def test_a_coroutine_that_waits_has_run():
    """Of a coroutine that has begun and is not at its end nothing is claimed."""
    text = cells(
        "import asyncio, ares_notebook as ares",
        'job = ares.download_with_retry(lambda: asyncio.sleep(60), "x")',
        "task = asyncio.ensure_future(job)\nawait asyncio.sleep(0)",
        "job",
        "task.cancel()\nawait asyncio.wait([task])\nNone",
    )

    assert "Out[4]: <coroutine object download_with_retry" in text


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_makes_a_coroutine_of_python(name):
    """What a verb that may touch the network returns is Python's own coroutine, which warns if dropped."""
    verb = getattr(ares, name)
    needed = [
        each for each in inspect.signature(verb).parameters.values() if each.default is each.empty
    ]
    made = [verb(*["BTCUSDT" for each in needed if each.kind is each.POSITIONAL_OR_KEYWORD])]
    is_native = inspect.iscoroutine(made[0])
    with pytest.warns(RuntimeWarning, match=f"coroutine '{name}' was never awaited"):
        made.clear()

    assert is_native
