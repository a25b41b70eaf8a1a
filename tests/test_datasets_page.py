"""docs/datasets.md says what the datasets are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ares_notebook.model.datasets import DATASETS, Dataset, dataset_named
from ares_notebook.model.files import parse_file_name

PAGE = (Path(__file__).parent.parent / "docs" / "datasets.md").read_text(encoding="utf-8")


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
