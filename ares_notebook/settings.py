"""Settings: one immutable value, from arguments, the environment or a file; defaults by the machine."""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from msgspec import Meta, ValidationError, convert

from ares_notebook.errors import BadArgument
from ares_notebook.formatting import IN_PYTHON, PythonCalls
from ares_notebook.host import host_defaults
from ares_notebook.model.datasets import DATASETS as _DATASETS
from ares_notebook.model.hosts import BINANCE, market_of_all, masked, plain_url
from ares_notebook.model.symbols import check_file_name, validate_symbol
from ares_notebook.model.time import INTERVALS as _LENGTHS_MS
from ares_notebook.model.time import validate_interval

_LOGGER = logging.getLogger("DataDownloader")
# Left free on the disk of the cache, for other programs.
SPARE_BYTES = 256 << 20


class Secret:
    """
    Text that is shown nowhere: neither ``repr`` nor ``str`` tells it.

    Parameters
    ----------
    text : str

    Examples
    --------
    >>> Secret("word")
    Secret('**********')
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def get_secret_value(self) -> str:
        """
        The text itself.

        Examples
        --------
        >>> Secret("word").get_secret_value()
        'word'
        """
        return self._text

    def __str__(self) -> str:
        return "**********"

    def __repr__(self) -> str:
        return f"Secret('{self}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


_SIZE = re.compile(r"\s*(\d*\.?\d+)\s*(?:([kmgtpe]?)(i?)b?)\s*", re.IGNORECASE)


def _size(value: object) -> object:
    """A size in bytes, of text with a decimal unit or a binary one such as ``GiB``."""
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value)
    if found is None:
        msg = 'is not a size; pass bytes, or text such as "20 GB"'
        raise ValueError(msg)
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgtpe".index(unit.lower() or " "))


def bytes_of(value: object, argument: str) -> int:
    """A size in bytes: a whole number, or text with a unit (decimal, or binary such as ``GiB``)."""
    try:
        size: int = _converted(_Size, value)
    except ValueError as error:
        msg = f"{argument}={value!r}: {error}"
        raise BadArgument(msg) from None
    return size


CACHE_DIR = "data_cache"
"""The default cache folder."""
MAX_RETRIES = 3
"""How many times a request that failed in passing is tried again, by default."""
RETRY_DELAY_SECONDS = 5.0
"""The default wait before the first new try, in seconds; it doubles each time."""
DATASETS = tuple(dataset.name for dataset in _DATASETS)
"""The names of all datasets; trades and funding are accepted for agg_trades and futures."""
INTERVALS = tuple(_LENGTHS_MS)
"""The intervals of candles, ascending; 1m is a minute, 1M a month."""

Event = Literal["finished", "failed", "below threshold"]
EVENTS: tuple[Event, ...] = get_args(Event)
"""What can be notified of: a run that did what it should, one that did not, poor quality."""
SECRETS = ("api_key", "notify")
"""The settings that are shown nowhere."""

_PREFIX = "ARES_"
# Settings of earlier versions lack it, and are no mixture of markets for that.
_LATER_URL = "coin_futures_url"
URLS = (
    "spot_url",
    "spot_fallback_url",
    "futures_url",
    "coin_futures_url",
    "archive_url",
    "archive_listing_url",
)
"""The settings that are URLs of the exchange."""


def _folder(value: object) -> Path:
    """A path with ``~`` expanded."""
    if not isinstance(value, str | Path) or not str(value).strip() or "\0" in str(value):
        msg = 'is not a folder; pass a path such as "data_cache"'
        raise ValueError(msg)
    check_file_name(str(value), "cache_dir")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        # `~user` of an unknown user.
        msg = f"is not a folder ({error})"
        raise ValueError(msg) from error


def _secret(value: object) -> object:
    """Text as a secret; also one of pydantic, such as a host project has."""
    text = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    return Secret(text) if isinstance(text, str) else text


def _key(value: object) -> object:
    """A key without surrounding whitespace; None if it is empty."""
    secret = _secret(value)
    if not isinstance(secret, Secret):
        return secret
    text = secret.get_secret_value().strip()
    if not text.isprintable():
        msg = "has a letter that no key has: a line end, or a control character"
        raise ValueError(msg)
    return Secret(text) if text else None


def _addresses(value: object) -> object:
    """Several secrets: a sequence, or text separated by blanks."""
    each = value.split() if isinstance(value, str) else () if value is None else value
    return tuple(map(_secret, each)) if isinstance(each, tuple | list) else each


def _events(value: object) -> object:
    """Events: a sequence, or text separated by commas, since one event has a blank."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _yes_or_no(value: object) -> object:
    """Words for true and false that msgspec does not know."""
    words = {"yes": True, "on": True, "no": False, "off": False}
    return words.get(value.strip().lower(), value) if isinstance(value, str) else value


# A function beside a type is applied to a value before this is checked against the type.
_Url = Annotated[str, plain_url]
_Count = Annotated[int, Meta(ge=0)]
_Positive = Annotated[float, Meta(gt=0)]
_Size = Annotated[_Count, _size]


def _converted(kind: Any, value: object) -> Any:
    """A value as one of this type; ValueError with the rule if it is none."""
    for apply in filter(callable, getattr(kind, "__metadata__", ())):
        value = apply(value)
    if hasattr(value, "dtype") and hasattr(value, "item"):
        value = value.item()  # a number of NumPy's
    try:
        # Not strict: text of the environment may be a number.
        return convert(value.strip() if isinstance(value, str) else value, kind, strict=False)
    except ValidationError as error:
        rule = str(error)
    if rule.startswith("Invalid enum value"):
        msg = f"is not one of {', '.join(_choices(kind))}"
        raise ValueError(msg)
    rule = rule.partition(" - at ")[0].replace("`", "").replace("null", "None")
    msg = rule[0].lower() + rule[1:].replace("array", "sequence").replace("object", "mapping")
    raise ValueError(msg)


def _choices(kind: Any) -> Iterator[str]:
    """The literals within a type."""
    for each in get_args(kind):
        if isinstance(each, str):
            yield each
        else:
            yield from _choices(each)


@dataclass(frozen=True, init=False)
class Settings:
    """
    Where to download from and to, and within which limits.

    Frozen: derive another with ``replace``. Each field is also read from the environment
    as ``ARES_`` plus its name in upper case (``ARES_CACHE_DIR``), and some from the
    ``src.config`` of a host project; arguments take precedence over the environment, and
    that over the project. An unknown field is an error.

    Parameters
    ----------
    cache_dir : Path
        The cache folder.
    max_retries : int
        How often a request that failed in passing is tried again.
    retry_delay_seconds : float
        The first wait; it doubles each time, with jitter.
    request_timeout_seconds : float
        How long to wait without receiving a byte (not: for the whole answer).
    operation_timeout_seconds : float
        How long one request may take in all, its new tries and waits included, and how long
        the lock of a file is waited for.
    worker_timeout_seconds : float
        How long a worker of a Dask cluster may show no sign of work, before it is restarted and
        its files are given to others; never less than ``request_timeout_seconds`` and a little more.
    symbol, interval, lookback_years
        Defaults of the command line and the panel.
    max_concurrency : int
        Requests under way at once.
    spot_url, spot_fallback_url, futures_url, coin_futures_url, archive_url, archive_listing_url : str
        The URLs of the exchange: all of one market, without user and password. The fallback
        is used where the spot API is closed to this place, or does not answer.
    source : {"auto", "archive", "rest"}
        Archive and REST as the plan decides, or one of them only.
    weight_share : float
        The part of the exchange's request budget that we allow ourselves.
    address_shared_by : int
        How many programs of ours ask from this address at once. Up to four need not say so,
        but for funding rates of USD-M, whose limit no answer states. A cluster counts its workers.
    api_key : str, optional
        Never needed for market data; never shown.
    compression : {None, "zstd"}
        How cache files are stored.
    arrow_copies : {"plain", "lz4", "off"}
        Whether Arrow copies of cache files are made below ``.ares/arrow``, from which loads are
        some ten times faster, and whether they are compressed.
    arrow_copies_at : {"load", "download"}
        Whether the first load of a file makes its copy, or the download that writes the file.
    progress : bool, optional
        Show progress: yes, no, or (None) when somebody looks.
    market : str, optional
        What the cache's ``origin.json`` calls the market, and what makes of other hosts
        its mirrors. Defaults to ``binance`` for Binance's own hosts, else to the host.
    price_jump_share : float
        From which share of the price before a step of the price is a finding of
        `validate_cache`: 0.2 is 20 %.
    min_complete_share : float
        Quality threshold of `assure_quality`: how much of what is expected must be there,
        in each series; what the exchange has confirmed as absent is not expected.
    max_errors, max_warnings : int, optional
        Quality thresholds: how many findings of the validation are allowed; None: any
        number. Missing rows count for ``min_complete_share`` and not here.
    keep_days : float, optional
        Retention: what `prune_cache` keeps, in days; None: all.
    max_cache_bytes : int or str, optional
        Retention: the size to which `prune_cache` brings the cache, in bytes or as text
        such as ``20 GB``; None: any.
    notify : sequence of str
        Apprise URLs to notify of runs, such as ``mailto://…``; secret. In the environment parted by blanks.
    notify_on : sequence of {"finished", "failed", "below threshold"}
        Which events they are notified of. In the environment with commas between.

    Raises
    ------
    BadArgument
        If a value is invalid, or the addresses are of several markets; the message names them.

    Examples
    --------
    >>> Settings(cache_dir="elsewhere", max_retries=5).max_retries
    5
    """

    cache_dir: Annotated[Path, _folder] = Path(CACHE_DIR)
    max_retries: Annotated[int, Meta(ge=0, le=100)] = MAX_RETRIES
    retry_delay_seconds: Annotated[float, Meta(ge=0, le=3600)] = RETRY_DELAY_SECONDS
    request_timeout_seconds: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    operation_timeout_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 3600.0
    worker_timeout_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    symbol: Annotated[str, validate_symbol] = "BTCUSDT"
    interval: Annotated[str, validate_interval] = "1h"
    lookback_years: Annotated[float, Meta(gt=0, le=50)] = 1.0
    max_concurrency: Annotated[int, Meta(ge=1, le=256)] = 16
    spot_url: _Url = "https://api.binance.com"
    spot_fallback_url: _Url = "https://data-api.binance.vision"
    futures_url: _Url = "https://fapi.binance.com"
    coin_futures_url: _Url = "https://dapi.binance.com"
    archive_url: _Url = "https://data.binance.vision"
    archive_listing_url: _Url = "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"
    source: Literal["auto", "archive", "rest"] = "auto"
    weight_share: Annotated[float, Meta(gt=0, le=1)] = 0.8
    address_shared_by: Annotated[int, Meta(ge=1, le=100_000)] = 1
    api_key: Annotated[Secret | None, _key] = None
    compression: Literal["zstd"] | None = None
    arrow_copies: Literal["plain", "lz4", "off"] = "plain"
    arrow_copies_at: Literal["load", "download"] = "load"
    progress: Annotated[bool | None, _yes_or_no] = None
    market: str | None = None
    price_jump_share: _Positive = 0.2
    min_complete_share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    max_errors: _Count | None = 0
    max_warnings: _Count | None = None
    keep_days: _Positive | None = None
    max_cache_bytes: Annotated[_Count | None, _size] = None
    notify: Annotated[tuple[Secret, ...], _addresses] = ()
    notify_on: Annotated[tuple[Event, ...], _events] = EVENTS
    _calls: ClassVar[PythonCalls] = IN_PYTHON  # what messages advise; a `Cache` binds its methods
    __signature__: ClassVar[Signature]

    def __init__(self, **values: Any) -> None:
        # Any: each value is checked against the type of its field.
        vars(self).update({name: field.default for name, field in _FIELDS.items()})
        self._take({**_given_elsewhere(), **{name: (value, "") for name, value in values.items()}})

    def _take(self, given: Mapping[str, tuple[object, str]]) -> None:
        """Check values, each with the place where it stands, and take them; name all that are wrong."""
        faults = []
        for name, (value, place) in given.items():
            if name not in _FIELDS:
                faults.append(f"{name} is not a setting; there are: {', '.join(_FIELDS)}")
                continue
            try:
                vars(self)[name] = _converted(_FIELDS[name].type, value)
            except ValueError as error:
                faults.append(_fault(name, value, str(error), place))
        if faults:
            raise BadArgument("; ".join(faults))
        _ = self.market_name

    def replace(self, **changes: Any) -> Self:
        """
        The same settings with some fields changed.

        Parameters
        ----------
        **changes
            Fields by their names, with their new values.

        Returns
        -------
        Settings

        Raises
        ------
        BadArgument
            If a value is invalid, or the URLs are of several markets.

        Examples
        --------
        >>> Settings().replace(max_retries=5).max_retries
        5
        """
        # Any: as above. A copy, so that it keeps what is no setting.
        made = copy(self)
        made._take({name: (value, "") for name, value in changes.items()})  # noqa: SLF001 - our own
        return made

    @property
    def _unset_urls(self) -> set[str]:
        """The URLs that are defaults where most users have no reason to set another."""
        is_default = getattr(self, _LATER_URL) == _FIELDS[_LATER_URL].default
        return {_LATER_URL} if is_default else set()

    def api_url(self, field: str) -> str:
        """
        The URL of one market's API, by its field.

        Parameters
        ----------
        field : str
            Such as ``futures_url``.

        Returns
        -------
        str

        Raises
        ------
        BadArgument
            If it is still Binance's, and the other URLs are of another market.

        Examples
        --------
        >>> Settings().api_url("futures_url")
        'https://fapi.binance.com'
        """
        if field in self._unset_urls and self.market_name != BINANCE:
            msg = f"{field} is not set, and the other addresses are of {self.market_name!r}; set it, too"
            raise BadArgument(msg)
        return str(getattr(self, field))

    @property
    def market_name(self) -> str:
        """
        The name under which ``origin.json`` knows the market: ``binance``, ``demo`` or a host.

        Examples
        --------
        >>> Settings().market_name
        'binance'
        """
        urls = {name: getattr(self, name) for name in URLS if name not in self._unset_urls}
        variables = {name: f"{_PREFIX}{name.upper()}" for name in urls}
        here = {name: os.environ.get(variable, "") for name, variable in variables.items()}
        sources = {name: variables[name] for name in urls if here[name].rstrip("/") == urls[name]}
        return market_of_all(urls, self.market, sources)


def settings_given(settings: Settings | None) -> Settings:
    """The settings that a verb was given, by default those of the environment."""
    if settings is None or isinstance(settings, Settings):
        return settings or Settings()
    msg = (
        f"settings= takes Settings, and this is a {type(settings).__name__}: pass "
        f"`cache.settings` of a Cache, or `ares.Settings(cache_dir=…)`"
    )
    raise BadArgument(msg)


@cache
def _warn_if_misspelt(variable: str) -> None:
    """Warn once of a variable that is nearly one of ours, since it would be ignored silently."""
    # Other variables with the prefix belong to the host project.
    ours = [f"{_PREFIX}{name.upper()}" for name in _FIELDS]
    if variable.startswith(_PREFIX) and variable.upper() not in ours:
        for near in get_close_matches(variable, ours, n=1, cutoff=0.85):
            _LOGGER.warning("%s is not a setting; did you mean %s?", variable, near)


def _given_elsewhere() -> dict[str, tuple[object, str]]:
    """The values of the host project and, before those, of the environment; each with its place."""
    found = host_defaults()
    for variable, text in os.environ.items():
        _warn_if_misspelt(variable)
        name = variable.upper().removeprefix(_PREFIX).lower()
        if variable.upper().startswith(_PREFIX) and name in _FIELDS and text:
            found[name] = (None if text == "none" else text, variable)
    return found


def _shown(name: str, text: str) -> str:
    """The text of a setting as an error may show it: a URL may be in the wrong one."""
    return masked(text) if name in URLS or "://" in text else text


def _fault(name: str, value: object, rule: str, place: str) -> str:
    """The name, the value and the rule of a wrong value, and where it stands."""
    # No error may show a secret, not even a wrong one.
    text = "…" if name in SECRETS else _shown(name, repr(value))
    reason = _shown("", rule) + (f" (from {place})" if place else "")
    # Our own checks already name the argument.
    return reason if reason.startswith(f"{name}=") else f"{name}={text}: {reason}"


_FIELDS = {field.name: field for field in fields(Settings)}
# What a signature shows, since the values are taken by any name.
Settings.__signature__ = Signature(
    [
        Parameter(name, Parameter.KEYWORD_ONLY, default=field.default)
        for name, field in _FIELDS.items()
    ]
)
