"""A label and a prediction, as label maps or as bit planes, and the organs that are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_SLOTS = 32  # organs a call: a bit each


@dataclass(frozen=True)
class Volumes:
    """What clicks are drawn from; organ number `slot` is bit `slot` of a voxel's word.

    Attributes:
        label, prediction: C-contiguous [X, Y, Z], both on one device; uint8 label maps or uint32 bit planes.
            No prediction (None) is an empty one.
        organs: ids in the label maps.
        spacing: mm of the axes, for depths.
    """

    label: Any
    prediction: Any | None
    organs: tuple[int, ...]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def count(self) -> int:
        return len(self.organs)

    @property
    def shape(self) -> tuple[int, int, int]:
        nx, ny, nz = self.label.shape
        return int(nx), int(ny), int(nz)

    @property
    def table(self) -> np.ndarray:
        """int64 [256]: the word of each id of a label map."""
        table = np.zeros(256, np.int64)
        for slot, organ in enumerate(self.organs):
            table[organ] |= 1 << slot
        return table

    @property
    def costs(self) -> np.ndarray:
        """float32 [3, longest axis + 2]: the squared distance of so many steps along each axis."""
        steps = np.arange(max(self.shape, default=0) + 2, dtype=np.float64)
        return np.stack([(np.float32(size) ** 2 * steps**2).astype(np.float32) for size in self.spacing])

    def masks(self, slot: int) -> tuple[np.ndarray, np.ndarray]:
        """The organ in the label and in the prediction, bool [X, Y, Z]."""
        inside = self._mask(self.label, slot)
        return inside, np.zeros_like(inside) if self.prediction is None else self._mask(self.prediction, slot)

    def _mask(self, volume: np.ndarray, slot: int) -> np.ndarray:
        return volume == self.organs[slot] if volume.dtype == np.uint8 else (volume >> np.uint32(slot)) & 1 == 1
