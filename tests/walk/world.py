"""What every rule of the walk needs: a cache, an exchange, and names for what is drawn."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any

import harm
from faces import Cache, now_us
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from places import Place
from truth import microseconds

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.errors import AresError

TALLY: Counter[str] = Counter()
"""How often each rule was taken, and how many runs and steps there were."""

SMALL = st.integers(0, 11)
SOURCES = st.sampled_from(("auto", "archive", "rest"))


def is_on(group: str) -> bool:
    """Whether a group of rules takes part: ``WALK_WITHOUT`` names those that do not."""
    return group not in os.environ.get("WALK_WITHOUT", "").split(",")


def runs(group: str) -> Any:
    """A rule of a group."""
    return precondition(lambda _: is_on(group))


def step(**strategies: Any) -> Callable[[Callable[..., None]], Any]:
    """A rule that is counted, by its name and by the kind of what it does."""

    def decorate(function: Callable[..., None]) -> Any:
        @wraps(function)
        def counted(self: Any, **drawn: Any) -> None:
            name = function.__name__
            TALLY[f"{name}: {drawn['kind']}" if "kind" in drawn else name] += 1
            function(self, **drawn)

        return rule(**strategies)(counted)

    return decorate


class World:
    """The cache and the exchange of one walk."""

    home: Path
    exchange: DemoExchange
    cache: Cache
    lie: str

    def settings(
        self, source: str = "auto", retries: int = 0, compression: str | None = None
    ) -> Settings:
        """Those of the next verb; nothing waits."""
        return self.exchange.settings(
            cache_dir=self.home / "cache",
            source=source,
            max_retries=retries,
            compression=compression,
            retry_delay_seconds=0,
            request_timeout_seconds=20,
            progress=False,
        )

    # --- what is drawn ---

    def place(self, at: int) -> Place:
        """One of the walk's places."""
        return self.cache.places[at % len(self.cache.places)]

    def until(self, at: int, end: int) -> tuple[Place, datetime]:
        """A place and a moment in it; the smallest draw is its end."""
        place = self.place(at)
        moments = place.moments()[::-1]
        return place, moments[end % len(moments)]

    def window(self, at: int, start: int, end: int) -> tuple[Place, datetime, datetime]:
        """A place and a window of it; the smallest draw is the whole."""
        place = self.place(at)
        borders = [place.start, *place.borders()]
        first, last = borders[start % (len(borders) - 1)], borders[::-1][end % (len(borders) - 1)]
        return (place, first, last) if first < last else (place, place.start, place.end)

    def file(self, number: int) -> tuple[str, Path | None]:
        """One of the files that are there, and where; without any a name."""
        names = [file.name for place in self.cache.places for file in place.files]
        there = [name for name in names if self.cache.path(name)] or names
        name = there[number % len(there)]
        return name, self.cache.path(name)

    def wrong_in(self, name: str) -> list[bytes]:
        """Untrue rows of a file, whichever place it is of."""
        places = [
            place for place in self.cache.places if any(file.name == name for file in place.files)
        ]
        return [row for place in places for row in self.cache.untrue(place, name)]

    def is_vouched_for(self, name: str, path: Path) -> bool:
        """Whether a file's receipt tells its bytes."""
        return harm.is_vouched_for(self.cache.folder, name, path)

    # --- what is done ---

    def now_us(self) -> int:
        """Now, by the later of no clocks: what the exchange itself says."""
        return min(self.exchange.market_us(), now_us())

    def expect(self, place: Place, until: datetime) -> None:
        """From here on rows before *until* may be there, those that are closed by now."""
        # Our clock goes on where that of the exchange stands still: also the row of this very moment.
        asked_us = min(microseconds(until), self.now_us() + 1)
        known_us = self.cache.asked_until_us.get(place, 0)
        self.cache.asked_until_us[place] = max(asked_us, known_us)

    def wanted(self, place: Place, until: datetime) -> dict[str, Any]:
        """Arguments of a download."""
        return {
            "symbol": place.symbol,
            "interval": place.interval or "1h",
            "lookback_years": place.years(until),
            "end": until.isoformat(),
            "datasets": [place.dataset],
        }

    def download_of(
        self, place: Place, until: datetime, settings: Settings
    ) -> Coroutine[Any, Any, ares.DownloadReport]:
        """A download of a place."""
        return ares.download_all_data(**self.wanted(place, until), settings=settings)

    def done(self, verb: Coroutine[Any, Any, Any]) -> Any:
        """What a verb returns; None where it says that it cannot."""
        try:
            return asyncio.run(verb)
        except AresError:
            return None

    def seen(self, place: Place) -> None:
        """Somebody has read every byte of a place."""
        self.cache.hidden -= {file.name for file in place.files}
