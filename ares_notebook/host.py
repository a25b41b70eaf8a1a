"""The project around us: inside Ares, its configuration fills our defaults and its logger is used."""

from __future__ import annotations

import importlib
import logging
import traceback
from collections.abc import Mapping
from functools import cache
from types import ModuleType

__all__ = ["NAME_OF_HOST", "host_defaults"]

_LOGGER = logging.getLogger("DataDownloader")

NAME_OF_HOST = {
    "symbol": 'src.config.CONFIG["SYMBOL"]',
    "interval": 'src.config.CONFIG["INTERVAL"]',
    "lookback_years": 'src.config.CONFIG["LOOKBACK_YEARS"]',
    "keep_days": 'src.config.CONFIG["MODEL_TRAINING"]["data_retention_days"]',
    "api_key": "src.config.settings.binance_api_key",
}
"""Where each setting stands in the host project."""


def host_defaults() -> dict[str, object]:
    """
    What the host project's ``src.config`` says of our settings; nothing where there is none.

    The first call looks for the project, and for its ``src.utils.logger.system_logger``, which from
    then on gets what the logger ``DataDownloader`` says. A project that is there and cannot be
    imported is reported, and its values are left alone.
    """
    _use_logger()
    config = _imported("src.config")
    if config is None:
        return {}
    try:
        found = _values_of(config)
    except Exception as error:  # noqa: BLE001 - as below
        _tell_of_break("src.config", error)
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
    """A module of the host project; None, and a line in the log, where it cannot be had."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only the module itself may be absent; one that lacks another is broken.
        if error.name and f"{name}.".startswith(f"{error.name}."):
            _LOGGER.debug("no %s here, so nothing is taken from it", name)
            return None
        _tell_of_break(name, error)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is theirs: whatever it raises is told
        _tell_of_break(name, error)
    return None


def _tell_of_break(name: str, error: BaseException) -> None:
    # The words of any other error may hold what the project keeps secret.
    words = f": {error}" if isinstance(error, ImportError | SyntaxError) else ""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
    _warn_once(
        f"{name} of the project around cannot be used ({type(error).__name__}{words}{place}); "
        f"our own defaults are used instead"
    )


@cache
def _warn_once(words: str) -> None:
    """Once, however often the settings are made."""
    _LOGGER.warning("%s", words)


@cache
def _use_logger() -> None:
    """Let the host's logger, if there is one, be the parent of ours: level and handlers are its own."""
    module = _imported("src.utils.logger")
    logger = getattr(module, "system_logger", None)
    if isinstance(logger, logging.LoggerAdapter):
        logger = logger.logger
    if isinstance(logger, logging.Logger):
        _LOGGER.parent = logger
        _LOGGER.debug("the host's logger %s is used", logger.name)
    elif module is not None:
        _LOGGER.warning("src.utils.logger has no system_logger that is a logging.Logger")
