"""Relations between datasets: which rows follow from which others, how exactly, and why they may differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ares_notebook.model.datasets import (
    AGG_TRADES,
    CM_AGG_TRADES,
    CM_FUNDING,
    CM_KLINES,
    FUTURES,
    INDEX_PRICE_KLINES,
    KLINES,
    MARK_PRICE_KLINES,
    PREMIUM_INDEX_KLINES,
    UM_AGG_TRADES,
    UM_KLINES,
    Dataset,
)
from ares_notebook.model.files import Series
from ares_notebook.model.markets import SPOT, Market
from ares_notebook.model.symbols import pair_of
from ares_notebook.model.time import to_ms


# Compared by identity, as datasets are.
@dataclass(frozen=True, slots=True, eq=False)
class Relation:
    """One dataset whose rows follow from those of others."""

    dataset: Dataset
    # Those that its rows follow from; of candles of trades also their own small candles.
    sources: tuple[Dataset, ...]
    rule: Literal["trades", "premium", "funding"]
    # What is compared, where the dataset has more than candles of trades; and how a sentence about it
    # ends.
    subject: str
    words: str
    # By how much numbers that agree may differ; zero where they agree in every digit.
    tolerance: float = 0.0
    # The interval of its sources, where the rule works with one only.
    source_interval: str | None = None
    # Why numbers of the exchange itself differ, so that a difference is information; empty where they
    # do not, so that a difference is a fault of one side.
    reason: str = ""

    def what(self, series: Series) -> str:
        """The relation of *series* in words, such as ``1m of USD-M futures from trades``."""
        return " ".join(filter(None, (series.interval, self.subject, self.ending(series.market))))

    def ending(self, market: Market) -> str:
        """How the words end that name the relation in *market*."""
        return self.words if market is SPOT else f"of {market.label} {self.words}"

    def in_words(self, share: float) -> str:
        """How many of the compared rows differ, and why the exchange's own may."""
        rows = "candles" if self.dataset.has_grid else "payments"
        by = f" by more than {self.tolerance:.3%}" if self.tolerance else ""
        return f"{share:.1%} of the {rows} differ{by}, {self.reason}"

    def sources_of(self, series: Series) -> tuple[Series, ...]:
        """The series that the rows of *series* follow from."""
        return tuple(
            Series(
                source,
                pair_of(series.symbol) if source.rest_symbol_parameter == "pair" else series.symbol,
                (self.source_interval or series.interval) if source.has_interval else None,
            )
            for source in self.sources
        )


RELATIONS = (
    Relation(
        dataset=KLINES,
        sources=(AGG_TRADES,),
        rule="trades",
        subject="",
        words="from trades",
    ),
    Relation(
        dataset=UM_KLINES,
        sources=(UM_AGG_TRADES,),
        rule="trades",
        subject="",
        words="from trades",
        # Of 1,440 minutes of 2026-09-30, 119 differ [measured by another public project].
        reason="as the exchange's own do in about 10%",
    ),
    Relation(
        dataset=CM_KLINES,
        sources=(CM_AGG_TRADES,),
        rule="trades",
        subject="",
        words="from trades",
        # [COIN-M docs, Compressed/Aggregate Trades List]
        reason=(
            "as the exchange's own may: its aggregated trades leave out those of the insurance fund "
            "and of auto-deleveraging"
        ),
    ),
    Relation(
        dataset=PREMIUM_INDEX_KLINES,
        sources=(MARK_PRICE_KLINES, INDEX_PRICE_KLINES),
        rule="premium",
        subject="premium index",
        words="from mark and index price",
        # By the clamp of the funding rule a rate, which the mark price contains, may be so far from
        # the premium that it follows from.
        tolerance=0.0005,
        reason=(
            "as the exchange's own may: its premium is that of orders of a certain size, and its mark "
            "price is smoothed; that of another contract may differ by no more"
        ),
    ),
    *(
        Relation(
            dataset=dataset,
            sources=(PREMIUM_INDEX_KLINES,),
            rule="funding",
            subject="funding rates",
            words="from 1m premium index",
            # A tenth of the interest rate. A candle has four of the twelve samples of its minute.
            tolerance=0.00001,
            source_interval="1m",
            reason=(
                "as the exchange's own may: a rate may be capped, and some contracts have another "
                "interest rate; so do rates from the premium of another contract"
            ),
        )
        for dataset in (FUTURES, CM_FUNDING)
    ),
)
"""
What a validation compares.

How the exchange computes premium, mark price and funding rate is public [Binance FAQ 360033525031;
announcement of 2025-09-16]; no rule bounds the difference of premium and mark price.
"""


def relation_of(dataset: Dataset) -> Relation | None:
    """The relation of rows of *dataset* to those of others."""
    return next((each for each in RELATIONS if each.dataset is dataset), None)


def inexact_relation(what: str) -> Relation | None:
    """The relation that *what* names, if numbers of the exchange itself differ there."""
    for relation in RELATIONS:
        endings = tuple(map(relation.ending, relation.dataset.markets))
        if relation.reason and what.endswith(endings):
            return relation
    return None


def related(datasets: Iterable[Dataset]) -> set[Dataset]:
    """Of these the ones that any relation is about."""
    known = {each for relation in RELATIONS for each in (relation.dataset, *relation.sources)}
    return known.intersection(datasets)


# Of eight hours, as is the clamp [Binance FAQ 360033525031].
_INTEREST_RATE = 0.0001
_CLAMP = 0.0005
_RULE_HOURS = 8
# Until then rates of shorter intervals followed another rule [announcement of 2025-09-16].
_SHORT_SINCE_MS = to_ms(datetime(2025, 9, 18, 8, 1, tzinfo=UTC))

FUNDING_HOURS = (1, 2, 4, 8)
"""The hours that a payment of funding may be for."""


def funding_rate(average_premium: float, hours: int, paid_ms: int) -> float | None:
    """
    The funding rate of *hours* that end at *paid_ms*, without its cap; None where no rule is public.

    *average_premium* is that of these hours, later samples weighing more: 1, 2 … n.
    """
    if hours not in FUNDING_HOURS or (hours != _RULE_HOURS and paid_ms < _SHORT_SINCE_MS):
        return None
    correction = min(max(_INTEREST_RATE - average_premium, -_CLAMP), _CLAMP)
    return (average_premium + correction) * hours / _RULE_HOURS
