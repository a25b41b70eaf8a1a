"""Settings: one immutable value, from arguments, the environment or a file; defaults by the machine."""

from __future__ import annotations

import importlib
import logging
import os
import re
import traceback
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, ByteSize, Field, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ares_notebook.errors import BadArgument
from ares_notebook.formatting import IN_PYTHON, PythonCalls
from ares_notebook.model.datasets import DATASETS as _DATASETS
from ares_notebook.model.hosts import BINANCE, market_of_all, masked, plain_url
from ares_notebook.model.symbols import check_file_name, validate_symbol
from ares_notebook.model.time import INTERVALS as _LENGTHS_MS
from ares_notebook.model.time import validate_interval

_LOGGER = logging.getLogger("DataDownloader")
# Left free on the disk of the cache, for other programs.
SPARE_BYTES = 256 << 20

NAME_OF_HOST = {
    "symbol": 'src.config.CONFIG["SYMBOL"]',
    "interval": 'src.config.CONFIG["INTERVAL"]',
    "lookback_years": 'src.config.CONFIG["LOOKBACK_YEARS"]',
    "keep_days": 'src.config.CONFIG["MODEL_TRAINING"]["data_retention_days"]',
    "api_key": "src.config.settings.binance_api_key",
}
"""The place of each setting in the host project."""


def host_defaults() -> dict[str, object]:
    """Settings from the host project's ``src.config``; empty without one that can be imported."""
    _use_logger()
    config = _imported("src.config")
    if config is None:
        return {}
    try:
        found = _values_of(config)
    except Exception as error:  # noqa: BLE001 - as below
        _log_failure("src.config", error)
        return {}
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _values_of(config: ModuleType) -> dict[str, object]:
    table = getattr(config, "CONFIG", {})
    if not isinstance(table, Mapping):
        kind = type(table).__name__
        _warn_once(f"src.config.CONFIG is a {kind} and no mapping; our own defaults are used")
        table = {}
    training = table.get("MODEL_TRAINING")
    return {
        "symbol": table.get("SYMBOL"),
        "interval": table.get("INTERVAL"),
        "lookback_years": table.get("LOOKBACK_YEARS"),
        "keep_days": training.get("data_retention_days") if isinstance(training, Mapping) else None,
        "api_key": getattr(getattr(config, "settings", None), "binance_api_key", None),
    }


@cache
def _imported(name: str) -> ModuleType | None:
    """A module of the host project; None, and a line in the log, if it cannot be imported."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The module itself may be missing; one that lacks another module is broken.
        if error.name and f"{name}.".startswith(f"{error.name}."):
            _LOGGER.debug("no %s here, so nothing is taken from it", name)
            return None
        _log_failure(name, error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code; whatever it raises is logged
        _log_failure(name, error)
    return None


def _log_failure(name: str, error: BaseException) -> None:
    # The text of any other error may hold a secret of the project.
    words = f": {error}" if isinstance(error, ImportError | SyntaxError) else ""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
    _warn_once(
        f"{name} of the project around cannot be used ({type(error).__name__}{words}{place}); "
        f"our own defaults are used instead"
    )


@cache
def _warn_once(message: str) -> None:
    _LOGGER.warning("%s", message)


@cache
def _use_logger() -> None:
    """Make the host's logger, if any, the parent of ours."""
    module = _imported("src.utils.logger")
    logger = getattr(module, "system_logger", None)
    if isinstance(logger, logging.LoggerAdapter):
        logger = logger.logger
    if isinstance(logger, logging.Logger):
        _LOGGER.parent = logger
        _LOGGER.debug("the host's logger %s is used", logger.name)
    elif module is not None:
        _LOGGER.warning("src.utils.logger has no system_logger that is a logging.Logger")


_SIZE = re.compile(r"\s*\d*\.?\d+\s*[A-Za-z]*\s*")


def _size(value: object) -> object:
    """Refuse text of which `ByteSize` would ignore a part: it reads "1,5 GB" as 1 byte."""
    if isinstance(value, bool) or (isinstance(value, str) and not _SIZE.fullmatch(value)):
        msg = 'is not a size; pass bytes, or text such as "20 GB"'
        raise ValueError(msg)
    return value


Size = Annotated[ByteSize, BeforeValidator(_size), Field(ge=0)]
"""A setting that is a size."""


def bytes_of(value: object, argument: str) -> int:
    """A size in bytes: a whole number, or text with a unit (decimal, or binary such as ``GiB``)."""
    try:
        return int(TypeAdapter[ByteSize](Size).validate_python(value))
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        msg = f"{argument}={value!r}: {reason}"
        raise BadArgument(msg) from None


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
_URLS = (
    "spot_url",
    "spot_fallback_url",
    "futures_url",
    "coin_futures_url",
    "archive_url",
    "archive_listing_url",
)


_Url = Annotated[str, BeforeValidator(plain_url)]


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


_Folder = Annotated[Path, BeforeValidator(_folder)]


def _key(value: object) -> object:
    """A key without surrounding whitespace; None if it is empty."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str):
        return text
    if not text.strip().isprintable():
        msg = "has a letter that no key has: a line end, or a control character"
        raise ValueError(msg)
    return text.strip() or None


def _each(value: object) -> object:
    """Several values: a sequence, or text separated by blanks."""
    if value is None:
        return ()
    return tuple(value.split()) if isinstance(value, str) else value


def _events(value: object) -> object:
    """Events: a sequence, or text separated by commas, since one event has a blank."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


_Urls = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_each)]
_Events = Annotated[tuple[Event, ...], NoDecode, BeforeValidator(_events)]


class Settings(BaseSettings):
    """
    Where to download from and to, and within which limits.

    Frozen: derive another with ``model_copy``. Each field is also read from the environment
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
    api_key : SecretStr, optional
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

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=_PREFIX,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        env_parse_none_str="none",
        # They may hold a password.
        hide_input_in_errors=True,
    )

    cache_dir: _Folder = Path(CACHE_DIR)
    max_retries: int = Field(MAX_RETRIES, ge=0, le=100)
    retry_delay_seconds: float = Field(RETRY_DELAY_SECONDS, ge=0, le=3600)
    request_timeout_seconds: float = Field(30.0, gt=0, le=3600)
    operation_timeout_seconds: float = Field(3600.0, gt=0, le=86_400)
    worker_timeout_seconds: float = Field(60.0, gt=0, le=86_400)
    symbol: Annotated[str, BeforeValidator(validate_symbol)] = "BTCUSDT"
    interval: Annotated[str, BeforeValidator(validate_interval)] = "1h"
    lookback_years: float = Field(1.0, gt=0, le=50)
    max_concurrency: int = Field(16, ge=1, le=256)
    spot_url: _Url = "https://api.binance.com"
    spot_fallback_url: _Url = "https://data-api.binance.vision"
    futures_url: _Url = "https://fapi.binance.com"
    coin_futures_url: _Url = "https://dapi.binance.com"
    archive_url: _Url = "https://data.binance.vision"
    archive_listing_url: _Url = "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"
    source: Literal["auto", "archive", "rest"] = "auto"
    weight_share: float = Field(0.8, gt=0, le=1)
    address_shared_by: int = Field(1, ge=1, le=100_000)
    api_key: Annotated[SecretStr | None, BeforeValidator(_key)] = None
    compression: Literal["zstd"] | None = None
    arrow_copies: Literal["plain", "lz4", "off"] = "plain"
    arrow_copies_at: Literal["load", "download"] = "load"
    progress: bool | None = None
    market: str | None = None
    price_jump_share: float = Field(0.2, gt=0)
    min_complete_share: float = Field(1.0, ge=0, le=1)
    max_errors: int | None = Field(0, ge=0)
    max_warnings: int | None = Field(None, ge=0)
    keep_days: float | None = Field(None, gt=0)
    max_cache_bytes: Size | None = None
    notify: _Urls = ()
    notify_on: _Events = EVENTS
    _calls: ClassVar[PythonCalls] = IN_PYTHON  # what messages advise; a `Cache` binds its methods

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no file is read
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the host project."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, host_defaults())

    def __init__(self, **values: Any) -> None:
        # Any: pydantic checks each value against its field.
        for name in os.environ:
            _warn_if_misspelt(name)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise BadArgument(_message_of(error)) from None
        _ = self.market_name

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """
        A copy with some fields changed; only its URLs are checked.

        Parameters
        ----------
        update : mapping of str to object, optional
        deep : bool

        Returns
        -------
        Settings

        Raises
        ------
        BadArgument
            If one is invalid, or they are of several markets.
        """
        for name, value in (update or {}).items():
            try:
                _ = name in _URLS and plain_url(value)
            except ValueError as error:
                msg = f"{name}={masked(repr(value))}: {error}"
                raise BadArgument(msg) from None
        copy = super().model_copy(update=update, deep=deep)
        _ = copy.market_name
        return copy

    @property
    def _unset_urls(self) -> set[str]:
        """The URLs that are defaults where most users have no reason to set another."""
        default = type(self).model_fields[_LATER_URL].default
        return {_LATER_URL} if getattr(self, _LATER_URL) == default else set()

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
        urls = {name: getattr(self, name) for name in _URLS if name not in self._unset_urls}
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
    ours = [f"{_PREFIX}{name.upper()}" for name in Settings.model_fields]
    if variable.startswith(_PREFIX) and variable.upper() not in ours:
        for near in get_close_matches(variable, ours, n=1, cutoff=0.85):
            _LOGGER.warning("%s is not a setting; did you mean %s?", variable, near)


def _shown(name: str, text: str) -> str:
    """The text of a setting as an error may show it: a URL may be in the wrong one."""
    return masked(text) if name in _URLS or "://" in text else text


def _message_of(error: ValidationError) -> str:
    """The name, the value and the rule of each wrong field."""
    lines, defaults = [], host_defaults()
    for fault in error.errors(include_url=False):
        name = str(fault["loc"][0])
        if fault["type"] == "extra_forbidden":
            known = ", ".join(Settings.model_fields)
            lines.append(f"{name} is not a setting; there are: {known}")
            continue
        # No error may show a secret, not even a wrong one.
        value = "…" if name in SECRETS else _shown(name, repr(fault["input"]))
        reason = _shown("", fault["msg"].removeprefix("Value error, "))
        variable = f"{_PREFIX}{name.upper()}"
        if os.environ.get(variable) == fault["input"]:
            reason += f" (from {variable})"
        elif name in defaults and defaults[name] == fault["input"]:
            reason += f" (from {NAME_OF_HOST[name]})"
        # Our own checks already name the argument.
        lines.append(reason if reason.startswith(f"{name}=") else f"{name}={value}: {reason}")
    return "; ".join(lines)
