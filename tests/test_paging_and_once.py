"""Pages ahead of their turn, and questions that are asked once."""

from __future__ import annotations

import asyncio

import pytest

from ares_notebook.runtime.tasks import Memoized, in_order


class Work:
    """Calls that finish when they are told to; counts those under way."""

    def __init__(self):
        self.running = 0
        self.most = 0
        self.begun = []
        self.ended = []

    def call(self, number, *, wait=None, error=None):
        """A call that gives *number*, once *wait* is set, or raises *error*."""

        async def work():
            self.begun.append(number)
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await (wait.wait() if wait else asyncio.sleep(0))
                if error:
                    raise error
                return number
            finally:
                self.running -= 1
                self.ended.append(number)

        return work


async def test_results_come_in_order():
    """A page that is ready early waits for its turn."""
    work, late = Work(), asyncio.Event()
    ready = asyncio.Event()

    async def one():
        ready.set()
        return 1

    calls = [work.call(0, wait=late), one, *(work.call(at) for at in range(2, 5))]

    pages = in_order(calls, 3)
    first = asyncio.ensure_future(anext(pages))
    await ready.wait()
    late.set()

    assert [await first] + [page async for page in pages] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("ahead", [1, 3])
async def test_no_more_than_ahead_are_under_way(ahead):
    """Memory is bounded by what is asked ahead, and calls are only drawn when they are due."""
    work, drawn = Work(), []

    def calls():
        for at in range(20):
            drawn.append(at)
            yield work.call(at)

    pages = in_order(calls(), ahead)
    await anext(pages)
    after_one = len(drawn)
    rest = [page async for page in pages]

    assert rest == list(range(1, 20))
    assert work.most == ahead
    assert after_one == ahead


async def test_a_failure_comes_out_and_cancels_the_others():
    """Nothing is left running, and no later result is given out."""
    work = Work()
    calls = [
        work.call(0),
        work.call(1, error=ValueError("page 1")),
        work.call(2, wait=asyncio.Event()),
    ]
    pages = in_order(calls, 3)

    first = await anext(pages)
    with pytest.raises(ValueError, match="page 1"):
        await anext(pages)

    assert first == 0
    assert work.running == 0


async def test_a_reader_who_stops_cancels_those_under_way():
    """Closing the pages waits until all have cleaned up."""
    work = Work()
    pages = in_order([work.call(0), work.call(1, wait=asyncio.Event())], 2)

    await anext(pages)
    await pages.aclose()

    assert (work.begun, work.running) == ([0, 1], 0)


async def test_no_calls_are_no_pages():
    """Nothing to ask gives nothing, at once."""
    assert [page async for page in in_order([], 4)] == []


async def test_a_question_is_asked_once_whoever_needs_it():
    """Ten who ask at once share one answer, even if it is None."""
    work, once = Work(), Memoized()

    answers = await asyncio.gather(*(once.get("key", work.call(None)) for _ in range(10)))

    assert answers == [None] * 10
    assert len(work.begun) == 1
    assert once.has("key")


async def test_keys_have_answers_of_their_own():
    """Another key is another question, and does not wait for the first."""
    once, work, never = Memoized(), Work(), asyncio.Event()
    waiting = asyncio.create_task(once.get("a", work.call(1, wait=never)))
    await asyncio.sleep(0)

    assert await once.get("b", work.call(2)) == 2
    assert not once.has("a")

    never.set()
    assert await waiting == 1


async def test_a_failure_is_no_answer():
    """An error comes out, is not remembered, and the next who asks may fare better."""
    work, once = Work(), Memoized()

    with pytest.raises(ValueError, match="x"):
        await once.get("key", work.call(0, error=ValueError("x")))

    assert not once.has("key")
    assert await once.get("key", work.call(7)) == 7


async def test_if_the_one_who_asks_is_cancelled_the_next_one_asks():
    """A cancelled question is asked anew by who waited for it."""
    once, work = Memoized(), Work()
    first = asyncio.create_task(once.get("key", work.call(1, wait=asyncio.Event())))
    second = asyncio.create_task(once.get("key", work.call(2)))
    await asyncio.sleep(0)

    first.cancel()

    assert await second == 2
    assert first.cancelled()
    assert work.running == 0
