"""Deliberately wrong resamplings by an affine map, of boxes, of aligned corners and in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from scipy import ndimage
from wrong import resample

from umd_engine.kernels.resample import affine, area, zoom

Array = np.ndarray


def inverts_the_matrix(data: Array, matrix: Array, *rest: Any) -> Array:
    return affine(data, np.linalg.inv(matrix), *rest)


def transposes_the_matrix(data: Array, matrix: Array, *rest: Any) -> Array:
    other = matrix.copy()
    other[:3, :3] = matrix[:3, :3].T
    return affine(data, other, *rest)


def drops_the_shift(data: Array, matrix: Array, *rest: Any) -> Array:
    other = matrix.copy()
    other[:3, 3] = 0
    return affine(data, other, *rest)


def ignores_the_border(data: Array, matrix: Array, shape: Any, order: int, border: str, *rest: Any) -> Array:
    return affine(data, matrix, shape, order, "nearest", *rest)


def fills_from_the_centres(data: Array, *arguments: Any) -> Array:
    """The outer half of the outer voxels is filled too, as SciPy's "constant" does."""
    return _at(data, *arguments, beyond=0.0)


def blends_into_the_fill(data: Array, *arguments: Any) -> Array:
    """Voxels of `fill` lie around the volume and are interpolated with it: a dark rim."""
    return _at(data, *arguments, mode="grid-constant")


def clips_the_fill(data: Array, matrix: Array, shape: Any, order: int, border: str, fill: float, clip: Any) -> Array:
    result = affine(data, matrix, shape, order, border, fill, clip)
    return np.clip(result, data.min(), data.max()).astype(result.dtype) if clip and data.size else result


def wraps_around(data: Array, *arguments: Any) -> Array:
    return _at(data, *arguments, mode="grid-wrap")


def skips_the_prefilter(data: Array, *arguments: Any) -> Array:
    return _at(data, *arguments, prefilter=False)


def cuts_the_fraction_off(data: Array, matrix: Array, shape: Any, order: int, *rest: Any) -> Array:
    """Order 0 takes voxel floor(x)."""
    other = matrix.copy()
    if order == 0:
        other[:3, 3] -= 0.5
    return affine(data, other, shape, order, *rest)


def ties_go_to_even(data: Array, matrix: Array, shape: Any, order: int, *rest: Any) -> Array:
    """Order 0 takes rint(x)."""
    if order or not data.size:
        return affine(data, matrix, shape, order, *rest)
    where = np.rint(_places(matrix, shape))
    return _taken(data, where, *rest[:2])


def single_coordinates(data: Array, matrix: Array, *rest: Any) -> Array:
    """The matrix rounded to half precision: a voxel's tenth at a thousand voxels."""
    return affine(data, matrix.astype(np.float16).astype(np.float64), *rest)


def _places(matrix: Array, shape: Any) -> Array:
    grid = np.indices(tuple(shape)).astype(np.float64)
    return np.tensordot(matrix[:3, :3], grid, 1) + matrix[:3, 3, None, None, None]


def _taken(data: Array, where: Array, border: str, fill: float) -> Array:
    last = np.array(data.shape[1:])[:, None, None, None] - 1
    i, j, k = np.clip(where, 0, last).astype(int)
    result = data[:, i, j, k]
    if border == "constant":
        result[:, ((where < 0) | (where > last)).any(axis=0)] = fill
    return result


def _at(
    data: Array, matrix: Array, shape: Any, order: int, border: str, fill: float, clip: Any,
    *, mode: str = "nearest", prefilter: bool = True, beyond: float = 0.5,
) -> Array:  # fmt: skip
    if not data.size:
        return affine(data, matrix, shape, order, border, fill, clip)
    where = _places(matrix, shape)
    dtype = np.float64 if order else data.dtype
    options = {"mode": mode, "prefilter": prefilter, "order": order, "cval": fill}
    result = np.stack([ndimage.map_coordinates(volume.astype(dtype), where, **options) for volume in data])
    if clip:
        result = np.clip(result, data.min((1, 2, 3), keepdims=True), data.max((1, 2, 3), keepdims=True))
    if border == "constant" and mode == "nearest":
        last = np.array(data.shape[1:])[:, None, None, None] - 1
        result[:, ((where < -beyond) | (where > last + beyond)).any(axis=0)] = fill
    return result


def weighs_by_overlap(data: Array, shape: Any) -> Array:
    """A voxel that is covered in part counts in part, as OpenCV's INTER_AREA."""
    result = data.astype(np.float64)
    for axis, new in enumerate(shape, start=1):
        edges = np.arange(new + 1) * data.shape[axis] / new
        voxels = np.arange(data.shape[axis])
        overlap = np.minimum(edges[1:, None], voxels + 1) - np.maximum(edges[:-1, None], voxels)
        weights = np.maximum(overlap, 0) * new / data.shape[axis]
        result = np.moveaxis(np.tensordot(weights, result, (1, axis)), 0, axis)
    return result


def drops_the_parts(data: Array, shape: Any) -> Array:
    """Boxes end at floor((i + 1) n / m)."""
    result = data.astype(np.float64)
    for axis, new in enumerate(shape, start=1):
        old = data.shape[axis]
        boxes = [range(i * old // new, max((i + 1) * old // new, i * old // new + 1)) for i in range(new)]
        result = np.stack([result.take(box, axis).mean(axis) for box in boxes], axis)
    return result


def linear_for_area(data: Array, shape: Any) -> Array:
    return zoom(data, shape, (1, 1, 1))


def sums_the_boxes(data: Array, shape: Any) -> Array:
    return area(data, shape) * np.prod([-(-old // new) for old, new in zip(data.shape[1:], shape, strict=True)])


def half_voxel_centres(data: Array, shape: Any, orders: Any, clip: Any) -> Array:
    return zoom(data, shape, orders, clip)


def corners_of_the_new_grid(data: Array, shape: Any, orders: Any, clip: Any) -> Array:
    """(n - 1) / m for (n - 1) / (m - 1)."""
    scale = np.diag([*((old - 1) / new for old, new in zip(data.shape[1:], shape, strict=True)), 1.0])
    return affine(data, scale, shape, orders[0], clip=clip)


def linear_only(data: Array, shape: Any, orders: Any, clip: Any) -> Array:
    return zoom(data, shape, tuple(min(order, 1) for order in orders), clip, align_corners=True)


def half_precision(data: Array, shape: Any, orders: Any, clip: Any) -> Array:
    return zoom(data, shape, orders, clip).astype(np.float16).astype(np.float32)


def stays_double(data: Array, shape: Any, orders: Any, clip: Any) -> Array:
    return zoom(data, shape, orders, clip)


def in_single(kernels: Iterable[Callable[..., Array]]) -> tuple[Callable[..., Array], ...]:
    """The same mistakes with a float32 result."""
    return tuple(_in_single(kernel) for kernel in kernels)


def _in_single(kernel: Callable[..., Array]) -> Callable[..., Array]:
    def rounded(*arguments: Any) -> Array:
        result = kernel(*arguments)
        copied = result.dtype == arguments[0].dtype and len(arguments) > 4 and arguments[3] == 0
        return result if copied else result.astype(np.float32)

    rounded.__name__ = f"{kernel.__name__}_float32"
    return rounded


WRONG_AFFINE = (
    inverts_the_matrix,
    transposes_the_matrix,
    drops_the_shift,
    ignores_the_border,
    fills_from_the_centres,
    blends_into_the_fill,
    clips_the_fill,
    wraps_around,
    skips_the_prefilter,
    cuts_the_fraction_off,
    ties_go_to_even,
    single_coordinates,
)
WRONG_AREA = (weighs_by_overlap, drops_the_parts, linear_for_area, sums_the_boxes)
WRONG_CORNERS = (half_voxel_centres, corners_of_the_new_grid, linear_only)
WRONG_SINGLE = (
    half_precision,
    stays_double,
    *in_single(
        (resample.ignores_clip, resample.aligns_corners, resample.skips_the_prefilter, resample.mirrors_the_border)
    ),
)
