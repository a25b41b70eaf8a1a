"""
What ``--json`` prints, as types: documentation and tests are made of them.

A moment is ISO 8601 in UTC. Fields may be added in later versions; none is taken away or changes
its meaning without a line in the changelog.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from ares_notebook.diagnosis import Verdict
from ares_notebook.download.decide import Action
from ares_notebook.quality.findings import Severity

Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]
Text = str


def _said(words: str) -> Meta:
    return Meta(description=words)


Dataset = Annotated[str, _said("A dataset, such as klines.")]
Symbol = Annotated[str, _said("Such as BTCUSDT.")]
Interval = Annotated[str, _said("Of candles, such as 1h; empty for other datasets.")]
FileName = Annotated[str, _said("The name of a cache file.")]
Begin = Annotated[Moment, _said("Where the window or the period begins.")]
End = Annotated[Moment, _said("Where it ends; this moment is not in it.")]
Error = Annotated[str, _said("Why it failed; empty where nothing did.")]
Received = Annotated[Count, _said("Bytes that come, or came, from the exchange.")]
Stored = Annotated[Count, _said("Bytes that they take on the disk.")]
Failures = Annotated[Count, _said("How many files failed.")]


class JsonType(Struct, forbid_unknown_fields=True):
    """What is common to all: a field that is not documented is none."""


class StepJson(JsonType):
    """What became of one cache file."""

    dataset: Dataset
    file: FileName
    action: Annotated[Action, _said("What was done with it.")]
    reason: Annotated[str, _said("Why.")]
    rows: Annotated[Count, _said("Rows that were written.")]
    requests: Count
    bytes_received: Received
    missing: Annotated[Count, _said("Rows that are missing and not proven to be absent.")]
    error: Error


class DownloadJson(JsonType):
    """A download: its sums, and a step for each cache file."""

    complete: Annotated[bool, _said("Each row is there, or proven to be absent.")]
    failed: Failures
    rows_written: Count
    requests: Count
    bytes_received: Received
    seconds: float
    notes: Annotated[list[str], _said("What else is to be known of the run.")]
    steps: list[StepJson]


class PlannedStepJson(JsonType):
    """What would be done with one cache file."""

    dataset: Dataset
    file: FileName
    action: Annotated[Action, _said("What would be done with it.")]
    reason: Annotated[str, _said("Why.")]
    road: Annotated[str, _said("The first source that would be asked; empty if none.")]
    rows: Annotated[Count, _said("Rows to come, estimated.")]
    bytes_received: Received
    bytes_stored: Stored
    requests: Count


class PlanJson(JsonType):
    """What a download of one symbol would do, and cost."""

    symbol: Symbol
    interval: Interval
    start: Begin
    end: End
    cache_dir: str
    files: Count
    to_do: Annotated[Count, _said("Files that are not whole yet.")]
    rows: Annotated[Count, _said("Rows to come, estimated.")]
    requests: Count
    bytes_received: Received
    bytes_stored: Stored
    steps: list[PlannedStepJson]


class SymbolPlanJson(JsonType):
    """What a download of many symbols would do with one of them, and cost."""

    symbol: Symbol
    start: Begin
    end: End
    files: Count
    to_do: Annotated[Count, _said("Files that are not whole yet.")]
    rows: Annotated[Count, _said("Rows to come, estimated.")]
    requests: Count
    bytes_received: Received
    bytes_stored: Stored


class CoverageJson(JsonType):
    """What the cache holds of one file."""

    dataset: Dataset
    symbol: Symbol
    interval: Interval
    file: FileName
    start: Begin
    end: End
    rows: Count
    expected: Annotated[Count | None, _said("Rows that belong in it; null where nobody knows.")]
    share: Annotated[float | None, _said("Of these, those that are there, from 0 to 1.")]
    first: Annotated[Moment | None, _said("The first row; null where there is none.")]
    last: Annotated[Moment | None, _said("The last row.")]
    holes: Annotated[Count, _said("Gaps that are not proven.")]
    confirmed_absent: Annotated[Count, _said("Rows that the exchange is proven not to have.")]
    source: Annotated[str, _said("Where the rows came from.")]
    final: Annotated[bool, _said("Nothing will be added to it.")]
    state: Annotated[str, _said("How it stands, in a word.")]


class GapJson(JsonType):
    """Where rows are missing, and why."""

    dataset: Dataset
    symbol: Symbol
    interval: Interval
    start: Begin
    end: End
    missing: Annotated[Count | None, _said("How many rows; null where nobody knows.")]
    reason: Annotated[str, _said("One of ten, such as not downloaded.")]
    note: Annotated[str, _said("The evidence, or what failed.")]


class ListedSymbolJson(JsonType):
    """A symbol that ever traded, by the archive."""

    symbol: Symbol
    first: Annotated[date, _said("Its first day.")]
    last: Annotated[date, _said("Its last day so far.")]


class RunJson(JsonType):
    """One run, of the history of the cache."""

    at: Annotated[Moment, _said("When it began.")]
    what: Annotated[str, _said("The verb.")]
    symbol: Annotated[str, _said("The symbol, or how many.")]
    interval: Interval
    datasets: Annotated[str, _said("With commas between.")]
    start: Annotated[Moment | None, _said("Where the window begins.")]
    end: Annotated[Moment | None, _said("Where it ends.")]
    ending: Annotated[
        Literal["done", "incomplete", "failed", "cancelled", "below threshold", "differs"],
        _said("How it ended."),
    ]
    files: Count
    rows: Count
    bytes_received: Received
    requests: Count
    retries: Annotated[Count, _said("Requests that were sent again.")]
    rate_limited: Annotated[Count, _said("Answers 429 and 418.")]
    seconds: float
    failures: Failures
    error: Error


class FindingJson(JsonType):
    """What a check of the validation found in one file."""

    file: FileName
    check: Annotated[str, _said("The name of the check.")]
    severity: Severity
    count: Annotated[Count, _said("Rows or gaps that it concerns.")]
    example: Annotated[str, _said("The first of them, in words.")]


class AuditJson(JsonType):
    """How one file compares with what the exchange says today."""

    file: FileName
    verdict: Annotated[str, _said("Such as unchanged.")]
    road: Annotated[str, _said("The source that it was compared with.")]
    count: Annotated[Count, _said("Rows that differ.")]
    note: str


class AuditPlanJson(JsonType):
    """What a file would be compared with."""

    file: FileName
    compared_with: Annotated[str, _said("The checksum alone, or rows.")]
    rows: Count


class PartJson(JsonType):
    """The content of one cache file."""

    period: str
    rows: Count
    sha256: str
    pieces: Annotated[dict[str, str], _said("A short sum for each day or hour.")]


class FingerprintJson(JsonType):
    """One sha256 over the content of a dataset; the file that ``--save`` writes."""

    format: str
    dataset: Dataset
    symbol: Symbol
    interval: Annotated[str | None, _said("Of candles; else null.")]
    market: Annotated[str, _said("The market that filled the cache, such as binance.")]
    start: Begin
    end: End
    rows: Count
    complete: bool
    sha256: str
    parts: list[PartJson]


class DifferenceJson(JsonType):
    """A stretch of time whose rows are others than those of the fingerprint."""

    period: str
    what: str


class PrunedJson(JsonType):
    """What was, or would be, deleted or kept."""

    file: str
    what: Annotated[str, _said("Such as file, or quarantine.")]
    bytes: Count
    action: str
    reason: str
    error: Error


class PruneJson(JsonType):
    """What was deleted, or would be."""

    dry_run: Annotated[bool, _said("Nothing was deleted.")]
    failed: Failures
    files: Count
    bytes_freed: Count
    bytes_left: Count
    items: list[PrunedJson]


class ParquetJson(JsonType):
    """What became of one file of a Parquet dataset."""

    file: FileName
    action: str
    rows: Count
    bytes: Count
    error: Error


class DemoJson(JsonType):
    """What the demo has downloaded, and what its cache holds."""

    downloads: list[DownloadJson]
    coverage: list[CoverageJson]


class DoctorJson(JsonType):
    """What one check of the installation found."""

    check: str
    subject: Annotated[str, _said("What it is about, such as a package or a host.")]
    verdict: Verdict
    found: str
    remedy: Annotated[str, _said("What to do; empty where nothing is.")]


class FailureJson(JsonType):
    """Why a verb could not do its work."""

    kind: Annotated[str, _said("The class of the error, such as BadArgument.")]
    message: Annotated[str, _said("What failed, and what to do.")]
    exit_status: int


class ErrorJson(JsonType):
    """What is printed instead, where a verb could not do its work."""

    error: FailureJson


OUTPUTS: dict[str, tuple[object, ...]] = {
    "download": (DownloadJson, PlanJson),
    "universe": (DownloadJson, list[SymbolPlanJson]),
    "update": (DownloadJson, list[SymbolPlanJson]),
    "repair": (DownloadJson, PlanJson),
    "demo": (DemoJson,),
    "plan": (PlanJson,),
    "coverage": (list[CoverageJson],),
    "gaps": (list[GapJson],),
    "symbols": (list[ListedSymbolJson],),
    "runs": (list[RunJson],),
    "validate": (list[FindingJson],),
    "audit": (list[AuditJson], list[AuditPlanJson]),
    "fingerprint": (FingerprintJson,),
    "verify": (list[DifferenceJson],),
    "doctor": (list[DoctorJson],),
    "prune": (PruneJson,),
    "parquet": (list[ParquetJson],),
}
"""What each verb prints; the second of two with ``--dry-run``."""
