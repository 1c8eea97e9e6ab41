"""Bounds, the plain way: NumPy, label by label."""

from __future__ import annotations

import numpy as np

from umd_engine.kernels.bounds import Bounds
from umd_engine.kernels.bounds.totals import check_ids


def bounds(label: np.ndarray, classes: int) -> Bounds:
    """The coordinates of every label's voxels: their extremes and their mean."""
    check_ids(int(label.max(initial=0)), classes)
    boxes = np.zeros((classes, 3, 2), np.int64)
    counts = np.zeros(classes, np.int64)
    centroids = np.full((classes, 3), np.nan)
    for one in range(classes):
        where = np.nonzero(label == one)
        counts[one] = where[0].size
        if counts[one]:
            boxes[one] = [(axis.min(), axis.max() + 1) for axis in where]
            centroids[one] = [int(axis.sum()) / int(counts[one]) for axis in where]
    return Bounds(boxes, counts, centroids)
