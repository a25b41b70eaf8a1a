"""The chart as its user works it: by wheel, mouse, finger and keyboard, in both themes, on small pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Locator, expect

import ares_notebook as ares

from .axe import violations
from .lab import Lab, until

CHART = """chart = ares.chart("BTCUSDT", "1h", settings=settings)
chart"""
VIEW = "print(*(each.isoformat() for each in chart.view))"
# Where the pixels of the candles are, as one number.
PIXELS = """canvas => {
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let sum = 0;
    for (let at = 0; at < data.length; at++) sum = (sum * 31 + data[at]) % 2147483647;
    return sum;
}"""


class Chart:
    """The chart in an output of a notebook."""

    def __init__(self, lab: Lab, within: Locator | None = None) -> None:
        self.lab, self.page = lab, lab.page
        self.root = (within or lab.outputs).locator("section.ares-chart")
        self.plot = self.root.get_by_role("application")
        self.legend = self.root.locator(".ares-legend")
        self.canvas = self.root.locator("canvas")
        self.spoken = self.root.get_by_role("status")
        self.settle()

    def settle(self) -> None:
        """Wait until what was asked last is drawn."""
        expect(self.root).to_have_attribute("data-busy", "0")

    def view(self) -> tuple[datetime, datetime]:
        """The view that is drawn."""
        self.settle()
        start, end = str(self.root.get_attribute("data-view")).split(",")
        return tuple(datetime.fromtimestamp(int(each) / 1000, UTC) for each in (start, end))

    def press(self, *keys: str) -> None:
        """Press keys in the plot."""
        for key in keys:
            self.plot.press(key)
        self.settle()

    def point(self, x: float, y: float) -> None:
        """Move the mouse to a share of the plot."""
        box = self.plot.bounding_box()
        self.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])

    def drawn(self) -> int:
        """A number of what the canvas shows."""
        self.settle()
        number: int = self.canvas.evaluate(PIXELS)
        return number


@pytest.fixture
def chart(lab, notebook, here, exchange, settings) -> Chart:
    """A chart of half a year of hours, with funding below."""
    quiet = settings.replace(progress=False)
    ares.run(
        ares.download_all_data(
            "BTCUSDT",
            "1h",
            "6 months",
            end="2025-03-20",
            settings=quiet,
            datasets=("klines", "futures"),
        )
    )
    exchange.requests.clear()
    lab.open(notebook([here, CHART]))
    lab.run_all()
    expect(lab.outputs.locator(".ares-chart")).to_be_visible()
    return Chart(lab)


def test_a_session_with_a_chart(chart, lab, exchange):  # noqa: PLR0915 - one page for many facts: a page costs seconds
    """It is drawn, zoomed by wheel and keys, dragged, read by mouse and by keys, and set from a cell; nothing is fetched."""
    whole = datetime(2024, 9, 1, tzinfo=UTC), datetime(2025, 3, 20, tzinfo=UTC)
    assert chart.view() == whole
    expect(chart.plot).to_have_attribute(
        "aria-label", re.compile("^BTCUSDT 1h, 2024-09-01 to 2025-03-20, low .*, high .*, 2 gaps$")
    )
    expect(chart.legend).to_contain_text(
        re.compile(r"2025-03-1\d.*open.*close.*volume.*funding rate")
    )
    before = chart.drawn()

    # The wheel zooms around the pointer; where there is no more to see it is the page's.
    chart.point(0.4, 0.3)
    for _ in range(6):
        chart.page.mouse.wheel(0, -200)
    until(lambda: chart.view() != whole, 10, "the wheel has zoomed")
    start, end = chart.view()
    assert whole[0] < start < end < whole[1]
    assert chart.drawn() != before
    expect(chart.legend).to_contain_text(re.compile(r"^\d{4}-\d\d-\d\d"))
    length = end - start

    # A drag moves.
    chart.page.mouse.down()
    chart.point(0.6, 0.3)
    chart.page.mouse.up()
    until(lambda: chart.view()[0] < start, 10, "the drag has moved the view")
    assert abs((chart.view()[1] - chart.view()[0]) - length).total_seconds() < 1

    # The kernel follows, and is followed.
    first, last = chart.view()
    told = [datetime.fromisoformat(each) for each in lab.run_cell(VIEW).split()]
    assert told == [first, last]
    lab.run_cell("chart.view = '2025-03-12', '2025-03-16'")
    until(lambda: chart.view()[0] == datetime(2025, 3, 12, tzinfo=UTC), 10, "it follows the kernel")
    assert lab.run_cell("print(len(chart.frame()))").strip() == "94"

    # The keyboard moves, zooms, and reads candles and gaps aloud.
    chart.plot.focus()
    chart.press("ArrowLeft")
    assert chart.view()[0] < datetime(2025, 3, 12, tzinfo=UTC)
    chart.press("End", "+")
    assert (chart.view()[1] - chart.view()[0]).days == 2
    chart.press("Home")
    assert chart.view()[0] == whole[0]
    chart.press("Shift+ArrowRight")
    expect(chart.spoken).to_have_text(
        re.compile("^2024-09-01, open .*, high .*, low .*, close .*, volume .*")
    )
    chart.press("Shift+ArrowRight")
    expect(chart.spoken).to_have_text(re.compile("^2024-09-01 01:00, "))
    lab.run_cell("chart.view = '2025-03-12', '2025-03-16'")
    until(lambda: chart.view()[0] == datetime(2025, 3, 12, tzinfo=UTC), 10, "it follows again")
    chart.press("Escape", "Shift+ArrowUp")
    gap = "gap from 2025-03-14 02:00 to 2025-03-14 04:00, 2 rows: confirmed absent upstream"
    expect(chart.spoken).to_have_text(gap)
    expect(chart.legend).to_contain_text(gap)
    chart.press("0")
    assert chart.view() == whole
    assert chart.plot.evaluate("plot => plot === document.activeElement")

    # Buttons and the choice of what is below.
    chart.root.get_by_role("button", name="Zoom in").click()
    until(lambda: chart.view() != whole, 10, "the button zooms")
    with_lower = chart.plot.bounding_box()["height"]
    chart.root.get_by_label("Below the candles").select_option("")
    until(lambda: chart.plot.bounding_box()["height"] < with_lower, 10, "the lower pane is gone")
    assert lab.run_cell("print(repr(chart.lower))").strip() == "''"

    assert list(exchange.requests) == []
    assert lab.complaints() == []


def test_it_is_for_everybody(chart, lab, server):
    """In both themes, which it follows at once, at 1440 and 800 pixels and at 200 %, axe finds nothing and nothing is cut off; a finger moves it; reopened without a kernel there is its picture."""
    grounds = set()
    for theme in ("Light", "Dark"):
        lab.use_theme(theme)
        expect(chart.root).to_have_attribute("data-theme", theme.lower())
        grounds.add(chart.drawn())
        chart.root.get_by_text("Keys", exact=True).click()
        assert violations(chart.root) == []
        chart.root.get_by_text("Keys", exact=True).click()
    assert len(grounds) == 2
    lab.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    for width in (1440, 800):
        lab.page.set_viewport_size({"width": width, "height": 900})
        chart.settle()
        fits = "each => each.scrollWidth <= each.clientWidth"
        assert chart.root.evaluate(fits)
        assert all(
            each.evaluate(fits) for each in chart.root.locator(".ares-bar, .ares-legend").all()
        )
    session = lab.page.context.new_cdp_session(lab.page)
    sizes = {"width": 720, "height": 450, "deviceScaleFactor": 2, "mobile": False}
    session.send("Emulation.setDeviceMetricsOverride", sizes)
    until(lambda: is_sharp(chart.canvas), 10, "the canvas has the pixels of the screen")
    assert chart.root.evaluate("each => each.scrollWidth <= each.clientWidth")

    # Two fingers zoom, one moves.
    whole = chart.view()
    chart.plot.scroll_into_view_if_needed()
    pinch(session, chart.plot)
    until(lambda: chart.view() != whole, 10, "fingers have zoomed")
    assert chart.view()[1] - chart.view()[0] < (whole[1] - whole[0]) * 0.8
    shown = lab.run_cell(VIEW).split()
    static = lab.outputs.locator(".ares-static")
    expect(static).to_be_hidden()
    words = f"BTCUSDT 1h, {shown[0][:10]}"
    expect(static).to_contain_text(words)

    lab.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    lab.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    name = lab.page.evaluate("window.jupyterapp.shell.currentWidget.context.path")
    assert lab.complaints() == []
    server.end_kernels()
    lab.open(name)
    expect(static.get_by_role("img")).to_be_visible()
    expect(static.get_by_role("img")).to_have_accessible_name(re.compile(words))
    expect(lab.outputs.get_by_text("model not found")).to_be_hidden()


def is_sharp(canvas: Locator) -> bool:
    """Whether a canvas has as many pixels as the screen shows of it."""
    return bool(
        canvas.evaluate(
            "each => Math.abs(each.width - each.clientWidth * devicePixelRatio) < 2 && devicePixelRatio === 2"
        )
    )


def pinch(session, plot: Locator) -> None:
    """Two fingers that part on a plot."""
    box = plot.bounding_box()
    middle, y = box["x"] + box["width"] * 0.4, box["y"] + 60
    for kind, apart in (("Start", 40), ("Move", 60), ("Move", 90), ("Move", 120)):
        points = [{"x": middle - apart, "y": y, "id": 1}, {"x": middle + apart, "y": y, "id": 2}]
        session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
