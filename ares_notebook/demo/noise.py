"""Randomness without a state: numbers that are a pure function of their place."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

UInts = NDArray[np.uint64]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)

OCTAVES = 18
_DAY_MINUTES = 1440
_DAILY_SWING = 0.02


def seed_of(*names: str) -> int:
    """Seed of a named stream of numbers: 64 bits, the same on every machine."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def scramble(seed: int, places: Ints) -> UInts:
    """Sixty-four bits for every place of a stream (SplitMix64)."""
    bits = (places.astype(np.uint64) + np.uint64(1)) * _GOLDEN
    bits += np.uint64(seed)
    bits ^= bits >> np.uint64(30)
    bits *= _FIRST
    bits ^= bits >> np.uint64(27)
    bits *= _SECOND
    bits ^= bits >> np.uint64(31)
    return bits


def bits(source: UInts, low: int, width: int) -> Ints:
    """Cut *width* bits, from bit *low* upward, as integers from 0."""
    return ((source >> np.uint64(low)) & np.uint64((1 << width) - 1)).astype(np.int64)


def wander(seed: int, places: Ints) -> Floats:
    """
    Fractal noise around zero, always between -0.6 and 0.6.

    Octaves of linearly interpolated lattice values; an octave's height goes with the root of its
    period, as a random walk's does. Only additions and multiplications, so that every machine gets
    the same digits.
    """
    total = np.zeros(len(places))
    for octave in range(OCTAVES):
        cell = places >> octave
        inside = (places & ((1 << octave) - 1)) * (1.0 / (1 << octave))
        left, right = _ends(seed + octave, cell)
        total += (left + (right - left) * inside) * _height_of(octave)
    return total


def _ends(seed: int, cell: Ints) -> tuple[Floats, Floats]:
    """Lattice values at both ends of each cell."""
    if not len(cell) or cell[-1] - cell[0] > len(cell):
        return _heights(seed, cell), _heights(seed, cell + 1)
    # Neighbours share cells: each value is made once.
    heights = _heights(seed, np.arange(cell[0], cell[-1] + 2, dtype=np.int64))
    index = cell - cell[0]
    return heights.take(index), heights.take(index + 1)


def _heights(seed: int, lattice: Ints) -> Floats:
    """Lattice values between -1 and 1."""
    draws = bits(scramble(seed, lattice), 11, 53).astype(np.float64)
    return draws * (2.0 / (1 << 53)) - 1.0


def _height_of(octave: int) -> float:
    """Height of an octave: some percent for a day, more for months."""
    return float(_DAILY_SWING * ((1 << octave) / _DAY_MINUTES) ** 0.5)
