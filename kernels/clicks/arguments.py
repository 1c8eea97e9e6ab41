"""Checks of the arguments of the clicks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from umd_engine.errors import KernelError
from umd_engine.kernels.clicks.volumes import MAX_SLOTS

MAX_VOXELS = 2**31 - 1
DTYPES = (np.dtype(np.uint8), np.dtype(np.uint32), torch.uint8, torch.uint32)
Spacing = tuple[float, float, float]


def check(
    label: Any, prediction: Any, organs: Sequence[int], spacing: Sequence[float], rule: str
) -> tuple[tuple[int, ...], Spacing]:
    """The organs and the spacing; raises KernelError, see `draw_clicks`."""
    volumes = [("label", label)] if prediction is None else [("label", label), ("prediction", prediction)]
    for name, volume in volumes:
        _check_volume(name, volume, len(organs))
    if prediction is not None:
        shapes = tuple(label.shape), tuple(prediction.shape)
        if shapes[0] != shapes[1]:
            raise KernelError(f"clicks: label and prediction have unlike shapes {shapes[0]} and {shapes[1]}")
        if _device(label) != _device(prediction):
            devices = f"{_device(label)} and {_device(prediction)}"
            raise KernelError(f"clicks: label and prediction lie on {devices}", mend="move one to the other")
    ids = tuple(map(int, organs))
    if any(not 1 <= organ <= 255 for organ in ids) or len(set(ids)) != len(ids):
        raise KernelError(f"clicks: organs {ids}", mend="ids of 1 to 255, each once")
    return ids, _spacing(spacing, rule)


def is_on_gpu(volume: Any) -> bool:
    return _device(volume).type == "cuda"


def as_volume(volume: Any, on_gpu: bool) -> Any:
    """C-contiguous: a NumPy array on the CPU, a tensor on the device."""
    if on_gpu:
        tensor = volume if isinstance(volume, torch.Tensor) else torch.from_numpy(np.array(volume, order="C"))
        return tensor.cuda().contiguous()
    array = volume if isinstance(volume, np.ndarray) else volume.detach().cpu().numpy()
    return np.ascontiguousarray(array)


def _check_volume(name: str, volume: Any, organs: int) -> None:
    if not isinstance(volume, (np.ndarray, torch.Tensor)):
        raise KernelError(f"clicks: {name} is a {type(volume).__name__}, not an array or a tensor")
    if volume.dtype not in DTYPES:
        mend = "uint8 for a label map, uint32 for bit planes"
        raise KernelError(f"clicks: {name} is {volume.dtype}, expected uint8 or uint32", mend=mend)
    if volume.ndim != 3:
        raise KernelError(f"clicks: {name} has shape {tuple(volume.shape)}, expected [X, Y, Z]")
    voxels = math.prod(volume.shape)
    if voxels > MAX_VOXELS:
        raise KernelError(f"clicks: {name} has {voxels} voxels, at most {MAX_VOXELS}", mend="crop it")
    if volume.dtype in (np.dtype(np.uint32), torch.uint32) and organs > MAX_SLOTS:
        raise KernelError(f"clicks: {organs} organs in 32 bit planes", mend="name at most 32")


def _spacing(spacing: Sequence[float], rule: str) -> Spacing:
    sizes = tuple(map(float, spacing))
    if len(sizes) != 3 or not all(math.isfinite(size) and size > 0 for size in sizes):
        raise KernelError(f"clicks: spacing {sizes}", mend="three positive, finite numbers")
    if sizes != (1.0, 1.0, 1.0) and rule != "deepest":
        raise KernelError(f"clicks: rule '{rule}' is defined in voxels, got spacing {sizes}", mend="leave it out")
    return sizes[0], sizes[1], sizes[2]


def _device(volume: Any) -> torch.device:
    return volume.device if isinstance(volume, torch.Tensor) else torch.device("cpu")
