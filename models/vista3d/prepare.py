"""A scan as VISTA3D sees it: at 1.5 mm, cut to what is above 0, scaled to [0, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from umd_engine.data.plausibility import HU_AIR_OR_FAT
from umd_engine.data.volume import Volume
from umd_engine.engine.staging import moved
from umd_engine.errors import VoxelError
from umd_engine.models.mask import Triple
from umd_engine.models.quantile import quantile
from umd_engine.models.vista3d.lattice import Lattice, axes_of, resampled
from umd_engine.models.vista3d.options import Options
from umd_engine.models.vista3d.recipe import MARGIN, Recipe

PERCENTILES = (1.0, 99.0)
BY_NUMPY = 1_000_000  # voxels from which on MONAI's percentile is NumPy's


@dataclass(frozen=True, eq=False)
class Case:
    """A prepared scan.

    Attributes:
        image: float32 [x, y, z], RAS+, 0 to 1.
    """

    image: torch.Tensor
    lattice: Lattice


def prepare_scan(volume: Volume, device: torch.device, recipe: Recipe, options: Options) -> Case:
    """Resample, cut, scale, in the published order.

    Raises:
        VoxelError: no voxel above 0, voxels that are not finite or all alike, or no CT where a CT is expected.
    """
    # a copy in the memory's own order, native and writeable, as torch wants it
    native = np.array(volume.voxels, dtype=_readable(volume.voxels.dtype), order="K")
    image = moved(torch.from_numpy(native), device)
    _check(image, volume, options)
    if options.protocol == "research":
        return _as_research(image, volume, recipe, options)
    axes = axes_of(volume.grid)
    image = resampled(image, axes, options.official)
    low, size = foreground(image)
    if 0 in size:
        raise VoxelError("no voxel is above 0", where=volume.path, mend="check the image; a CT is given in HU")
    box = tuple(slice(lo, lo + n) for lo, n in zip(low, size, strict=True))
    image = image[box].clone(memory_format=torch.contiguous_format)
    return Case(scaled(image, recipe, options.official, volume), Lattice(volume.grid, axes, low, size))


def _as_research(image: torch.Tensor, volume: Volume, recipe: Recipe, options: Options) -> Case:
    """Scaled and turned to RAS+ before it is resampled, and nothing cut off."""
    axes = axes_of(volume.grid, from_file=False)
    image = scaled(image.float().contiguous(), recipe, options.official, volume)
    image = resampled(image, axes, options.official).contiguous()
    x, y, z = image.shape
    return Case(image, Lattice(volume.grid, axes, (0, 0, 0), (x, y, z)))


def foreground(image: torch.Tensor) -> tuple[Triple, Triple]:
    """First voxel and size of the box around what is above 0, 10 voxels wider where there are any; size 0: nothing."""
    low, size = [], []
    for axis, count in enumerate(image.shape):
        line = image.amax(dim=[other for other in range(3) if other != axis]) > 0
        found = torch.nonzero(line)[:, 0].tolist()
        first = max(found[0] - MARGIN, 0) if found else 0
        beyond = min(found[-1] + MARGIN + 1, count) if found else 0
        low.append(first)
        size.append(beyond - first)
    return (low[0], low[1], low[2]), (size[0], size[1], size[2])


def scaled(image: torch.Tensor, recipe: Recipe, official: bool, volume: Volume) -> torch.Tensor:
    """(x - low) / (high - low), clipped to [0, 1], in place."""
    low, high = recipe.window or _percentiles(image, official)
    if not high > low:
        raise VoxelError("its percentiles 1 and 99 are the same", where=volume.path, mend="check the image")
    return image.sub_(low).div_(high - low).clamp_(0, 1)


def _percentiles(image: torch.Tensor, official: bool) -> tuple[float, float]:
    flat = image.reshape(-1)
    if official and len(flat) <= BY_NUMPY:
        low, high = torch.quantile(flat, torch.tensor(PERCENTILES, device=flat.device) / 100).tolist()
        return low, high
    low, high = (quantile(flat, q / 100) for q in PERCENTILES)
    return low, high


def _check(image: torch.Tensor, volume: Volume, options: Options) -> None:
    low, high = (float(end) for end in torch.aminmax(image))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise VoxelError("voxels are infinite or not numbers", where=volume.path, mend="write the image anew")
    if options.images == "ct" and low > HU_AIR_OR_FAT:
        raise VoxelError(
            f"the lowest voxel is {low:g}: this is no CT in HU, which this model was trained on",
            where=volume.path,
            mend="use vista3d-ctmr, or --set NAME.images=any to show it PET or MR all the same",
        )


def _readable(dtype: np.dtype) -> np.dtype:
    """The type that torch takes without loss; float32 for those it lacks."""
    kept = {np.dtype(kind) for kind in ("uint8", "int8", "int16", "int32", "float32")}
    native = dtype.newbyteorder("=")
    return native if native in kept else np.dtype("float32")
