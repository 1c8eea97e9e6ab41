"""Axes that need few old voxels a new one: from voxel first[i], weights[:, i]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umd_engine.kernels.resample.axes import Axis
from umd_engine.kernels.resample.weights import linear, nearest


@dataclass(frozen=True)
class Taps:
    """New voxel i is the sum over t of weights[t, i] * old voxel first[i] + t; all of them lie on the axis.

    Args:
        first: [new] int64.
        weights: [taps, new] float64.
    """

    first: np.ndarray
    weights: np.ndarray


def interpolating(axis: Axis, order: int) -> Taps:
    """Order 0 or 1. Where every new voxel lies on an old one there is one tap of weight 1: the voxel itself."""
    below, _, weight = linear(axis)
    if order == 0 or not weight.any():
        taken = nearest(axis)
        return Taps(taken, np.ones((1, len(taken))))
    first = np.minimum(below, axis.old - 2)  # the last voxel is the upper of the last two
    weight = np.where(below > first, 1.0, weight)
    return Taps(first, np.stack([1 - weight, weight]))


def averaging(old: int, new: int) -> Taps:
    """Means of voxels floor(i n / m) to ceil((i + 1) n / m) - 1: torch's adaptive average."""
    steps = np.arange(new)
    starts = steps * old // new
    counts = -(-(steps + 1) * old // new) - starts
    size = int(counts.max())
    first = np.minimum(starts, old - size)
    columns = first + np.arange(size)[:, None]  # [taps, new]
    taken = (columns >= starts) & (columns < starts + counts)
    return Taps(first, taken / counts)
