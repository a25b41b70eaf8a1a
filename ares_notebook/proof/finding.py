"""A finding: what a check has to say of one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["SEVERITIES", "Finding", "Severity"]

Severity = Literal["error", "warning", "information"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "information")
"""From the worst down: the data is wrong, is unusual, is worth knowing about."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What a check has to say of one file.

    Parameters
    ----------
    file : str
        The cache file; where several are compared, what they are of.
    check : str
        The check's name.
    severity : {"error", "warning", "information"}
        An error is data that is wrong, missing or damaged; a warning is data that is
        unusual, but such as the exchange has served; information is worth knowing.
    count : int
        How many rows, or holes, it concerns; 1 for a file as a whole.
    example : str
        The first of them, in words.

    Examples
    --------
    >>> print(Finding("klines_BTCUSDT_1h_2025-01.csv", "grid", "warning", 2, "2025-01-01 00:30:00"))
    warning klines_BTCUSDT_1h_2025-01.csv: grid (2): 2025-01-01 00:30:00
    """

    file: str
    check: str
    severity: Severity
    count: int
    example: str

    def __str__(self) -> str:
        return f"{self.severity} {self.file}: {self.check} ({self.count:,}): {self.example}"
