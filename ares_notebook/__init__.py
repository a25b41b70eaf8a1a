"""
Crypto market history from Binance, in a local CSV cache that is complete and can prove it.

The public names, and nothing else; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Any

from ares_notebook.errors import MissingExtra
from ares_notebook.extras import needing, stand_in

if TYPE_CHECKING:
    from ares_notebook.cache.coverage import coverage
    from ares_notebook.cache.gaps import find_gaps
    from ares_notebook.cache.history import download_history
    from ares_notebook.cache.prune import prune_cache
    from ares_notebook.cache.pruned import PruneReport
    from ares_notebook.cache.runs import load_runs
    from ares_notebook.demo import DemoExchange
    from ares_notebook.download import (
        download_agg_trades_data,
        download_all_data,
        download_futures_data,
        download_klines_data,
    )
    from ares_notebook.exchange.retry import download_with_retry
    from ares_notebook.job import Job, start
    from ares_notebook.lab.panel import DownloadPanel
    from ares_notebook.load import load_agg_trades, load_futures, load_klines
    from ares_notebook.loop import run
    from ares_notebook.market.periods import get_daily_periods, get_monthly_periods
    from ares_notebook.market.universe import Universe
    from ares_notebook.parquet.export import to_parquet
    from ares_notebook.parquet.outcome import ParquetReport
    from ares_notebook.pictures.coverage import plot_coverage
    from ares_notebook.pictures.downloads import plot_downloads
    from ares_notebook.pictures.funding import plot_funding
    from ares_notebook.pictures.gaps import plot_gaps
    from ares_notebook.pictures.klines import plot_klines
    from ares_notebook.pictures.runs import plot_runs
    from ares_notebook.pictures.universe import plot_universe
    from ares_notebook.proof.assure import assure_quality
    from ares_notebook.proof.audit import audit_cache
    from ares_notebook.proof.fingerprint import Fingerprint, fingerprint
    from ares_notebook.proof.quality import QualityReport
    from ares_notebook.proof.validate import validate_cache
    from ares_notebook.proof.verify import verify_fingerprint
    from ares_notebook.settings import CACHE_DIR, MAX_RETRIES, RETRY_DELAY_SECONDS, Settings
    from ares_notebook.step1 import fetch_missing_data
    from ares_notebook.universe import download_universe, list_symbols
    from ares_notebook.work.plan import plan_downloads
    from ares_notebook.work.repair import repair_gaps
    from ares_notebook.work.report import DownloadReport
    from ares_notebook.work.universe import UniversePlan, plan_universe

__all__ = [
    "CACHE_DIR",
    "MAX_RETRIES",
    "RETRY_DELAY_SECONDS",
    "DemoExchange",
    "DownloadPanel",
    "DownloadReport",
    "Fingerprint",
    "Job",
    "ParquetReport",
    "PruneReport",
    "QualityReport",
    "Settings",
    "Universe",
    "UniversePlan",
    "assure_quality",
    "audit_cache",
    "coverage",
    "download_agg_trades_data",
    "download_all_data",
    "download_futures_data",
    "download_history",
    "download_klines_data",
    "download_universe",
    "download_with_retry",
    "fetch_missing_data",
    "find_gaps",
    "fingerprint",
    "get_daily_periods",
    "get_monthly_periods",
    "list_symbols",
    "load_agg_trades",
    "load_futures",
    "load_klines",
    "load_runs",
    "plan_downloads",
    "plan_universe",
    "plot_coverage",
    "plot_downloads",
    "plot_funding",
    "plot_gaps",
    "plot_klines",
    "plot_runs",
    "plot_universe",
    "prune_cache",
    "repair_gaps",
    "run",
    "start",
    "to_parquet",
    "validate_cache",
    "verify_fingerprint",
]

__version__ = "0.1.0"

# Where each name lives. A notebook's first import must cost nothing one could
# feel, so pandas, PyArrow and aiohttp come with the first use.
_HOMES = {
    "CACHE_DIR": "settings",
    "MAX_RETRIES": "settings",
    "RETRY_DELAY_SECONDS": "settings",
    "DemoExchange": "demo",
    "DownloadPanel": "lab.panel",
    "DownloadReport": "work.report",
    "Fingerprint": "proof.fingerprint",
    "Job": "job",
    "ParquetReport": "parquet.outcome",
    "PruneReport": "cache.pruned",
    "QualityReport": "proof.quality",
    "Settings": "settings",
    "Universe": "market.universe",
    "UniversePlan": "work.universe",
    "assure_quality": "proof.assure",
    "audit_cache": "proof.audit",
    "coverage": "cache.coverage",
    "download_agg_trades_data": "download",
    "download_all_data": "download",
    "download_futures_data": "download",
    "download_history": "cache.history",
    "download_klines_data": "download",
    "download_universe": "universe",
    "download_with_retry": "exchange.retry",
    "fetch_missing_data": "step1",
    "find_gaps": "cache.gaps",
    "fingerprint": "proof.fingerprint",
    "get_daily_periods": "market.periods",
    "get_monthly_periods": "market.periods",
    "list_symbols": "universe",
    "load_agg_trades": "load",
    "load_futures": "load",
    "load_klines": "load",
    "load_runs": "cache.runs",
    "plan_downloads": "work.plan",
    "plan_universe": "work.universe",
    "plot_coverage": "pictures.coverage",
    "plot_downloads": "pictures.downloads",
    "plot_funding": "pictures.funding",
    "plot_gaps": "pictures.gaps",
    "plot_klines": "pictures.klines",
    "plot_runs": "pictures.runs",
    "plot_universe": "pictures.universe",
    "prune_cache": "cache.prune",
    "repair_gaps": "work.repair",
    "run": "loop",
    "start": "job",
    "to_parquet": "parquet.export",
    "validate_cache": "proof.validate",
    "verify_fingerprint": "proof.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    try:
        value = _imported(name)
    except MissingExtra as missing:
        # An import of everything must not fail for a picture that nobody draws. The
        # stand-in is not kept, since the extra may be installed the next moment.
        return stand_in(name, str(missing), partial(_imported, name))
    globals()[name] = value
    return value


def _imported(name: str) -> Any:
    with needing(name):
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
