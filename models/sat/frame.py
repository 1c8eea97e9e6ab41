"""Where the network's voxels lie: a grid of 1 x 1 x 3 mm along the scan's axes, cut to the foreground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umd_engine.data.volume import Grid
from umd_engine.models.mask import Triple

SPACING = (1.0, 1.0, 3.0)  # mm along X, Y, Z


def lattice_shape(shape: Triple, spacing: tuple[float, float, float]) -> Triple:
    """Voxels along each axis: the first one is centred on the scan's first, the last as near to its last as can be.

    round((n - 1) * old / new + 1), halves to even, as MONAI's Spacing.
    """
    x, y, z = (int(np.around((n - 1) * old / new + 1)) for n, old, new in zip(shape, spacing, SPACING, strict=True))
    return x, y, z


@dataclass(frozen=True, eq=False)
class Frame:
    """The cut of a scan's lattice.

    Attributes:
        grid: the scan's.
        low: the cut's first voxel on the lattice.
        size: the cut's.
    """

    grid: Grid
    low: Triple
    size: Triple

    @property
    def steps(self) -> tuple[float, float, float]:
        """Lattice voxels from one scan voxel to the next."""
        x, y, z = (old / new for old, new in zip(self.grid.spacing, SPACING, strict=True))
        return x, y, z

    def place(self, axis: int, voxel: int) -> float:
        """Where a voxel of the scan lies along an axis, in voxels of the cut."""
        return voxel * self.steps[axis] - self.low[axis]

    def within(self, axis: int, first: float, last: float) -> range:
        """The scan's voxels along an axis that lie at `first` <= place < `last`, in voxels of the cut."""
        places = np.arange(self.grid.shape[axis]) * self.steps[axis] - self.low[axis]
        begin, end = np.searchsorted(places, [first, last])
        return range(int(begin), int(end))

    def shown(self, axis: int) -> range:
        """The scan's voxels along an axis whose centres lie in voxels of the cut."""
        return self.within(axis, -0.5, self.size[axis] - 0.5)


def to_lattice(grid: Grid) -> np.ndarray:
    """(4, 4), voxel of the lattice -> voxel of the scan."""
    return np.diag([*(new / old for old, new in zip(grid.spacing, SPACING, strict=True)), 1.0])
