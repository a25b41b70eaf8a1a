"""One zip of the archive, and its rows."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import BinaryIO

from ares_notebook.errors import BadAnswer
from ares_notebook.exchange.expected import Expected
from ares_notebook.exchange.inflate import lines_of
from ares_notebook.exchange.published import lines_of_csv
from ares_notebook.market.datasets import Dataset
from ares_notebook.market.lines import Lines
from ares_notebook.market.periods import Period, utc

__all__ = ["Zip"]

_LOGGER = logging.getLogger("DataDownloader")
_HEADER = re.compile(rb"[A-Za-z_]+(?:,[A-Za-z_]+)+")


@dataclass(slots=True, eq=False)
class Zip:
    """
    One zip of the archive, fetched and found to be what its checksum says.

    Parameters
    ----------
    name : str
    url : str
    sha256 : str
    data : file
        Open while the archive's context is.
    dataset : Dataset
    interval : str, optional
        Of candles.
    period : Period, optional
        Of which all rows must be; None where nobody knows it.

    Attributes
    ----------
    is_cut : bool
        Whether its text ends inside a line, known once its lines have been read. Those
        that are whole are sound; what follows them is to be asked for elsewhere, and that
        it is not in here says nothing.
    """

    name: str
    url: str
    sha256: str
    data: BinaryIO
    dataset: Dataset
    interval: str | None = None
    period: Period | None = None
    is_cut: bool = field(default=False, init=False)
    _header: bytes = field(default=b"", init=False)

    def lines(self) -> Iterator[Lines]:
        """
        Its rows as lines of a cache file, block by block; CPU work, for a thread.

        Raises
        ------
        BadAnswer
            If it does not hold rows of the dataset, of its interval and of its period.
        """
        last = Lines.none()
        expected = Expected(self.interval)
        for block in self._blocks():
            if expected.width is None:
                # The first row tells how wide all are.
                width = block[: block.find(b"\n")].count(b",") + 1
                first = expected.first + self._header.count(b"\n")
                expected = replace(expected, width=width, first=first)
            lines = lines_of_csv(self.dataset, block, self.url, expected)
            self._check_period(lines)
            yield lines.after(last)
            last = lines if len(lines) else last
            expected = replace(expected, first=expected.first + block.count(b"\n"))
        if self.is_cut and expected.width is None:
            msg = f"{self.url} ends inside its first row; nothing is stored, run again later"
            raise BadAnswer(msg)

    def _blocks(self) -> Iterator[bytes]:
        """Its text in blocks of whole lines, without a header."""
        member = self.name.removesuffix(".zip") + ".csv"
        texts = lines_of(self.data, member, self.url)
        self._header, first = _header_and_rows(next(texts, b""))
        for text in chain([first], texts):
            whole = text if text.endswith(b"\n") else self._without_cut_line(text)
            if whole:
                yield whole

    def _without_cut_line(self, text: bytes) -> bytes:
        """The whole lines: a number that was cut short is still a number."""
        if text and not self.is_cut:
            self.is_cut = True
            _LOGGER.warning("%s ends inside a line; what it lacks is asked for elsewhere", self.url)
        return text[: text.rfind(b"\n") + 1]

    def _check_period(self, lines: Lines) -> None:
        if self.period is None:
            return
        inside = self.period.start_ms * 1000, self.period.end_ms * 1000
        outside = (lines.stamps_us < inside[0]) | (lines.stamps_us >= inside[1])
        if outside.any():
            stamp = utc(int(lines.stamps_us[outside][0]) // 1000)
            msg = (
                f"{self.url} holds a row of {stamp:%Y-%m-%d %H:%M:%S}, which is not in its period; "
                f"nothing is stored, run again later"
            )
            raise BadAnswer(msg)


def _header_and_rows(block: bytes) -> tuple[bytes, bytes]:
    """Futures files have a header since 2022, spot files never; a row of names tells."""
    end = block.find(b"\n") + 1 or len(block)
    is_header = _HEADER.fullmatch(block[:end].rstrip(b"\r\n"))
    return (block[:end], block[end:]) if is_header else (b"", block)
