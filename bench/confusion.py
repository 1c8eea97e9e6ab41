"""Joint counts of two label maps against per-class NumPy masks, on the same pair in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from umd_engine.kernels.confusion import confusion

SHAPE = (256, 256, 300)
CLASSES = 14
TARGET = 10.0


def run(repeats: int = 7) -> dict[str, Any]:
    """Median seconds of both, their ratio, and yardsticks.

    The pair is 13 ellipsoids of a body's proportions and the same moved by two voxels. `noise_seconds` counts two
    maps without any run of equal ids, `unlike_orders_seconds` a C-ordered map against a Fortran-ordered one, and
    `copy_seconds` copies both maps: the least time that touching every voxel takes.

    Args:
        repeats: timed runs of each, alternating, after one warm-up.

    Raises:
        AssertionError: the counts differ from the masks', so no time is reported.
    """
    label, prediction = organs(moved=0.0), organs(moved=2.0)
    rng = np.random.default_rng(0)
    noise, other = (rng.integers(0, CLASSES, SHAPE, dtype=np.uint8) for _ in range(2))
    fortran = np.asfortranarray(prediction)
    counts = confusion(label, prediction, CLASSES, CLASSES, backend="cpu")
    if not np.array_equal(true_false_counts(counts), per_class_masks(label, prediction)):
        raise AssertionError("joint counts and per-class masks disagree")
    timed = {
        "seconds": lambda: confusion(label, prediction, CLASSES, CLASSES, backend="cpu"),
        "peer_seconds": lambda: per_class_masks(label, prediction),
        "noise_seconds": lambda: confusion(noise, other, CLASSES, CLASSES, backend="cpu"),
        "unlike_orders_seconds": lambda: confusion(label, fortran, CLASSES, CLASSES, backend="cpu"),
        "copy_seconds": lambda: (label.copy(), prediction.copy()),
    }
    medians = _medians(timed, repeats)
    return {
        "name": "confusion",
        "peer": "per-class NumPy masks",
        **medians,
        "ratio": medians["peer_seconds"] / medians["seconds"],
        "target": TARGET,
        "shape": SHAPE,
        "classes": CLASSES,
        "repeats": repeats,
    }


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


def _medians(timed: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for repeat in range(repeats + 1):
        for name, action in timed.items():
            start = time.perf_counter()
            action()
            if repeat:  # the first is the warm-up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
