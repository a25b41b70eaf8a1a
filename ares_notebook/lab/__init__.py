"""The panel, and a remedy for nested event loops."""

from __future__ import annotations

# Nothing else: the remedy does not need widgets, which are slow to import.
from ares_notebook.runtime.loop import allow_nested_loops

__all__ = ["allow_nested_loops"]


def __dir__() -> list[str]:
    return __all__
