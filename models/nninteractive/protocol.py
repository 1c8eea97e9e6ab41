"""What a user may choose, and what a scan becomes before its organs are prompted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from umd_engine.data.volume import Grid, Volume
from umd_engine.engine.staging import moved
from umd_engine.errors import OptionError, VoxelError
from umd_engine.models.nninteractive.draws import name_of

VARIANTS = ("engine", "official")


@dataclass(frozen=True)
class Options:
    """What a user may choose.

    Attributes:
        variant: `engine` has float32 channels and sums, organs and patches that share batches, and Philox draws;
            `official` has float16 channels, one patch a call, and NumPy's random stream, as nninteractive does.
        autozoom: look at more of the scan while the organ changes at the border of what is seen.
        fold: which fold, e.g. "0" or "all"; empty: the only one.
        checkpoint: file name inside the fold.
        seed: of the refinement planner's draws.
    """

    variant: str = "engine"
    autozoom: bool = True
    fold: str = ""
    checkpoint: str = "checkpoint_final.pth"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise OptionError(
                f"variant '{self.variant}' is unknown", where="nninteractive", mend=f"use {' or '.join(VARIANTS)}"
            )
        if not 0 <= self.seed < 2**32:
            raise OptionError(f"seed is {self.seed}", where="nninteractive", mend="use 0 to 2^32 - 1")

    @property
    def official(self) -> bool:
        return self.variant == "official"


@dataclass(frozen=True, eq=False)
class Case:
    """A scan as its organs share it.

    Attributes:
        image: float32 [file axes], z-scored.
        name: of the scan's voxels, for random draws.
    """

    image: torch.Tensor
    grid: Grid
    name: str
    where: str


def prepare_scan(volume: Volume, device: torch.device, official: bool) -> Case:
    """The image in the file's own order, neither resampled nor turned, z-scored by its non-zero box.

    Raises:
        VoxelError: NaN or infinite voxels; an image that is zero everywhere, or constant where it is not.
    """
    image = moved(torch.tensor(volume.grid.to_file_order(volume.voxels).astype("float32")), device)
    low, high = torch.aminmax(image)
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        raise VoxelError("NaN or infinite voxels", where=volume.path, mend="repair the image")
    name = name_of(image)  # before the sums, which differ between devices
    normalize(image, official, volume.path)
    return Case(image, volume.grid, name, str(volume.path or "scan"))


def normalize(image: torch.Tensor, official: bool, where: Path | None = None) -> None:
    """Subtract the mean and divide by the SD (ddof 1) of the non-zero box, in place.

    The official code sums in float32; the engine in float64, since a float32 sum over a whole body loses digits.
    """
    inner = image[_nonzero_box(image, where)]
    low, high = torch.aminmax(inner)
    if bool(low == high):
        raise VoxelError("all of its non-zero box has one value", where=where, mend="leave the scan out")
    mean, std = (inner.mean(), inner.std()) if official else _moments(inner)
    image -= mean
    image /= std


def _moments(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and SD (ddof 1) with float64 sums, a plane at a time: no float64 copy of the scan."""
    count = values.numel()
    mean = torch.stack([plane.sum(dtype=torch.float64) for plane in values]).sum() / count
    squares = torch.stack([(plane.double() - mean).square().sum() for plane in values]).sum()
    return mean.float(), (squares / max(count - 1, 1)).sqrt().float()


def _nonzero_box(image: torch.Tensor, where: Path | None) -> tuple[slice, slice, slice]:
    box = []
    set_ = image != 0
    if not bool(set_.any()):
        raise VoxelError("every voxel is zero", where=where, mend="leave the scan out")
    for axis in range(3):
        line = torch.nonzero(set_.any(2 if axis < 2 else 1).any(1 if axis == 0 else 0))[:, 0]
        box.append(slice(int(line[0]), int(line[-1]) + 1))
    return box[0], box[1], box[2]
