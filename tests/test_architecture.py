"""The floors of the house: a module imports only from below, and there are no circles."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "ares_notebook"
