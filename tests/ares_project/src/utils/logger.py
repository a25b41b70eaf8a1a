"""The logger of the made-up project."""

from __future__ import annotations

import logging
import sys

system_logger = logging.getLogger("AresSystem")


def setup_logging() -> None:
    """Send what the project logs to standard output."""
    if not system_logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(name)s - %(levelname)s - %(message)s"))
        system_logger.addHandler(handler)
    system_logger.setLevel(logging.INFO)
