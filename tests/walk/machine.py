"""
The walk: any order of verbs, faults, damage and time, and what must hold after each step.

``WALK_WITHOUT`` leaves out what it names, with commas between: ``damage``, ``lies``, ``weather``,
``kills``, ``clock``.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import faces
import lies
from faces import Cache, hold
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant
from places import BY_NAME, TRADES_PER_DAY
from troubles import Damage, Exchange
from truth import story_of
from verbs import Verbs
from world import SMALL, TALLY, is_on

import ares_notebook as ares
from ares_notebook import DemoExchange
from ares_notebook.errors import NeverDownloaded


class Walk(Verbs, Exchange, Damage, RuleBasedStateMachine):
    """A cache, an exchange, and all that may become of them."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="walk-"))
        self.exchange = DemoExchange(trades_per_day=TRADES_PER_DAY, weight_limit=10**6).start()
        self.lie = "none"
        TALLY["runs"] += 1

    @initialize(
        places=st.lists(st.sampled_from(sorted(BY_NAME)), min_size=1, max_size=2, unique=True),
        lie=st.sampled_from(lies.KINDS),
        now=st.none() | SMALL,
    )
    def begin(self, places: list[str], lie: str, now: int | None) -> None:
        """Somewhere, with an exchange whose clock is right, or far behind ours."""
        self.lie = lie if is_on("lies") else "none"
        there = tuple(BY_NAME[name] for name in places)
        self.cache = Cache(self.settings(), there)
        if now is not None and is_on("clock"):
            moments = there[0].moments()
            self.exchange.now = moments[now % len(moments)]

    # --- what holds ---

    @invariant()
    def nothing_is_untrue(self) -> None:
        """I1 to I4."""
        TALLY["steps"] += 1
        faces.check_all(self.cache)

    def teardown(self) -> None:
        """I5, unless something has failed before."""
        try:
            if hasattr(self, "cache") and sys.exc_info()[1] is None:
                self.end_well()
        finally:
            self.close()

    def close(self) -> None:
        """Leave nothing behind."""
        self.exchange.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def end_well(self) -> None:
        """With a sound exchange a download ends in the true bytes, and the next one asks nothing."""
        lies.clear_up(self.exchange)
        self.exchange.now = datetime.now(UTC)
        if self.cache.hidden:
            # Bit rot shows to those alone who read every byte.
            with contextlib.suppress(NeverDownloaded):
                ares.validate_cache(settings=self.settings())
        reports = {}
        for place in (*self.cache.places, *self.cache.places):
            self.expect(place, place.end)
            reports[place] = self.done(self.download_of(place, place.end, self.settings()))
        for place, report in reports.items():
            hold("I5/complete", report is not None and report.complete, f"{place}: {report}")
            for file in place.files:
                true = story_of(place).files.get(file.name)
                there = self.cache.text(file.name)
                words = f"{file.name} has {len(there or b'')} bytes, not {len(true or b'')}"
                hold("I5/bytes", there == true, f"{words}, or others")
        self.exchange.requests.clear()
        for place in self.cache.places:
            self.done(self.download_of(place, place.end, self.settings()))
        hold("I5/requests", not self.exchange.requests, f"asked again: {self.exchange.requests}")
        self.cache.hidden.clear()
        faces.check_all(self.cache)
