"""What the tests' README says of faults is what is tried."""

from __future__ import annotations

from pathlib import Path

from matrix import as_markdown


def test_the_readme_has_the_matrix_as_it_is():
    """The table in tests/README.md is the one that the tests go through, row by row."""
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")

    assert as_markdown() in text
