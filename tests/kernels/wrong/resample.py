"""Deliberately wrong resamplings: each a mistake that a fast one makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import ndimage

from umd_engine.kernels.resample import zoom, zoom_separate
from umd_engine.kernels.resample.arguments import Sizes, parse_clip


def ignores_clip(data: np.ndarray, shape: Sizes, orders: Sizes, clip: str | None) -> np.ndarray:
    return zoom(data, shape, orders, None)


def clips_the_volume(data: np.ndarray, shape: Sizes, orders: Sizes, clip: str | None) -> np.ndarray:
    """One range for all slices."""
    return zoom(data, shape, orders, clip and "volume")


def clips_all_channels(data: np.ndarray, shape: Sizes, orders: Sizes, clip: str | None) -> np.ndarray:
    """One range for all channels."""
    result = zoom(data, shape, orders, clip if clip != "volume" else None)
    if clip == "volume" and result.size:
        result = np.clip(result, data.min(), data.max())
    return result


def aligns_corners(data: np.ndarray, shape: Sizes, orders: Sizes, clip: str | None) -> np.ndarray:
    return _scipy(data, shape, orders, clip, grid_mode=False)


def skips_the_prefilter(data: np.ndarray, shape: Sizes, orders: Sizes, clip: str | None) -> np.ndarray:
    return _scipy(data, shape, orders, clip, grid_mode=True, prefilter=False)


def mirrors_the_border(data: np.ndarray, shape: Sizes, orders: Sizes, clip: str | None) -> np.ndarray:
    return _scipy(data, shape, orders, clip, grid_mode=True, mode="mirror")


def swaps_x_and_y(data: np.ndarray, shape: Sizes, orders: Sizes, clip: str | None) -> np.ndarray:
    x, y, z = shape
    if clip in ("slice:0", "slice:1"):
        return zoom(data, shape, orders, clip)
    return zoom(data, (y, x, z), orders, clip).transpose(0, 2, 1, 3)


def single_precision(data: np.ndarray, shape: Sizes, orders: Sizes, clip: str | None) -> np.ndarray:
    return zoom(data.astype(np.float32), shape, orders, clip).astype(np.float32).astype(np.float64)


def ties_go_down(data: np.ndarray, shape: Sizes, orders: Sizes, clip: str | None) -> np.ndarray:
    """Order 0 takes ceil(x - 0.5): another voxel where x lies in the middle of two."""
    if any(orders):
        return zoom(data, shape, orders, clip)
    for axis, size in enumerate(shape, start=1):
        old = data.shape[axis]
        where = np.ceil(old / size * (np.arange(size) + 0.5) - 1.0)
        data = np.take(data, np.clip(where, 0, old - 1).astype(int), axis=axis)
    return data


def leaves_the_last_row(data: np.ndarray, shape: Sizes, orders: Sizes, clip: str | None) -> np.ndarray:
    """The last plane of the result stays as it was allocated."""
    right = zoom(data, shape, orders, clip)
    result = torch.empty(right.shape, dtype=torch.from_numpy(right[:0].copy()).dtype)
    result[:, :-1] = torch.from_numpy(right)[:, :-1]
    return result


def linear_for_cubic(data: np.ndarray, shape: Sizes, orders: Sizes, clip: str | None) -> np.ndarray:
    return zoom(data, shape, tuple(min(order, 1) for order in orders), clip)


def _scipy(data: np.ndarray, shape: Sizes, orders: Sizes, clip: str | None, **options: Any) -> np.ndarray:
    if not data.size or len(set(orders)) > 1:
        return zoom(data, shape, orders, clip, backend="reference")
    factors = [new / old for new, old in zip(shape, data.shape[1:], strict=True)]
    options = {"mode": "nearest", **options}
    dtype = np.float64 if any(orders) else data.dtype
    result = np.stack([ndimage.zoom(one.astype(dtype), factors, order=orders[0], **options) for one in data])
    apart = parse_clip(clip, data.shape[1:], shape)
    if apart is None:
        return result
    others = tuple(axis for axis in range(4) if axis not in apart)
    return np.clip(result, data.min(others, keepdims=True), data.max(others, keepdims=True))


def resamples_all_at_once(data: np.ndarray, shape: Sizes, axis: int, order: int, order_z: int) -> np.ndarray:
    orders = [order] * 3
    orders[axis] = order_z
    return zoom(data, shape, orders, "volume")


def clips_across(data: np.ndarray, shape: Sizes, axis: int, order: int, order_z: int) -> np.ndarray:
    """The second step clipped too."""
    result = zoom_separate(data, shape, axis, order, order_z)
    in_plane = [*shape]
    in_plane[axis] = data.shape[axis + 1]
    slices = zoom_separate(data, in_plane, axis, order, 0)
    others = (1, 2, 3)
    return np.clip(result, slices.min(others, keepdims=True), slices.max(others, keepdims=True))


def across_first(data: np.ndarray, shape: Sizes, axis: int, order: int, order_z: int) -> np.ndarray:
    """The slices' clip after the axis across them: other ranges."""
    between = [*data.shape[1:]]
    between[axis] = shape[axis]
    across = [0, 0, 0]
    across[axis] = order_z
    return zoom(zoom(data, between, across), shape, [order] * 3, f"slice:{axis}")


WRONG_SEPARATE = (resamples_all_at_once, clips_across, across_first)
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
