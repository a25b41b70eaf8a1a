"""
Crypto market history from Binance, in a local CSV cache that is complete and can prove it.

The public names, and nothing else; each is imported when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from ares_notebook.errors import MissingExtra
from ares_notebook.extras import needing, stand_in

if TYPE_CHECKING:
    from ares_notebook.alignment import align
    from ares_notebook.bars import candles_from_trades, resample_klines
    from ares_notebook.binance.retry import download_with_retry
    from ares_notebook.cache.coverage import coverage, find_gaps
    from ares_notebook.cache.history import download_history, load_runs
    from ares_notebook.cache.prune import prune_cache
    from ares_notebook.cache.prune_report import PruneReport
    from ares_notebook.cache.spans import symbols_in_cache
    from ares_notebook.cache_object import Cache
    from ares_notebook.demo import DemoExchange
    from ares_notebook.download.plan import plan_downloads
    from ares_notebook.download.repair import plan_repair, repair_gaps
    from ares_notebook.download.report import DownloadReport
    from ares_notebook.download.universe import (
        UniversePlan,
        download_universe,
        list_symbols,
        plan_universe,
    )
    from ares_notebook.download.update import plan_update, update
    from ares_notebook.download.verbs import (
        download_agg_trades_data,
        download_all_data,
        download_funding_data,
        download_futures_data,
        download_klines_data,
    )
    from ares_notebook.engines import arrow_table, iter_agg_trades, sql
    from ares_notebook.frame_attrs import missing
    from ares_notebook.get_rows import klines, rows
    from ares_notebook.installation import DoctorReport, doctor
    from ares_notebook.lab.chart import chart
    from ares_notebook.lab.coverage_map import coverage_map
    from ares_notebook.lab.panel import DownloadPanel
    from ares_notebook.load import (
        load_agg_trades,
        load_funding,
        load_futures,
        load_klines,
        load_rows,
    )
    from ares_notebook.model.symbols import Universe
    from ares_notebook.model.window import get_daily_periods, get_monthly_periods
    from ares_notebook.parquet import ParquetReport, to_parquet
    from ares_notebook.parquet_proof import verify_parquet
    from ares_notebook.plots.coverage import plot_coverage, plot_gaps
    from ares_notebook.plots.downloads import plot_downloads, plot_runs
    from ares_notebook.plots.funding import plot_funding
    from ares_notebook.plots.klines import plot_klines
    from ares_notebook.plots.universe import plot_universe
    from ares_notebook.quality.audit import audit_cache, plan_audit
    from ares_notebook.quality.fingerprint import (
        Fingerprint,
        fingerprint,
        verify_fingerprint,
    )
    from ares_notebook.quality.report import QualityReport
    from ares_notebook.quality.validate import assure_quality, validate_cache
    from ares_notebook.runtime.job import Job, start
    from ares_notebook.runtime.loop import run
    from ares_notebook.settings import (
        CACHE_DIR,
        DATASETS,
        INTERVALS,
        MAX_RETRIES,
        RETRY_DELAY_SECONDS,
        Settings,
    )
    from ares_notebook.step1 import fetch_missing_data

__all__ = [
    "CACHE_DIR",
    "DATASETS",
    "INTERVALS",
    "MAX_RETRIES",
    "RETRY_DELAY_SECONDS",
    "Cache",
    "DemoExchange",
    "DoctorReport",
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
    "align",
    "arrow_table",
    "assure_quality",
    "audit_cache",
    "candles_from_trades",
    "chart",
    "coverage",
    "coverage_map",
    "doctor",
    "download_agg_trades_data",
    "download_all_data",
    "download_funding_data",
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
    "iter_agg_trades",
    "klines",
    "list_symbols",
    "load_agg_trades",
    "load_funding",
    "load_futures",
    "load_klines",
    "load_rows",
    "load_runs",
    "missing",
    "plan_audit",
    "plan_downloads",
    "plan_repair",
    "plan_universe",
    "plan_update",
    "plot_coverage",
    "plot_downloads",
    "plot_funding",
    "plot_gaps",
    "plot_klines",
    "plot_runs",
    "plot_universe",
    "prune_cache",
    "repair_gaps",
    "resample_klines",
    "rows",
    "run",
    "sql",
    "start",
    "symbols_in_cache",
    "to_parquet",
    "update",
    "validate_cache",
    "verify_fingerprint",
    "verify_parquet",
]

__version__ = "0.1.0"

# The module of each name. The first import must be fast, so pandas, PyArrow and aiohttp are
# imported at the first use.
_HOMES = {
    "CACHE_DIR": "settings",
    "DATASETS": "settings",
    "INTERVALS": "settings",
    "MAX_RETRIES": "settings",
    "RETRY_DELAY_SECONDS": "settings",
    "Cache": "cache_object",
    "DemoExchange": "demo",
    "DoctorReport": "installation",
    "DownloadPanel": "lab.panel",
    "DownloadReport": "download.report",
    "Fingerprint": "quality.fingerprint",
    "Job": "runtime.job",
    "ParquetReport": "parquet",
    "PruneReport": "cache.prune_report",
    "QualityReport": "quality.report",
    "Settings": "settings",
    "Universe": "model.symbols",
    "UniversePlan": "download.universe",
    "align": "alignment",
    "arrow_table": "engines",
    "assure_quality": "quality.validate",
    "audit_cache": "quality.audit",
    "candles_from_trades": "bars",
    "chart": "lab.chart",
    "coverage": "cache.coverage",
    "coverage_map": "lab.coverage_map",
    "doctor": "installation",
    "download_agg_trades_data": "download.verbs",
    "download_all_data": "download.verbs",
    "download_funding_data": "download.verbs",
    "download_futures_data": "download.verbs",
    "download_history": "cache.history",
    "download_klines_data": "download.verbs",
    "download_universe": "download.universe",
    "download_with_retry": "binance.retry",
    "fetch_missing_data": "step1",
    "find_gaps": "cache.coverage",
    "fingerprint": "quality.fingerprint",
    "get_daily_periods": "model.window",
    "get_monthly_periods": "model.window",
    "iter_agg_trades": "engines",
    "klines": "get_rows",
    "list_symbols": "download.universe",
    "load_agg_trades": "load",
    "load_funding": "load",
    "load_futures": "load",
    "load_klines": "load",
    "load_rows": "load",
    "load_runs": "cache.history",
    "missing": "frame_attrs",
    "plan_audit": "quality.audit",
    "plan_downloads": "download.plan",
    "plan_repair": "download.repair",
    "plan_universe": "download.universe",
    "plan_update": "download.update",
    "plot_coverage": "plots.coverage",
    "plot_downloads": "plots.downloads",
    "plot_funding": "plots.funding",
    "plot_gaps": "plots.coverage",
    "plot_klines": "plots.klines",
    "plot_runs": "plots.downloads",
    "plot_universe": "plots.universe",
    "prune_cache": "cache.prune",
    "repair_gaps": "download.repair",
    "resample_klines": "bars",
    "rows": "get_rows",
    "run": "runtime.loop",
    "sql": "engines",
    "start": "runtime.job",
    "symbols_in_cache": "cache.spans",
    "to_parquet": "parquet",
    "update": "download.update",
    "validate_cache": "quality.validate",
    "verify_fingerprint": "quality.fingerprint",
    "verify_parquet": "parquet_proof",
}

# What only callers of the original downloader know; not in `__all__`.
_OLD_HOMES = {"download_all_data_with_consolidation": "step1"}

if "IPython.core.getipython" in sys.modules:
    from ares_notebook.runtime.loop import explain_unawaited

    explain_unawaited()


def __getattr__(name: str) -> Any:
    if name == "lab":
        # For ``ares.lab.demo_or_binance``, where nobody has imported it.
        return importlib.import_module(f"{__name__}.lab")
    if name not in _HOMES and name not in _OLD_HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    try:
        value = _imported(name)
    except MissingExtra as missing:
        # An import of all names must not fail for a plot that nobody draws. The replacement
        # is not kept, since the extra may be installed the next moment.
        return stand_in(name, str(missing), partial(_imported, name))
    globals()[name] = value
    return value


def _imported(name: str) -> Any:
    with needing(name):
        home = _HOMES.get(name) or _OLD_HOMES[name]
        return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
