"""A random walk over everything: a short one, the same at each run; `make soak` goes on for longer."""

from __future__ import annotations

import pytest
from walking import walked
from world import TALLY

SEED, WALKS, STEPS = 1, 12, 12


@pytest.mark.timeout(600)
def test_no_walk_ends_in_untruth(record_property):
    """After any step of a short walk no face of the cache says anything that is not true, and each walk ends in the true bytes."""
    failure = walked(SEED, WALKS, STEPS)

    assert failure is None, str(failure)
    record_property("steps walked", TALLY["steps"])
