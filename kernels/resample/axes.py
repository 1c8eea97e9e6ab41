"""Where the new voxels of one axis lie on its old ones, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Axis:
    """One axis of a resampling whose axes do not mix.

    Args:
        old: its voxels before.
        places: [new] where the new voxels' centres lie, in old voxels.
    """

    old: int
    places: tuple[float, ...]

    @classmethod
    def zoomed(cls, old: int, new: int, align_corners: bool = False) -> Axis:
        """n / m * (i + 0.5) - 0.5, or with align_corners (n - 1) / (m - 1) * i (0 where m = 1).

        The scale is rounded before it multiplies, as in scipy.ndimage.zoom, so that ties fall alike.
        """
        if align_corners:
            scale = (old - 1) / (new - 1) if new > 1 else 0.0
            return cls(old, tuple((scale * np.arange(new)).tolist()))
        return cls(old, tuple(((old / new) * (np.arange(new) + 0.5) - 0.5).tolist()))

    @property
    def new(self) -> int:
        return len(self.places)

    @property
    def where(self) -> np.ndarray:
        """[new] float64."""
        return np.array(self.places, dtype=np.float64)

    @property
    def still(self) -> bool:
        """Whether every voxel stays where it is."""
        return self.places == tuple(range(self.old))

    @property
    def inside(self) -> np.ndarray:
        """[new] bool: whether the place lies in an old voxel, half a voxel beyond the outer centres."""
        return (self.where >= -0.5) & (self.where <= self.old - 0.5)


Axes = tuple[Axis, Axis, Axis]


def zoomed(old: tuple[int, ...], new: tuple[int, ...], align_corners: bool = False) -> Axes:
    """The three axes of a zoom from shape `old` to `new`."""
    x, y, z = (Axis.zoomed(n, m, align_corners) for n, m in zip(old, new, strict=True))
    return x, y, z
