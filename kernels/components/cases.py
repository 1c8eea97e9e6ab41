"""Label maps that every implementation of the components is held against the reference on, and timed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """A label map and a connectivity.

    Args:
        kind: "noise" (voxels by chance), "blobs" (balls of ids), "comb" (one component of many arms), "full",
            "checker" (every other voxel) or "diagonal" (voxels that touch at corners).
        view: turns the C-ordered map into the one that is labelled.
    """

    name: str
    shape: tuple[int, int, int]
    connectivity: int = 26
    kind: str = "noise"
    ids: int = 1
    share: float = 0.3
    view: Callable[[np.ndarray], np.ndarray] = lambda array: array

    def make(self, seed: int = 0) -> np.ndarray:
        """uint8 [X, Y, Z]."""
        return self.view(_KINDS[self.kind](np.random.default_rng(seed), self))

    @property
    def bytes_moved(self) -> int:
        """The map read once, int32 numbers written once."""
        return 5 * int(np.prod(self.shape))


def _noise(rng: np.random.Generator, case: Case) -> np.ndarray:
    ids = rng.integers(1, case.ids + 1, case.shape, dtype=np.uint8)
    return np.where(rng.random(case.shape) < case.share, ids, np.uint8(0))


def _blobs(rng: np.random.Generator, case: Case) -> np.ndarray:
    labels = np.zeros(case.shape, np.uint8)
    axes = np.ogrid[tuple(slice(size) for size in case.shape)]
    for ball in range(3 * case.ids):
        centre, radius = rng.uniform(0, 1, 3) * case.shape, rng.uniform(0.05, 0.25) * max(case.shape)
        away = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True))
        labels[away < radius**2] = 1 + ball % case.ids
    return labels


def _comb(rng: np.random.Generator, case: Case) -> np.ndarray:
    labels = np.zeros(case.shape, np.uint8)
    labels[::2] = 1
    labels[:, -1, -1] = 1  # joins all the slices, at their last voxel
    return labels


def _full(rng: np.random.Generator, case: Case) -> np.ndarray:
    return np.ones(case.shape, np.uint8)


def _checker(rng: np.random.Generator, case: Case) -> np.ndarray:
    return (np.indices(case.shape).sum(0) % 2).astype(np.uint8)


def _diagonal(rng: np.random.Generator, case: Case) -> np.ndarray:
    x, y, z = np.indices(case.shape)
    return ((x == y) & (y == z) | (x + y == 2 * case.shape[0] // 3) & (x == z)).astype(np.uint8)


_KINDS = {
    "noise": _noise,
    "blobs": _blobs,
    "comb": _comb,
    "full": _full,
    "checker": _checker,
    "diagonal": _diagonal,
}
CASES = (
    Case("empty", (0, 3, 4)),
    Case("one", (1, 1, 1), kind="full"),
    Case("nothing", (5, 6, 7), share=0.0),
    Case("1023", (1, 1, 1023), share=0.5),
    Case("1024", (1, 1024, 1), share=0.5),
    Case("1025", (1025, 1, 1), share=0.5),
    *(Case(f"noise-{n}", (13, 21, 33), connectivity=n) for n in (6, 18, 26)),
    *(Case(f"dense-ids-{n}", (11, 12, 37), connectivity=n, ids=3, share=0.9) for n in (6, 18, 26)),
    *(Case(f"checker-{n}", (7, 8, 9), connectivity=n, kind="checker") for n in (6, 18)),
    *(Case(f"diagonal-{n}", (12, 12, 12), connectivity=n, kind="diagonal") for n in (6, 18, 26)),
    Case("comb", (17, 5, 40), connectivity=6, kind="comb"),
    Case("full", (9, 10, 70), connectivity=6, kind="full"),
    Case("blobs", (30, 31, 65), ids=13, kind="blobs"),
    Case("thin", (60, 6, 6), ids=3, kind="blobs"),
    Case("fortran", (18, 15, 23), view=lambda array: array.T),
    Case("flipped", (18, 15, 23), view=lambda array: array[::-1, :, ::-1]),
    Case("every-second", (18, 15, 24), view=lambda array: array[:, ::2, ::2]),
)
FULL_CASES = (Case("60M", (400, 400, 375), ids=13, kind="blobs"),)
