"""Rules of the walk: what the exchange does wrong, and what becomes of the folder."""

from __future__ import annotations

from datetime import UTC, datetime

import harm
import lies
from hypothesis import strategies as st
from hypothesis.stateful import precondition
from places import LISTED_IN_THE_WINDOW
from truth import microseconds
from world import SMALL, World, runs, step


class Exchange(World):
    """What the exchange does, and the line to it, and time."""

    @step(at=SMALL, number=SMALL)
    def withhold(self, at: int, number: int) -> None:
        """Files of the archive are not published."""
        # Where REST begins late the archive alone knows what was before.
        pattern = lies.withheld_pattern(
            self.place(at), number, all_of_it=self.lie != "late history"
        )
        self.exchange.withhold(pattern)

    @step()
    def release(self) -> None:
        """All is published."""
        for pattern in tuple(self.exchange._archive.withheld):
            self.exchange.release(pattern)

    @precondition(lambda self: self.lie == "archive")
    @step(at=SMALL, number=SMALL, kind=st.sampled_from(lies.SHORT), cut=SMALL)
    def publish_short(self, at: int, number: int, kind: str, cut: int) -> None:
        """A zip is published short."""
        lies.publish_short(self.exchange, self.place(at), number, kind, cut)

    @precondition(lambda self: self.lie == "archive")
    @step()
    def publish_truth(self) -> None:
        """What was short is replaced."""
        lies.publish_truth(self.exchange)

    @precondition(lambda self: self.lie == "late history")
    @step(at=SMALL, moment=SMALL, is_whole=st.booleans())
    def begin_late(self, at: int, moment: int, is_whole: bool) -> None:  # noqa: FBT001
        """REST's history begins late, or is whole again."""
        _, first = self.until(at, moment)
        if all(place.symbol != LISTED_IN_THE_WINDOW for place in self.cache.places):
            lies.begin_late(self.exchange, None if is_whole else microseconds(first))

    @precondition(lambda self: self.lie == "page" and not lies.has_lost_page(self.exchange))
    @step(skip=st.integers(0, 4), is_empty=st.booleans())
    def lose_page(self, skip: int, is_empty: bool) -> None:  # noqa: FBT001
        """A page of REST is empty or half, once."""
        lies.lose_page(self.exchange, skip, is_empty=is_empty)

    @runs("weather")
    @step(
        kind=st.sampled_from(sorted(lies.WEATHER)), skip=st.integers(0, 8), times=st.integers(1, 6)
    )
    def weather(self, kind: str, skip: int, times: int) -> None:
        """Some of the next requests fail."""
        lies.bad_weather(self.exchange, kind, skip, times)

    @runs("clock")
    @precondition(lambda self: self.exchange._now_ms is not None)
    @step(moment=st.integers(0, 12))
    def step_clock(self, moment: int) -> None:
        """Time goes on: to a moment of the place, or by years."""
        moments = [*self.cache.places[0].moments(), datetime.now(UTC)]
        later = [each for each in moments if each > self.exchange.now]
        if later:
            self.exchange.now = later[moment % len(later)]


class Damage(World):
    """What disks, editors and people do to the folder."""

    @runs("damage")
    @step(number=SMALL, kind=st.sampled_from(sorted(harm.BYTES)), at=st.integers(0, 10_000))
    def harm_bytes(self, number: int, kind: str, at: int) -> None:
        """A file is changed."""
        name, path = self.file(number)
        if path is None or (kind in harm.BELIEVABLE and not self.is_vouched_for(name, path)):
            return
        harm.harm(path, kind, at)
        self.cache.harmed.add(name)
        self.cache.hidden.discard(name)

    @runs("damage")
    @step(number=SMALL, kind=st.sampled_from(("a digit", "a byte flipped")), at=st.integers(0, 999))
    def rot(self, number: int, kind: str, at: int) -> None:
        """A file is changed, and its size and time are as before."""
        name, path = self.file(number)
        if path is None or name in self.cache.harmed or not self.is_vouched_for(name, path):
            return
        if harm.harm_unseen(path, kind, at):
            self.cache.harmed.add(name)
            self.cache.hidden.add(name)

    @runs("damage")
    @step(number=SMALL, other=SMALL)
    def rename(self, number: int, other: int) -> None:
        """A file has the name of another one."""
        (name, path), (target, there) = self.file(number), self.file(other)
        if path is None or there is None or path == there or path.suffix != there.suffix:
            return
        if self.is_vouched_for(target, there):
            path.replace(there)
            self.cache.harmed |= {name, target}
            self.cache.hidden -= {name, target}

    @runs("damage")
    @step(number=SMALL)
    def delete(self, number: int) -> None:
        """A file is gone."""
        _, path = self.file(number)
        if path is not None:
            path.unlink()

    @runs("damage")
    @precondition(lambda self: not self.cache.harmed)
    @step(number=SMALL, kind=st.sampled_from(sorted(harm.RECEIPTS)))
    def harm_receipt(self, number: int, kind: str) -> None:
        """A receipt says less than it did."""
        name, _ = self.file(number)
        receipt = harm.receipt_of(self.cache.folder, name)
        if receipt.exists():
            harm.RECEIPTS[kind](receipt)

    @runs("damage")
    @precondition(lambda self: not self.cache.harmed)
    @step()
    def forget(self) -> None:
        """Receipts, locks and all are gone."""
        harm.forget(self.cache.folder)

    @runs("damage")
    @step()
    def reset_times(self) -> None:
        """All times are another."""
        harm.reset_times(self.cache.folder)
        self.cache.hidden.clear()

    @runs("damage")
    @step(at=SMALL)
    def put_stray(self, at: int) -> None:
        """A file of somebody else's lies there."""
        harm.put_stray(self.cache.folder, at)
