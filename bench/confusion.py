"""A pair of label maps of a body's proportions, and its counts by per-class NumPy masks, as nnU-Net takes them."""

from __future__ import annotations

import numpy as np

SHAPE = (256, 256, 300)
CLASSES = 14


def organs(moved: float, seed: int = 1) -> np.ndarray:
    """[256, 256, 300] uint8: 13 ellipsoids of 15 to 55 voxels' radius, moved by `moved` voxels in every axis."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint8)
    axes = np.ogrid[tuple(slice(size) for size in SHAPE)]
    for organ in range(1, CLASSES):
        centre = rng.uniform(0.2, 0.8, 3) * SHAPE + moved
        radii = rng.uniform(15, 55, 3)
        away = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, radii, strict=True))
        labels[away < 1] = organ
    return labels


def per_class_masks(label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """int64 [CLASSES, 3] TP, FP, FN, as nnU-Net v2 counts them: masks, class by class."""
    rows = []
    for organ in range(CLASSES):
        reference, found = label == organ, prediction == organ
        rows.append(((reference & found).sum(), (~reference & found).sum(), (reference & ~found).sum()))
    return np.array(rows, np.int64)


def true_false_counts(counts: np.ndarray) -> np.ndarray:
    """int64 [classes, 3] TP, FP, FN of joint counts over one set of ids."""
    true = counts.diagonal()
    return np.stack([true, counts.sum(axis=0) - true, counts.sum(axis=1) - true], axis=1)
