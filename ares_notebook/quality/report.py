"""What a validation found: a table, text, HTML, and a certificate on one page."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ares_notebook.cache.gap_reasons import EXPLAINED
from ares_notebook.cache.history import Ending, RunOutcome
from ares_notebook.download.repair import repair_call
from ares_notebook.errors import PoorQuality
from ares_notebook.formatting import (
    IN_PYTHON,
    PythonCalls,
    block,
    in_words_of,
    line,
    many,
    table,
    text,
)
from ares_notebook.model.files import parse_file_name
from ares_notebook.quality.calendar import coverage_svg
from ares_notebook.quality.findings import (
    GAPS,
    NEVER_DOWNLOADED,
    SEVERITIES,
    Completeness,
    Finding,
    first_lines,
)
from ares_notebook.quality.fingerprint import Fingerprint, save_text

if TYPE_CHECKING:
    import pandas as pd

_MOST_LINES = 12
_MOST_NAMED = 3
_UNVERIFIED = ("receipt", "legacy format")


@dataclass(frozen=True, slots=True, eq=False)
class QualityReport:
    """
    What a validation found.

    True when there is no error.

    Parameters
    ----------
    findings : tuple of Finding
        In order of the files.
    files, rows : int
        How many were checked.
    coverage : pandas.DataFrame
        A row a file; see `coverage`.
    gaps : pandas.DataFrame
        A row a gap; see `find_gaps`.
    sources : pandas.DataFrame
        Where the bytes came from, by the receipts: ``file, road, url, sha256, at``.
    reconciliation : pandas.DataFrame
        What was compared with what: ``symbol, what, compared, equal, missing,
        first_difference``, a row a comparison.
    fingerprints : tuple of Fingerprint
        One a series that can be read.
    market : str
        The market of the data.
    made_at : datetime
        Aware UTC.
    completeness : tuple of Completeness
        How much is there, a value a series.
    shortfalls : tuple of str
        The quality thresholds of the settings that are missed, a sentence each.
    calls : PythonCalls
        How the remedy writes a call that works on this cache.

    Examples
    --------
    `validate_cache` returns it; a pipeline asks it for one thing:

    >>> import tempfile
    >>> from ares_notebook import DemoExchange, download_klines_data, run, validate_cache
    >>> with DemoExchange() as exchange, tempfile.TemporaryDirectory() as folder:
    ...     settings = exchange.settings(cache_dir=folder)
    ...     done = run(download_klines_data("BTCUSDT", "1d", 0.1, end="2025-03-01", settings=settings))
    ...     validate_cache(settings=settings).raise_for_errors()
    """

    findings: tuple[Finding, ...]
    files: int
    rows: int
    coverage: pd.DataFrame
    gaps: pd.DataFrame
    sources: pd.DataFrame
    reconciliation: pd.DataFrame
    fingerprints: tuple[Fingerprint, ...]
    market: str
    made_at: datetime
    completeness: tuple[Completeness, ...]
    shortfalls: tuple[str, ...]
    calls: PythonCalls = IN_PYTHON

    def __bool__(self) -> bool:
        return self.ok

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings of data that is wrong, missing or damaged."""
        return tuple(each for each in self.findings if each.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings of data that is unusual."""
        return tuple(each for each in self.findings if each.severity == "warning")

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def raise_for_errors(self) -> None:
        """
        Raise if there is an error; do nothing otherwise.

        Raises
        ------
        PoorQuality
            It names the first errors and the remedy, and carries this report.
        """
        if not self.ok:
            msg = f"{self._first_errors()}. {self.remedy}"
            raise PoorQuality(msg, self)

    def raise_below_thresholds(self) -> None:
        """
        Raise if a quality threshold of the settings is missed; do nothing otherwise.

        Raises
        ------
        PoorQuality
            It names the thresholds, the first errors and the remedy, and carries this report.
        """
        if not self.shortfalls:
            return
        errors = f". {self._first_errors()}" if self.errors else ""
        msg = f"quality is below threshold: {'; '.join(self.shortfalls)}{errors}. {self.remedy}"
        raise PoorQuality(msg, self)

    @property
    def outcome(self) -> RunOutcome:
        """The entry of the run history."""
        ending: Ending = "below threshold" if self.shortfalls else "done"
        first = "".join(self.shortfalls[:1])
        return RunOutcome(ending, self.files, len(self.shortfalls), first, rows=self.rows)

    def to_frame(self) -> pd.DataFrame:
        """
        A row a finding: file, check, severity, count, example.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd  # noqa: PLC0415 - slow to import, and rarely needed

        return pd.DataFrame(list(self.findings), columns=list(Finding.__slots__))

    def save(self, path: str | Path) -> Path:
        """
        Write the report as one page of HTML that needs nothing else; whole or not at all.

        Parameters
        ----------
        path : str or Path
            The file to write, in a folder that exists.

        Returns
        -------
        Path
            The file that was written.

        Raises
        ------
        CacheUnavailable, NotEnoughDisk
            If it cannot be written.
        """
        return save_text(Path(path).expanduser(), page(self))

    def _first_errors(self) -> str:
        files = {each.file for each in self.errors}
        named = "; ".join(
            f"{each.file}: {each.check} ({each.count:,}, first: {each.example})"
            for each in self.errors[:_MOST_NAMED]
        )
        more = len(self.errors) - _MOST_NAMED
        return (
            f"{many(len(self.errors), 'error')} in {many(len(files), 'file')}: {named}"
            f"{f'; and {more} more' if more > 0 else ''}"
        )

    @property
    def remedy(self) -> str:
        """What to do about errors and missing rows, with a call that can be pasted."""
        broken = [each for each in self.findings if each.severity == "error"]
        lacking = [each for each in self.findings if each.check == NEVER_DOWNLOADED]
        files = [parse_file_name(each.file) for each in (*broken, *lacking)]
        series = {file.series for file in files if file is not None}
        if not series:
            return (
                f"{_all_findings()} lists the findings; the thresholds are set by "
                "min_complete_share, max_errors and max_warnings"
            )
        repair = f"`{repair_call(series, self.calls)}`"
        if all(each.check == GAPS for each in broken):
            return f"{repair} asks the exchange for what is missing"
        return (
            f"{repair} closes gaps and replaces what is damaged; if it leaves a file as it is, move "
            "the file away and download its period again"
        )

    def _headline(self) -> str:
        counts = Counter(each.severity for each in self.findings)
        unverified = sum(each.check in _UNVERIFIED for each in self.findings)
        state = "sound"
        if not self.ok:
            state = many(counts["error"], "ERROR")
        elif self.shortfalls:
            state = "BELOW THRESHOLD, no error"
        elif unverified:
            state = f"no error, but {many(unverified, 'file')} unverified"
        return (
            f"{state}: {many(self.files, 'file')} of {self.market}, {many(self.rows, 'row')}, "
            f"{many(counts['warning'], 'warning')}, {many(counts['information'], 'note')}; "
            f"{self.made_at:%Y-%m-%d %H:%M} UTC"
        )

    def _below_threshold(self) -> list[str]:
        # With errors the headline and the lines below it say what is wrong.
        return [f"below threshold: {each}" for each in self.shortfalls] if self.ok else []

    def _by_severity(self) -> list[Finding]:
        return sorted(self.findings, key=lambda each: SEVERITIES.index(each.severity))

    def __repr__(self) -> str:
        lines = first_lines([*map(str, self._by_severity())], _MOST_LINES, _all_findings())
        return "\n  ".join([self._headline(), *self._below_threshold(), *lines])

    def _repr_html_(self) -> str:
        """The same for a notebook; all text from outside is escaped."""
        found = self._by_severity()
        more = first_lines([*map(str, found)], _MOST_LINES, _all_findings())[_MOST_LINES:]
        rows = [_finding_row(each) for each in found[:_MOST_LINES]]
        findings = table(_FINDING_COLUMNS, rows, numbers=("count",)) if rows else ""
        below = map(line, self._below_threshold())
        return block(self._headline(), *below, findings, *map(line, more))


def _all_findings() -> str:
    return in_words_of("report.to_frame()", "--json")


_FINDING_COLUMNS = ("severity", "file", "check", "count", "first example")


def _finding_row(finding: Finding) -> tuple[str, ...]:
    count = f"{finding.count:,}"
    return finding.severity, finding.file, finding.check, count, finding.example


# A longer table is folded; on paper it is open.
_MOST_OPEN = 40
_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}
.verdict{padding:.6rem .9rem;border-left:5px solid #0b4f7d;background:#0b4f7d14}
.verdict.bad{border-color:#b8400a;background:#b8400a1a}
table{border-collapse:collapse;font-size:13px;width:100%}
th,td{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0;border-bottom:1px solid #8885}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.w{overflow-wrap:anywhere;min-width:9rem}.t{white-space:nowrap}
.wide{overflow-x:auto}
code,pre{font:12px/1.5 ui-monospace,monospace}pre{padding:.7rem;background:#8882}
pre{white-space:pre-wrap;overflow-wrap:anywhere}
svg{width:100%;height:auto}
@media print{body{margin:0;max-width:none}details>*{display:block}
details::details-content{content-visibility:visible}table{font-size:11px}
.t{white-space:normal;overflow-wrap:anywhere;min-width:5rem}}
"""


def page(report: QualityReport) -> str:
    """The certificate: one page of HTML without a script, which loads nothing; text is escaped."""
    sections = {
        "What it is": _series_table(report.fingerprints),
        "Coverage": coverage_svg(report.coverage),
        "Gaps, and why": _gap_table(report.gaps),
        "Validation": _table(_FINDING_COLUMNS, map(_finding_row, report.findings), "tttn-"),
        "Reconciliation": _table(
            ("symbol", "what", "compared", "equal", "on one side only", "first difference"),
            [
                [f"{each:,}" if isinstance(each, int) else each for each in row.values()]
                for row in _records(report.reconciliation)
            ],
            "ttnnn-",
        ),
        "Where the bytes came from": _source_table(report.sources),
        "To verify it again": _code(report.fingerprints),
    }
    body = "".join(f"<h2>{title}</h2>{content}" for title, content in sections.items())
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Market data certificate</title><style>{_STYLE}</style></head>"
        f"<body>{_head(report)}{body}</body></html>\n"
    )


def _head(report: QualityReport) -> str:
    unexplained = int((~report.gaps["reason"].isin(EXPLAINED)).sum())
    verdict = "No error was found" if report else f"Errors were found ({len(report.errors)})"
    gaps = "every gap is explained by the exchange"
    if unexplained:
        gaps = f"gaps that the exchange has not explained: {unexplained}"
    return (
        f"<h1>Market data certificate</h1><p>{text(report.market)}, made "
        f"{report.made_at:%Y-%m-%d %H:%M} UTC with ares_notebook {version('ares-notebook')}, "
        f"Python {platform.python_version()}</p>"
        f'<p class="verdict{"" if report else " bad"}">{verdict} in {report.rows:,} rows of '
        f"{report.files:,} files; {gaps}.</p>"
    )


def _series_table(fingerprints: Iterable[Fingerprint]) -> str:
    rows = [
        (
            f"{each.symbol} {each.dataset} {each.interval}".strip(),
            f"{each.start[:16].replace('T', ' ')} to {each.end[:16].replace('T', ' ')}",
            f"{each.rows:,}",
            "complete" if each.complete else "INCOMPLETE",
            each.sha256,
        )
        for each in fingerprints
    ]
    return _table(("data", "window, UTC", "rows", "", "fingerprint (sha256)"), rows, "ttntw")


def _gap_table(gaps: pd.DataFrame) -> str:
    rows = [
        (
            " ".join(filter(None, (each["symbol"], each["dataset"], each["interval"]))),
            f"{each['start']:%Y-%m-%d %H:%M}",
            f"{each['end']:%Y-%m-%d %H:%M}",
            "?" if each["missing"] is None else f"{each['missing']:,}",
            each["reason"],
            each["note"],
        )
        for each in _records(gaps)
    ]
    return _table(("data", "start", "end", "missing", "reason", "note"), rows, "tttnt-")


def _source_table(sources: pd.DataFrame) -> str:
    rows = [
        (
            *(each[name] or "" for name in ("file", "road", "url", "sha256")),
            f"{each['at']:%Y-%m-%d %H:%M:%S}" if each["at"] else "",
        )
        for each in _records(sources)
    ]
    return _table(("file", "road", "address", "sha256 of the archive", "when, UTC"), rows, "ttwwt")


def _records(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """The rows, with None where there is nothing."""
    plain = table.astype(object)
    return plain.where(table.notna(), None).to_dict("records")


def _code(fingerprints: Iterable[Fingerprint]) -> str:
    """Lines of Python that make the fingerprints again and compare them."""
    lines = ["import ares_notebook as ares", ""]
    for each in fingerprints:
        interval = f'"{each.interval}"' if each.interval else "None"
        dataset = "" if each.dataset == "klines" else f', dataset="{each.dataset}"'
        lines.append(
            f'made = ares.fingerprint("{each.symbol}", {interval}, "{each.start}", "{each.end}"{dataset})'
        )
        lines.append(f'assert made.sha256 == "{each.sha256}"')
    return f"<pre>{text(chr(10).join(lines))}</pre>"


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]], kinds: str) -> str:
    """A table; *kinds* has a letter a column: (n)umber, (t)ied together, (w)rapped anywhere, or -."""
    cells = [
        "".join(
            f'<td class="{kind}">{text(cell)}</td>' for cell, kind in zip(row, kinds, strict=True)
        )
        for row in rows
    ]
    if not cells:
        return "<p>None.</p>"
    head = "".join(
        f'<th scope="col" class="{kind}">{text(name)}</th>'
        for name, kind in zip(names, kinds, strict=True)
    )
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    table = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    if len(cells) <= _MOST_OPEN:
        return table
    return f"<details><summary>{len(cells):,} lines</summary>{table}</details>"
