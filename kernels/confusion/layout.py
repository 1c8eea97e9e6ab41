"""How two maps lie in memory, and in which pieces to count them."""

from __future__ import annotations

import numpy as np

from umd_engine.kernels.confusion.loops import BLOCK, SIDE

Pair = tuple[np.ndarray, np.ndarray]


def pieces(label: np.ndarray, prediction: np.ndarray, workers: int) -> list[Pair]:
    """Pairs of views that cover both maps, about one a worker.

    Flat views where both maps share one dense order, otherwise 3-D views with the axis along which
    `label` lies densest last and that of `prediction` first, if they differ.
    """
    if label.size == 0:
        return []
    left, right = _turned(label, prediction)
    if left.flags.c_contiguous and right.flags.c_contiguous:
        return _split(left.reshape(-1), right.reshape(-1), workers, BLOCK)
    grids = [(left[where], right[where]) for where in np.ndindex(left.shape[:-3])]
    return [piece for grid in grids for piece in _split(*grid, workers, SIDE)]


def _split(left: np.ndarray, right: np.ndarray, workers: int, multiple: int) -> list[Pair]:
    step = -(-left.shape[0] // (workers * multiple)) * multiple
    starts = range(0, left.shape[0], step)
    return [(left[start : start + step], right[start : start + step]) for start in starts]


def _turned(label: np.ndarray, prediction: np.ndarray) -> Pair:
    """Views with >= 3 axes, slowest of `label` first; axes of length 1 lead."""
    axes = sorted(range(label.ndim), key=lambda axis: (label.shape[axis] != 1, -abs(label.strides[axis])))
    fastest = _fastest_axis(prediction)
    if axes and fastest != axes[-1] and fastest is not None:
        depth = max(0, len(axes) - 3)
        axes.remove(fastest)
        axes.insert(depth, fastest)
    flips = tuple(slice(None, None, -1 if label.strides[axis] < 0 else 1) for axis in axes)
    lead = (1,) * max(0, 3 - label.ndim)
    left, right = (array.transpose(axes)[flips] for array in (label, prediction))
    return left[(None,) * len(lead)], right[(None,) * len(lead)]


def _fastest_axis(array: np.ndarray) -> int | None:
    long = [axis for axis in range(array.ndim) if array.shape[axis] != 1]
    return min(long, key=lambda axis: abs(array.strides[axis]), default=None)
