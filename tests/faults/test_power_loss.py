"""A machine that loses power: what a receipt tells of is on the disk before the receipt is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from reading import changed

REPOSITORY = Path(__file__).parents[2]
DAY = 1 / 365.25
WANTED = {
    "klines": ("1h", 40 * DAY, "2025-03-01", "klines"),
    "agg_trades": (None, 2 * DAY, "2025-01-16", "agg_trades"),
    "futures": (None, 40 * DAY, "2025-03-01", "futures"),
}


@pytest.mark.parametrize("source", ["archive", "rest"])
@pytest.mark.parametrize("dataset", WANTED)
def test_file_and_folder_are_flushed_before_the_receipt(settings, dataset, source):
    """Of each file all bytes are flushed, then it is named, then its folder is flushed, and then its receipt is named."""
    reported = changed(settings)
    done = subprocess.run(  # noqa: S603 - our own program
        [
            sys.executable,
            str(Path(__file__).with_name("power_witness.py")),
            json.dumps(WANTED[dataset]),
        ],
        env={
            **os.environ,
            **{f"ARES_{name.upper()}": str(value) for name, value in reported.items()},
            "ARES_SOURCE": source,
            "PYTHONPATH": str(REPOSITORY),
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    deeds = [json.loads(line) for line in done.stdout.splitlines()]
    folder = settings.cache_dir.stat().st_ino
    files = sorted(settings.cache_dir.glob("[!.]*.csv"))

    assert len(files) >= 2
    for path in files:
        receipt = settings.cache_dir / ".ares" / "receipts" / f"{path.name}.json"
        named = index_of(deeds, named=str(path))
        inode, size = deeds[named]["inode"], path.stat().st_size
        assert {"flushed": inode, "size": size} in deeds[:named]
        first = index_of(deeds, named=str(receipt))
        assert named < first
        assert folder in [each.get("flushed") for each in deeds[named:first]]


def index_of(deeds: list[dict], named: str) -> int:
    """When a name was given, for the first time."""
    return next(at for at, deed in enumerate(deeds) if deed.get("named") == named)
