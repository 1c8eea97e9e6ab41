"""Resampling on the CPU: matrix products for cubic axes, numba where one pass over the volume does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from umd_engine.kernels.backends import missing_library
from umd_engine.kernels.compiled import compile_loop
from umd_engine.kernels.resample import loops, separable
from umd_engine.kernels.resample.arguments import Clip, Sizes
from umd_engine.kernels.resample.axes import Axes, Axis
from umd_engine.kernels.resample.matrix import along, prefilter
from umd_engine.kernels.resample.placement import Placement
from umd_engine.kernels.resample.taps import Taps, averaging, interpolating
from umd_engine.kernels.resample.weights import cubic
from umd_engine.kernels.threads import each_slab

# Narrow bands, since a multiplication by zero costs as much as any other: one of ROWS rows is about
# ROWS * old / new + 62 columns wide.
ROWS = 128
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # order 0 copies bits, whatever they mean


def zoom(data: torch.Tensor, axes: Axes, orders: Sizes, clip: Clip, dtype: torch.dtype) -> torch.Tensor:
    """[C, *new]: float64 and order 0 in torch and NumPy; float32 in float32, in numba where an axis is not cubic."""
    if dtype == torch.float64 or not any(orders):
        return separable.zoom(data, axes, orders, clip, ROWS, dtype)
    result = torch.empty((len(data), *(axis.new for axis in axes)), dtype=dtype)
    for channel, source in zip(result, data, strict=True):
        volume = source.to(dtype)
        _zoom_single(volume, axes, orders, channel)
        separable.clamp(channel, volume, orders, clip)
    return result


def area(data: torch.Tensor, shape: Sizes, dtype: torch.dtype) -> torch.Tensor:
    """[C, *shape]: means of boxes of voxels."""
    result = torch.empty((len(data), *shape), dtype=dtype)
    taps = [averaging(old, new) for old, new in zip(data.shape[1:], shape, strict=True)]
    for channel, source in zip(result, data, strict=True):
        _weigh(source.to(dtype), taps, channel)
    return result


def affine(
    data: torch.Tensor, placement: Placement, order: int, fill: float | None, clip: Clip, dtype: torch.dtype
) -> torch.Tensor:
    """[C, *placement.new]; a diagonal map axis by axis, any other voxel by voxel in numba."""
    if placement.diagonal:
        return separable.fill_outside(zoom(data, placement.axes, (order,) * 3, clip, dtype), placement.axes, fill)
    kept = dtype if order else data.dtype
    result = torch.empty((len(data), *placement.new), dtype=kept)
    if fill is not None:
        result.fill_(fill)
    for channel, source in zip(result, data, strict=True):
        _gather(source.to(kept), placement, order, fill is not None, clip is not None, channel)
    return result


def _zoom_single(volume: torch.Tensor, axes: Axes, orders: Sizes, result: torch.Tensor) -> None:
    cubics = [dim for dim in range(3) if orders[dim] == 3 and not axes[dim].still]
    for dim in sorted(cubics, key=lambda dim: axes[dim].new / axes[dim].old):
        volume = along(volume, dim, cubic(axes[dim], ROWS))
    if all(axes[dim].still for dim in range(3) if dim not in cubics):
        result.copy_(volume)
        return
    done = (Axis.zoomed(size, size) for size in volume.shape)
    rest = [still if dim in cubics else axis for dim, (axis, still) in enumerate(zip(axes, done, strict=True))]
    _weigh(volume, [interpolating(axis, min(order, 1)) for axis, order in zip(rest, orders, strict=True)], result)


def _weigh(volume: torch.Tensor, taps: Sequence[Taps], result: torch.Tensor) -> None:
    """Weighted sums along each axis of [X, Y, Z] into `result`, of the same dtype."""
    target = result.numpy()
    first = [axis.first for axis in taps]
    weights = [axis.weights.astype(target.dtype) for axis in taps]
    _in_slabs(_compiled("weigh_planes"), (volume.contiguous().numpy(), *first, *weights, target))


def _gather(
    volume: torch.Tensor, placement: Placement, order: int, bound: bool, clipped: bool, result: torch.Tensor
) -> None:
    where = *placement.terms, bound
    if order == 3:
        source = prefilter(volume, ROWS).numpy()
        low, high = (float(volume.min()), float(volume.max())) if clipped else (-math.inf, math.inf)
        _in_slabs(_compiled("gather_cubic"), (source, *where, low, high, result.numpy()))
    elif order == 1:
        _in_slabs(_compiled("gather_linear"), (volume.contiguous().numpy(), *where, result.numpy()))
    else:
        bits = BITS[volume.element_size()]
        arrays = volume.contiguous().view(bits).numpy(), result.view(bits).numpy()
        _in_slabs(_compiled("gather_nearest"), (arrays[0], *where, arrays[1]))


def _in_slabs(loop: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """`loop(*arguments, start, stop)` over the planes of the last argument, a slab a thread."""
    each_slab(lambda start, stop: loop(*arguments, start, stop), len(arguments[-1]))


@cache
def _compiled(name: str) -> Callable[..., None]:
    """A loop, compiled at its first call."""
    try:
        return compile_loop(getattr(loops, name))
    except ImportError as error:
        raise missing_library("resample", "cpu", "numba") from error
