"""Deliberately wrong components: each a mistake that a fast one makes."""

from __future__ import annotations

import numpy as np

from umd_engine.kernels.components import reference

Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def forgets_corners(labels: np.ndarray, connectivity: int) -> Found:
    return reference.components(labels, min(connectivity, 18))


def forgets_edges(labels: np.ndarray, connectivity: int) -> Found:
    return reference.components(labels, 6 if connectivity == 18 else connectivity)


def always_26(labels: np.ndarray, connectivity: int) -> Found:
    return reference.components(labels, 26)


def joins_unlike_ids(labels: np.ndarray, connectivity: int) -> Found:
    numbers, sizes, _ = reference.components((labels > 0).astype(np.uint8), connectivity)
    first = np.unique(numbers, return_index=True)[1][-len(sizes) :] if len(sizes) else []
    return numbers, sizes, labels.ravel()[first].astype(np.uint8)


def wraps_around(labels: np.ndarray, connectivity: int) -> Found:
    """The last voxel of a row is a neighbour of the next row's first."""
    numbers, sizes, ids = reference.components(labels.reshape(1, 1, -1), connectivity)
    return (numbers.reshape(labels.shape), sizes, ids) if min(labels.shape, default=0) == 1 else _joined(labels)


def _joined(labels: np.ndarray) -> Found:
    wide = np.concatenate([labels, np.roll(labels, -1, axis=1)[..., :1]], axis=2)
    numbers, _, _ = reference.components(wide, 26)
    numbers = numbers[..., :-1]
    sizes = np.bincount(numbers.ravel())[1:].astype(np.int64)
    return numbers, sizes, np.ones(len(sizes), np.uint8)


def one_pass_only(labels: np.ndarray, connectivity: int) -> Found:
    """Two arms that meet later stay apart: each slice is joined with the one before only where it begins."""
    apart = labels.copy()
    apart[:, -1, -1] = 0
    numbers, _, _ = reference.components(apart, connectivity)
    numbers = numbers + (labels > 0) * (numbers == 0)
    sizes = np.bincount(numbers.ravel(), minlength=2)[1:].astype(np.int64)
    return numbers.astype(np.int32), sizes, np.ones(len(sizes), np.uint8)


def numbers_in_memory_order(labels: np.ndarray, connectivity: int) -> Found:
    numbers, sizes, ids = reference.components(labels.T, connectivity)
    return numbers.T, sizes, ids


def narrow_sizes(labels: np.ndarray, connectivity: int) -> Found:
    numbers, sizes, ids = reference.components(labels, connectivity)
    return numbers, (sizes & 0xFF).astype(np.int64), ids


def counts_background(labels: np.ndarray, connectivity: int) -> Found:
    numbers, _, ids = reference.components(labels, connectivity)
    return numbers, np.bincount(numbers.ravel(), minlength=1).astype(np.int64), ids


WRONG = (
    forgets_corners,
    forgets_edges,
    always_26,
    joins_unlike_ids,
    wraps_around,
    one_pass_only,
    numbers_in_memory_order,
    narrow_sizes,
    counts_background,
)
