"""Label maps that every implementation of the bounds is held against the reference on, and timed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """A label map.

    Args:
        runs: mean length of a run of one id; 1 is noise.
        view: turns the C-ordered map into the view that is read.
    """

    name: str
    shape: tuple[int, int, int]
    classes: int = 14
    runs: int = 40
    view: Callable[[np.ndarray], np.ndarray] = lambda label: label

    def make(self, seed: int = 0) -> np.ndarray:
        """uint8 [X, Y, Z]; the last id but one of several is absent."""
        rng = np.random.default_rng(seed)
        size = int(np.prod(self.shape))
        ids = rng.integers(0, self.classes, size // self.runs + 1, dtype=np.uint8)
        if self.classes > 2:
            ids[ids == self.classes - 2] = 0
        return self.view(np.repeat(ids, self.runs)[:size].reshape(self.shape))

    @property
    def bytes_moved(self) -> int:
        """Bytes that any implementation has to read: a byte a voxel."""
        return int(np.prod(self.shape))


def _inner(label: np.ndarray) -> np.ndarray:
    """Background along the border and one id inside, its last voxels on the highest border."""
    result = np.zeros_like(label)
    result[3:, 4:-5, 2:] = 7
    return result


CASES = (
    Case("empty", (4, 0, 5)),
    Case("one", (1, 1, 1)),
    Case("one-id", (7, 33, 65), classes=1),
    Case("block-1", (1, 1, 1023)),
    Case("block", (1, 1024, 1)),
    Case("block+1", (1025, 1, 1)),
    Case("odd", (9, 31, 23)),
    Case("noise", (5, 20, 21), runs=1),
    Case("rows-of-runs", (5, 40, 9), runs=71),
    Case("wide", (3, 5, 600), runs=130),
    Case("tall", (2, 150, 9), runs=300),
    Case("all-ids", (4, 33, 12), classes=256, runs=2),
    Case("inside", (9, 22, 23), view=_inner),
    Case("fortran", (6, 19, 33), view=lambda label: label.T),
    Case("turned", (6, 19, 33), view=lambda label: label.transpose(1, 2, 0)),
    Case("flipped", (6, 19, 33), view=lambda label: label[::-1, :, ::-1]),
    Case("crop", (9, 19, 35), view=lambda label: label[1:-1, 2:, 3:-2]),
    Case("every-second", (7, 26, 36), view=lambda label: label[:, ::2, 1::2]),
)
FULL = Case("60-million", (400, 400, 400))
