"""Where things stand: the coverage picture and the table of gaps, from the cache alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ares_notebook.cache.coverage import coverage
from ares_notebook.cache.gap_reasons import EXPLAINED
from ares_notebook.cache.gaps import find_gaps
from ares_notebook.cache.table import in_words
from ares_notebook.errors import NeverDownloaded
from ares_notebook.formatting import folded, line, many, table
from ares_notebook.lab.choice import Choice
from ares_notebook.plots.coverage import draw_coverage
from ares_notebook.plots.figure import as_svg

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CacheView", "cache_view_of", "gaps_html", "picture_html"]

_MOST_ROWS = 12
_NAMES = ["symbol", "dataset", "interval", "start", "end", "missing", "reason", "note"]


@dataclass(frozen=True, slots=True)
class CacheView:
    """What the cache holds of a choice."""

    # As `coverage` and `find_gaps` return them, of all its symbols; None where there is nothing
    # yet.
    coverage: pd.DataFrame | None
    gaps: pd.DataFrame | None
    # The same in a sentence.
    words: str


def cache_view_of(choice: Choice) -> CacheView:
    """Look into the cache; touches no network."""
    import pandas as pd  # noqa: PLC0415 - the panel shows itself before it looks

    tables, found = [], []
    for symbol in choice.symbols:
        try:
            tables.append(coverage(symbol, choice.interval, settings=choice.settings))
        except NeverDownloaded:
            continue
        found.append(find_gaps(symbol, choice.interval, settings=choice.settings))
    names = ", ".join(choice.symbols)
    if not tables:
        return CacheView(None, None, f"Nothing of {names} is in {choice.settings.cache_dir} yet.")
    whole, gaps = pd.concat(tables, ignore_index=True), pd.concat(found, ignore_index=True)
    return CacheView(whole, gaps, _in_words(names, whole, gaps))


def _in_words(names: str, table: pd.DataFrame, gaps: pd.DataFrame) -> str:
    is_open = ~gaps["reason"].isin(EXPLAINED)
    absent = gaps[~is_open & (gaps["missing"] > 0)]
    held = f"{names}: {len(table):,} files, {int(table['rows'].sum()):,} rows"
    if is_open.any():
        return f"{held}, {many(int(is_open.sum()), 'gap')} to close."
    if absent.empty:
        return f"{held}, complete."
    rows = many(int(absent["missing"].sum()), "row")
    return f"{held}, complete: {rows} missing at the exchange itself ({many(len(absent), 'gap')})."


def picture_html(cache_view: CacheView) -> str:
    """The coverage picture, or the sentence that there is none; suits light and dark."""
    if cache_view.coverage is None:
        return f'<div class="ares-coverage">{line(cache_view.words)}</div>'
    svg = as_svg(draw_coverage(cache_view.coverage), cache_view.words)
    return f'<div class="ares-coverage">{line(cache_view.words)}{svg}</div>'


def gaps_html(cache_view: CacheView) -> str:
    """The gaps as tables: those to be closed, and folded away those that are explained."""
    if cache_view.gaps is None:
        return ""
    is_open = ~cache_view.gaps["reason"].isin(EXPLAINED)
    left, told = cache_view.gaps[is_open], cache_view.gaps[~is_open]
    parts = [_table(left) if len(left) else line("No gap is left to close.")]
    if len(told):
        parts.append(folded(f"Explained by the exchange: {len(told):,}", _table(told)))
    return f'<div class="ares-gaps">{"".join(parts)}</div>'


def _table(gaps: pd.DataFrame) -> str:
    rows = in_words(gaps.head(_MOST_ROWS), _NAMES).to_numpy().tolist()
    more = len(gaps) - _MOST_ROWS
    symbol = gaps["symbol"].iloc[0]
    hint = f'… and {more:,} more: ares.find_gaps("{symbol}", settings=panel.settings)'
    return table(_NAMES, rows, numbers=("missing",)) + (line(hint) if more > 0 else "")
