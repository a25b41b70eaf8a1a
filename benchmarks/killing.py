"""Programs that are run to their end whatever it is, or killed while they write a file."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ended", "ended", "killed_while_writing"]

_MOST_SECONDS = 300
_PAUSE_SECONDS = 0.0005
_READS_ONLY = os.O_RDONLY


@dataclass(frozen=True, slots=True)
class Ended:
    """
    How a program ended.

    Parameters
    ----------
    status : int
        Its exit status.
    said : str
        All that it wrote to its output and its errors.
    """

    status: int
    said: str


def ended(command: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> Ended:
    """
    Run a program to its end, good or bad.

    Parameters
    ----------
    command : sequence of str
    folder : Path
        Where it runs.
    environment : mapping of str to str
        All of it.

    Raises
    ------
    subprocess.TimeoutExpired
        If it takes more than five minutes.
    """
    with _running(command, folder, environment) as process:
        process.wait(_MOST_SECONDS)
    return Ended(process.returncode, (folder / "said.txt").read_text(errors="replace"))


def killed_while_writing(
    command: Sequence[str], number: int, out: Path, *, folder: Path, environment: Mapping[str, str]
) -> str | None:
    """
    Run a program, and kill it while it writes a file.

    As soon as a file under *out* has grown it is stopped, and looked at: which of them has
    it open to write, with something in them? Once it is at the *number*-th, it and all its
    processes get SIGKILL; else it goes on.

    Parameters
    ----------
    command : sequence of str
    number : int
        Counts from 0.
    out : Path
    folder : Path
        Where it runs.
    environment : mapping of str to str
        All of it.

    Returns
    -------
    str or None
        Name of the file; None if it ended before.

    Raises
    ------
    subprocess.TimeoutExpired
        If it takes more than five minutes.
    """
    seen: list[Path] = []
    before: dict[Path, int] = {}
    stop = time.monotonic() + _MOST_SECONDS
    with _running(command, folder, environment) as process:
        while process.poll() is None:
            if time.monotonic() > stop:
                raise subprocess.TimeoutExpired(command[:2], _MOST_SECONDS)
            time.sleep(_PAUSE_SECONDS)
            if (now := _sizes(out)) == before:
                continue
            before = now
            os.killpg(process.pid, signal.SIGSTOP)
            seen += [path for path in _being_written(process.pid, out) if path not in seen]
            if len(seen) > number:
                return seen[number].name
            os.killpg(process.pid, signal.SIGCONT)
    return None


@contextmanager
def _running(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a process group of its own, of which nothing is left afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL,
            stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            # The group is gone where all have ended.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            while _members(process.pid):
                # Its children die on their own, and a moment later.
                time.sleep(_PAUSE_SECONDS)


def _sizes(out: Path) -> dict[Path, int]:
    """All files in a folder, and how long they are."""
    sizes = {}
    for folder, _, names in os.walk(out):
        for name in names:
            path = Path(folder, name)
            # It may be gone, or renamed, by now.
            with suppress(FileNotFoundError):
                sizes[path] = path.stat().st_size
    return sizes


def _being_written(group: int, out: Path) -> list[Path]:
    """Files under a folder that a process of the group has open to write, with something in them."""
    found = []
    for pid in _members(group):
        # A process, or a file, may end while it is looked at.
        with suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/fd").iterdir():
                path = line.readlink()
                if path.is_relative_to(out) and _is_written(pid, line.name) and path.stat().st_size:
                    found.append(path)
    return found


def _members(group: int) -> list[str]:
    """Processes of a group, but for dead ones that nobody has waited for yet."""
    members = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                # What follows the name, which stands in brackets: state, parent, group.
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z" and int(fields[2]) == group:
                    members.append(folder.name)
    return members


def _is_written(pid: str, line: str) -> bool:
    """Whether a file is open for more than reading."""
    told = Path(f"/proc/{pid}/fdinfo/{line}").read_text()
    flags = int(told.partition("flags:")[2].split()[0], 8)
    return flags & os.O_ACCMODE != _READS_ONLY
