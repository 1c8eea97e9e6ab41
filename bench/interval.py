"""How sure the ratio of two measurements is.

It is the noise within each of the two runs that is told; what another run would change (clocks, memory's layout, other
load) is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from umd_engine.bench.floor.repetition import FULL

CONFIDENCE = 0.95
BAND = FULL.agree  # a stable figure may be off by as much
ENOUGH = 8  # samples a side, from which on they are drawn from again
DRAWS = 1000
AT_ONCE = 1 << 22  # samples drawn at once
SEED = 0


@dataclass(frozen=True)
class Interval:
    """A ratio, and the least and the most that it may be."""

    ratio: float
    low: float
    high: float

    @property
    def different(self) -> bool:
        """Whether it excludes 1."""
        return not self.low <= 1 <= self.high

    def widened(self) -> Interval:
        """At least the band around the ratio."""
        return Interval(self.ratio, min(self.low, self.ratio / (1 + BAND)), max(self.high, self.ratio * (1 + BAND)))


@dataclass(frozen=True)
class Spread:
    """A figure that was taken several times: its middle, the least, the most, and how many times."""

    middle: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        return cls(float(np.median(samples)), min(samples), max(samples), len(samples))


def of_numbers(before: float, after: float) -> Interval:
    """Of two figures that were taken once: the band around their ratio."""
    ratio = after / before
    return Interval(ratio, ratio, ratio).widened()


def of_spreads(before: Spread, after: Spread) -> Interval:
    """What both spreads allow, and at least the band where spreads of so few would be apart by chance too often.

    Of n and m figures of one distribution all of one side are below all of the other in 2 of C(n + m, n) orders.
    """
    found = Interval(after.middle / before.middle, after.low / before.high, after.high / before.low)
    by_chance = 2 / math.comb(before.count + after.count, before.count)
    return found if by_chance <= 1 - CONFIDENCE else found.widened()


def of_samples(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Of medians: percentiles of bootstrap ratios; of fewer than `ENOUGH` samples a side what their spreads allow."""
    if min(len(before), len(after)) < ENOUGH:
        return of_spreads(Spread.of(before), Spread.of(after))
    random = np.random.default_rng(SEED)
    ratios = _medians(np.array(after), random) / _medians(np.array(before), random)
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(np.median(after) / np.median(before)), float(low), float(high))


def _medians(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """[draws], each of as many samples, drawn in blocks of neighbours: what follows one another is alike."""
    count = len(samples)
    block = min(math.ceil(count ** (1 / 3)), max(count // 10, 1))  # n^(1/3): Hall, Horowitz and Jing 1995
    starts = random.integers(0, count, (DRAWS, -(-count // block)))
    pieces = np.array_split(starts, -(-DRAWS * count // AT_ONCE))
    return np.concatenate([_drawn_medians(samples, piece, block) for piece in pieces])


def _drawn_medians(samples: np.ndarray, starts: np.ndarray, block: int) -> np.ndarray:
    places = (starts[:, :, None] + np.arange(block)) % len(samples)  # [draws, blocks, block]
    return np.median(samples[places.reshape(len(starts), -1)[:, : len(samples)]], axis=1)
