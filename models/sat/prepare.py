"""A scan as SAT sees it: 1 x 1 x 3 mm in RAS+, cut to its foreground, clipped and z-scored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from umd_engine.data.plausibility import HU_AIR_OR_FAT, UNDERSHOOT
from umd_engine.data.volume import Volume
from umd_engine.engine.staging import moved
from umd_engine.errors import VoxelError
from umd_engine.kernels.resample import affine
from umd_engine.models.mask import Triple
from umd_engine.models.quantile import quantile
from umd_engine.models.sat.frame import Frame, lattice_shape, to_lattice

HU = (-500.0, 1000.0)
SHARES = (0.005, 0.995)  # quantiles that other images are clipped to


@dataclass(frozen=True, eq=False)
class Case:
    """A prepared scan.

    Attributes:
        image: float32 [X, Y, Z] of the cut.
    """

    image: torch.Tensor
    frame: Frame
    modality: str


def prepare_scan(volume: Volume, device: torch.device, modality: str, official: bool) -> Case:
    """Resample, cut, normalise.

    Raises:
        VoxelError: voxels that are not finite, or not of the modality; none above 0, or all alike once clipped.
    """
    voxels = moved(torch.from_numpy(np.array(volume.voxels, dtype=np.float32)), device)
    check_modality(voxels, modality, volume)
    grid = volume.grid
    shape = lattice_shape(grid.shape, grid.spacing)
    precision = "float64" if official else "float32"
    image = affine(voxels[None], to_lattice(grid), shape, order=1, precision=precision)[0].float()
    frame = Frame(grid, *foreground(image, volume))
    box = tuple(slice(low, low + n) for low, n in zip(frame.low, frame.size, strict=True))
    image = image[box].clone(memory_format=torch.contiguous_format)
    return Case(normalise(image, modality, volume), frame, modality)


def check_modality(voxels: torch.Tensor, modality: str, volume: Volume) -> None:
    """Raise VoxelError where the intensities cannot be the modality's: the other rule would normalise them wrongly."""
    low, high = (float(end) for end in torch.aminmax(voxels))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise VoxelError("voxels are infinite or not numbers", where=volume.path, mend="write the image anew")
    if modality == "ct" and low > HU_AIR_OR_FAT:
        raise VoxelError(
            f"the lowest voxel is {low:g}: this is no CT in HU",
            where=volume.path,
            mend="--set NAME.modality=mr, pet or us says what it is; a CT is given in HU",
        )
    if modality != "ct" and low < -UNDERSHOOT * max(high, 0.0):
        raise VoxelError(
            f"{low:g} to {high:g}: intensities of {modality} are not negative",
            where=volume.path,
            mend="--set NAME.modality=ct says that it is a CT",
        )


def foreground(image: torch.Tensor, volume: Volume) -> tuple[Triple, Triple]:
    """First voxel and size of the box of what is above 0, whatever the image's unit."""
    low, size = [], []
    for axis in range(3):
        line = image.amax(dim=[other for other in range(3) if other != axis]) > 0
        found = torch.nonzero(line)[:, 0].tolist()
        if not found:
            raise VoxelError("no voxel is above 0", where=volume.path, mend="SAT cuts to these; check the image's unit")
        low.append(found[0])
        size.append(found[-1] + 1 - found[0])
    return (low[0], low[1], low[2]), (size[0], size[1], size[2])


def normalise(image: torch.Tensor, modality: str, volume: Volume) -> torch.Tensor:
    """(clip(x, low, high) - mean) / SD, in place: CT -500 to 1000 HU, else its quantiles 0.005 and 0.995.

    Mean and population SD are of the clipped voxels, summed in float64.
    """
    low, high = HU if modality == "ct" else (quantile(image, share) for share in SHARES)
    image.clamp_(low, high)
    mean = float(image.mean(dtype=torch.float64))
    deviation = math.sqrt(sum(float((plane - mean).double().square().sum()) for plane in image) / image.numel())
    if not deviation > 0:
        raise VoxelError("its foreground is all alike: there is nothing to see", where=volume.path, mend="check it")
    return image.sub_(mean).div_(deviation)
