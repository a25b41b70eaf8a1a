"""What people are told of a run: an event, a line, and a body that says what to do."""

from __future__ import annotations

from typing import NamedTuple

from ares_notebook.errors import AresError, PoorQuality
from ares_notebook.settings import Event
from ares_notebook.work.report import DownloadReport

__all__ = ["Tidings", "of_error", "of_quality", "of_report"]

_AGAIN = "Run it again: what is done is kept, and only the rest is asked for."
_HOLES = "find_gaps says where rows are missing and why; repair_gaps asks for just these."


class Tidings(NamedTuple):
    """
    What `ares_notebook.notify.notify` is given before the settings.

    Parameters
    ----------
    event : {"finished", "failed", "below threshold"}
    title, body : str

    Examples
    --------
    >>> Tidings("finished", "BTCUSDT 1h: complete", "744 new rows").event
    'finished'
    """

    event: Event
    title: str
    body: str


def of_report(what: str, report: DownloadReport) -> Tidings:
    """
    Tell what became of a run that came to its end.

    Parameters
    ----------
    what : str
        Of what it is, such as ``BTCUSDT 1h``.
    report : DownloadReport

    Returns
    -------
    Tidings
        Failed if a file failed; else finished, also where holes are left, which the title says.

    Examples
    --------
    >>> of_report("BTCUSDT 1h", DownloadReport()).title
    'BTCUSDT 1h: complete'
    """
    failed, files = len(report.failed), len(report.steps)
    if failed:
        return Tidings("failed", f"{what}: {failed} of {files} files failed", f"{report}\n{_AGAIN}")
    if not report.complete:
        return Tidings("finished", f"{what}: incomplete", f"{report}\n{_HOLES}")
    return Tidings("finished", f"{what}: complete", str(report))


def of_error(what: str, error: BaseException) -> Tidings:
    """
    Tell of a run that an error ended.

    Parameters
    ----------
    what : str
        Of what it is, such as ``BTCUSDT 1h``.
    error : BaseException
        The words of one of ours are told, since they hold no secret; of any other its kind.

    Returns
    -------
    Tidings

    Examples
    --------
    >>> of_error("BTCUSDT 1h", KeyError("token")).body.splitlines()[0]
    'KeyError; the log says more.'
    """
    kind = type(error).__name__
    why = f"{kind}: {error}" if isinstance(error, AresError) else f"{kind}; the log says more."
    return Tidings("failed", f"{what}: failed", f"{why}\n{_AGAIN}")


def of_quality(what: str, error: PoorQuality) -> Tidings:
    """
    Tell of a cache whose quality is below its thresholds.

    Parameters
    ----------
    what : str
        Of what it is, such as ``BTCUSDT 1h``.
    error : PoorQuality
        Its message says which files, which checks, and what to do.

    Returns
    -------
    Tidings

    Examples
    --------
    >>> of_quality("BTCUSDT 1h", PoorQuality("1 ERROR in 1 of 3 files", None)).title
    'BTCUSDT 1h: quality below threshold'
    """
    return Tidings("below threshold", f"{what}: quality below threshold", str(error))
