"""What the panel keeps, restores and shows as code; its presets and its chart, driven by traits."""

from __future__ import annotations

import ast
import asyncio
import json
import shutil
from collections.abc import Iterator

import pytest

import ares_notebook as ares
from ares_notebook.lab.look import NOTHING_TO_SHOW
from ares_notebook.lab.memory import memory_path
from ares_notebook.lab.panel import DownloadPanel
from ares_notebook.lab.presets import LAST_PRESET, PAIR_PRESET, TOP_PRESET

END = "2025-03-01"


@pytest.fixture
def chosen(settings):
    """A month of daily candles, so that everything is small."""
    return settings.replace(interval="1d", lookback_years=28 / 365.25)


@pytest.fixture
def made(chosen) -> Iterator:
    """Makes panels, each as a cell of a restarted kernel does, and closes them."""
    panels: list[DownloadPanel] = []

    def make(**changes: object) -> DownloadPanel:
        panels.append(DownloadPanel(chosen, **{"end": END, **changes}))
        return panels[-1]

    yield make
    for panel in panels:
        panel.close()


def tree(settings) -> dict[str, bytes]:
    """All files of the cache folder."""
    folder = settings.cache_dir
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run_in_new_kernel(code: str) -> dict[str, object]:
    """Run code as the only cell of a notebook; its names."""
    names: dict[str, object] = {}
    compiled = compile(code, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    # A cell without `await` is no coroutine.
    if (awaited := eval(compiled, names)) is not None:  # noqa: S307 - our own code
        asyncio.run(awaited)
    return names


def test_a_new_panel_writes_nothing(made, chosen):
    """Making a panel, showing its preview and opening its tabs changes no file but by a chart's copies."""
    panel = made()
    ares.run(panel.settled())
    assert not chosen.cache_dir.exists()
    ares.run(panel.download())
    before = tree(chosen)
    again = made()
    again.tabs.selected_index = 2
    ares.run(again.settled())

    assert again._look.chart is None
    assert tree(chosen) == before


def test_form_and_history_come_back_after_a_restart(made, chosen):
    """A panel of the same arguments has the form as it was left, typed or done; of others its own form."""
    panel = made()
    assert panel.code.startswith("# Nothing was done yet")
    ares.run(panel.download())
    panel.form.symbols.value, panel.form.lookback.value = "ETHUSDT", "40 days"
    panel.form.ticks["futures"].value = False
    ares.run(panel.settled())
    again, other = made(), made(end="2025-02-01")

    assert again.form.state() == panel.form.state()
    assert again.form.symbols.value == "ETHUSDT"
    assert again.code == panel.code
    assert (other.form.symbols.value, other.form.lookback.value) == ("BTCUSDT", "28 days")
    assert not other._presets.buttons[LAST_PRESET].disabled
    other._presets.buttons[LAST_PRESET].click()
    assert str(other.form.end.value) == END
    assert not [*chosen.cache_dir.rglob("*.part")]


def test_each_act_is_a_line_that_does_it_again(made, chosen, settings):
    """Pasted into a new kernel, the history downloads, repairs and validates what the panel did."""
    panel = made()
    panel.form.symbols.value = "BTCUSDT, ETHUSDT"
    ares.run(panel.download())
    (chosen.cache_dir / "klines_BTCUSDT_1d_2025-02.csv").unlink()
    # Of a symbol that was never downloaded there is nothing to repair.
    panel.form.symbols.value = "BTCUSDT, ETHUSDT, SOLUSDT"
    ares.run(panel.repair())
    panel.form.ticks["klines"].value = False
    panel.form.symbols.value = "BTCUSDT"
    ares.run(panel.validate())
    before = {path.name: path.read_bytes() for path in settings.cache_dir.glob("*.csv")}
    for path in settings.cache_dir.glob("*.csv"):
        path.unlink()
    names = run_in_new_kernel(panel.code)

    assert panel.code.count("import ares_notebook") == panel.code.count("settings = ") == 1
    assert {path.name: path.read_bytes() for path in settings.cache_dir.glob("*.csv")} == before
    assert names["quality"].ok
    assert names["quality"].files == 1
    assert [*names["report"].actions] == ["skip"]


def test_one_demo_exchange_serves_all_of_the_history(tmp_path):
    """Two folders of the panel's own exchange are two settings and one exchange, and each begins a history of its own."""
    panel = DownloadPanel(source="demo", end=END, datasets=("klines",))
    panel.form.interval.value, panel.form.lookback.value = "1d", "2 days"
    for name in ("one", "two"):
        panel.form.folder.value = str(tmp_path / name)
        ares.run(panel.download())
    code = panel.code
    panel.close()

    assert [code.count(each) for each in ("exchange = ", "settings = ", "download_all")] == [
        1,
        2,
        2,
    ]
    assert len(json.loads(memory_path(tmp_path / "two").read_bytes())["acts"]) == 1


def test_a_work_that_did_not_end_is_no_line(made, exchange):
    """A download that was cancelled adds nothing to the history."""
    exchange.fail("/", times=None, stall="head")
    panel = made()
    panel.buttons["Download"].click()
    panel.cancel()
    ares.run(panel.settled())

    assert "cancelled" in panel._work.status.value
    assert panel.code.startswith("# Nothing was done yet")


GOOD = {
    "market": "spot", "symbols": "BTCUSDT", "interval": "1d", "lookback": "28 days", "end": None,
    "source": "As given", "address": "", "datasets": ["klines"],
}  # fmt: skip


@pytest.mark.parametrize(
    "spoiled",
    [
        b"", b"\xff\xfe", b"null", b"[" * 100_000, json.dumps({"version": 1, "given": GOOD, "form": GOOD, "acts": []}).encode() + b" " * (1 << 19),
        {"version": 2}, {"given": {}}, {"form": {**GOOD, "extra": 1}}, {"form": {**GOOD, "symbols": 3}},
        {"form": {**GOOD, "symbols": "B" * 20_000}},
    ],
)  # fmt: skip
def test_a_spoiled_memory_is_a_remark(made, chosen, spoiled):
    """Whatever stands in the file, the panel is made, says that it begins anew, and can be worked."""
    path = memory_path(chosen.cache_dir)
    path.parent.mkdir(parents=True)
    memory = {"version": 1, "given": GOOD, "form": GOOD, "acts": []}
    data = spoiled if isinstance(spoiled, bytes) else json.dumps({**memory, **spoiled}).encode()
    path.write_bytes(data)
    panel = made(datasets=("klines",))

    assert "begins anew" in panel._acts.remark.value
    assert panel.form.symbols.value == "BTCUSDT"
    assert ares.run(panel.download()).complete
    assert json.loads(path.read_bytes())["form"]["symbols"] == "BTCUSDT"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("symbols", "<img src=x>"), ("symbols", "../../etc"), ("interval", "7h"), ("market", "futures!"),
        ("lookback", '"); import os #'), ("source", "elsewhere"), ("datasets", ["no such"]),
        ("datasets", ["um_klines"]),
    ],
)  # fmt: skip
def test_a_memory_that_cannot_be_meant_is_left_out(made, chosen, name, value):
    """A form, or an act, with a value that the form itself would refuse is not taken, and the panel says so."""
    probe = made(datasets=("klines",))
    ares.run(probe.download())
    path = memory_path(chosen.cache_dir)
    memory = json.loads(path.read_bytes())
    memory["form"][name] = value
    memory["acts"][0]["form"][name] = value
    path.write_text(json.dumps(memory))
    panel = made(datasets=("klines",))

    assert "left out" in panel._acts.remark.value
    assert "<img" not in panel._acts.remark.value
    assert panel.form.state() == probe.form.state()
    assert panel.code.startswith("# Nothing was done yet")


def test_what_cannot_be_kept_is_a_remark(made, chosen):
    """Where the memory cannot be written the download succeeds, and the panel says what is not kept."""
    panel = made()
    path = memory_path(chosen.cache_dir)
    path.mkdir(parents=True)

    assert ares.run(panel.download()).complete
    assert "not kept" in panel._acts.remark.value
    assert "begins anew" in made()._acts.remark.value


def test_no_password_is_kept(made, chosen):
    """An address with a password is written nowhere."""
    panel = made(datasets=("klines",))
    ares.run(panel.download())
    panel.form.address.value = "http://user:secret@127.0.0.1:1"
    ares.run(panel.settled())

    assert "secret" not in memory_path(chosen.cache_dir).read_text()


def test_presets_fill_in_the_form(made, exchange):
    """One click names two symbols, or the most traded ones; of two clicks the newer one counts."""
    panel = made()
    panel._presets.buttons[PAIR_PRESET].click()
    assert panel.form.symbols.value == "BTCUSDT, ETHUSDT"
    assert (panel.form.interval.value, panel.form.lookback.value) == ("1h", "5 years")
    assert panel._presets.buttons[LAST_PRESET].disabled

    panel._presets.buttons[TOP_PRESET].click()
    ares.run(panel.settled())
    names = panel.form.symbols.value.split(", ")
    assert names[:2] == ["BTCUSDT", "ETHUSDT"]
    assert 40 < len(names) <= 50
    assert panel._preview.choice is not None

    hanging = exchange.fail("ticker", times=None, stall="head")
    panel._presets.buttons[TOP_PRESET].click()
    panel._presets.buttons[PAIR_PRESET].click()
    exchange.faults.remove(hanging)
    ares.run(panel.settled())
    assert panel.form.symbols.value == "BTCUSDT, ETHUSDT"
    exchange.fail("ticker", times=None, status=400, body="{}")
    panel._presets.buttons[TOP_PRESET].click()
    ares.run(panel.settled())
    assert "could not be had" in panel._presets.said.value


def test_the_chart_is_made_when_it_is_looked_at(made, chosen):
    """The tab says that there is nothing, then shows the first series; of many requests the last one."""
    panel = made()
    panel.tabs.selected_index = 1
    ares.run(panel.settled())
    assert NOTHING_TO_SHOW in panel._look.said.value

    panel.form.symbols.value = "BTCUSDT, ETHUSDT"
    ares.run(panel.download())
    assert panel._look.chart is None
    for at in (0, 1):
        panel.tabs.selected_index = at
    ares.run(panel.settled())
    assert repr(panel._look.chart).startswith("BTCUSDT 1d, 2025-02-01 to 2025-03-01, low")
    assert panel._look.series.layout.display == ""

    first, eth = panel._look.chart, panel._look.series.options[1][1]
    btc = panel._look.series.options[0][1]
    for each in (eth, btc, eth):
        panel._look.series.value = each
    ares.run(panel.settled())
    assert panel._look.chart.series.symbol == "ETHUSDT"
    assert panel._look.place.children == (panel._look.chart,)
    assert first.comm is None
    look = panel._look
    late = look._show_series(look._number - 1, chosen, btc, panel._preview.choice.window)
    before = panel.chart
    ares.run(late)
    assert panel.chart is before
    html = panel._static_view()["text/html"]
    assert "ETHUSDT 1d, 2025-02-01 to" in html
    (chosen.cache_dir / "klines_BTCUSDT_1d_2025-02.csv").write_text("x")
    panel._look.series.value = btc
    ares.run(panel.settled())
    assert 'role="alert"' in panel._look.said.value
    shutil.rmtree(chosen.cache_dir)
    chosen.cache_dir.write_text("no folder")
    panel._look.show(panel._preview.choice)
    ares.run(panel.settled())
    assert "there is a file where a folder should be" in panel._look.said.value


def test_the_cost_is_a_bar_of_the_free_disk(made):
    """What is needed is told beside what is free, in words and as a share; nothing once all is there."""
    panel = made()
    assert "(less than 1%)" in panel._preview.estimate.value
    assert 'class="ares-room-bar"' in panel._preview.estimate.value
    ares.run(panel.download())

    assert "ares-room" not in panel._preview.estimate.value
    lines = panel._work.result.value
    assert (
        lines.index("Report: complete")
        < lines.index("Cache: 2 of 2")
        < lines.index("Proof: no gap")
    )


def test_what_is_done_with_a_part_of_the_map_is_a_line_too(made, chosen, exchange):
    """A month is repaired in the map alone, loaded and shown in the chart, and the history repeats it."""
    panel = made()
    panel.form.symbols.value = "BTCUSDT, ETHUSDT"
    panel.form.lookback.value = "2 months"
    ares.run(panel.download())
    for name in ("klines_ETHUSDT_1d_2025-01.csv", "klines_BTCUSDT_1d_2025-01.csv"):
        (chosen.cache_dir / name).unlink()
    panel.tabs.selected_index = 1
    ares.run(panel.settled())
    exchange.requests.clear()
    panel.map.select("ETHUSDT", "2025-01-01", "2025-02-01", dataset="klines")
    for act in (panel.map.repair, panel.map.load, panel.map.show_in_chart):
        ares.run(act())
    ares.run(panel.settled())

    paths = [each.path for each in list(exchange.requests)]
    assert [path for path in paths if "BTCUSDT" in path] == []
    assert not (chosen.cache_dir / "klines_BTCUSDT_1d_2025-01.csv").exists()
    assert panel.chart.series.symbol == "ETHUSDT"
    assert panel.chart.view[0].date().isoformat() == "2025-01-01"
    assert len(panel.map.frame) == 31
    assert "7 of 8 files complete" in panel._preview.picture.value
    names = run_in_new_kernel(panel.code)
    assert len(names["frame"]) == 31
    assert panel.code.index("ares.repair_gaps(") < panel.code.index("frame = ares.load_rows(")
    assert made().code == panel.code
