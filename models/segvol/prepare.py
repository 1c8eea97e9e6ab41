"""A scan as SegVol sees it: normalised by its foreground's percentiles, cut to it, and resized to one window."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch

from umd_engine.data.volume import Volume
from umd_engine.engine.staging import moved
from umd_engine.errors import VoxelError
from umd_engine.models.mask import Triple
from umd_engine.models.segvol.frame import Frame, pick

LOW, HIGH = 0.0005, 0.9995  # quantiles of the voxels above the mean
CHUNK = 1 << 22
SAMPLES = 1 << 16  # voxels that name a scan


@dataclass(frozen=True, eq=False)
class Case:
    """A prepared scan.

    Attributes:
        image: float32 [D, H, W], 0 to 1, the crop at the scan's resolution.
        resized: float32 [1, 32, 256, 256], the whole crop.
        name: of the scan, from its voxels as stored: random draws depend on it, and not on where files lie.
    """

    image: torch.Tensor
    resized: torch.Tensor
    frame: Frame
    name: str


def prepare_scan(volume: Volume, device: torch.device, official: bool) -> Case:
    """Normalise, cut to the foreground, resize.

    The file's array is taken as it lies, as the official code does: neither turned to a common orientation nor
    resampled to a common spacing. Padding to the window's size, which it does before the cut, adds zeros that the
    cut removes.

    Raises:
        VoxelError: voxels that are not finite, or that are all alike above their mean.
    """
    array = volume.grid.to_file_order(volume.voxels).transpose(2, 1, 0)  # (d, h, w)
    if official:
        image = moved(torch.from_numpy(normalise_as_officially(array, volume)), device)
    else:
        kept = array if array.dtype in (np.uint8, np.int16, np.float32) else array.astype(np.float32)
        image = normalise(moved(torch.tensor(np.ascontiguousarray(kept)), device).float(), volume)
    low, size = foreground(image)
    if 0 in size:
        raise VoxelError("no voxel is brighter than the rest", where=volume.path, mend="check the image")
    frame = Frame(volume.grid, low, size)
    box = tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))
    image = image[box].contiguous()
    return Case(image, pick(image, frame.to_resized)[None].contiguous(), frame, name_of(array))


def name_of(array: np.ndarray) -> str:
    """SHA-256 of an array's shape and of every k-th voxel, at most 65536; the same on every machine and device."""
    sample = array.flat[:: -(-array.size // SAMPLES)]
    little = sample.astype(sample.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(f"{array.shape}".encode() + little.tobytes()).hexdigest()


def normalise(image: torch.Tensor, volume: Volume) -> torch.Tensor:
    """(clip(image, lb, ub) - lb) / (ub - lb): percentiles 0.05 and 99.95 of the voxels above the mean."""
    mean = float(image.mean(dtype=torch.float64))
    if not math.isfinite(mean):
        raise _not_finite(volume)
    bright = image[image > mean]
    if not len(bright):
        raise _flat(volume)
    low, high = -_quantile_of_largest(-bright, 1 - LOW), _quantile_of_largest(bright, HIGH)
    if not high > low:
        raise _flat(volume)
    return image.clamp_(low, high).sub_(low).div_(high - low)


def normalise_as_officially(array: np.ndarray, volume: Volume) -> np.ndarray:
    """The same in the official order of steps: clip, z-score by the bright voxels, then min-max, in NumPy's float32."""
    # the official array is [X, Y, Z]: sums run in that order
    values = np.ascontiguousarray(array.transpose(2, 1, 0), dtype=np.float32)
    flat = values.ravel()
    mean = flat.mean()
    if not np.isfinite(mean):
        raise _not_finite(volume)
    bright = flat[flat > mean]
    if not bright.size:
        raise _flat(volume)
    high, low = np.percentile(bright, 99.95), np.percentile(bright, 0.05)
    scored = (np.clip(values, low, high) - bright.mean()) / max(bright.std(), 1e-8)
    scored = scored - scored.min()
    scored = scored / np.clip(scored.max(), 1e-8, None)
    return np.ascontiguousarray(scored.transpose(2, 1, 0), dtype=np.float32)


def foreground(image: torch.Tensor) -> tuple[Triple, Triple]:
    """First voxel and size of the box of what is above 0."""
    low, size = [], []
    for axis in range(3):
        line = image.amax(dim=[other for other in range(3) if other != axis]) > 0
        found = torch.nonzero(line)[:, 0].tolist()
        low.append(found[0] if found else 0)
        size.append(found[-1] + 1 - found[0] if found else 0)
    return (low[0], low[1], low[2]), (size[0], size[1], size[2])


def _quantile_of_largest(values: torch.Tensor, share: float) -> float:
    """NumPy's linear quantile near the upper end, exactly, from the largest values alone."""
    at = share * (len(values) - 1)
    below = math.floor(at)
    count = len(values) - below
    largest = values[:0]
    for chunk in values.split(CHUNK):
        both = torch.cat([largest, chunk])
        largest = both.topk(min(count, len(both))).values
    first, second = float(largest[-1]), float(largest[max(len(largest) - 2, 0)])
    return first + (second - first) * (at - below)


def _not_finite(volume: Volume) -> VoxelError:
    return VoxelError("voxels are infinite or not numbers", where=volume.path, mend="write the image anew")


def _flat(volume: Volume) -> VoxelError:
    return VoxelError("its bright voxels are all alike: there is nothing to see", where=volume.path, mend="check it")
