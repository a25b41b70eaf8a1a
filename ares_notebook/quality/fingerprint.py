"""
One sha256 over the content of a dataset: the same for the same rows on every machine.

It is taken over the text that the rows have in a cache file: the header once, then
each line of the window, oldest first. For whole plain files a shell can say the same::

    { head -n 1 klines_BTCUSDT_1h_2025-01.csv; tail -qn +2 klines_BTCUSDT_1h_2025-0[12].csv; } | sha256sum
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ares_notebook.cache.disk import cannot_access, put_text
from ares_notebook.cache.quarantine import verified
from ares_notebook.cache.spans import Span, calls_of, missing_spans, series_span
from ares_notebook.cache.store import Store
from ares_notebook.errors import BadArgument, CorruptFile, NeverDownloaded, WrongMarket
from ares_notebook.formatting import call, in_words_of
from ares_notebook.model.datasets import KLINES, dataset_named
from ares_notebook.model.files import CacheFile, Series
from ares_notebook.model.rows import Table, between, header_of, stamps_ms, text_of
from ares_notebook.model.symbols import validate_symbol
from ares_notebook.model.time import DAY_MS, INTERVALS, utc
from ares_notebook.quality.findings import first_lines
from ares_notebook.runtime.progress import tracked
from ares_notebook.settings import Settings, settings_given

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = "ares-fingerprint 1"
_PIECE_DIGITS = 8
_MOST_BYTES = 64 << 20
_HOUR_PIECES = (3_600_000, "%Y-%m-%d %H:00")

Moment = datetime | date | str | None


@dataclass(frozen=True, slots=True)
class FileFingerprint:
    """What one cache file adds to a fingerprint."""

    # Its month or day, such as ``2025-01``.
    period: str
    rows: int
    # Of the lines of its rows.
    sha256: str
    # The beginning of the sha256 of each day of a month, or hour of a day, that has rows: so a
    # difference can be found.
    pieces: dict[str, str]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """
    One sha256 over the rows of a window, and what is needed to find a difference.

    Parameters
    ----------
    dataset, symbol : str
    interval : str
        Empty where there is none.
    market : str
        Which market filled the cache.
    start, end : str
        ISO, UTC, half-open.
    rows : int
        How many there are.
    complete : bool
        Whether every row of the window was there or confirmed absent by the exchange.
    sha256 : str
        Of the header and the lines of all rows, in hexadecimal.
    parts : tuple of FileFingerprint
        What each cache file adds.

    Examples
    --------
    >>> Fingerprint("klines", "BTCUSDT", "1h", "demo", "2025-01-01T00:00:00+00:00",
    ...             "2025-02-01T00:00:00+00:00", 0, True, "0" * 64).rows
    0
    """

    dataset: str
    symbol: str
    interval: str
    market: str
    start: str
    end: str
    rows: int
    complete: bool
    sha256: str
    parts: tuple[FileFingerprint, ...] = ()

    def to_json(self) -> str:
        """
        The text that is saved; the same for the same fingerprint.

        Returns
        -------
        str
        """
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, ensure_ascii=False)

    def save(self, path: str | Path) -> Path:
        """
        Write it to a small readable file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            The file, in a folder that is there.

        Returns
        -------
        Path
            Where it is.

        Raises
        ------
        CacheUnavailable, NotEnoughDisk
            If it cannot be written.
        """
        return save_text(Path(path), self.to_json() + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Fingerprint:
        """
        Read what `save` wrote.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        Fingerprint

        Raises
        ------
        CorruptFile
            If it is no fingerprint.
        BadArgument
            If there is no such file.
        CacheUnavailable
            If it cannot be read.
        """
        source = Path(path)
        try:
            if source.stat().st_size > _MOST_BYTES:
                raise CorruptFile(_no_fingerprint(source, "it is far too large"))
            return _from_data(json.loads(source.read_bytes()))
        except FileNotFoundError as error:
            msg = f"there is no file {source}; name one that `fingerprint(…).save` wrote"
            raise BadArgument(msg) from error
        except OSError as error:
            raise cannot_access(source, error) from error
        except (ValueError, msgspec.ValidationError, RecursionError) as error:
            raise CorruptFile(_no_fingerprint(source, str(error))) from error

    def __str__(self) -> str:
        what = " ".join(filter(None, (self.dataset, self.symbol, self.interval)))
        state = "complete" if self.complete else "INCOMPLETE"
        return (
            f"{self.sha256}  {what}, {self.start[:16]} to {self.end[:16]} UTC, "
            f"{self.rows:,} rows, {state} ({self.market})"
        )

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        return f"<code>{html.escape(str(self))}</code>"


def fingerprint(
    symbol: str,
    interval: str | None = None,
    start: Moment = None,
    end: Moment = None,
    *,
    dataset: str = "klines",
    settings: Settings | None = None,
) -> Fingerprint:
    """
    One sha256 over the content of a dataset in the cache, with what is needed to find a difference.

    The same for the same rows: from whatever source, however the cache is cut or
    compressed, on every machine and in every time zone.

    Parameters
    ----------
    symbol : str
    interval : str, optional
        The interval of candles; ignored for other datasets. Defaults to the only one that is cached.
    start, end : datetime, date or str, optional
        Half-open window, UTC. Defaults to what the cache spans.
    dataset : str, default "klines"
        One of ``ares_notebook.DATASETS``.
    settings : Settings, optional

    Returns
    -------
    Fingerprint

    Raises
    ------
    NeverDownloaded
        If the cache has no row of the window.
    CorruptFile
        If a file of the window is damaged.
    CacheUnavailable
        If the cache folder cannot be read.
    BadArgument
        If an argument is not valid, or *interval* is left out and several are cached, or none.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     made = fingerprint("BTCUSDT", "1d", settings=settings)
    >>> made.rows, made.complete, [part.period for part in made.parts]
    (59, True, ['2025-01', '2025-02'])
    """
    chosen = settings_given(settings)
    store = Store(chosen)
    series = _series(store, dataset, symbol, interval)
    span = series_span(store, series, start, end)
    entries = [verified(store, entry) for entry in store.entries(span.files)]
    for entry in entries:
        if entry.problem is not None:
            raise CorruptFile(entry.problem)
    whole = hashlib.sha256(header_of(series.dataset))
    files = [entry.file for entry in entries if entry.path is not None]
    parts = [
        _file_fingerprint(store, file, span, whole)
        for file in tracked(files, chosen, "fingerprint")
    ]
    rows = sum(part.rows for part in parts)
    if not rows:
        msg = f"{store.folder} has no row of {series.stem} in that window; download it first"
        raise NeverDownloaded(msg)
    return Fingerprint(
        series.dataset.name,
        series.symbol,
        series.interval or "",
        store.market,
        utc(span.start_ms).isoformat(),
        utc(span.end_ms).isoformat(),
        rows,
        not missing_spans(entries, span.start_ms, span.end_ms),
        whole.hexdigest(),
        tuple(part for part in parts if part.rows),
    )


def _series(store: Store, dataset: str, symbol: str, interval: str | None) -> Series:
    """The series that is meant; without an interval that of the only one in the cache."""
    kind, name = dataset_named(dataset), validate_symbol(symbol)
    if interval is not None or not kind.has_interval:
        return Series.of(kind, name, interval)
    files = store.files(name)
    found = {file.series.interval for file in files if file.dataset is kind}
    there = sorted((each for each in found if each), key=list(INTERVALS).index)
    if len(there) == 1:
        return Series.of(kind, name, there[0])
    held = f"holds those of {', '.join(there)}" if there else "holds none"
    first, named = (there or ["1h"])[0], None if kind is KLINES else kind.name
    example = call(
        calls_of(store.settings)("fingerprint", name, first, dataset=named),
        *("fingerprint", name, first),
        dataset=named,
    )
    msg = f"which interval of the {kind.label} of {name}? {store.folder} {held}; name one, as in `{example}`"
    raise BadArgument(msg)


def _file_fingerprint(store: Store, file: CacheFile, span: Span, whole: Any) -> FileFingerprint:
    """What one file adds; its lines also go into *whole*, the hash of the window."""
    own, count = hashlib.sha256(), 0
    pieces: dict[int, Any] = {}
    piece_ms, name = (DAY_MS, "%Y-%m-%d") if file.dataset.cut == "month" else _HOUR_PIECES
    for table in store.rows(file):
        rows = between(table, span.start_ms, span.end_ms)
        count += rows.num_rows
        for piece, part in _pieces(rows, piece_ms):
            lines = text_of(file.dataset, part)
            for digest in (whole, own, pieces.setdefault(piece, hashlib.sha256())):
                digest.update(lines)
    names = {
        f"{utc(piece * piece_ms):{name}}": digest.hexdigest()[:_PIECE_DIGITS]
        for piece, digest in sorted(pieces.items())
    }
    return FileFingerprint(file.stamp, count, own.hexdigest(), names)


def _pieces(rows: Table, piece_ms: int) -> Iterator[tuple[int, Table]]:
    """The rows, cut where a new piece begins, each with the number of its piece."""
    if not rows.num_rows:
        return
    pieces = stamps_ms(rows) // piece_ms
    cuts = [0, *(np.flatnonzero(np.diff(pieces)) + 1).tolist(), rows.num_rows]
    for start, end in pairwise(cuts):
        yield int(pieces[start]), rows.slice(start, end - start)


def _from_data(data: Any) -> Fingerprint:
    loaded = msgspec.convert(data, Fingerprint)
    if json.loads(loaded.to_json()) != data:
        msg = f"its fields are not those of {_FORMAT!r}"
        raise ValueError(msg)
    return loaded


def _no_fingerprint(path: Path, reason: str) -> str:
    return (
        f"{path} is no fingerprint ({reason[:200]}); name a file that `fingerprint(…).save` wrote"
    )


def save_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all; an error of the file system is raised as ours."""
    try:
        put_text(path, text)
    except OSError as error:
        raise cannot_access(path, error) from error
    return path


_CHANGED, _MISSING, _NEW = "changed", "missing here", "not in the fingerprint"
_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """A stretch of time whose rows are others than those of the fingerprint."""

    # A day of a month's file, or an hour of a day's.
    period: str
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a comparison with a fingerprint has found; true when all is the same."""

    # The one that was saved, and that of the cache as it is now.
    saved: Fingerprint
    found: Fingerprint
    # In order of time.
    differences: tuple[Difference, ...]

    def __bool__(self) -> bool:
        return self.saved.sha256 == self.found.sha256

    def to_frame(self) -> pd.DataFrame:
        """A row a difference: period, what."""
        import pandas as pd  # noqa: PLC0415 - slow to import, and few ask for it

        return pd.DataFrame(list(self.differences), columns=["period", "what"])

    def __str__(self) -> str:
        if self:
            return f"The same: {self.found}"
        lines = [f"{each.period}: {each.what}" for each in self.differences]
        shown = first_lines(lines, _MOST_LINES, in_words_of("to_frame()", "--json"))
        return "\n  ".join(
            ["NOT the same:", f"saved  {self.saved}", f"here   {self.found}", *shown]
        )

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        return f"<pre>{html.escape(str(self))}</pre>"


def verify_fingerprint(path: str | Path, *, settings: Settings | None = None) -> Verification:
    """
    Compare the cache with a fingerprint that was saved.

    Parameters
    ----------
    path : str or Path
        What `Fingerprint.save` wrote.
    settings : Settings, optional

    Returns
    -------
    Verification
        True when the rows are the same; else its differences name the days (in files of a day
        the hours) whose rows differ.

    Raises
    ------
    CorruptFile
        If the file is no fingerprint, or a cache file cannot be read.
    WrongMarket
        If the cache holds the data of another market.
    NeverDownloaded
        If the cache has nothing of the window.
    BadArgument
        If there is no such file.
    CacheUnavailable
        If it, or the cache folder, cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     report = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     path = fingerprint("BTCUSDT", "1d", settings=settings).save(f"{folder}/data.json")
    ...     bool(verify_fingerprint(path, settings=settings))
    True
    """
    chosen, saved = settings_given(settings), Fingerprint.load(path)
    found = fingerprint(
        saved.symbol,
        saved.interval or None,
        saved.start,
        saved.end,
        dataset=saved.dataset,
        settings=chosen,
    )
    if found.market != saved.market:
        msg = (
            f"{path} is of the market {saved.market!r}, and {chosen.cache_dir} holds "
            f"{found.market!r}; name another cache_dir"
        )
        raise WrongMarket(msg)
    return Verification(saved, found, tuple(_differences(saved, found)))


def _differences(saved: Fingerprint, found: Fingerprint) -> Iterator[Difference]:
    before = {part.period: part for part in saved.parts}
    now = {part.period: part for part in found.parts}
    for period in sorted(before | now):
        if period not in before or period not in now:
            yield Difference(period, _MISSING if period in before else _NEW)
        elif before[period].sha256 != now[period].sha256:
            yield from _different_pieces(before[period], now[period])


def _different_pieces(before: FileFingerprint, now: FileFingerprint) -> Iterator[Difference]:
    pieces = sorted(before.pieces | now.pieces)
    different = [each for each in pieces if before.pieces.get(each) != now.pieces.get(each)]
    for piece in different:
        is_changed = piece in before.pieces and piece in now.pieces
        what = _MISSING if piece in before.pieces else _NEW
        yield Difference(piece, _CHANGED if is_changed else what)
    if not different:
        # The pieces keep only the beginnings of their digests, which may be equal.
        yield Difference(before.period, _CHANGED)
