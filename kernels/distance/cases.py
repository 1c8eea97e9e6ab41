"""Label maps that every implementation of the distances is held against the reference on, and timed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TOLERANCE = 3e-7  # of a distance: two roundings to float32


@dataclass(frozen=True)
class Case:
    """A label map, its spacing and what is asked of it.

    Attributes:
        organs: ids 1 to `organs` are asked for; the highest may be absent.
        kind: "blobs" balls that may leave the volume, "noise" ids by chance, "full" one id everywhere, "sparse" one
            id everywhere but in three voxels.
        view: turns the C-ordered map into the view that is transformed.
        full: too large for every run of the tests.
    """

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    organs: int = 3
    kind: str = "blobs"
    border: str = "ignored"
    squared: bool = False
    view: Callable[[np.ndarray], np.ndarray] = lambda labels: labels
    full: bool = False

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(range(1, self.organs + 1))

    def make(self, seed: int = 0) -> np.ndarray:
        """The label map, uint8."""
        rng = np.random.default_rng(seed)
        if self.kind == "noise":
            return self.view(rng.integers(0, self.organs + 1, self.shape, dtype=np.uint8))
        if self.kind == "full" or self.kind == "sparse":
            labels = np.ones(self.shape, np.uint8)
            if self.kind == "sparse":
                labels[tuple(rng.integers(0, size, 3) for size in self.shape)] = 0
            return self.view(labels)
        return self.view(balls(self.shape, self.organs, rng))


def balls(shape: tuple[int, int, int], organs: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 ellipsoids, centres anywhere in the volume: some reach its border, some are cut by others."""
    labels = np.zeros(shape, np.uint8)
    axes = np.ogrid[tuple(slice(size) for size in shape)]
    for organ in range(1, organs + 1):
        centre = rng.uniform(0, 1, 3) * shape
        radii = rng.uniform(0.1, 0.45, 3) * shape + 0.5
        away = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, radii, strict=True))
        labels[away < 1] = organ
    return labels


CASES = (
    Case("empty", (0, 4, 5), kind="noise"),
    Case("one", (1, 1, 1), kind="full", organs=1),
    Case("one-background", (1, 1, 1), kind="full", organs=1, border="background"),
    Case("block-1", (1, 1, 1023), organs=1),
    Case("block", (1, 1024, 1), organs=1, spacing=(1.0, 0.3, 7.0)),
    Case("block+1", (1025, 1, 1), organs=1),
    Case("odd", (17, 31, 23), spacing=(1.5, 0.7, 2.3)),
    Case("noise", (13, 20, 21), kind="noise", organs=6),
    Case("voxels", (19, 24, 22), squared=True),
    Case("ten-to-one", (30, 28, 9), spacing=(0.5, 0.5, 5.0)),
    Case("one-to-ten", (9, 28, 30), spacing=(5.0, 0.5, 0.5), squared=True),
    Case("full", (6, 7, 8), kind="full", organs=1),
    Case("full-background", (12, 7, 8), kind="full", organs=1, border="background", spacing=(1.0, 3.0, 2.0)),
    Case("sparse", (20, 24, 22), kind="sparse", organs=1, spacing=(1.0, 1.1, 1.3)),
    Case("border", (16, 18, 14), organs=5, border="background", spacing=(1.2, 0.8, 2.0)),
    Case("absent", (12, 13, 14), kind="full", organs=2, border="background"),
    Case("fortran", (18, 15, 23), view=lambda labels: labels.T, spacing=(2.0, 1.0, 0.7)),
    Case("flipped", (18, 15, 23), view=lambda labels: labels[::-1, :, ::-1]),
    Case("every-second", (21, 22, 26), view=lambda labels: labels[1::2, ::2, 1:-2]),
    Case("60-million", (400, 400, 375), spacing=(0.8, 0.8, 2.0), full=True),
)
