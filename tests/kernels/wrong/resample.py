"""Deliberately wrong resamplings: each a mistake that a fast one makes."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from umd_engine.kernels.resample import zoom


def ignores_clip(data, shape, orders, clip):
    return zoom(data, shape, orders, None)


def clips_the_volume(data, shape, orders, clip):
    """One range for all slices."""
    return zoom(data, shape, orders, clip and "volume")


def clips_all_channels(data, shape, orders, clip):
    """One range for all channels."""
    result = zoom(data, shape, orders, clip if clip != "volume" else None)
    if clip == "volume" and result.size:
        result = np.clip(result, data.min(), data.max())
    return result


def aligns_corners(data, shape, orders, clip):
    return _scipy(data, shape, orders, clip, grid_mode=False)


def skips_the_prefilter(data, shape, orders, clip):
    return _scipy(data, shape, orders, clip, grid_mode=True, prefilter=False)


def mirrors_the_border(data, shape, orders, clip):
    return _scipy(data, shape, orders, clip, grid_mode=True, mode="mirror")


def swaps_x_and_y(data, shape, orders, clip):
    x, y, z = shape
    return zoom(data, (y, x, z), orders, None).transpose(0, 2, 1, 3) if data.size else zoom(data, shape, orders, clip)


def single_precision(data, shape, orders, clip):
    return zoom(data.astype(np.float32), shape, orders, clip).astype(np.float32).astype(np.float64)


def ties_go_down(data, shape, orders, clip):
    """Order 0 takes ceil(x - 0.5): another voxel where x lies in the middle of two."""
    if any(orders):
        return zoom(data, shape, orders, clip)
    for axis, size in enumerate(shape, start=1):
        old = data.shape[axis]
        where = np.ceil(old / size * (np.arange(size) + 0.5) - 1.0)
        data = np.take(data, np.clip(where, 0, old - 1).astype(int), axis=axis)
    return data


def leaves_the_last_row(data, shape, orders, clip):
    """The last plane of the result stays as it was allocated."""
    right = zoom(data, shape, orders, clip)
    result = torch.empty(right.shape, dtype=torch.from_numpy(right[:0].copy()).dtype)
    result[:, :-1] = torch.from_numpy(right)[:, :-1]
    return result


def linear_for_cubic(data, shape, orders, clip):
    return zoom(data, shape, tuple(min(order, 1) for order in orders), clip)


def _scipy(data, shape, orders, clip, **options):
    if not data.size or len(set(orders)) > 1:
        return zoom(data, shape, orders, clip, backend="reference")
    factors = [new / old for new, old in zip(shape, data.shape[1:], strict=True)]
    options = {"mode": "nearest", **options}
    dtype = np.float64 if any(orders) else data.dtype
    result = [ndimage.zoom(volume.astype(dtype), factors, order=orders[0], **options) for volume in data]
    return np.stack(result)


WRONG = (
    ignores_clip,
    clips_the_volume,
    clips_all_channels,
    aligns_corners,
    skips_the_prefilter,
    mirrors_the_border,
    swaps_x_and_y,
    single_precision,
    ties_go_down,
    leaves_the_last_row,
    linear_for_cubic,
)
