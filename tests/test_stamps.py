"""Stamps as text: all of a column at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ares_notebook.model.rows import stamp_cells

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENTS = st.lists(st.datetimes(timezones=st.just(UTC)), max_size=20)


@given(_MOMENTS, st.sampled_from([(0, "seconds"), (3, "milliseconds"), (6, "microseconds")]))
def test_a_stamp_reads_as_python_writes_it(moments, precision):
    """Every moment of the years 1 to 9999, in any order, has the text of `isoformat`, cut off and not rounded."""
    digits, timespec = precision
    stamps_us = [(moment - _EPOCH) // timedelta(microseconds=1) for moment in moments]
    expected = [each.replace(tzinfo=None).isoformat(" ", timespec) for each in moments]
    cells = stamp_cells(np.array(stamps_us, np.int64), digits)
    assert [cell.tobytes().decode() for cell in cells] == expected


@pytest.mark.parametrize("digits", [0, 3, 6])
def test_of_no_stamp_there_is_no_text(digits):
    """A table without rows has a column of no texts."""
    assert len(stamp_cells(np.array([], np.int64), digits)) == 0
