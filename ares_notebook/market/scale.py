"""
Prices of one symbol stay within a scale: rows of another one show.

The best that can be said of rows that nothing else vouches for. Rows of the
exchange are never refused for it: a token that is listed anew under its old name
(LUNAUSDT, May 2022) does jump.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ares_notebook.market.datasets import Dataset
from ares_notebook.market.rows import Table

__all__ = ["Scale", "in_scale"]

# Between two neighbouring rows; no market of Binance has moved so far in one.
_LARGEST_FACTOR = 5.0
_PRICES = {"open_time": ("open", "close"), "id": ("price", "price")}


class Scale:
    """
    Follows the prices of a file, table by table.

    Parameters
    ----------
    dataset : Dataset

    Examples
    --------
    >>> from ares_notebook.market.datasets import FUTURES
    >>> from ares_notebook.market.rows import empty_rows
    >>> Scale(FUTURES).breaks_at(empty_rows(FUTURES)) is None
    True
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._last: float | None = None

    def breaks_at(self, table: Table) -> int | None:
        """
        The first row of *table* whose price is of another scale than the one before; None without.

        Raises
        ------
        pyarrow.ArrowInvalid
            If a number is none.
        """
        for column in self._dataset.columns:
            if column.kind == "number":
                # Decimals are kept as text, so nobody has looked at them before.
                table[column.name].cast(pa.float64())
        names = _PRICES.get(self._dataset.key)
        if names is None or not table.num_rows:
            return None
        first, last = (_floats(table, name) for name in names)
        before = np.concatenate([[first[0] if self._last is None else self._last], last[:-1]])
        self._last = float(last[-1])
        broken = np.flatnonzero(_is_apart(first, before))
        return int(broken[0]) if len(broken) else None


def in_scale(dataset: Dataset, table: Table) -> Table:
    """The rows of *table* whose prices are of the scale of most of them."""
    names = _PRICES.get(dataset.key)
    if names is None or not table.num_rows:
        return table
    prices = _floats(table, names[0])
    return table.filter(pa.array(~_is_apart(prices, np.full(len(prices), np.median(prices)))))


def _floats(table: Table, name: str) -> npt.NDArray[np.float64]:
    numbers: npt.NDArray[np.float64] = table[name].cast(pa.float64()).to_numpy()
    return numbers


def _is_apart(
    prices: npt.NDArray[np.float64], others: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    return (prices > others * _LARGEST_FACTOR) | (prices * _LARGEST_FACTOR < others)
