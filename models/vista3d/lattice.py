"""The 1.5 mm lattice of a scan, axis by axis: MONAI's Spacing before a crop to the foreground.

The lattice begins at the file's first voxel: voxel i of it lies at i * 1.5 / s along the file's axis, for a spacing of
s mm, and it has round((n - 1) * s / 1.5) + 1 voxels. Canonical (RAS+) axes that run against the file's begin at its
end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from umd_engine.data.volume import Grid
from umd_engine.kernels.parts import does
from umd_engine.kernels.resample import affine
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.vista3d.recipe import SPACING

Place = tuple[float, float, float]
KEPT = 1e-3  # mm: an axis this near to 1.5 mm is left as it is


@dataclass(frozen=True)
class Axis:
    """One canonical axis of a scan and of its lattice.

    Attributes:
        old, new: voxels of the scan and of the lattice.
        step: scan voxels from one lattice voxel to the next.
        flipped: the file's axis runs against it.
    """

    old: int
    new: int
    step: float
    flipped: bool

    @classmethod
    def of(cls, old: int, spacing: float, flipped: bool) -> Axis:
        if abs(spacing - SPACING) <= KEPT:
            return cls(old, old, 1.0, flipped)
        return cls(old, int(np.round((old - 1) * spacing / SPACING + 1.0)), SPACING / spacing, flipped)

    @property
    def origin(self) -> float:
        """The scan coordinate of lattice voxel 0."""
        return (self.old - 1) - (self.new - 1) * self.step if self.flipped else 0.0

    def place(self, voxel: float) -> float:
        """The lattice coordinate of a scan coordinate."""
        if self.flipped:
            return (self.new - 1) - (self.old - 1 - voxel) / self.step
        return voxel / self.step

    def nearest(self) -> np.ndarray:
        """The lattice voxel of every scan voxel; of two the even one in the file's order, as torch's grid_sample."""
        line = np.rint(np.arange(self.old) / self.step).astype(np.int64).clip(0, self.new - 1)
        return (self.new - 1 - line)[::-1].copy() if self.flipped else line


@dataclass(frozen=True, eq=False)
class Lattice:
    """The lattice and the part of it that was kept.

    Attributes:
        grid: of the scan.
        low, size: the kept box in lattice voxels, RAS+.
    """

    grid: Grid
    axes: tuple[Axis, Axis, Axis]
    low: Triple
    size: Triple

    def coordinate(self, voxel: Place) -> Place:
        """A scan voxel's place in the kept box."""
        x, y, z = (axis.place(v) - lo for axis, v, lo in zip(self.axes, voxel, self.low, strict=True))
        return x, y, z

    def to_scan(self, labels: torch.Tensor) -> torch.Tensor:
        """[X, Y, Z] on the scan's grid of a map [*size]: each voxel takes the nearest; 0 outside the kept box."""
        found, low = self._nearest(labels, (0, 0, 0))
        whole = found.new_zeros(self.grid.shape)
        whole[tuple(slice(lo, lo + n) for lo, n in zip(low, found.shape, strict=True))] = found
        return whole

    def mask(self, labels: torch.Tensor, low: Triple) -> Mask:
        """A mask on the scan's grid of bool [x, y, z] that begin at voxel `low` of the kept box; its box is tight."""
        inner, first = self._nearest(labels, low)
        tight = Mask.of(inner)
        x, y, z = (a + b for a, b in zip(first, tight.low, strict=True))
        return Mask(tight.voxels, (x, y, z) if tight.voxels.numel() else (0, 0, 0), self.grid.shape)

    @does("resample")
    def _nearest(self, labels: torch.Tensor, low: Triple) -> tuple[torch.Tensor, Triple]:
        """The scan's voxels that lie in a part of the kept box, and the first of them."""
        first = [0, 0, 0]
        for axis, size in enumerate(labels.shape):
            line = self.axes[axis].nearest() - self.low[axis] - low[axis]
            inside = np.flatnonzero((line >= 0) & (line < size))  # neighbours, as the line is monotonous
            first[axis] = int(inside[0]) if len(inside) else 0
            labels = _take(labels, axis, line[inside])
        return labels, (first[0], first[1], first[2])


def axes_of(grid: Grid, from_file: bool = True) -> tuple[Axis, Axis, Axis]:
    """The lattice's axes; the spacing is that of the affine's columns.

    Args:
        from_file: it begins at the file's first voxel, otherwise at that of RAS+.
    """
    norms = np.linalg.norm(grid.affine[:3, :3], axis=0)
    flips = {world: flip and from_file for world, flip in zip(grid.file_axes, grid.file_flips, strict=True)}
    x, y, z = (Axis.of(grid.shape[axis], float(norms[axis]), flips[axis]) for axis in range(3))
    return x, y, z


def lattice_shape(shape: Triple, spacing: tuple[float, float, float]) -> Triple:
    """Of the whole scan."""
    x, y, z = (Axis.of(n, mm, False).new for n, mm in zip(shape, spacing, strict=True))
    return x, y, z


def resampled(image: torch.Tensor, axes: tuple[Axis, Axis, Axis], official: bool) -> torch.Tensor:
    """float32 [x, y, z] on the lattice of an image [X, Y, Z], trilinear, edges repeated.

    Args:
        official: computed in float64; otherwise in float32.
    """
    if all(axis.step == 1.0 for axis in axes):
        return image.float()
    matrix = np.diag([*(axis.step for axis in axes), 1.0])
    matrix[:3, 3] = [axis.origin for axis in axes]
    shape = [axis.new for axis in axes]
    found = affine(image[None], matrix, shape, order=1, precision="float64" if official else "float32")
    return found[0].float()


def _take(labels: torch.Tensor, axis: int, index: np.ndarray) -> torch.Tensor:
    if labels.device.type == "cpu":  # torch's index_select is many times slower there
        return torch.from_numpy(np.take(labels.numpy(), index, axis=axis))
    return labels.index_select(axis, torch.from_numpy(np.ascontiguousarray(index)).to(labels.device))
