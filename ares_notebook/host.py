"""What the host project around us says: its configuration, and its logger."""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
from collections.abc import Mapping
from functools import cache
from types import ModuleType

_LOGGER = logging.getLogger("DataDownloader")

# Of each setting the keys of the project's CONFIG, old and new; the first that is there counts.
_KEYS = {
    "symbol": ("SYMBOL", "trading_symbol"),
    "interval": ("INTERVAL", "trading_interval"),
    "lookback_years": ("LOOKBACK_YEARS", "lookback_years"),
}
_TABLE = "src.config.CONFIG"
_DAYS_A_YEAR = 365.0


class _LastResort(logging.Handler):
    """
    Shows what our logger lets through where nothing else does.

    `logging.lastResort` drops all below WARNING, also in a script that has set our logger to DEBUG.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        """Leave a record to any other handler that gets it."""
        logger: logging.Logger | None = _LOGGER
        while logger is not None:
            if any(each is not self for each in logger.handlers):
                return False
            logger = logger.parent if logger.propagate else None
        return bool(super().handle(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record to the standard error of this moment, which in a notebook is the cell's."""
        try:
            sys.stderr.write(f"{self.format(record)}\n")
        except Exception:  # noqa: BLE001 - as every handler of the standard library does
            self.handleError(record)


_LOGGER.addHandler(_LastResort())


def host_defaults() -> dict[str, tuple[object, str]]:
    """
    Settings from the host project's ``src.config``, each with its place there.

    Empty without one that can be imported.
    """
    _use_logger()
    config = _imported("src.config")
    if config is None:
        return {}
    try:
        found = _values_of(config)
    except Exception as error:  # noqa: BLE001 - as below
        _log_failure("src.config", error)
        return {}
    return {name: (value, place) for name, value, place in found if value not in (None, "")}


def _values_of(config: ModuleType) -> list[tuple[str, object, str]]:
    """The values that stand there, each with its setting and its place; the last of a setting counts."""
    table = getattr(config, "CONFIG", {})
    if not isinstance(table, Mapping):
        kind = type(table).__name__
        _warn_once(f"src.config.CONFIG is a {kind} and no mapping; our own defaults are used")
        table = {}
    key = getattr(getattr(config, "settings", None), "binance_api_key", None)
    found = [("api_key", key, "src.config.settings.binance_api_key")]
    training = table.get("MODEL_TRAINING")
    days = training.get("data_retention_days") if isinstance(training, Mapping) else None
    if isinstance(days, int | float):
        # How far back the original downloader went. Nothing is ever deleted by it.
        place = f'{_TABLE}["MODEL_TRAINING"]["data_retention_days"] / {_DAYS_A_YEAR:g}'
        found.append(("lookback_years", days / _DAYS_A_YEAR, place))
    found += [
        (name, table.get(word), f'{_TABLE}["{word}"]')
        for name, words in _KEYS.items()
        for word in reversed(words)
    ]
    return found


@cache
def _imported(name: str) -> ModuleType | None:
    """A module of the host project; None, and a line in the log, if it cannot be imported."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The module itself may be missing; one that lacks another module is broken.
        if error.name and f"{name}.".startswith(f"{error.name}."):
            level = logging.INFO if name == "src.config" else logging.DEBUG
            _LOGGER.log(level, "no %s here, so nothing is taken from it", name)
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
