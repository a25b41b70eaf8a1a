"""Whether downloads can work here: one table, to read and to paste into an issue."""

from __future__ import annotations

import asyncio
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import asdict, fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import ares_notebook
from ares_notebook.binance.reach import ask_hosts
from ares_notebook.cache.folder_probe import probe_folder
from ares_notebook.diagnosis import DoctorFinding, InstalledPackage, Observed, diagnosed
from ares_notebook.formatting import block, line, many, table
from ares_notebook.settings import SECRETS, Settings, settings_given

if TYPE_CHECKING:
    import pandas as pd

# A host that needs longer is of no use, and a report must not be waited for.
_MOST_SECONDS = 5.0
_NO_EXTRAS = re.compile(r"test|docs|dev")


class DoctorReport:
    """
    What `doctor` found: a row for each thing that was checked.

    True when nothing failed; warnings are no failures. No text in it holds a key, a password or
    an address of a notifier, so that it can be pasted as it is.

    Parameters
    ----------
    findings : tuple of DoctorFinding
        In the order in which they are shown.

    Examples
    --------
    >>> from ares_notebook.diagnosis import DoctorFinding
    >>> report = DoctorReport((DoctorFinding("clock", "clock", "ok", "0.1 seconds behind"),))
    >>> print(report)
    1 check: nothing is wrong
    ok       clock: 0.1 seconds behind
    >>> bool(report)
    True
    """

    def __init__(self, findings: tuple[DoctorFinding, ...]) -> None:
        self.findings = findings

    @property
    def failures(self) -> tuple[DoctorFinding, ...]:
        """What must be mended before downloads can work wholly."""
        return tuple(each for each in self.findings if each.verdict == "failure")

    @property
    def warnings(self) -> tuple[DoctorFinding, ...]:
        """What lacks, is slower, or may surprise."""
        return tuple(each for each in self.findings if each.verdict == "warning")

    def __bool__(self) -> bool:
        return not self.failures

    def to_frame(self) -> pd.DataFrame:
        """
        The findings as a table.

        Returns
        -------
        DataFrame
            A row a finding: check, subject, verdict (ok, warning or failure), found, remedy.
        """
        import pandas as pd  # noqa: PLC0415 - a broken pandas must not keep the report from being shown

        names = [each.name for each in fields(DoctorFinding)]
        return pd.DataFrame([asdict(each) for each in self.findings], columns=names)

    def _headline(self) -> str:
        bad = [
            many(len(some), word)
            for some, word in ((self.failures, "failure"), (self.warnings, "warning"))
            if some
        ]
        return f"{many(len(self.findings), 'check')}: {' and '.join(bad) or 'nothing is wrong'}"

    def __str__(self) -> str:
        lines = [self._headline()]
        for each in self.findings:
            lines.append(f"{each.verdict:<8} {each.subject}: {each.found}")
            if each.remedy:
                lines.append(f"{'':<8}   {each.remedy}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        names = ["verdict", "subject", "found", "remedy"]
        cells = [[getattr(each, name) for name in names] for each in self.findings]
        return block(self._headline(), table(names, cells), line("no secret is shown"))


async def doctor(*, settings: Settings | None = None) -> DoctorReport:
    """
    Check whether downloads can work here, and say what to do where they cannot.

    Looks at versions, the cache folder and its file system (in a folder of its own, which it
    removes), free space, what killed runs have left, and asks each host once, through the proxy of
    the environment and directly. Changes nothing, and ends within ten seconds, online or not.

    Parameters
    ----------
    settings : Settings, optional
        Whose folder and hosts; by default those of the environment.

    Returns
    -------
    DoctorReport
        A finding for each thing that was checked; false where something failed.

    Examples
    --------
    >>> import ares_notebook as ares
    >>> with ares.DemoExchange() as exchange:
    ...     report = ares.run(ares.doctor(settings=exchange.settings(cache_dir="demo_cache")))
    >>> [each.found for each in report.findings if each.subject == "locks"]
    ['work']
    """
    settings = settings_given(settings)
    hosts, folder, packages = await asyncio.gather(
        ask_hosts(settings, _MOST_SECONDS),
        asyncio.to_thread(probe_folder, settings),
        asyncio.to_thread(lambda: tuple(_packages())),
    )
    kernel, kernel_problem = _kernel()
    seen = Observed(
        versions=_versions(),
        packages=packages,
        kernel=kernel,
        kernel_problem=kernel_problem,
        folder=folder,
        hosts=hosts,
        changed=_changed(settings),
    )
    return DoctorReport(diagnosed(seen))


def _versions() -> dict[str, str]:
    return {
        "ares_notebook": ares_notebook.__version__,
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": f"{platform.platform()}, {os.cpu_count()} cores",
    }


def _packages() -> Iterator[InstalledPackage]:
    """What the metadata of our own distribution need, and what is there of it."""
    try:
        needed = metadata.requires("ares-notebook") or []
    except metadata.PackageNotFoundError:
        # Run from a folder, without being installed.
        return
    seen: set[str] = set()
    for each in needed:
        requirement, _, marker = each.partition(";")
        name = re.match(r"[\w.-]+", requirement.strip())
        extra = next(iter(re.findall(r"extra == ['\"]([\w-]+)['\"]", marker)), "")
        if name is None or name[0] in {"ares-notebook", *seen} or _NO_EXTRAS.match(extra):
            continue
        seen.add(name[0])
        bounds = re.sub(r"\[.*?\]", "", requirement.strip()[len(name[0]) :]).strip(" ()")
        yield InstalledPackage(name[0], _version_of(name[0]), bounds, extra)


def _version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _kernel() -> tuple[str, str]:
    """Which code reads archives, and why that is not the fastest."""
    return "PyArrow and isal", ""


def _changed(settings: Settings) -> dict[str, str]:
    """The settings that are not the defaults, without what is secret."""
    changed = {}
    for each in fields(settings):
        value = getattr(settings, each.name)
        if value == each.default:
            continue
        shown = "**********" if each.name in SECRETS else str(value)
        changed[each.name] = shown.replace(str(Path.home()), "~")
    return changed
