"""Compare the cache with a saved fingerprint, and say exactly what differs."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ares_notebook.errors import WrongMarket
from ares_notebook.quality.fingerprint import FileFingerprint, Fingerprint, fingerprint
from ares_notebook.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Difference", "Verification", "verify_fingerprint"]

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

        return pd.DataFrame([asdict(each) for each in self.differences], columns=["period", "what"])

    def __str__(self) -> str:
        if self:
            return f"The same: {self.found}"
        lines = [
            "NOT the same:",
            f"  saved  {self.saved}",
            f"  here   {self.found}",
            *(f"  {each.period}: {each.what}" for each in self.differences[:_MOST_LINES]),
        ]
        more = len(self.differences) - _MOST_LINES
        return "\n".join([*lines, f"  … and {more} more; see to_frame()"] if more > 0 else lines)

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
        True when the rows are the same; else its differences name the days (of
        trades the hours) whose rows are others.

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
    saved = Fingerprint.load(path)
    chosen = settings or Settings()
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
        yield from _within(period, before.get(period), now.get(period))


def _within(
    period: str, before: FileFingerprint | None, now: FileFingerprint | None
) -> Iterator[Difference]:
    """What differs in one file, by its pieces."""
    if before is None or now is None:
        yield Difference(period, _NEW if before is None else _MISSING)
        return
    if before.sha256 == now.sha256:
        return
    pieces = sorted(before.pieces | now.pieces)
    other = [each for each in pieces if before.pieces.get(each) != now.pieces.get(each)]
    for piece in other:
        what = _CHANGED
        if piece not in now.pieces:
            what = _MISSING
        elif piece not in before.pieces:
            what = _NEW
        yield Difference(piece, what)
    if not other:
        # The beginnings of two different digests are the same, once in four billion.
        yield Difference(period, _CHANGED)
