"""Resampling axis by axis in torch, shared by the CPU and the GPU."""

from __future__ import annotations

import numpy as np
import torch

from umd_engine.kernels.resample.arguments import Clip, Sizes
from umd_engine.kernels.resample.matrix import along
from umd_engine.kernels.resample.weights import linear, nearest


def zoom(data: torch.Tensor, shape: Sizes, orders: Sizes, clip: Clip, rows: int) -> torch.Tensor:
    """[C, *shape] float64 (orders all 0: the dtype of `data`) of checked arguments; never `data` itself.

    Args:
        rows: rows of a band of a cubic axis' matrix, see `weights.cubic`.
    """
    result = torch.empty((len(data), *shape), dtype=torch.float64 if any(orders) else data.dtype, device=data.device)
    for channel, volume in zip(result, data, strict=True):
        source = volume.to(result.dtype)
        channel.copy_(_zoom_volume(source, shape, orders, rows))
        if clip is not None and any(orders):  # order 0 cannot leave the range
            others = [axis - 1 for axis in range(1, 4) if axis not in clip]
            channel.clamp_(source.amin(others, keepdim=True), source.amax(others, keepdim=True))
    return result


def _zoom_volume(volume: torch.Tensor, shape: Sizes, orders: Sizes, rows: int) -> torch.Tensor:
    changed = [axis for axis in range(3) if volume.shape[axis] != shape[axis]]
    # shrinking axes first: what follows has fewer voxels
    for axis in sorted(changed, key=lambda axis: shape[axis] / volume.shape[axis]):
        volume = _along(volume, axis, shape[axis], orders[axis], rows)
    return volume


def _along(volume: torch.Tensor, axis: int, size: int, order: int, rows: int) -> torch.Tensor:
    old = volume.shape[axis]
    if order == 0:
        return _take(volume, nearest(old, size), axis)
    if order == 1:
        below, above, weight = linear(old, size)
        spread = torch.from_numpy(weight).to(volume.device).view([-1 if dim == axis else 1 for dim in range(3)])
        return _take(volume, below, axis).lerp_(_take(volume, above, axis), spread)
    return along(volume, axis, size, rows)


def _take(volume: torch.Tensor, index: np.ndarray, axis: int) -> torch.Tensor:
    if volume.device.type != "cpu":
        return volume.index_select(axis, torch.from_numpy(index).to(volume.device))
    # index_select is 30 to 600 times slower than NumPy on a CPU (torch 2.13)
    if volume.dtype == torch.bfloat16:
        return _take(volume.view(torch.int16), index, axis).view(torch.bfloat16)
    return torch.from_numpy(np.take(volume.numpy(), index, axis=axis))
