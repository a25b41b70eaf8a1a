"""What befalls files on a disk: a hole in the middle, a cut."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.feather as arrow_feather
import pyarrow.parquet as arrow_parquet

__all__ = ["HOLE_ROWS", "cut", "hole"]

HOLE_ROWS = 300


def hole(folder: Path) -> None:
    """Cut rows out of the middle of the largest file, which stays whole in its form."""
    path = _largest(folder)
    if path.suffix == ".csv":
        lines = path.read_bytes().splitlines(keepends=True)
        middle = len(lines) // 2
        path.write_bytes(b"".join(lines[:middle] + lines[middle + HOLE_ROWS :]))
        return
    reads = {".feather": arrow_feather.read_table, ".parquet": arrow_parquet.read_table}
    writes = {".feather": arrow_feather.write_feather, ".parquet": arrow_parquet.write_table}
    table = reads[path.suffix](path)
    middle = len(table) // 2
    rest = pa.concat_tables([table[:middle], table[middle + HOLE_ROWS :]])
    writes[path.suffix](rest, path)


def cut(folder: Path) -> None:
    """Leave half the bytes of the largest file."""
    path = _largest(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _largest(folder: Path) -> Path:
    """The file with most rows; of two alike the first."""
    files = sorted(
        each for kind in ("csv", "feather", "parquet") for each in folder.rglob(f"*.{kind}")
    )
    return max(files, key=lambda path: path.stat().st_size)
