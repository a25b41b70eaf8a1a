"""Random numbers without a state: each is a pure function of its place in a named stream."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
UInts = NDArray[np.uint64]
Floats = NDArray[np.float64]

_OCTAVES = 18
_DAY_MINUTES = 1440
_DAILY_SWING = 0.02


@lru_cache(maxsize=1_024)
def seed_of(*names: str) -> int:
    """Seed of a named stream of numbers: 64 bits, the same on every machine."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def random_words(seed: int | UInts, places: Ints) -> UInts:
    """Sixty-four random bits for every place of a stream, or of a stream each (SplitMix64)."""
    words = (places.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    words += np.asarray(seed, dtype=np.uint64)
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def bits(words: UInts, low: int, width: int) -> Ints:
    """Cut *width* bits, from bit *low* upward, as integers from 0."""
    return ((words >> np.uint64(low)) & np.uint64((1 << width) - 1)).astype(np.int64)


def fractal_noise(seed: int, places: Ints) -> Floats:
    """
    Fractal noise around zero, always between -0.6 and 0.6.

    Only additions and multiplications, so that every machine gets the same digits.
    """
    total = np.zeros(len(places))
    if not len(places):
        return total
    for octave, (left, rise) in enumerate(_ends(seed, places)):
        inside = (places & ((1 << octave) - 1)) * (1.0 / (1 << octave))
        # As a random walk does, an octave goes with the root of its period.
        amplitude = float(_DAILY_SWING * ((1 << octave) / _DAY_MINUTES) ** 0.5)
        total += (left + rise * inside) * amplitude
    return total


def _ends(seed: int, places: Ints) -> Iterator[tuple[Floats, Floats]]:
    """Of each octave: the lattice value at the start of each place's cell, and the rise to its end."""
    if places[-1] - places[0] > len(places):
        for octave in range(_OCTAVES):
            left = _lattice_values(seed + octave, places >> octave)
            yield left, _lattice_values(seed + octave, (places >> octave) + 1) - left
        return
    # Neighbours share cells: each value is made once, and those of all octaves together.
    firsts = [int(places[0]) >> octave for octave in range(_OCTAVES)]
    ends = [(int(places[-1]) >> octave) + 2 for octave in range(_OCTAVES)]
    lattices = [np.arange(first, end) for first, end in zip(firsts, ends, strict=True)]
    seeds = np.uint64(seed) + np.arange(_OCTAVES, dtype=np.uint64)
    seeds = seeds.repeat([len(lattice) for lattice in lattices])
    values = _lattice_values(seeds, np.concatenate(lattices))
    rises = np.diff(values)
    begin = 0
    for octave, lattice in enumerate(lattices):
        index = (places >> octave) + (begin - firsts[octave])
        yield values.take(index), rises.take(index)
        begin += len(lattice)


def _lattice_values(seed: int | UInts, lattice: Ints) -> Floats:
    """Values between -1 and 1."""
    return bits(random_words(seed, lattice), 11, 53).astype(np.float64) * (2.0 / (1 << 53)) - 1.0
