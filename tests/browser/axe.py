"""axe-core, Deque's checks of accessibility, run on an element of a page."""

from __future__ import annotations

from js_tools import packages
from playwright.sync_api import Locator

_RUN = """async element => {
    const {violations} = await axe.run(element, {resultTypes: ['violations']});
    return violations.flatMap(({id, help, nodes}) =>
        nodes.map(node => `${id}: ${help}: ${node.target} ${node.failureSummary}`));
}"""


def violations(element: Locator) -> list[str]:
    """What axe-core finds wrong in *element*, one line for each place."""
    page = element.page
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(path=packages() / "axe-core" / "axe.min.js")
    found: list[str] = element.evaluate(_RUN)
    return found
