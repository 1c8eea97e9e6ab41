"""Masks and boxes between the scan's grid (RAS+) and the file's own order of axes, which the network sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umd_engine.data.volume import Grid
from umd_engine.models.mask import Mask
from umd_engine.models.nninteractive.region import Region, triple


def mask_to_file(mask: Mask, grid: Grid) -> Mask:
    """A mask of the scan's grid in the file's order."""
    return _turned(mask, grid.file_axes, grid.file_flips)


def mask_to_scan(mask: Mask, grid: Grid) -> Mask:
    """A mask in the file's order on the scan's grid."""
    axes = [int(axis) for axis in np.argsort(grid.file_axes)]
    return _turned(mask, axes, [grid.file_flips[axis] for axis in axes])


def box_to_file(box: Region, grid: Grid) -> Region:
    """A box of the scan's grid in the file's order."""
    return _turned_region(box, grid.shape, grid.file_axes, grid.file_flips)


def _turned(mask: Mask, axes: Sequence[int], flips: Sequence[bool]) -> Mask:
    """Axis i of the result is axis axes[i] of the mask, backwards where flips[i]."""
    against = [axis for axis, flip in enumerate(flips) if flip]
    voxels = mask.voxels.permute(*axes).flip(against)
    shape = triple(mask.shape[axis] for axis in axes)
    if not voxels.numel():
        return Mask.empty(shape, voxels.device)
    low = _turned_region(Region(mask.low, mask.high), mask.shape, axes, flips).low
    return Mask(voxels.contiguous(), low, shape)


def _turned_region(box: Region, shape: Sequence[int], axes: Sequence[int], flips: Sequence[bool]) -> Region:
    spans = [(box.low[axis], box.high[axis], shape[axis]) for axis in axes]
    spans = [(n - hi, n - lo, n) if flip else (lo, hi, n) for (lo, hi, n), flip in zip(spans, flips, strict=True)]
    return Region(triple(lo for lo, _, _ in spans), triple(hi for _, hi, _ in spans))
