"""Pairs of label maps that every implementation of the surface distances is held against the reference on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from umd_engine.kernels.distance.cases import balls

TOLERANCE = 1e-12  # of a distance: roundings of float64
Maps = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Case:
    """Two label maps, their spacing and the elements of their surfaces.

    Attributes:
        organs: ids 1 to `organs` are asked for.
        kind: "blobs" the same organs, moved and nibbled at in the prediction; "noise" ids by chance; "far" organs
            of the prediction elsewhere; "same" two equal maps; "one-empty", "both-empty" without organ 1.
        tolerance: of the NSD, not a distance that occurs.
        view: turns both C-ordered maps into the views that are measured.
        full: too large for every run of the tests.
    """

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    organs: int = 3
    kind: str = "blobs"
    elements: str = "surfels"
    tolerance: float = 1.2345
    view: Callable[[Maps], Maps] = lambda maps: maps
    full: bool = False

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(range(1, self.organs + 1))

    def make(self, seed: int = 0) -> Maps:
        """Both maps, uint8."""
        rng = np.random.default_rng(seed)
        if self.kind == "noise":
            label, prediction = rng.integers(0, self.organs + 1, (2, *self.shape), dtype=np.uint8)
            return self.view((label, prediction))
        label = balls(self.shape, self.organs, rng)
        if self.kind == "same":
            return self.view((label, label.copy()))
        if self.kind == "far":
            return self.view((label, balls(self.shape, self.organs, rng)))
        if self.kind == "both-empty":
            label[label == 1] = 0
        prediction = np.roll(label, tuple(min(size - 1, 2) for size in self.shape), (0, 1, 2))
        prediction[rng.random(self.shape) < 0.01] = 0
        if self.kind == "one-empty":
            prediction[prediction == 1] = 0
        return self.view((label, prediction))


CASES = (
    Case("empty", (0, 4, 5), kind="noise"),
    Case("one", (1, 1, 1), kind="same", organs=1),
    Case("one-voxels", (1, 1, 1), kind="same", organs=1, elements="voxels"),
    Case("block-1", (1, 1, 1023), organs=1),
    Case("block", (1, 1024, 1), organs=1, elements="voxels"),
    Case("block+1", (1025, 1, 1), organs=1, spacing=(0.3, 1.0, 7.0)),
    Case("odd", (17, 31, 23), spacing=(1.5, 0.7, 2.3)),
    Case("odd-voxels", (17, 31, 23), spacing=(1.5, 0.7, 2.3), elements="voxels"),
    Case("noise", (9, 12, 11), kind="noise", organs=5, spacing=(1.1, 1.2, 1.3)),
    Case("noise-voxels", (9, 12, 11), kind="noise", organs=5, elements="voxels"),
    Case("far", (26, 24, 22), kind="far", spacing=(1.0, 2.0, 0.5)),
    Case("apart", (6, 50, 60), kind="far", organs=4),
    Case("apart-voxels", (7, 60, 50), kind="far", organs=4, elements="voxels", spacing=(2.0, 0.7, 1.2)),
    Case("same", (14, 15, 16), kind="same"),
    Case("ten-to-one", (30, 28, 9), spacing=(0.5, 0.5, 5.0)),
    Case("one-to-ten", (9, 28, 30), spacing=(5.0, 0.5, 0.5), elements="voxels"),
    Case("border", (12, 13, 14), organs=6, kind="far"),
    Case("one-empty", (14, 15, 16), kind="one-empty"),
    Case("both-empty", (14, 15, 16), kind="both-empty", elements="voxels"),
    Case("absent", (10, 11, 12), kind="noise", organs=1),
    Case("fortran", (18, 15, 23), view=lambda maps: (maps[0].T, maps[1].T), spacing=(2.0, 1.0, 0.7)),
    Case("unlike-orders", (18, 15, 23), view=lambda maps: (maps[0], np.asfortranarray(maps[1]))),
    Case("flipped", (18, 15, 23), view=lambda maps: (maps[0][::-1, :, ::-1], maps[1][::-1, :, ::-1])),
    Case("60-million", (400, 400, 375), spacing=(0.8, 0.8, 2.0), full=True),
)
