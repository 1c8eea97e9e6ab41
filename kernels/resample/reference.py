"""Resampling, the plain way: SciPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umd_engine.kernels.resample.arguments import Clip


def zoom(
    data: np.ndarray, shape: Sequence[int], orders: Sequence[int], clip: Clip, align_corners: bool = False
) -> np.ndarray:
    """[C, *shape] float64; where all orders are 0, the dtype of `data`."""
    dtype = data.dtype if not any(orders) else np.dtype(np.float64)
    result = np.empty((len(data), *shape), dtype)
    for channel, volume in enumerate(data.astype(dtype)):
        result[channel] = _zoom_volume(volume, shape, orders, align_corners)
    return _clipped(result, data, clip)


def area(data: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """[C, *shape] float64: the mean of voxels floor(i n / m) to ceil((i + 1) n / m) - 1, axis by axis."""
    result = data.astype(np.float64)
    for axis, new in enumerate(shape, start=1):
        old = data.shape[axis]
        boxes = [range(i * old // new, -(-(i + 1) * old // new)) for i in range(new)]
        result = np.stack([result.take(box, axis).mean(axis) for box in boxes], axis)
    return result


def affine(data: np.ndarray, coordinates: np.ndarray, order: int, fill: float | None, clip: Clip) -> np.ndarray:
    """[C, X, Y, Z] float64 (order 0: the dtype of `data`) at `coordinates` [3, X, Y, Z].

    Order 3 is held from 4 voxels beyond the border on, before SciPy's padding of 12 makes a difference. With `fill`,
    it stands where a coordinate lies more than half a voxel beyond the outer voxels' centres.
    """
    from scipy.ndimage import map_coordinates

    dtype = data.dtype if order == 0 else np.dtype(np.float64)
    last = np.array(data.shape[1:])[:, None, None, None] - 1.0
    places = np.clip(coordinates, -4, last + 4)
    result = np.empty((len(data), *coordinates.shape[1:]), dtype)
    for channel, volume in enumerate(data.astype(dtype)):
        result[channel] = map_coordinates(volume, places, order=order, mode="nearest")
    result = _clipped(result, data, clip)
    if fill is not None:
        result[:, ((coordinates < -0.5) | (coordinates > last + 0.5)).any(axis=0)] = fill
    return result


def _clipped(result: np.ndarray, data: np.ndarray, clip: Clip) -> np.ndarray:
    if clip is None or not result.size:
        return result
    others = tuple(axis for axis in range(4) if axis not in clip)
    return np.clip(result, data.min(others, keepdims=True), data.max(others, keepdims=True))


def _zoom_volume(volume: np.ndarray, shape: Sequence[int], orders: Sequence[int], align_corners: bool) -> np.ndarray:
    from scipy.ndimage import zoom as scipy_zoom

    factors = [new / old for new, old in zip(shape, volume.shape, strict=True)]
    if 0 not in orders and len(set(orders)) == 1:
        return scipy_zoom(volume, factors, order=orders[0], mode="nearest", grid_mode=not align_corners)
    for axis, order in enumerate(orders):
        if order == 0:
            volume = _nearest(volume, axis, shape[axis], align_corners)
        else:
            one = [factors[axis] if other == axis else 1.0 for other in range(3)]
            volume = scipy_zoom(volume, one, order=order, mode="nearest", grid_mode=not align_corners)
    return volume


def _nearest(volume: np.ndarray, axis: int, size: int, align_corners: bool) -> np.ndarray:
    from scipy.ndimage import map_coordinates

    new_shape = [size if other == axis else length for other, length in enumerate(volume.shape)]
    where = np.indices(new_shape).astype(np.float64)
    if align_corners:
        where[axis] *= (volume.shape[axis] - 1) / max(size - 1, 1)
    else:
        where[axis] = volume.shape[axis] / size * (where[axis] + 0.5) - 0.5
    return map_coordinates(volume, where, order=0, mode="nearest")


def zoom_separate(data: np.ndarray, shape: Sequence[int], axis: int, order: int, order_z: int) -> np.ndarray:
    """The rule of nnU-Net's resample_data_or_seg for separate z, slice by slice."""
    from scipy.ndimage import map_coordinates
    from scipy.ndimage import zoom as scipy_zoom

    dtype = data.dtype if order == order_z == 0 else np.dtype(np.float64)
    result = np.empty((len(data), *shape), dtype)
    in_plane = [size for other, size in enumerate(shape) if other != axis]
    for channel, volume in enumerate(data.astype(dtype)):
        slices = []
        for plane in np.moveaxis(volume, axis, 0):
            factors = [new / old for new, old in zip(in_plane, plane.shape, strict=True)]
            resized = scipy_zoom(plane, factors, order=order, mode="nearest", grid_mode=True)
            slices.append(np.clip(resized, plane.min(), plane.max()))
        stack = np.stack(slices, axis)
        where = np.indices(tuple(shape)).astype(np.float64)
        where[axis] = stack.shape[axis] / shape[axis] * (where[axis] + 0.5) - 0.5
        result[channel] = map_coordinates(stack, where, order=order_z, mode="nearest")
    return result
