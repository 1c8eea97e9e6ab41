"""Resampling axis by axis in torch, shared by the CPU and the GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from umd_engine.errors import KernelError
from umd_engine.kernels.resample.weights import cubic, linear, nearest

ORDERS = (0, 1, 3)
Clip = tuple[int, ...] | None  # axes of [C, X, Y, Z] that each have a range of their own


def zoom(data: torch.Tensor, shape: Sequence[int], orders: Sequence[int], clip: Clip, rows: int) -> torch.Tensor:
    """[C, *shape] float64 (orders all 0: the dtype of `data`) of checked arguments; never `data` itself.

    Args:
        rows: rows of a band of a cubic axis' matrix, see `weights.cubic`.
    """
    result = data if not any(orders) else data.to(torch.float64)
    # shrinking axes first: what follows has fewer voxels
    for axis in sorted(range(3), key=lambda axis: shape[axis] / data.shape[axis + 1]):
        if data.shape[axis + 1] != shape[axis]:
            result = _along(result, axis + 1, shape[axis], orders[axis], rows)
    if result.data_ptr() == data.data_ptr():
        result = result.clone()
    if clip is not None and result.numel():
        others = [axis for axis in range(4) if axis not in clip]
        low, high = data.amin(others, keepdim=True), data.amax(others, keepdim=True)
        result = result.clamp_(low.to(result.dtype), high.to(result.dtype))
    return result.contiguous()


def _along(data: torch.Tensor, axis: int, size: int, order: int, rows: int) -> torch.Tensor:
    old = data.shape[axis]
    if order == 0:
        return data.index_select(axis, _to(nearest(old, size), data))
    if order == 1:
        below, above, weight = (_to(array, data) for array in linear(old, size))
        spread = weight.view([-1 if dim == axis else 1 for dim in range(4)])
        low = data.index_select(axis, below)
        return low.lerp_(data.index_select(axis, above), spread)
    return _cubic(data.contiguous(), axis, size, rows)


def _cubic(data: torch.Tensor, axis: int, size: int, rows: int) -> torch.Tensor:
    new_shape = [*data.shape[:axis], size, *data.shape[axis + 1 :]]
    before, after = math.prod(data.shape[:axis]), math.prod(data.shape[axis + 1 :])
    result = data.new_empty(new_shape)
    source, target = data.view(before, -1, after), result.view(before, size, after)
    for band in cubic(data.shape[axis], size, rows):
        weights = _to(band.weights, data)
        part = source[:, band.first : band.last]
        if after == 1:  # the last axis: voxels are the rows of one matrix
            torch.mm(part[..., 0], weights.T, out=target[:, band.start : band.stop, 0])
        else:
            torch.bmm(weights.expand(before, -1, -1), part, out=target[:, band.start : band.stop])
    return result


def _to(array: np.ndarray, data: torch.Tensor) -> torch.Tensor:
    return torch.tensor(array, device=data.device)


def check(data: Any, shape: Sequence[int], orders: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The new shape and the orders as tuples of ints; raises KernelError, see `zoom` of the package."""
    if not isinstance(data, (np.ndarray, torch.Tensor)) or data.ndim != 4:
        raise KernelError(f"resample: {_describe(data)} is not [C, X, Y, Z]", mend="add the axis of channels")
    if not _is_real(data):
        raise KernelError(f"resample: {data.dtype} is not a real dtype")
    if len(shape) != 3 or len(orders) != 3:
        raise KernelError(f"resample: shape {tuple(shape)} and orders {tuple(orders)} need three numbers each")
    if min(*shape, *data.shape[1:]) < 1:
        raise KernelError(f"resample: cannot resample {tuple(data.shape[1:])} to {tuple(shape)}: an axis is empty")
    if not set(orders) <= set(ORDERS):
        raise KernelError(f"resample: orders {tuple(orders)}", mend=f"each is one of {ORDERS}")
    return tuple(int(size) for size in shape), tuple(int(order) for order in orders)


def parse_clip(clip: str | None, old: Sequence[int], new: Sequence[int]) -> Clip:
    """The axes of [C, X, Y, Z] that each have a range of their own, None for no clip."""
    if clip is None:
        return None
    if clip == "volume":
        return (0,)
    kind, _, number = clip.partition(":")
    if kind != "slice" or number not in ("0", "1", "2"):
        raise KernelError(f"resample: unknown clip '{clip}'", mend="volume, slice:0, slice:1, slice:2 or None")
    axis = int(number)
    if old[axis] != new[axis]:
        raise KernelError(f"resample: clip '{clip}' needs axis {axis} to keep its {old[axis]} slices")
    return (0, axis + 1)


def _describe(data: Any) -> str:
    return f"shape {tuple(data.shape)}" if hasattr(data, "shape") else type(data).__name__


def _is_real(data: np.ndarray | torch.Tensor) -> bool:
    if isinstance(data, torch.Tensor):
        return not data.dtype.is_complex
    return data.dtype.kind in "biuf"
