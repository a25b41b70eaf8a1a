"""The download panel on a page, found by what a screen reader finds it by."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from .lab import Lab

# The tabs of what is pressed; what is in none of them is always there.
TABS = {
    **dict.fromkeys(("Download", "Download what fits"), "Get"),
    **dict.fromkeys(("Repair gaps", "Validate"), "Prove"),
}
# In the notebooks of these tests; the settings come from the cell before.
PANEL = 'panel = ares.DownloadPanel(settings, end="2025-03-01", datasets=("klines",))\npanel'


class Panel:
    """
    The first panel in an output of a notebook.

    Parameters
    ----------
    lab : Lab
    """

    def __init__(self, lab: Lab) -> None:
        self.page = lab.page
        self.root = lab.outputs.locator(".ares-panel").first
        self.status = self.root.locator(".ares-work").get_by_role("status")
        self.alert = self.root.get_by_role("alert")
        self.estimate = self.root.locator(".ares-estimate")
        self.picture = self.root.locator(".ares-coverage").get_by_role("img")
        self.gaps = self.root.locator(".ares-gaps")
        self.code = self.root.locator(".ares-code pre").first
        self.history = self.root.locator(".ares-code pre").last

    def field(self, label: str) -> Locator:
        """A control by the beginning of its label."""
        return self.root.get_by_label(re.compile(f"^{label}"))

    def set(self, label: str, text: str) -> None:
        """Type a text into a control, and leave it."""
        self.field(label).fill(text)
        self.field(label).blur()

    def button(self, name: str) -> Locator:
        """A button by its name."""
        return self.root.get_by_role("button", name=name, exact=True)

    def tab(self, name: str) -> Locator:
        """The head of a tab."""
        return self.root.get_by_role("tab", name=name, exact=True)

    def press(self, name: str) -> None:
        """Click a button, on its tab."""
        if name in TABS:
            self.tab(TABS[name]).click()
        self.button(name).click()

    def expect_state(self, words: str, seconds: float = 30) -> None:
        """Wait until the status says so."""
        expect(self.status).to_contain_text(re.compile(words), timeout=seconds * 1_000)
