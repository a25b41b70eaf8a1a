"""
What is wrong with an installation, decided from what was observed of it; asks nothing itself.

A check is a row of `CHECKS`: a name, and a function from what was observed to findings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ares_notebook.binance.reach import HostAnswer
from ares_notebook.cache.folder_probe import FolderFacts
from ares_notebook.formatting import many, size_in_words

Verdict = Literal["ok", "warning", "failure"]
VERDICTS: dict[Verdict, str] = {
    "ok": "as it should be",
    "warning": "something is slower, lacks, or may surprise; downloads work",
    "failure": "downloads cannot work, or not wholly, until it is mended",
}
"""What a finding can be, and what that means."""

_LITTLE_BYTES = 1_000_000_000
_CLOCK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    """A package that we use."""

    name: str
    # None where it is not installed.
    version: str | None
    # What we need of it, such as ">=3.12,<4".
    bounds: str
    # The extra that needs it; empty for the core.
    extra: str


@dataclass(frozen=True, slots=True)
class Observed:
    """What was observed of an installation; no text in it holds a secret."""

    # By what it is, such as "Python", its version.
    versions: Mapping[str, str]
    packages: tuple[InstalledPackage, ...]
    # Which code reads archives, and why if it is not the fast one; both may be empty.
    kernel: str
    kernel_problem: str
    folder: FolderFacts
    hosts: tuple[HostAnswer, ...]
    # The settings that are not the defaults; secrets as asterisks.
    changed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """What one check found."""

    check: str
    # What it is about, such as a package or a host.
    subject: str
    verdict: Verdict
    # What was observed.
    found: str
    # What to do; empty where nothing is.
    remedy: str = ""


# A subject, a verdict, what was found, and what to do.
_Judged = tuple[str, Verdict, str, str]


def _versions(seen: Observed) -> Iterator[_Judged]:
    for name, version in seen.versions.items():
        yield name, "ok", version, ""


def _packages(seen: Observed) -> Iterator[_Judged]:
    """A package that lacks costs only its extra; one that does not fit may fail anywhere."""
    for each in seen.packages:
        quoted = f"ares-notebook[{each.extra}]" if each.extra else "ares-notebook"
        install = f'pip install --upgrade "{quoted}"'
        of = f" (extra {each.extra})" if each.extra else ""
        if each.version is None:
            verdict: Verdict = "ok" if each.extra else "failure"
            yield f"{each.name}{of}", verdict, "not installed", "" if each.extra else install
        elif fits(each.version, each.bounds):
            yield f"{each.name}{of}", "ok", each.version, ""
        else:
            verdict = "warning" if each.extra else "failure"
            yield f"{each.name}{of}", verdict, f"{each.version} is not {each.bounds}", install


def fits(version: str, bounds: str) -> bool:
    """
    Whether a version is within bounds such as ``>=3.12,<4``; what cannot be compared is.

    >>> fits("7.7.1", ">=8.1.9,<9"), fits("8.2", "<9,>=8.1.9"), fits("6.0rc1", "")
    (False, True, True)
    """
    there = _numbers(version)
    compare: dict[str, Callable[[tuple[int, ...]], bool]] = {
        ">=": lambda bound: there >= bound,
        "<=": lambda bound: there <= bound,
        "<": lambda bound: there < bound,
        ">": lambda bound: there > bound,
        "==": lambda bound: there == bound,
        "!=": lambda bound: there != bound,
    }
    found = re.findall(r"(>=|<=|<|>|==|!=)\s*([\d.]+)", bounds)
    return all(compare[operator](_numbers(bound)) for operator, bound in found)


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, always four."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    parts = tuple(map(int, numbers[0].split("."))) if numbers else ()
    return (*parts, 0, 0, 0, 0)[:4]


def _kernel(seen: Observed) -> Iterator[_Judged]:
    if seen.kernel_problem:
        why = f"{seen.kernel}: {seen.kernel_problem}"
        yield (
            "reader of archives",
            "warning",
            why,
            "the rows are the same; only downloads take longer",
        )
    else:
        yield "reader of archives", "ok", seen.kernel, ""


def _settings(seen: Observed) -> Iterator[_Judged]:
    for name, value in seen.changed.items():
        yield name, "ok", value, ""


def _folder(seen: Observed) -> Iterator[_Judged]:
    facts = seen.folder
    there = many(facts.files, "cache file") if facts.is_there else "not made yet"
    if facts.write_problem:
        yield "cache folder", "failure", str(facts.folder), facts.write_problem
        return
    if facts.market_problem:
        yield "cache folder", "failure", str(facts.folder), facts.market_problem
    else:
        yield "cache folder", "ok", f"{facts.folder}: {there}", ""
    other = "use a folder of a local disk, with cache_dir"
    if facts.flush_problem:
        yield "flush of a file", "failure", facts.flush_problem, other
    else:
        yield "flush of a file", "ok", "works", ""
    if facts.folder_flush_problem:
        lost = "a power failure may undo the newest renames, which costs a new download"
        yield "flush of a folder", "warning", facts.folder_flush_problem, lost
    else:
        yield "flush of a folder", "ok", "works", ""
    if facts.lock_problem:
        yield "locks", "failure", facts.lock_problem, other
    else:
        yield "locks", "ok", "work", ""


def _space(seen: Observed) -> Iterator[_Judged]:
    free = seen.folder.free_bytes
    if free < _LITTLE_BYTES:
        less = 'delete what is old (prune), store compressed (compression="zstd"), or use another cache_dir'
        yield "free space", "warning", size_in_words(free), less
    else:
        yield "free space", "ok", size_in_words(free), ""


def _leftovers(seen: Observed) -> Iterator[_Judged]:
    facts = seen.folder
    if facts.orphans:
        found = f"{many(facts.orphans, 'file')}, {size_in_words(facts.orphan_bytes)}"
        remedy = "left by killed runs; the next download removes temporary files"
        yield "orphans", "warning", found, remedy
    else:
        yield "orphans", "ok", "none", ""
    if facts.quarantined:
        since = f", the oldest of {facts.oldest_at:%Y-%m-%d}" if facts.oldest_at else ""
        found = f"{many(facts.quarantined, 'damaged file')}, {size_in_words(facts.quarantined_bytes)}{since}"
        remedy = "a note beside each says why; a disk that damages files again should be replaced"
        yield "quarantine", "warning", found, remedy
    else:
        yield "quarantine", "ok", "empty", ""


# What is lost without a host, and whether another takes its place.
_ROLES = {
    "spot_url": ("spot candles and trades of today", "spot_fallback_url"),
    "spot_fallback_url": ("the place of the spot API where that is closed", "spot_url"),
    "futures_url": ("USD-M futures and funding of today", ""),
    "coin_futures_url": ("COIN-M futures of today", ""),
    "archive_url": ("all that is older than a month", ""),
    "archive_listing_url": ("lists of symbols, and exact sizes", ""),
}
_VITAL = ("archive_url",)


def _hosts(seen: Observed) -> Iterator[_Judged]:
    usable = {each.field for each in _used(seen) if not each.problem}
    used = _used(seen)
    for each in seen.hosts:
        way = f"through {each.proxy}" if each.proxy else "directly"
        subject = f"{each.url} {way}"
        if not each.problem:
            yield subject, "ok", f"answers after {each.seconds:.2f} seconds", ""
        elif each not in used:
            # A run goes through the proxy, so this only tells what the proxy is good for.
            yield subject, "ok", f"{each.problem}; the proxy is used", ""
        else:
            yield subject, _severity(each, usable), each.problem, _advice(seen, each, usable)


def _used(seen: Observed) -> list[HostAnswer]:
    """Of each host the answer on the way that a run takes."""
    proxied = {each.field for each in seen.hosts if each.proxy}
    return [each for each in seen.hosts if bool(each.proxy) == (each.field in proxied)]


def _severity(answer: HostAnswer, usable: set[str]) -> Verdict:
    """Without the archive, or without any API of spot, most downloads cannot be whole."""
    stand_in = _ROLES[answer.field][1]
    is_without = answer.field in _VITAL or (bool(stand_in) and stand_in not in usable)
    return "failure" if is_without or not usable else "warning"


def _advice(seen: Observed, answer: HostAnswer, usable: set[str]) -> str:
    lost, stand_in = _ROLES[answer.field]
    if answer.proxy and any(
        each.field == answer.field and not each.proxy and not each.problem for each in seen.hosts
    ):
        return "it answers directly: unset the proxy, or name the host in NO_PROXY"
    if not usable:
        return (
            "nothing answers: the connection, DNS, HTTPS_PROXY; what is in the cache works offline"
        )
    if stand_in in usable:
        return f"{stand_in} answers in its place"
    if answer.problem.startswith("451"):
        return f'closed to this region, without it: {lost}; source="archive" needs no API'
    return f"without it: {lost}"


def _clock(seen: Observed) -> Iterator[_Judged]:
    told = [each.ahead_seconds for each in seen.hosts if each.ahead_seconds is not None]
    if not told:
        yield "clock", "warning", "no host told its time, so nothing was compared", ""
        return
    # The quickest of several answers errs least, and all err to both sides.
    ahead = min(told, key=abs)
    found = f"{abs(ahead):.1f} seconds {'ahead of' if ahead > 0 else 'behind'} the exchange"
    if abs(ahead) > _CLOCK_SECONDS:
        remedy = (
            "let the system set its clock (NTP); files stay right, since the exchange's time counts"
        )
        yield "clock", "warning", found, remedy
    else:
        yield "clock", "ok", found, ""


CHECKS: tuple[tuple[str, Callable[[Observed], Iterator[_Judged]]], ...] = (
    ("versions", _versions),
    ("packages", _packages),
    ("kernel", _kernel),
    ("settings", _settings),
    ("folder", _folder),
    ("space", _space),
    ("leftovers", _leftovers),
    ("hosts", _hosts),
    ("clock", _clock),
)
"""All checks, in the order in which they are shown."""


def diagnosed(seen: Observed) -> tuple[DoctorFinding, ...]:
    """What the checks say of what was observed."""
    return tuple(DoctorFinding(check, *judged) for check, judge in CHECKS for judged in judge(seen))
