"""A scan's 1.5 mm lattice in RAS+, and crops of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from umd_engine.data.volume import Grid
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.sam_med3d.axes import Axis, ItkAxis, lattice_size
from umd_engine.models.sam_med3d.prompt_encoder import CROP


@dataclass(frozen=True, eq=False)
class Lattice:
    """What `tio.Resample(1.5)` and `tio.ToCanonical` make of a scan's grid.

    Attributes:
        grid: the scan's.
        axes: canonical X, Y, Z.
        affine: (4, 4), lattice voxel -> mm (RAS).
    """

    grid: Grid
    axes: tuple[Axis, Axis, Axis]
    affine: np.ndarray

    @classmethod
    def of(cls, grid: Grid) -> Lattice:
        """The lattice of a scan, with ITK's rounding errors where the scan lies along the world's axes.

        Raises:
            GeometryError: the scan is thinner than a voxel of 1.5 mm.
        """
        file_axes = [grid.file_axes.index(axis) for axis in range(3)]  # file axis of each canonical axis
        x, y, z = (_axis(grid, axis) for axis in file_axes)
        to_scan = np.eye(4)
        for row, axis in enumerate((x, y, z)):
            to_scan[row, row] = axis.step
            to_scan[row, 3] = (axis.old - 1) / 2 - axis.step * (axis.new - 1) / 2
        return cls(grid, (x, y, z), grid.affine @ to_scan)

    @property
    def shape(self) -> Triple:
        x, y, z = (axis.new for axis in self.axes)
        return x, y, z

    def label(self, mask: Mask) -> Mask:
        """A mask of the scan's grid, nearest, on the lattice, its box tight; looks at the mask's box alone."""
        ranges, indices = [], []
        for axis, low, high in zip(self.axes, mask.low, mask.high, strict=True):
            nearest = axis.nearest()  # does not decrease
            first, last = np.searchsorted(nearest, [low, high])
            ranges.append(int(first))
            indices.append(nearest[first:last] - low)
        inner = Mask.of(take(mask.voxels, indices))
        x, y, z = (first + low for first, low in zip(ranges, inner.low, strict=True))
        return Mask(inner.voxels, (x, y, z) if inner.voxels.numel() else (0, 0, 0), self.shape)

    def paste(self, crop: torch.Tensor, begin: Triple) -> Mask:
        """A mask [128, 128, 128] of the crop at `begin`, nearest, straight on the scan's grid; its box is tight."""
        ranges, indices = [], []
        for axis, first in zip(self.axes, begin, strict=True):
            back = np.floor(axis.back(first) + (0.5 + axis.tie)).astype(np.int64)
            inside = np.flatnonzero((back >= 0) & (back < CROP))
            ranges.append(int(inside[0]) if len(inside) else 0)
            indices.append(back[inside])
        inner = Mask.of(take(crop, indices))
        x, y, z = (first + low for first, low in zip(ranges, inner.low, strict=True))
        return Mask(inner.voxels, (x, y, z) if inner.voxels.numel() else (0, 0, 0), self.grid.shape)

    def crop_affine(self, begin: Triple) -> np.ndarray:
        """(4, 4), voxel of the box that begins there -> mm (RAS)."""
        moved = np.eye(4)
        moved[:3, 3] = begin
        return self.affine @ moved


def _axis(grid: Grid, file_axis: int) -> Axis:
    old, spacing = grid.file_shape[file_axis], grid.file_spacing[file_axis]
    new, flipped = lattice_size(old, spacing), grid.file_flips[file_axis]
    # a NIfTI header holds float32: rounding to it undoes the errors of turning to RAS+ and back
    affine = grid.file_affine.astype(np.float32).astype(np.float64)
    world = grid.file_axes[file_axis]
    if np.count_nonzero(affine[:3, :3]) > 3:  # oblique
        return Axis(old, new, flipped, spacing)
    return ItkAxis(old, new, flipped, spacing, affine[world, 3], -1 if flipped else 1, file_axis == 0)


def take(volume: torch.Tensor, indices: Sequence[np.ndarray]) -> torch.Tensor:
    """The voxels [X, Y, Z] at every combination of three indices."""
    for axis in sorted(range(3), key=lambda axis: len(indices[axis]) / max(volume.shape[axis], 1)):
        volume = take_along(volume, axis, indices[axis])
    return volume


def take_along(volume: torch.Tensor, axis: int, index: np.ndarray) -> torch.Tensor:
    if volume.device.type == "cpu":  # torch's index_select is many times slower there
        return torch.from_numpy(np.take(volume.numpy(), index, axis=axis))
    return volume.index_select(axis, torch.from_numpy(np.ascontiguousarray(index)).to(volume.device))
