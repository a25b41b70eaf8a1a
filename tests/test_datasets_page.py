"""docs/datasets.md and docs/evidence.md say what the datasets are, and what proves them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ares_notebook.model.datasets import DATASETS, METRICS, Dataset, dataset_named
from ares_notebook.model.files import parse_file_name
from ares_notebook.model.time import utc

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "datasets.md").read_text(encoding="utf-8")
EVIDENCE = (DOCS / "evidence.md").read_text(encoding="utf-8")


def cells(heading: str) -> dict[str, list[str]]:
    """The lines of a table of the page: the cells behind each dataset's name."""
    part = PAGE.partition(heading)[2].partition("\n## ")[0]
    lines = re.findall(r"^\| `(\w+)` \|(.*)\|$", part, re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in lines}


@pytest.mark.parametrize("heading", ["# Datasets", "## Columns", "## Sources and proof"])
def test_each_table_has_all_datasets_in_their_order(heading):
    """Each table has a line for each dataset, in the order in which users name them."""
    names = [each.name for each in DATASETS]

    assert [name for name in cells(heading) if name in names] == names


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda each: each.name)
def test_a_line_is_that_of_the_dataset(dataset: Dataset):
    """Columns, markets, symbols and the name of a file are those of the dataset."""
    _, markets, symbols, name = cells("# Datasets")[dataset.name]
    file = parse_file_name(name.strip("`"))

    assert cells("## Columns")[dataset.name] == [f"`{', '.join(dataset.column_names)}`"]
    assert file is not None
    assert file.dataset is dataset_named(dataset.name)
    assert {each.label.split()[0] for each in dataset.markets} == set(markets.split(", "))
    for symbol in re.findall(r"`(\w+)`", symbols):
        assert any(market.has(symbol) for market in dataset.markets)


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda each: each.name)
def test_sources_are_those_of_the_dataset(dataset: Dataset):
    """A line names the zips that the archive has of a dataset, and REST only if it has its rows."""
    sources, *_ = cells("## Sources and proof")[dataset.name]
    has = {
        "monthly zips": "month" in dataset.archive_cuts,
        "daily zips": "day" in dataset.archive_cuts,
        "REST": dataset.has_rest,
    }

    assert {word: word in sources for word in has} == has


def test_each_ratio_is_explained():
    """The page says of each number of open interest and ratios what it means."""
    assert tuple(cells("## Open interest and ratios")) == METRICS.column_names[1:]


def test_the_day_on_which_labels_changed_is_that_of_the_dataset():
    """The page has the market and the day of the change of labels."""
    assert METRICS.end_labels is not None
    market, until_ms = METRICS.end_labels

    assert f"in {market.label.split()[0]} files of days before\n  {utc(until_ms):%Y-%m-%d}" in PAGE


def test_candles_that_no_answer_explains_are_named():
    """The page on evidence names the datasets of which a missing candle is a fault, and no other."""
    named = re.search(r"No empty answer explains.*?\((.*?)\)", EVIDENCE)

    assert named is not None
    assert re.findall(r"`(\w+)`", named[1]) == [
        each.name for each in DATASETS if each.writes_each_row and each.has_rest
    ]
