"""Who carries out steps: this process, or, behind the same face, a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from ares_notebook.binance.rate_limit import Limit
from ares_notebook.cache.entry import CacheEntry
from ares_notebook.cache.store import Store
from ares_notebook.download.decide import Step
from ares_notebook.download.estimate import check_disk
from ares_notebook.download.fetch import Sources, fetch_file
from ares_notebook.download.report import StepReport
from ares_notebook.model.files import CacheFile
from ares_notebook.settings import Settings

__all__ = ["Executor", "LocalExecutor"]


class Executor(Protocol):
    """What a plan under way needs of those who do the work."""

    @property
    def places(self) -> int:
        """How many steps are worked on at once."""

    @property
    def keeps_files(self) -> bool:
        """Whether files lie in the cache folder, where what is learnt of one later can be noted."""

    def apply_limits(self, limits: Mapping[str, Limit]) -> None:
        """Keep to what the exchange has told of its limits."""

    async def fetch_file(self, step: Step) -> StepReport:
        """Carry out one step; requests and bytes are counted on the meter of the caller."""

    async def entries(self, files: Sequence[CacheFile]) -> list[CacheEntry]:
        """What there is now of *files*, of one series and in order of time, with what lies beside each."""

    def check_room(self, steps: Sequence[Step]) -> None:
        """Make sure that there is room for what *steps* will bring."""


class LocalExecutor:
    """The hands of this process, at work in the cache itself."""

    def __init__(self, settings: Settings, roads: Sources, store: Store) -> None:
        self.places = settings.max_concurrency
        self.keeps_files = True
        self._settings = settings
        self._roads = roads
        self._store = store

    def apply_limits(self, limits: Mapping[str, Limit]) -> None:
        """As `Executor` says; it was our own line that has heard them."""

    async def fetch_file(self, step: Step) -> StepReport:
        """As `Executor` says."""
        return await fetch_file(step, self._roads, self._store)

    async def entries(self, files: Sequence[CacheFile]) -> list[CacheEntry]:
        """As `Executor` says."""
        return await asyncio.to_thread(self._store.entries, files)

    def check_room(self, steps: Sequence[Step]) -> None:
        """As `Executor` says."""
        check_disk(steps, self._settings)
