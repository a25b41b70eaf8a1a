"""
Blocks of real rows with something wrong in them, through the native kernel and through PyArrow.

As a program it tries many, each time the same for one seed: ``python tests/fuzz_kernel.py --blocks
1000000 --seed 7``. A block is reported, and the status is 1, if the kernel gave lines for it and PyArrow
gave others, or refused it.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import re
import sys
from pathlib import Path

import numpy as np

from ares_notebook.binance import parse
from ares_notebook.binance.csv_tables import Expected, lines_by_cell
from ares_notebook.errors import BadAnswer
from ares_notebook.model.datasets import dataset_named

# Rows as the archive has them, by dataset and interval.
ROWS = {
    ("klines", "1h"): """\
1778284800000000,80193.18000000,80240.87000000,80129.85000000,80238.76000000,206.53644000,1778288399999999,16561246.01202940,38749,106.31422000,8525158.40077210,0
1778288400000000,80238.75000000,80446.58000000,80217.46000000,80327.75000000,266.81337000,1778291999999999,21435793.45956020,44427,175.29066000,14083198.16370510,0
1778292000000000,80327.75000000,80477.47000000,80327.75000000,80417.87000000,0.00000000,1778295599999999,0.00000000,0,0.00000000,0.00000000,0
""",
    ("klines", "1m"): """\
1502942400000,4261.48000000,4261.48000000,4261.48000000,4261.48000000,1.77518300,1502942459999,7564.90685084,3,0.07518300,320.39085084,7960.31054190
1502942460000,4261.48000000,4261.48000000,4261.48000000,4261.48000000,0.00000000,1502942519999,0.00000000,0,0.00000000,0.00000000,7959.23138142
1502942520000,4280.56000000,4280.56000000,4280.56000000,4280.56000000,0.26107400,1502942579999,1117.54292144,2,0.26107400,1117.54292144,7958.72322042
""",
    ("agg_trades", None): """\
2999999999,93576.00000000,0.00018000,4359999999,4359999999,1735689600010866,True,True
3000000000,93576.01000000,0.00005000,4360000000,4360000003,1735689600043291,False,True
3000000001,93576.01000000,1.20005000,4360000004,4360000004,1735689601000000,False,True
3000000003,93575.99000000,0.03005000,4360000007,4360000009,1735689601000000,True,True
""",
    ("futures", None): """\
1785542400001,8,0.00004123
1785571200000,8,-0.00003163
1785600000000,4,0.00000000
1785614400003,4,-0.00010000
""",
    ("um_klines", "1m"): """\
1790726400000,83624.50,83652.00,83624.40,83639.90,21.311,1790726459999,1782492.64160,1255,13.461,1125889.12490,0
1790726460000,83639.90,83658.90,83635.80,83658.90,25.575,1790726519999,2139224.34800,1133,14.200,1187767.41490,0
1790726520000,83658.90,83696.60,83658.80,83687.10,23,1790726579999,1987006.32120,1415,19.316,1616359.93200,0
""",
    ("um_agg_trades", None): """\
3469657145,83624.5,0.03,8131311701,8131311703,1790726400261,false
3469657146,83624.50,0.004,8131311704,8131311705,1790726400498,true
3469657147,83620,10.000,-1,-1,1790726400689,false
""",
    ("premium_index_klines", "1w"): """\
1782086400000,-0.00040341,0.00129001,-0.00120012,-0.00000000,0,1782691199999,0,120960,0,0,0
1782691200000,-0.00040120,0.00000000,-0.00120012,0.00030410,0,1783295999999,0,120960,0,0,0
""",
}
# Texts that are a number elsewhere, or at the edge of what is one here.
TOKENS = (
    *("", "0", "-0", "00", "007", "1.", ".5", "-.5", "-0.0", "0.0", "0.", "1e5", "1E+3", "-1.8E-7", "0E-8", "+1", "--1"),
    *("-1", "-2", " 1", "1 ", "1.2.3", "1_0", "nan", "inf", "0x1", '"1"', "'1'", "１", "\ufeff1", "1\0", "\0", "-"),
    *("9" * 18, "9" * 19, "9223372036854775807", "9223372036854775808", "9" * 20, "1" * 24, "1" * 25, "9" * 400),
    *("0." + "1" * 24, "0." + "1" * 25, "1" * 24 + "." + "1" * 24, "0" * 40 + ".5", "100.00", "0.1000000000000000"),
    *("True", "true", "TRUE", "tRue", "False", "false", "FalsE", "truE", "Falsey", "Tru", "100", "0.00", "1230767999999", "1230768000000"),
    *("4102444799999", "4102444800000", "99999999999999", "100000000000000", "1735689599999999", "1735689600000000"),
    *("1735689600000001", "1735689599999", "1735689600000", "1778288399999", "1778288400000", "1778288399999998"),
)  # fmt: skip
STAMP = re.compile(rb"(?<![0-9.])[0-9]{13,16}(?![0-9.])")
BYTES = b"0123456789.,-+\n\r\t\0 \"'eETtFf:/x\x80\xff"


def block_of(draw: random.Random, rows: str) -> bytes:
    """Some of the rows, one after the other, with up to three faults."""
    lines = rows.encode().splitlines(keepends=True)
    first = draw.randrange(len(lines))
    block = b"".join(lines[first : draw.randint(first, len(lines))])
    for _ in range(draw.choice((0, 1, 1, 1, 2, 3))):
        block = spoilt(draw, block)
    return block


def spoilt(draw: random.Random, block: bytes) -> bytes:
    """The block with one more fault."""
    return draw.choice(FAULTS)(draw, block)


def with_another_cell(draw: random.Random, block: bytes) -> bytes:
    """One of the tokens in the place of a cell; a line end in it stays, with what is behind."""
    cells = block.split(b",")
    place = draw.randrange(len(cells))
    _, end, rest = cells[place].partition(b"\n")
    cells[place] = draw.choice(TOKENS).encode() + end + rest
    return b",".join(cells)


def with_another_byte(draw: random.Random, block: bytes) -> bytes:
    """A byte more, or another one."""
    at = draw.randint(0, len(block))
    return block[:at] + bytes([draw.choice(BYTES)]) + block[at + draw.randint(0, 1) :]


def with_fewer_bytes(draw: random.Random, block: bytes) -> bytes:
    """One to three bytes less."""
    at = draw.randint(0, len(block))
    return block[:at] + block[at + draw.randint(1, 3) :]


def with_another_digit(draw: random.Random, block: bytes) -> bytes:
    """One digit is another."""
    digits = [place for place, byte in enumerate(block) if chr(byte).isdigit()]
    place = draw.choice(digits or [0])
    return block[:place] + b"%d" % draw.randrange(10) + block[place + 1 :]


def at_another_time(draw: random.Random, block: bytes) -> bytes:
    """A row that is later, all its times by as much; or all rows."""
    by = draw.choice((1, 1000, 60_000, 1_800_000))
    lines = block.splitlines(keepends=True)
    chosen = draw.choice((lines[:1], lines[-1:], lines))
    for place, line in enumerate(lines):
        if line in chosen:
            lines[place] = STAMP.sub(lambda found: b"%d" % (int(found[0]) + by), line)
    return b"".join(lines)


def with_other_lines(draw: random.Random, block: bytes) -> bytes:
    """A line twice, or the lines in another order."""
    lines = block.splitlines(keepends=True)
    if draw.randrange(2):
        return block + draw.choice(lines or [b"\n"])
    draw.shuffle(lines)
    return b"".join(lines)


def with_another_end(draw: random.Random, block: bytes) -> bytes:
    """Cut anywhere, without its line end, with one more, or with those of another system."""
    cut = block[: draw.randint(0, len(block))]
    return draw.choice((cut, block.replace(b"\n", b"\r\n"), block + b"\n", block[:-1]))


# What cells may hold is the most of it.
FAULTS = (
    *(with_another_cell, with_another_cell, with_another_byte, with_fewer_bytes),
    *(with_another_digit, at_another_time, with_other_lines, with_another_end),
)


def differs(dataset_name: str, interval: str | None, block: bytes) -> bool | None:
    """Whether the kernel gives other lines than PyArrow; None if it leaves the block to it."""
    dataset, expected = dataset_named(dataset_name), Expected(interval)
    found = parse.lines_by_kernel(dataset, block, expected)
    if found is None:
        return None
    try:
        wanted = lines_by_cell(dataset, block, "here", expected)
    except BadAnswer:
        return True
    pairs = [
        (getattr(found, each), getattr(wanted, each)) for each in ("keys", "stamps_us", "text")
    ]
    if wanted.hours is not None:
        pairs.append((found.hours, wanted.hours))
    return not all(np.array_equal(*pair) for pair in pairs)


def tried(blocks: int, seed: int) -> tuple[int, list[tuple[str, str | None, bytes]]]:
    """How many of so many blocks the kernel took, and those of which it made something else."""
    draw, kinds = random.Random(seed), list(ROWS)  # noqa: S311 - the same for one seed
    taken, different = 0, []
    for _ in range(blocks):
        kind = draw.choice(kinds)
        name, interval = kind[0], draw.choice((kind[1], kind[1], None))
        block = block_of(draw, ROWS[kind])
        outcome = differs(name, interval, block)
        taken += outcome is not None
        if outcome:
            different.append((name, interval, block))
    return taken, different


def main() -> None:
    """Try as many as were asked for."""
    parser = argparse.ArgumentParser(description="Compare the native kernel with PyArrow.")
    parser.add_argument("--blocks", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kernel", type=Path, help="a kernel that was built elsewhere")
    asked = parser.parse_args()
    if asked.kernel:
        spec = importlib.util.spec_from_file_location("kernel", asked.kernel)
        if spec is None or spec.loader is None:
            sys.exit(f"{asked.kernel} is no module")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        parse.KERNEL = module.rewrite
    if parse.KERNEL is None:
        sys.exit("the package was built without a compiler, so there is no kernel to try")
    taken, different = tried(asked.blocks, asked.seed)
    for name, interval, block in different[:20]:
        sys.stdout.write(f"{name} {interval}: {block!r}\n")
    sys.stdout.write(
        f"{asked.blocks:,} blocks, {taken:,} by the kernel, {len(different):,} differ\n"
    )
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
