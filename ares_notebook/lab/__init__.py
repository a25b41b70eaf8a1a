"""For notebooks: the panel, the exchange of a tutorial, and a remedy for nested event loops."""

from __future__ import annotations

# Nothing that needs widgets, which are slow to import, and which the remedy does without.
from ares_notebook.lab.tutorial import demo_or_binance
from ares_notebook.runtime.loop import allow_nested_loops

__all__ = ["allow_nested_loops", "demo_or_binance"]


def __dir__() -> list[str]:
    return __all__
