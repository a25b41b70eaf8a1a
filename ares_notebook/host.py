"""What the host project around us says: its configuration, and its logger."""

from __future__ import annotations

import importlib
import logging
import traceback
from collections.abc import Mapping
from functools import cache
from types import ModuleType

_LOGGER = logging.getLogger("DataDownloader")

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
