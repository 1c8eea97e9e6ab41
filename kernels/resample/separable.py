"""Resampling axis by axis in torch, shared by the CPU and the GPU."""

from __future__ import annotations

import numpy as np
import torch

from umd_engine.kernels.resample.arguments import Clip, Sizes
from umd_engine.kernels.resample.axes import Axes, Axis
from umd_engine.kernels.resample.matrix import along
from umd_engine.kernels.resample.weights import cubic, linear, nearest


def zoom(data: torch.Tensor, axes: Axes, orders: Sizes, clip: Clip, rows: int, dtype: torch.dtype) -> torch.Tensor:
    """[C, *new] `dtype`, computed in float64 (orders all 0: the dtype of `data`); never `data` itself.

    Args:
        rows: rows of a band of a cubic axis' matrix, see `weights.cubic`.
    """
    working = torch.float64 if any(orders) else data.dtype
    shape = tuple(axis.new for axis in axes)
    result = torch.empty((len(data), *shape), dtype=dtype if any(orders) else data.dtype, device=data.device)
    for channel, volume in zip(result, data, strict=True):
        source = volume.to(working)
        channel.copy_(_zoom_volume(source, axes, orders, rows))
        clamp(channel, source, orders, clip)
    return result


def clamp(result: torch.Tensor, source: torch.Tensor, orders: Sizes, clip: Clip) -> None:
    """Clamp [X, Y, Z] to the range of `source`, or each slice to its own."""
    if clip is not None and any(orders):  # order 0 cannot leave the range
        others = [axis - 1 for axis in range(1, 4) if axis not in clip]
        low, high = source.amin(others, keepdim=True), source.amax(others, keepdim=True)
        result.clamp_(low.to(result.dtype), high.to(result.dtype))


def fill_outside(result: torch.Tensor, axes: Axes, fill: float | None) -> torch.Tensor:
    """`result` [C, X, Y, Z] with `fill` where a place lies in no old voxel; None leaves it as it is."""
    if fill is not None:
        for dim, axis in enumerate(axes, start=1):
            outside = torch.from_numpy(np.flatnonzero(~axis.inside)).to(result.device)
            result.index_fill_(dim, outside, fill)
    return result


def _zoom_volume(volume: torch.Tensor, axes: Axes, orders: Sizes, rows: int) -> torch.Tensor:
    changed = [axis for axis in range(3) if not axes[axis].still]
    # shrinking axes first: what follows has fewer voxels
    for axis in sorted(changed, key=lambda axis: axes[axis].new / volume.shape[axis]):
        volume = _along(volume, axis, axes[axis], orders[axis], rows)
    return volume


def _along(volume: torch.Tensor, dim: int, axis: Axis, order: int, rows: int) -> torch.Tensor:
    if order == 0:
        return _take(volume, nearest(axis), dim)
    if order == 1:
        below, above, weight = linear(axis)
        spread = torch.from_numpy(weight).to(volume.device).view([-1 if other == dim else 1 for other in range(3)])
        return _take(volume, below, dim).lerp_(_take(volume, above, dim), spread)
    return along(volume, dim, cubic(axis, rows))


def _take(volume: torch.Tensor, index: np.ndarray, axis: int) -> torch.Tensor:
    if volume.device.type != "cpu":
        return volume.index_select(axis, torch.from_numpy(index).to(volume.device))
    # index_select is 30 to 600 times slower than NumPy on a CPU (torch 2.13)
    if volume.dtype == torch.bfloat16:
        return _take(volume.view(torch.int16), index, axis).view(torch.bfloat16)
    return torch.from_numpy(np.take(volume.numpy(), index, axis=axis))
