"""True inputs with something wrong in them, for hypothesis: what a broken disk, line or editor makes of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import strategies as st

# What has broken a parser before, or may: of any of our formats.
TOKENS = (
    b"", b" ", b"\0", b"\n", b"\r", b"\r\n", b",", b",,", b"\n\n", b'"', b"'", b"\\", b"\t",
    b"-", b"+", b".", b"0", b"00", b"-0", b"1", b"-1", b"1.5", b".5", b"5.", b"+5", b" 5 ",
    b"0x10", b"1e5", b"1E999", b"1_000", b"nan", b"NaN", b"inf", b"-Infinity", b"null", b"None",
    b"true", b"True", b"FALSE", b"now", b"today", b"NaT", b"yesterday",
    b"9" * 18, b"9" * 19, b"9" * 20, b"9" * 40, b"9" * 400, b"9" * 5000, b"-" + b"9" * 20,
    b"9223372036854775807", b"9223372036854775808", b"18446744073709551616",
    b"1969-12-31 23:59:59", b"0001-01-01", b"9999-12-31 23:59:59.999999", b"99999-01-01",
    b"2025-02-30 00:00:00", b"2025-01-01T00:00:00Z", b"2025-01-01 00:00:00+14:00",
    b"=1+1", b"@SUM(A1)", b"-1+2", b"+1+2", b"{", b"}", b"[", b"]", b"[" * 3000, b"{}", b"[]",
    b"<", b">", b"&", b"<a>", b"</Key>", b"<!DOCTYPE x>", b"PK\x01\x02", b"PK\x05\x06",
    b"\xff", b"\xef\xbb\xbf", "é".encode(), "٣".encode(), "－１".encode(), "\u202e".encode(),
    b"\\ud800", b"\\u0000", b"\xed\xa0\x80",
)  # fmt: skip


def _place(chance: Random, data: bytes) -> int:
    return chance.randint(0, len(data))


def _stretch(chance: Random, data: bytes) -> slice:
    start = _place(chance, data)
    return slice(start, start + chance.randint(1, 64))


def _flip(chance: Random, data: bytes, _samples: Sequence[bytes]) -> bytes:
    """One bit is another."""
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _cut(chance: Random, data: bytes, _samples: Sequence[bytes]) -> bytes:
    """The end is missing."""
    return data[: _place(chance, data)]


def _cut_out(chance: Random, data: bytes, _samples: Sequence[bytes]) -> bytes:
    """A stretch is missing."""
    part = _stretch(chance, data)
    return data[: part.start] + data[part.stop :]


def _double(chance: Random, data: bytes, _samples: Sequence[bytes]) -> bytes:
    """A stretch is there twice."""
    part = _stretch(chance, data)
    return data[: part.stop] + data[part] + data[part.stop :]


def _splice(chance: Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    """It goes on as another one."""
    other = chance.choice(samples)
    return data[: _place(chance, data)] + other[_place(chance, other) :]


def _put_in(chance: Random, data: bytes, _samples: Sequence[bytes]) -> bytes:
    """Something stands there that does not belong."""
    at = _place(chance, data)
    word = chance.choice([*TOKENS, chance.randbytes(chance.randint(1, 8))])
    return data[:at] + word + data[at:]


# What stands between two cells, in any of our formats.
_MARKS = b',\n:"[]{}<>= '


def _replace_cell(chance: Random, data: bytes, _samples: Sequence[bytes]) -> bytes:
    """A cell says something else."""
    start = end = _place(chance, data)
    while start and data[start - 1] not in _MARKS:
        start -= 1
    while end < len(data) and data[end] not in _MARKS:
        end += 1
    return data[:start] + chance.choice(TOKENS) + data[end:]


def _lines(chance: Random, data: bytes, _samples: Sequence[bytes]) -> bytes:
    """A line is doubled, gone, or has changed places with the next."""
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return data
    at = chance.randint(0, len(lines) - 2)
    pair = lines[at : at + 2]
    change = chance.choice(([pair[0], *pair], pair[1:], pair[::-1]))
    return b"".join([*lines[:at], *change, *lines[at + 2 :]])


_CHANGES = (_flip, _cut, _cut_out, _double, _splice, _put_in, _replace_cell, _replace_cell, _lines)


def spoil(seed: int, samples: Sequence[bytes]) -> bytes:
    """One of *samples* with up to three things wrong in it; now and then whole, or anything at all."""
    chance = Random(seed)  # noqa: S311 - no secret
    if chance.random() < 0.03:
        return chance.randbytes(chance.randint(0, 200))
    data = chance.choice(samples)
    for change in chance.choices(_CHANGES, k=chance.randint(0, 3)):
        data = change(chance, data, samples)
    return data


def spoilt(samples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """The same as a strategy; drawn from one number, which is ten times as fast as draw by draw."""
    return st.integers(0, 2**64 - 1).map(lambda seed: spoil(seed, samples))
