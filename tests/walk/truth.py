"""The truth: what a download of a sound exchange leaves, file by file and window by window."""

from __future__ import annotations

import asyncio
import atexit
import bisect
import shutil
import tempfile
import warnings
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from places import TRADES_PER_DAY, Place

import ares_notebook as ares
from ares_notebook import DemoExchange, Settings
from ares_notebook.demo.funding import funding_of
from ares_notebook.demo.generator import id_at
from ares_notebook.demo.market import SyntheticMarket, candles_between
from ares_notebook.demo.symbols import INSTRUMENTS
from ares_notebook.errors import NeverDownloaded
from ares_notebook.load import IncompleteData

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Story(NamedTuple):
    """
    All that there is of a place.

    Parameters
    ----------
    stamps : list of int
        Of the rows, in microseconds since the epoch, ascending.
    lines : list of bytes
        The rows, as they stand in a cache file.
    files : dict of str to bytes
        The files by their names; what has no row has no file.
    header : bytes
        The first line of each.
    """

    stamps: list[int]
    lines: list[bytes]
    files: dict[str, bytes]
    header: bytes

    def between(self, start_us: int, end_us: int) -> list[bytes]:
        """The rows whose stamps lie in ``[start_us, end_us)``."""
        return self.lines[
            bisect.bisect_left(self.stamps, start_us) : bisect.bisect_left(self.stamps, end_us)
        ]


def microseconds(moment: datetime) -> int:
    """Since the epoch."""
    return (moment - _EPOCH) // _MICROSECOND


def stamp_of(line: bytes) -> int:
    """Of a row of a cache file, in microseconds."""
    text = line.partition(b",")[0].decode()
    return microseconds(datetime.fromisoformat(text).replace(tzinfo=UTC))


@lru_cache(maxsize=1)
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="walk-truth-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@lru_cache(maxsize=1)
def _settings() -> Settings:
    return Settings(cache_dir=_folder(), market="demo", progress=False)


@lru_cache
def story_of(place: Place) -> Story:
    """What the exchange has of a place, brought once."""
    with DemoExchange(trades_per_day=TRADES_PER_DAY, weight_limit=10**6) as exchange:
        report = asyncio.run(
            ares.download_all_data(
                place.symbol,
                place.interval or "1h",
                place.years(place.end),
                end=place.end,
                datasets=[place.dataset],
                settings=exchange.settings(cache_dir=_folder(), progress=False),
            )
        )
    assert not report.failed, str(report)
    paths = [_folder() / file.name for file in place.files]
    files = {path.name: path.read_bytes() for path in paths if path.exists()}
    texts = [text.splitlines(keepends=True) for text in files.values()]
    lines = [line for text in texts for line in text[1:]]
    assert len(lines) == _count(place), f"{place}: {len(lines)} of {_count(place)} rows"
    return Story([stamp_of(line) for line in lines], lines, files, texts[0][0])


def _count(place: Place) -> int:
    """How many rows the market itself has."""
    start_ms, end_ms = (microseconds(each) // 1000 for each in (place.start, place.end))
    if place.dataset == "futures":
        times = funding_of(INSTRUMENTS["um"][place.symbol]).time_ms
        return int(((times >= start_ms) & (times < end_ms)).sum())
    source = SyntheticMarket(TRADES_PER_DAY).generator("spot", place.symbol)
    if place.dataset == "agg_trades":
        return id_at(source, end_ms * 1000) - id_at(source, start_ms * 1000)
    return len(candles_between(source, place.interval, start_ms, end_ms - 1))


@lru_cache(maxsize=512)
def frame_of(place: Place, start: datetime, end: datetime) -> pd.DataFrame | None:
    """The frame that a complete cache gives of a window; None where the exchange has no row at all."""
    story_of(place)
    return load(place, start, end, _settings())


def load(
    place: Place, start: datetime | None, end: datetime | None, settings: Settings
) -> pd.DataFrame | None:
    """A window of a place, or all that is there, by the loader of its dataset; None if there is nothing to load."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteData)
        try:
            if place.dataset == "klines":
                return ares.load_klines(place.symbol, place.interval, start, end, settings=settings)
            verb = ares.load_futures if place.dataset == "futures" else ares.load_agg_trades
            return verb(place.symbol, start, end, settings=settings)
        except NeverDownloaded:
            return None
