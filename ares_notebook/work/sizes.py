"""What a plan will really cost, by the archive's listing, and whether it fits."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ares_notebook.errors import NotEnoughDisk, NotFound
from ares_notebook.market.datasets import AGG_TRADES
from ares_notebook.settings import Settings
from ares_notebook.work.decide import Step

if TYPE_CHECKING:
    from ares_notebook.exchange.archive import Archive

__all__ = ["check_disk", "sized"]

_COMPRESSED_SHARE = 0.25
# Left free, so that the researcher's machine goes on working.
_SPARE_BYTES = 256 << 20


async def sized(step: Step, archive: Archive) -> Step:
    """The step with the exact size of its zip, where the archive's listing tells it."""
    road = step.roads[0] if step.roads else "rest"
    whole = "monthly archive" if step.file.dataset.cut == "month" else "daily archive"
    if road != whole:
        return step
    try:
        size = await archive.size_of(
            step.file.series, step.file.dataset.cut, step.file.period.start
        )
    except NotFound:
        return step
    if size is None:
        return step
    dataset = step.file.dataset
    # Rows of trades are known only by the size of their zip.
    rows = step.rows if dataset.has_interval else round(size / dataset.zipped_row_bytes)
    stored = round(rows * dataset.stored_row_bytes)
    return replace(step, bytes_received=size, rows=rows, bytes_stored=stored)


def check_disk(steps: Sequence[Step], settings: Settings) -> None:
    """
    Make sure that the trades among *steps* fit the free disk beside the others.

    Raises
    ------
    NotEnoughDisk
        If they do not, with the numbers and the ways out.
    """
    share = _COMPRESSED_SHARE if settings.compression else 1.0
    trades = [step for step in steps if step.file.dataset is AGG_TRADES]
    needed = round(sum(step.bytes_stored for step in trades) * share)
    others = sum(step.bytes_stored for step in steps if step.file.dataset is not AGG_TRADES)
    free = shutil.disk_usage(settings.cache_dir).free - others - _SPARE_BYTES
    if trades and needed > free:
        msg = (
            f"{len(trades):,} days of trades need about {needed / 1e9:.1f} GB, and "
            f"{settings.cache_dir} has {max(0, free) / 1e9:.1f} GB to spare; choose a shorter "
            f'lookback, another cache_dir, or compression="zstd" (about a quarter of the size)'
        )
        raise NotEnoughDisk(msg)
