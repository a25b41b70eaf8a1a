"""
What can go wrong, in one tree.

AresError
├── BadArgument             a value that cannot be meant; also a ValueError
├── TransportError          no usable answer; carries the URL
│   ├── RateLimited         429, 418: asked too often; carries retry_after_seconds
│   ├── ServerFault         5xx, 403: worth another try
│   │   ├── Forbidden       403 of the firewall
│   │   └── Unreachable     dropped line, timeout: no answer at all
│   ├── HostResting         the host failed so often that it is not asked for a while
│   ├── NotFound            404: an archive that is not published
│   ├── RegionBlocked       451: the API is closed to this region
│   └── BadRequest          any other 4xx: asking again will not help
│       └── UnknownSymbol   the exchange does not trade it
├── DataError               bytes that cannot be trusted
│   ├── ChecksumMismatch    an archive that is not what its .CHECKSUM says
│   ├── BadAnswer           an answer that is not in the exchange's format
│   └── CorruptFile         a cache file that cannot be read
├── CacheError              the cache folder cannot serve
│   ├── CacheUnavailable    it cannot be created, read or written
│   ├── NotEnoughDisk       what was asked for would not fit
│   ├── NotEnoughMemory     what was asked for would not fit
│   ├── WrongMarket         it holds the data of another market
│   └── NeverDownloaded     nothing is there of what was asked for
├── Busy                    something else is under way; wait for it, or cancel it
├── WorkerLost              workers died with a job one after the other, or the scheduler is gone
├── WorkerFailed            a library raised something unknown on a worker
├── UnfitEnvironment        what is installed here cannot do it
├── MissingExtra            an optional package is not installed; also an ImportError
├── IncompleteDownload      some steps failed; carries the report
└── PoorQuality             validation found errors; carries the report

Every message says what failed, which file or URL it concerns, and what to do.
"""

from __future__ import annotations

from typing import Any


class AresError(Exception):
    """Anything that this package raises on purpose."""


class BadArgument(AresError, ValueError):
    """
    An argument that cannot be meant: the message names it, its value and the remedy.

    Raised before anything is requested or written.
    """


class TransportError(AresError):
    """
    The exchange gave no usable answer.

    Parameters
    ----------
    message : str
        What failed and what to do.
    url : str
        What was asked for. Never holds a key.
    """

    def __init__(self, message: str, url: str = "") -> None:
        super().__init__(message)
        self.url = url


class RateLimited(TransportError):
    """
    Asked too often (429, or 418: banned for going on after it).

    Raised when the tries are used up, or at once for a ban of over ten minutes; a shorter
    wait that the exchange names is obeyed.

    Parameters
    ----------
    message, url : str
        As in `TransportError`.
    retry_after_seconds : float, optional
        How long the exchange wants no request, in seconds: by its ``Retry-After``, or until
        the end of the ban that its answer names.
    """

    def __init__(
        self, message: str, url: str = "", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, url)
        self.retry_after_seconds = retry_after_seconds


class ServerFault(TransportError):
    """A passing fault, worth another try: 5xx, a 403 of the firewall, or no answer at all."""


class Forbidden(ServerFault):
    """The host's firewall refuses (403), for a while or for good."""


class Unreachable(ServerFault):
    """No whole answer came: a refused or dropped line, a timeout."""


class HostResting(TransportError):
    """A host failed in so many tries that it is not asked for a minute; others are."""


class NotFound(TransportError):
    """The address does not exist: an archive that is not published (yet)."""


class RegionBlocked(TransportError):
    """The API is closed to this region (451); the archive stays open."""


class BadRequest(TransportError):
    """The exchange refuses the request as it stands; asking again will not help."""


class UnknownSymbol(BadRequest):
    """The exchange knows no such symbol, and its archive holds none either."""


class DataError(AresError):
    """Bytes arrived that cannot be trusted; none of them is stored."""


class ChecksumMismatch(DataError):
    """The sha256 of an archive is not the one in its ``.CHECKSUM``."""


class BadAnswer(DataError):
    """An answer is not in the exchange's format: not JSON, other columns, rows not asked for."""


class CorruptFile(DataError):
    """A file of the cache cannot be read as what its name says."""


class CacheError(AresError):
    """The cache folder cannot serve."""


class CacheUnavailable(CacheError):
    """The cache folder cannot be created, read or written."""


class NotEnoughDisk(CacheError):
    """What was asked for does not fit the free disk; nothing of it was begun."""


class NotEnoughMemory(CacheError):
    """What was asked for does not fit in memory; nothing of it was begun."""


class WrongMarket(CacheError):
    """The cache was filled from another market, and the two must not mix."""


class NeverDownloaded(CacheError):
    """The cache holds nothing of what was asked for."""


class Busy(AresError):
    """Something else is under way, and the two cannot be done at once."""


class WorkerLost(AresError):
    """A worker of a cluster died with a job, and so did those that took it over; or its scheduler is gone."""


class WorkerFailed(AresError):
    """On a worker of a cluster a library raised what is none of our errors; the message has its type and text."""


class UnfitEnvironment(AresError):
    """What is installed here, or loaded already, cannot do what was asked for."""


class MissingExtra(AresError, ImportError):
    """What was asked for needs an optional package; the message names the extra that installs it."""


class IncompleteDownload(AresError):
    """
    Some steps of a download failed; the others are done and stored.

    Parameters
    ----------
    message : str
        Which steps failed, and why.
    report : DownloadReport
        What became of every step.
    """

    def __init__(self, message: str, report: Any) -> None:
        # Any: the report is of a layer above, and nothing here may know of it.
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[IncompleteDownload], tuple[str, Any]]:
        # An exception is rebuilt from its message alone by default.
        return type(self), (str(self), self.report)


class PoorQuality(AresError):
    """
    Validation found errors in the cache.

    Parameters
    ----------
    message : str
        Which files, which checks, and what to do.
    report : QualityReport
        All findings.
    """

    def __init__(self, message: str, report: Any) -> None:
        # Any: as above.
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[PoorQuality], tuple[str, Any]]:
        # As above.
        return type(self), (str(self), self.report)


def __dir__() -> list[str]:
    """The errors, without what this module imports."""
    found = ((name, value) for name, value in globals().items() if isinstance(value, type))
    return [name for name, value in found if issubclass(value, AresError)]
