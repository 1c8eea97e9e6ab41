"""Resampling on a CUDA device: matrix products in float64 for cubic axes, Triton's gather for the rest.

Float64 tensor cores are as fast as float32 arithmetic on the devices that this runs on, and no TF32 can slip in.
"""

from __future__ import annotations

import torch
from torch.nn.functional import adaptive_avg_pool3d

from umd_engine.kernels.backends import missing_device, missing_library
from umd_engine.kernels.resample import separable
from umd_engine.kernels.resample.arguments import Clip, Sizes
from umd_engine.kernels.resample.axes import Axes
from umd_engine.kernels.resample.matrix import prefilter
from umd_engine.kernels.resample.placement import Placement, placed
from umd_engine.kernels.resample.weights import PAD

ROWS = 512  # wide bands, since a launch costs more than multiplications by zero


def zoom(data: torch.Tensor, axes: Axes, orders: Sizes, clip: Clip, dtype: torch.dtype) -> torch.Tensor:
    """[C, *new] on a device; cubic axes and float64 in float64, otherwise one gather in `dtype`."""
    data = _on_device(data)
    if orders == (1, 1, 1) and dtype == torch.float32:
        result = _gathered(data, placed(axes), 1, None, False, dtype)
        for channel, volume in zip(result, data, strict=True):
            separable.clamp(channel, volume, orders, clip)
        return result
    if orders == (0, 0, 0):
        return _gathered(data, placed(axes), 0, None, False, dtype)
    return separable.zoom(data, axes, orders, clip, ROWS, dtype)


def area(data: torch.Tensor, shape: Sizes, dtype: torch.dtype) -> torch.Tensor:
    """[C, *shape]: means of boxes of voxels, by torch."""
    data = _on_device(data)
    if not len(data):
        return torch.empty((0, *shape), dtype=dtype, device=data.device)
    return adaptive_avg_pool3d(data.to(dtype), shape)


def affine(
    data: torch.Tensor, placement: Placement, order: int, fill: float | None, clip: Clip, dtype: torch.dtype
) -> torch.Tensor:
    """[C, *placement.new] on a device."""
    data = _on_device(data)
    if placement.diagonal and order == 3:
        axes = placement.axes
        return separable.fill_outside(separable.zoom(data, axes, (3, 3, 3), clip, ROWS, dtype), axes, fill)
    return _gathered(data, placement, order, fill, clip is not None, dtype)


def _gathered(
    data: torch.Tensor, placement: Placement, order: int, fill: float | None, clipped: bool, dtype: torch.dtype
) -> torch.Tensor:
    try:
        from umd_engine.kernels.resample.gather import gather
    except ImportError as error:
        raise missing_library("resample", "gpu", "triton") from error
    kept = dtype if order else data.dtype
    result = torch.empty((len(data), *placement.new), dtype=kept, device=data.device)
    if fill is not None:
        result.fill_(fill)
    source = _coefficients(data, kept) if order == 3 else data
    limits = torch.tensor([-torch.inf, torch.inf], dtype=dtype, device=data.device).repeat(len(data), 1)
    if clipped and order == 3 and len(data):
        flat = data.flatten(1)
        limits = torch.stack([flat.amin(1), flat.amax(1)], dim=1).to(dtype)
    gather(source, placement, order, result, limits, fill is not None)
    return result


def _coefficients(data: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    sizes = [size + 2 * PAD for size in data.shape[1:]]
    result = torch.empty((len(data), *sizes), dtype=dtype, device=data.device)
    for channel, volume in zip(result, data, strict=True):
        channel.copy_(prefilter(volume.double(), ROWS))
    return result


def _on_device(data: torch.Tensor) -> torch.Tensor:
    if data.is_cuda or _interpreted():
        return data
    if not torch.cuda.is_available():
        raise missing_device("resample")
    return data.cuda()


def _interpreted() -> bool:
    """Whether Triton runs in its interpreter, on the CPU."""
    try:
        from umd_engine.kernels.resample.gather import interpreted
    except ImportError:
        return False
    return interpreted()
