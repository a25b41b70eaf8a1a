"""A process of a Dask cluster, as our jobs need it: fit for them, and heard of while they go on."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from importlib import metadata
from types import FrameType

from distributed import Worker

__all__ = ["Sign", "alive_topic", "keep_blocks", "made_fit", "make_frames_safe"]

# Of glibc's malloc.h, and what it learns by itself at most on 64 bits.
_M_MMAP_THRESHOLD = -3
_MOST_MAPPED_BYTES = 32 << 20


def alive_topic(run_id: str) -> str:
    """The topic under which workers say that a job goes on: its name, and where it is."""
    return f"ares-{run_id}"


class Sign:
    """Says that a job goes on, once a second at most."""

    def __init__(self, worker: Worker, run_id: str, job: str) -> None:
        self._worker = worker
        self._topic = alive_topic(run_id)
        self._event = {"job": job, "worker": worker.address}
        self._next_at = 0.0

    def give(self) -> None:
        """Say so now, unless it was said a moment ago."""
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + 1.0
            self._worker.log_event(self._topic, self._event)


# Taken twice by one thread where somebody else has wrapped what we have made safe.
_frames_lock = threading.RLock()


def make_frames_safe() -> None:
    """
    Keep Dask's profilers from hanging this process for good, where Python is affected.

    They call `sys._current_frames` again and again. Before Python 3.12 garbage may be collected
    inside it, and with a thread that is born or ends at that moment nothing goes on any more
    (CPython 106883). Here, as in Python's own mend, nothing is collected meanwhile.
    """
    with _frames_lock:
        unsafe = sys._current_frames  # noqa: SLF001 - documented by Python, for such use
        if sys.version_info >= (3, 12) or hasattr(unsafe, "is_safe"):
            return

        def safe() -> dict[int, FrameType]:
            with _frames_lock:
                collects = gc.isenabled()
                gc.disable()
                try:
                    return unsafe()
                finally:
                    if collects:
                        gc.enable()

        safe.is_safe = True  # type: ignore[attr-defined]  # a mark, looked for above
        sys._current_frames = safe  # noqa: SLF001 - as said


def made_fit() -> str:
    """Make this worker fit for our jobs; which version of this package it has."""
    make_frames_safe()
    return metadata.version("ares-notebook")


def keep_blocks() -> None:
    """
    Let the C library keep the blocks of files that it is given back, as it does of itself.

    Dask has its workers trim at 64 KiB (``MALLOC_TRIM_THRESHOLD_``), and with that glibc no
    longer learns from which size on a block is to be mapped anew: it stays at 128 KiB, so that
    each of our blocks is fresh pages. Ten million trades then cost 5.1 million page faults
    and ten seconds of the kernel, instead of 0.1 million and one; see mallopt(3).
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    mallopt = getattr(libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MOST_MAPPED_BYTES)
