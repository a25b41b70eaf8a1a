"""Damage of every kind to a cache: to the bytes of a file, to its receipt, to the folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

STRAYS = (
    "klines_BTCUSDT_1h_2025-02 (conflicted copy).csv",
    ".~lock.klines_BTCUSDT_1h_2025-02.csv#",
    "._klines_BTCUSDT_1h_2025-02.csv",
    "notes.csv",
    ".klines_BTCUSDT_1h_2025-02.csv.0.part",
)


def read(path: Path) -> bytes:
    """The text of a cache file, compressed or not."""
    if path.suffix != ".zst":
        return path.read_bytes()
    with pa.input_stream(str(path), compression="zstd") as stream:
        return stream.read()


def write(path: Path, text: bytes) -> None:
    """Put a text in the place of a cache file's."""
    if path.suffix != ".zst":
        path.write_bytes(text)
        return
    with pa.output_stream(str(path), compression="zstd") as stream:
        stream.write(text)


# --- the bytes of a file ---


def _digit(text: bytes, at: int) -> bytes:
    """A digit of a row is another."""
    body = text.index(b"\n") + 1
    places = [index for index in range(body, len(text)) if text[index : index + 1].isdigit()]
    if not places:
        return text
    # From the end, where the cells of numbers are: the smallest draw changes no stamp.
    index = places[-1 - at % len(places)]
    other = b"%d" % ((int(text[index : index + 1]) + 1) % 10)
    return text[:index] + other + text[index + 1 :]


def _row(text: bytes, at: int, times: int) -> bytes:
    lines = text.splitlines(keepends=True)
    if len(lines) < 2:
        return text
    index = 1 + at % (len(lines) - 1)
    return b"".join([*lines[:index], *lines[index : index + 1] * times, *lines[index + 1 :]])


def _blank(text: bytes, at: int) -> bytes:
    lines = text.splitlines(keepends=True)
    index = 1 + at % len(lines)
    return b"".join([*lines[:index], b"\n", *lines[index:]])


def _flip(text: bytes, at: int) -> bytes:
    index = at % max(len(text), 1)
    return text[:index] + bytes([text[index] ^ 0x80]) + text[index + 1 :] if text else text


BELIEVABLE: dict[str, Callable[[bytes, int], bytes]] = {
    "a digit": _digit,
    "a row doubled": lambda text, at: _row(text, at, 2),
    "a row gone": lambda text, at: _row(text, at, 0),
}
"""What leaves a file that looks sound: the receipt alone can tell."""

BROKEN: dict[str, Callable[[bytes, int], bytes]] = {
    "a byte flipped": _flip,
    "cut": lambda text, at: text[: -1 - at % max(len(text) - 1, 1)],
    "a blank line": _blank,
    "CRLF": lambda text, _: text.replace(b"\n", b"\r\n"),
    "emptied": lambda _, __: b"",
}
"""What a look at the file can tell."""

BYTES = {**BELIEVABLE, **BROKEN}


def harm(path: Path, kind: str, at: int) -> None:
    """Change a file, in a way that its size or its time tells."""
    before = path.stat().st_mtime_ns
    write(path, BYTES[kind](read(path), at))
    # Clocks of disks are coarse; who writes later has a later time.
    os.utime(path, ns=(before, before + 1_000_000_000))


def harm_unseen(path: Path, kind: str, at: int) -> bool:
    """Change a file of plain text, and keep its size and its time; tell whether that could be."""
    status, text = path.stat(), path.read_bytes()
    other = BYTES[kind](text, at)
    if path.suffix == ".zst" or len(other) != len(text) or other == text:
        return False
    path.write_bytes(other)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return True


# --- receipts ---


def receipt_of(folder: Path, name: str) -> Path:
    """Where the receipt of a file lies."""
    return folder / ".ares" / "receipts" / f"{name}.json"


def is_vouched_for(folder: Path, name: str, path: Path) -> bool:
    """Whether a file has a receipt that tells these very bytes."""
    try:
        reported = json.loads(receipt_of(folder, name).read_bytes())
        return reported["file"] == name and reported["sha256"] == _sha256(path.read_bytes())
    except (OSError, ValueError, KeyError):
        return False


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _weaker(receipt: Path, **changes: Any) -> None:
    try:
        reported = json.loads(receipt.read_bytes())
    except ValueError:
        # It was cut before, and says nothing at all.
        return
    receipt.write_text(json.dumps({**reported, **changes}))


def _copied(receipt: Path) -> None:
    others = sorted(path for path in receipt.parent.glob("*.json") if path != receipt)
    if others:
        receipt.write_bytes(others[0].read_bytes())


RECEIPTS: dict[str, Callable[[Path], Any]] = {
    "deleted": lambda receipt: receipt.unlink(),
    "cut": lambda receipt: receipt.write_bytes(receipt.read_bytes()[:-20]),
    "that of another file": _copied,
    "not final": lambda receipt: _weaker(receipt, final=False),
    "without answers": lambda receipt: _weaker(receipt, absences=[], final=False),
    "of another format": lambda receipt: _weaker(receipt, format=99),
}
"""What can become of a receipt, and makes it say less than it did."""


def reset_times(folder: Path) -> None:
    """As a copy of the cache does that keeps no times."""
    for path in folder.glob("*.csv*"):
        os.utime(path, ns=(1_600_000_000_000_000_000, 1_600_000_000_000_000_000))


def forget(folder: Path) -> None:
    """Delete all that is not data."""
    shutil.rmtree(folder / ".ares", ignore_errors=True)


def put_stray(folder: Path, at: int) -> None:
    """A file of somebody else's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STRAYS[at % len(STRAYS)]).write_bytes(b"timestamp,open\n2025-02-01 00:00:00,1\n")
