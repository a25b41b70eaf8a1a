"""The recipes run, each where its library is installed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ares_notebook as ares

RECIPES = Path(__file__).parent.parent / "docs" / "recipes.md"
SECTIONS = re.findall(
    r"^#+ ([^\n]+)\n(.*?)(?=^#+ |\Z)",
    RECIPES.read_text(encoding="utf-8"),
    flags=re.MULTILINE | re.DOTALL,
)
BLOCKS = {
    title: re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) for title, text in SECTIONS
}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the first example makes, against a demo exchange."""
    folder = tmp_path_factory.mktemp("recipes")
    with ares.DemoExchange() as exchange, pytest.MonkeyPatch.context() as patch:
        settings = exchange.settings(cache_dir=folder / "cache", progress=False)
        for name in ("spot_url", "futures_url", "archive_url", "archive_listing_url", "market"):
            patch.setenv(f"ARES_{name.upper()}", str(getattr(settings, name)))
        patch.setenv("ARES_CACHE_DIR", str(settings.cache_dir))
        made: dict[str, Any] = {}
        exec("".join(BLOCKS["Recipes"]), made)  # noqa: S102 - our own recipes
    return made


@pytest.mark.parametrize("title", [title for title in BLOCKS if title != "Recipes"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_recipe_runs(title, names, tmp_path, monkeypatch):
    """Whoever pastes a recipe after the first example gets no error."""
    monkeypatch.chdir(tmp_path)
    assert BLOCKS[title]
    for block in BLOCKS[title]:
        for library in re.findall(r"^(?:import|from) (\w+)", block, flags=re.MULTILINE):
            pytest.importorskip(library)
        exec(block, names)  # noqa: S102 - our own recipes


def test_excel_needs_the_zone_removed(names, tmp_path):
    """With its time zone a loaded frame is refused by pandas as a sheet of Excel."""
    pytest.importorskip("openpyxl")
    with pytest.raises(ValueError, match="timezone"):
        names["candles"].to_excel(tmp_path / "candles.xlsx")


def test_the_times_of_lightweight_charts_are_nanoseconds(names):
    """A loaded frame has microseconds, which a division by a billion would put into 1970."""
    candles: pd.DataFrame = names["candles"]
    points = candles.tz_localize(None).reset_index(names="time").astype({"time": "datetime64[ns]"})

    assert candles.index.unit == "us"
    seconds = points["time"].astype("int64") // 10**9
    assert pd.Timestamp(int(seconds.iloc[0]), unit="s", tz="UTC") == candles.index[0]
