"""How the parts of the panel are put together: its buttons, tabs and folds, and its script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets
from IPython.display import display

from ares_notebook.lab.views import Preview
from ares_notebook.lab.widget import css, esm

FITTING = "Download what fits"
DOING = {
    **dict.fromkeys(("Download", FITTING), "Downloading"),
    "Repair gaps": "Repairing",
    "Validate": "Validating",
}
"""What the panel does, by the button that begins it."""


VIEW = "application/vnd.jupyter.widget-view+json"
# In the saved page: instead of the message that a widget is lost.
_STATIC_CSS = (
    ".jp-OutputArea-child:has(.ares-static)+.jp-OutputArea-child:not(:has(.ares-panel))"
    "{display:none}"
)


class PanelScript(anywidget.AnyWidget):
    """The style of the panel, its keyboard, and where the focus goes."""

    _esm, _css = esm("panel.js"), css("panel.css")


class PanelView(anywidget.AnyWidget):
    """The panel drawn by our own script, in hosts that draw no other widgets of ipywidgets."""

    _esm, _css = esm("form.js"), css("panel.css", "form.css")
    # The reference of the panel.
    root = traitlets.Unicode().tag(sync=True)


class Buttons:
    """The buttons of the panel by their names; an error in an action is given to *failed*."""

    def __init__(
        self,
        actions: Mapping[str, Callable[[], object]],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._failed = failed
        self.by_name = {name: self._button(name, action) for name, action in actions.items()}
        self.by_name["Download"].button_style = "primary"
        for name in ("Download", "Cancel"):
            self.by_name[name].add_class(f"ares-{name.lower()}")

    def _button(self, name: str, action: Callable[[], object]) -> widgets.Button:
        def clicked(_button: object) -> None:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - a border: an error in a callback is shown nowhere else
                self._failed(name, error)

        button = widgets.Button(description=name)
        button.on_click(clicked)
        return button

    def row(self, *names: str) -> widgets.HBox:
        """Some of them side by side."""
        return row([self.by_name[name] for name in names])

    def enable(self, preview: Preview, *, is_busy: bool) -> None:
        """Turn on those that can be meant now, then turn off the others."""
        is_idle = not is_busy and preview.choice is not None
        is_too_large = preview.is_too_large
        enabled = {
            "Download": is_idle and not is_too_large,
            FITTING: is_idle and bool(preview.fitting),
            "Cancel": is_busy,
            "Repair gaps": is_idle,
            "Validate": is_idle,
        }
        self.by_name[FITTING].layout.display = "" if is_too_large else "none"
        # In this order, so that the focus can go from one to the other.
        for name in sorted(enabled, key=enabled.__getitem__, reverse=True):
            self.by_name[name].disabled = not enabled[name]


def row(parts: Sequence[widgets.Widget]) -> widgets.HBox:
    """Parts side by side, wrapped where the page is narrow."""
    box = widgets.HBox(parts)
    box.add_class("ares-row")
    return box


def tabs(pages: Mapping[str, Sequence[widgets.Widget]]) -> widgets.Tab:
    """Pages of parts, by their titles."""
    boxes = [widgets.VBox(parts) for parts in pages.values()]
    return widgets.Tab(boxes, titles=tuple(pages), selected_index=0)


def folding(name: str, shown: widgets.Widget) -> widgets.ToggleButton:
    """A button that shows and hides a widget, hidden at first."""
    button = widgets.ToggleButton(description=name)

    def fold(_change: Any = None) -> None:
        shown.layout.display = "" if button.value else "none"

    button.observe(fold, "value")
    fold()
    return button


def static_block(html: str) -> str:
    """HTML for pages where widgets do not run; hidden where they do."""
    return f'<div class="ares-static"><style>{_STATIC_CSS}</style>{html}</div>'


def show(view: dict[str, str], display_id: str | None, *, update: bool = False) -> None:
    """Display *view* in the cell that runs, or where the display of this id is."""
    display(view, raw=True, display_id=display_id, update=update)  # type: ignore[no-untyped-call]  # IPython publishes no types
