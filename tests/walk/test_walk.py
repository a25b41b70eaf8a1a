"""A random walk over everything: a short one, the same at each run; `make soak` goes on for longer."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import Walk
from world import TALLY


@pytest.mark.timeout(900)
def test_no_walk_ends_in_untruth(record_property):
    """After any step of a short walk no face of the cache says anything that is not true, and each walk ends in the true bytes."""
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=8,
            stateful_step_count=12,
            derandomize=True,
            database=None,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    record_property("steps walked", TALLY["steps"])
