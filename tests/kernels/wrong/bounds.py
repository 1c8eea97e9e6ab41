"""Deliberately wrong bounds: each a mistake that a fast one makes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from umd_engine.kernels.bounds import Bounds, reference


def closed_boxes(label: np.ndarray, classes: int) -> Bounds:
    """The last voxel in place of the one after it."""
    right = reference.bounds(label, classes)
    return replace(right, boxes=right.boxes - (right.counts > 0)[:, None, None] * np.array([0, 1]))


def boxes_of_absent_labels(label: np.ndarray, classes: int) -> Bounds:
    """A minimum and a maximum that no voxel ever moved."""
    right = reference.bounds(label, classes)
    boxes = right.boxes.copy()
    boxes[right.counts == 0, :, 0] = np.iinfo(np.int64).max
    return replace(right, boxes=boxes)


def zero_centroids(label: np.ndarray, classes: int) -> Bounds:
    """An absent label in the corner."""
    right = reference.bounds(label, classes)
    return replace(right, centroids=np.nan_to_num(right.centroids))


def single_precision_sums(label: np.ndarray, classes: int) -> Bounds:
    right = reference.bounds(label, classes)
    return replace(right, centroids=right.centroids.astype(np.float32).astype(np.float64))


def drops_the_tail(label: np.ndarray, classes: int) -> Bounds:
    """What is left of a row after whole words of eight voxels."""
    return reference.bounds(label[..., : label.shape[2] // 8 * 8], classes)


def centroids_of_boxes(label: np.ndarray, classes: int) -> Bounds:
    right = reference.bounds(label, classes)
    middle = (right.boxes.sum(axis=-1) - 1) / 2
    return replace(right, centroids=np.where(np.isnan(right.centroids), np.nan, middle))


def forgets_to_turn_back(label: np.ndarray, classes: int) -> Bounds:
    """Coordinates along the axes in memory order, whatever the map's."""
    return reference.bounds(label.transpose(sorted(range(3), key=lambda axis: -abs(label.strides[axis]))), classes)


def signed_ids(label: np.ndarray, classes: int) -> Bounds:
    """Ids above 127 lose their highest bit."""
    return reference.bounds(label & 127, classes)


def first_run_only(label: np.ndarray, classes: int) -> Bounds:
    """A run that goes on in the next row begins and ends where its first row's part does."""
    right = reference.bounds(label, classes)
    boxes = right.boxes.copy()
    for one in range(classes):
        where = np.flatnonzero(np.ascontiguousarray(label) == one)
        if where.size:
            boxes[one, 2, 0] = where[0] % label.shape[2]
    return replace(right, boxes=boxes)


WRONG = (
    closed_boxes,
    boxes_of_absent_labels,
    zero_centroids,
    single_precision_sums,
    drops_the_tail,
    centroids_of_boxes,
    forgets_to_turn_back,
    signed_ids,
    first_run_only,
)
