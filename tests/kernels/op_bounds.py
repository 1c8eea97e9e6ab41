"""The bounds of labels against NumPy, exactly."""

from __future__ import annotations

import functools

import numpy as np
import torch
from tester import Implementation, MismatchError, Operation, compare, poisoned_outputs, unchanged
from wrong import bounds as wrong

from umd_engine.kernels.bounds import Bounds, bounds, cases, cpu


def check_bounds(case: cases.Case, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(label, classes)` against NumPy: the same integers, the same quotients."""
    label = case.make(seed)
    before = label.copy()
    expected = bounds(label, case.classes, backend="reference")
    with poisoned_outputs():
        found = implementation(label, case.classes)
    compare(case.name, found.boxes, expected.boxes, 0.0)
    compare(case.name, found.counts, expected.counts, 0.0)
    if not np.array_equal(np.isnan(found.centroids), np.isnan(expected.centroids)):
        raise MismatchError(f"{case.name}: other centroids are NaN than the absent labels'")
    compare(case.name, np.nan_to_num(found.centroids), np.nan_to_num(expected.centroids), 0.0)
    unchanged(case.name, (label,), (before,))


def _on_tensor(label: np.ndarray, classes: int, device: str) -> Bounds:
    return bounds(torch.from_numpy(label.copy(order="K")).to(device), classes)


IMPLEMENTATIONS = {
    "cpu": functools.partial(bounds, backend="cpu"),
    "cpu-1-thread": functools.partial(cpu.bounds, threads=1),
    "cpu-5-threads": functools.partial(cpu.bounds, threads=5),
    "cpu-tensor": functools.partial(_on_tensor, device="cpu"),
    "gpu": functools.partial(bounds, backend="gpu"),
    "gpu-tensor": functools.partial(_on_tensor, device="cuda"),
}
OPERATIONS = (Operation("bounds", cases.CASES, check_bounds, IMPLEMENTATIONS, wrong.WRONG),)
