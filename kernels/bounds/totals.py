"""What the passes of all implementations end in: sums of coordinates and their extremes, by label."""

from __future__ import annotations

import numpy as np

from umd_engine.errors import KernelError
from umd_engine.kernels.bounds import Bounds

# columns of int64 totals [classes, 10]
COUNT, SUMS, STARTS, STOPS = 0, slice(1, 4), slice(4, 7), slice(7, 10)
COLUMNS = 10
FAR = np.iinfo(np.int64).max  # the start of a label that was not seen


def no_totals(classes: int) -> np.ndarray:
    """The totals of no voxel at all."""
    totals = np.zeros((classes, COLUMNS), np.int64)
    totals[:, STARTS] = FAR
    return totals


def check_ids(highest: int, classes: int) -> None:
    if highest >= classes:
        raise KernelError(f"bounds: label holds id {highest} of {classes} classes")


def to_bounds(totals: np.ndarray, axes: list[int]) -> Bounds:
    """Bounds of totals whose k-th coordinate runs along axis `axes[k]` of the map."""
    back = np.argsort(axes)
    counts = totals[:, COUNT].copy()
    seen = (counts > 0)[:, None]
    boxes = np.stack([totals[:, STARTS][:, back], totals[:, STOPS][:, back]], axis=-1)
    sums = totals[:, SUMS][:, back].astype(np.float64)
    centroids = np.divide(sums, counts[:, None], out=np.full(sums.shape, np.nan), where=seen)
    return Bounds(np.where(seen[..., None], boxes, 0), counts, centroids)
