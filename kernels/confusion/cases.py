"""Inputs that every implementation of the joint counts is held against the reference on, and timed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Maps = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Case:
    """Two label maps and their numbers of classes.

    Args:
        view: turns both C-ordered maps into the views that are counted.
        runs: mean length of a run of one id; 1 is noise.
    """

    name: str
    shape: tuple[int, ...]
    classes: tuple[int, int] = (14, 14)
    runs: int = 40
    view: Callable[[Maps], Maps] = lambda maps: maps

    def make(self, seed: int = 0) -> Maps:
        """Both maps, uint8."""
        rng = np.random.default_rng(seed)
        label = _runs(rng, self.shape, self.classes[0], self.runs)
        prediction = _runs(rng, self.shape, self.classes[1], self.runs)
        if self.classes[0] == self.classes[1]:
            prediction = np.where(rng.random(self.shape) < 0.9, label, prediction)
        return self.view((label, prediction))

    @property
    def bytes_moved(self) -> int:
        """Bytes that any implementation has to read: a byte a voxel and map."""
        return 2 * int(np.prod(self.shape))


def _runs(rng: np.random.Generator, shape: tuple[int, ...], classes: int, runs: int) -> np.ndarray:
    size = int(np.prod(shape))
    ids = rng.integers(0, classes, size // runs + 1, dtype=np.uint8)
    return np.repeat(ids, runs)[:size].reshape(shape)


CASES = (
    Case("empty", (0,)),
    Case("empty-3d", (4, 0, 5)),
    Case("one", (1,)),
    Case("block-1", (1023,)),
    Case("block", (1024,)),
    Case("block+1", (1025,)),
    Case("one-id", (7, 33, 65), classes=(1, 1)),
    Case("odd", (17, 31, 23)),
    Case("noise", (19, 20, 21), runs=1),
    Case("unlike-classes", (16, 9, 40), classes=(3, 117)),
    Case("all-ids", (64, 33, 12), classes=(256, 256), runs=3),
    Case("fortran", (18, 25, 33), view=lambda maps: (maps[0].T, maps[1].T)),
    Case("flipped", (18, 25, 33), view=lambda maps: (maps[0][::-1, :, ::-1], maps[1][::-1, :, ::-1])),
    Case("unlike-orders", (18, 25, 33), view=lambda maps: (maps[0], np.asfortranarray(maps[1]))),
    Case("unlike-flips", (18, 25, 33), view=lambda maps: (maps[0][::-1], maps[1])),
    Case("crop", (21, 26, 35), view=lambda maps: (maps[0][1:-1, 2:, 3:-2], maps[1][1:-1, 2:, 3:-2])),
    Case("every-second", (21, 26, 36), view=lambda maps: (maps[0][..., ::2], maps[1][..., 1::2])),
    Case("four-axes", (2, 9, 10, 11), view=lambda maps: (maps[0], np.asfortranarray(maps[1]))),
    Case("same-long-run", (64, 64, 40), runs=1 << 20),
)
