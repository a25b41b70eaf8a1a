"""Assure quality: validate, hold against the thresholds, put on record, and stop what builds on it."""

from __future__ import annotations

from ares_notebook.proof.quality import QualityReport
from ares_notebook.proof.validate import validate_cache
from ares_notebook.settings import Settings
from ares_notebook.threads import breakable
from ares_notebook.work.on_record import Errand, on_record

__all__ = ["assure_quality"]


async def assure_quality(
    symbol: str | None = None,
    interval: str | None = None,
    *,
    settings: Settings | None = None,
) -> QualityReport:
    """
    Validate the cache and hold it against the quality thresholds; a pipeline goes no further where they are missed.

    What `validate_cache` does, in a thread, so that the loop stays free; besides, the
    run history gets a line, and who is to be notified is told when quality is below.

    Parameters
    ----------
    symbol : str, optional
        Only this symbol. Defaults to all that are there.
    interval : str, optional
        Only k-lines of this interval, beside trades and funding.
    settings : Settings, optional
        Its thresholds ``min_complete_share``, ``max_errors``, ``max_warnings``; whom to
        notify.

    Returns
    -------
    QualityReport
        Of a cache that meets them.

    Raises
    ------
    PoorQuality
        If a threshold is missed: which, by how much, and what to do. It carries the report.
    NeverDownloaded
        If there is nothing to validate.
    BadArgument
        If *symbol* or *interval* cannot be one.

    Examples
    --------
    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder, min_complete_share=0.999)
    ...     done = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     report = run(assure_quality("BTCUSDT", settings=settings))
    >>> report.completeness[0].share
    1.0
    """
    chosen = settings or Settings()
    errand = Errand("validate", chosen, str(symbol or "").upper(), interval or "")
    report = await on_record(errand, _validated(symbol, interval, chosen))
    report.raise_below_thresholds()
    return report


async def _validated(symbol: str | None, interval: str | None, settings: Settings) -> QualityReport:
    return await breakable(validate_cache, symbol, interval, settings=settings)
