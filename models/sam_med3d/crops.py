"""Where crops lie and what the network sees of the image in them."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch.nn import functional as F

from umd_engine.errors import VoxelError
from umd_engine.kernels.parts import does
from umd_engine.kernels.resample import affine
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.sam_med3d.lattice import Lattice, take_along
from umd_engine.models.sam_med3d.prompt_encoder import CROP


def centred_on(label: Mask) -> Triple:
    """The crop around the middle of a label's box: floor((first + beyond the last) / 2) - 64."""
    x, y, z = ((low + high) // 2 - CROP // 2 for low, high in zip(label.low, label.high, strict=True))
    return x, y, z


def covering(label: Mask) -> list[Triple]:
    """Crops that hold every voxel of a label: along each axis as few as can, spread evenly; none without a voxel."""
    alone = centred_on(label)
    lines = []
    for low, high, begin in zip(label.low, label.high, alone, strict=True):
        count = -(-(high - low) // CROP)
        spread = np.linspace(low, high - CROP, count) if count > 1 else [begin]
        lines.append([int(np.floor(first)) for first in spread])
    boxes = [(x, y, z) for x, y, z in itertools.product(*lines)]
    return [begin for begin in boxes if bool(label.crop(begin, beyond(begin)).any())]


def beyond(begin: Triple) -> Triple:
    x, y, z = begin
    return x + CROP, y + CROP, z + CROP


@does("resample")
def image_crop(image: torch.Tensor, lattice: Lattice, begin: Triple, official: bool) -> torch.Tensor:
    """The scan on the 128^3 lattice voxels from `begin`, zero outside the lattice; only these are interpolated.

    Args:
        image: [file axes], in the order and direction of the file.
        official: in float64 and ITK's order of operations, as integer images always are, since they are truncated;
            otherwise a floating image is interpolated in float32.

    Returns:
        [128, 128, 128] float32, RAS+.
    """
    first = [max(b, 0) for b in begin]
    last = [min(b + CROP, axis.new) for b, axis in zip(begin, lattice.axes, strict=True)]
    crop = torch.zeros((CROP, CROP, CROP), device=image.device)
    if all(a < b for a, b in zip(first, last, strict=True)):
        places = [axis.places()[a:b] for axis, a, b in zip(lattice.axes, first, last, strict=True)]
        file_axes = lattice.grid.file_axes
        exact = official or not image.is_floating_point()
        inner = (_as_itk if exact else _linear)(image, [places[axis] for axis in file_axes])
        box = tuple(slice(a - b, c - b) for a, b, c in zip(first, begin, last, strict=True))
        crop[box] = inner.permute([file_axes.index(axis) for axis in range(3)])
    return crop


def _linear(image: torch.Tensor, places: list[np.ndarray]) -> torch.Tensor:
    """float32 at every combination of three evenly spaced coordinates."""
    image, places = _around(image, places)
    matrix = np.eye(4)
    for axis, own in enumerate(places):
        matrix[axis, axis] = (own[-1] - own[0]) / (len(own) - 1) if len(own) > 1 else 1.0
        matrix[axis, 3] = own[0]
    return affine(image[None], matrix, [len(own) for own in places], order=1, precision="float32")[0]


def _as_itk(image: torch.Tensor, places: list[np.ndarray]) -> torch.Tensor:
    """As itk::LinearInterpolateImageFunction: in float64, axis after axis of the file, each a + (b - a) * share.

    An integer stays one: ITK casts the interpolated value, which cuts its fraction off.
    """
    image, places = _around(image, places)
    found = image.permute(2, 1, 0)  # the file's first axis runs fastest in memory
    for axis, own in zip((2, 1, 0), places, strict=True):
        below = np.clip(np.floor(own).astype(np.int64), 0, found.shape[axis] - 1)
        above = np.minimum(below + 1, found.shape[axis] - 1)
        share = torch.from_numpy(np.maximum(own - below, 0)).to(image.device)
        share = share.view([-1 if other == axis else 1 for other in range(3)])
        start = take_along(found, axis, below).double()
        found = take_along(found, axis, above).double().sub_(start).mul_(share).add_(start)
    found = found if image.is_floating_point() else found.trunc_()
    return found.float().permute(2, 1, 0)


def _around(image: torch.Tensor, places: list[np.ndarray]) -> tuple[torch.Tensor, list[np.ndarray]]:
    """The box of voxels between which the places lie, and the places in it."""
    low = [max(int(np.floor(own.min())), 0) for own in places]
    high = [int(np.floor(own.max())) + 2 for own in places]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return image[box], [own - a for own, a in zip(places, low, strict=True)]


def z_score(crop: torch.Tensor, official: bool) -> torch.Tensor:
    """The crop less the mean of its voxels above 0, by their unbiased SD; the zeros around a scan change too.

    Args:
        official: sums in float32, as torch does; otherwise in float64.

    Raises:
        VoxelError: no such mean or SD, or NaN or infinity among the voxels.
    """
    values = crop[crop > 0]
    values = values if official else values.double()
    if len(values) < 2:
        raise VoxelError("fewer than 2 voxels of the crop are above 0", mend="SAM-Med3D normalises by these")
    mean, deviation = values.mean(), values.std()
    if not bool(torch.isfinite(crop.sum()) & (deviation > 0)):
        raise VoxelError(
            "the crop's voxels above 0 are all equal, or some are not finite", mend="SAM-Med3D normalises by these"
        )
    return (crop - mean.float()) / deviation.float()


def enlarged(logits: torch.Tensor) -> torch.Tensor:
    """Low-resolution logits [1, 32, 32, 32] as a mask of the crop [128, 128, 128], uint8."""
    size = (CROP, CROP, CROP)
    fine = F.interpolate(logits[None].float(), size=size, mode="trilinear", align_corners=False)
    return (torch.sigmoid(fine[0, 0]) > 0.5).to(torch.uint8)
