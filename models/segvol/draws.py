"""Which of a window's marked voxels become points: random, in the official code unseeded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

EXTRA = 4  # points besides the first


class Draws(Protocol):
    def draw(self, count: int, key: Sequence[object]) -> list[int]:
        """Up to 1 + 4 of `count` (> 0) candidates: one, then up to 4 different ones, which may repeat the first."""


class TorchDraws:
    """torch's generator as the official code uses it, from a seed; the order of draws matters, `key` does not."""

    def __init__(self, seed: int = 0):
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, count: int, key: Sequence[object]) -> list[int]:
        first = torch.randint(count, (1,), generator=self.generator).tolist()
        return first + torch.randperm(count, generator=self.generator)[:EXTRA].tolist()


class PhiloxDraws:
    """Philox keyed by scan, organ, step, clicks and window, so that no draw depends on what else runs.

    The run's seed and the repeat come in with the clicks.
    """

    def draw(self, count: int, key: Sequence[object]) -> list[int]:
        digest = hashlib.sha256(repr(tuple(key)).encode()).digest()
        generator = np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8")))
        return [int(generator.integers(count)), *generator.permutation(count)[:EXTRA].tolist()]
