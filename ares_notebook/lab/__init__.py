"""What a researcher touches: the panel, the plots, and a remedy for nested loops."""

from __future__ import annotations

# Nothing else: plots need no widgets, and whoever imports one module pays for no other.
from ares_notebook.lab.nested import allow_nested_loops

__all__ = ["allow_nested_loops"]
