"""What a researcher touches: the panel, and a remedy for nested loops."""

from __future__ import annotations

# Nothing else: whoever wants the remedy pays for no widgets.
from ares_notebook.runtime.loop import allow_nested_loops

__all__ = ["allow_nested_loops"]
