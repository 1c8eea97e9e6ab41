"""Distances between surfaces against SciPy on the whole volume, and the metrics that follow."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tester import Implementation, MismatchError, Operation, poisoned_outputs, unchanged
from wrong import surface as wrong

from umd_engine.kernels.surface import SurfaceDistances, cases, surface_distances


def check_surface(case: cases.Case, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(label, prediction, ids, spacing, elements)` against SciPy, to float64 rounding."""
    label, prediction = case.make(seed)
    before = label.copy(), prediction.copy()
    asked = (case.ids, case.spacing, case.elements)
    expected = plain(label, prediction, *asked, backend="reference")
    with poisoned_outputs():
        found = implementation(label, prediction, *asked)
    if found.keys() != expected.keys():
        raise MismatchError(f"{case.name}: organs {list(found)}, asked for {case.ids}")
    for name, organ in expected.items():
        compare_organ(f"{case.name}, organ {name}", found[name], organ, case.tolerance)
    unchanged(case.name, (label, prediction), before)


def compare_organ(name: str, found: SurfaceDistances, expected: SurfaceDistances, tolerance: float) -> None:
    """Status, elements, every distance with its area, every metric."""
    if (found.status, found.elements) != (expected.status, expected.elements):
        raise MismatchError(f"{name}: {found.status} {found.elements}, the reference {expected.status}")
    for side in ("label_to_prediction", "prediction_to_label"):
        one, other = getattr(found, side), getattr(expected, side)
        if one.dtype != np.float64 or one.shape != other.shape:
            raise MismatchError(f"{name}: {side} {one.dtype} {one.shape}, the reference has {other.shape}")
        if not (np.diff(one) >= 0).all():
            raise MismatchError(f"{name}: {side} is not sorted")
        if not np.allclose(one, other, rtol=cases.TOLERANCE, atol=0.0):
            raise MismatchError(f"{name}: {side} is off by up to {np.abs(one - other).max()}")
    _compare_metrics(name, found, expected, tolerance)


def _compare_metrics(name: str, found: SurfaceDistances, expected: SurfaceDistances, tolerance: float) -> None:
    one, other = (dataclasses.asdict(distances.metrics(tolerance)) for distances in (found, expected))
    for metric, value in other.items():
        if isinstance(value, float):
            if one[metric] is None or not abs(one[metric] - value) <= 1e-9 * max(value, 1.0):
                raise MismatchError(f"{name}: {metric} is {one[metric]}, the reference has {value}")
        elif one[metric] != value:
            raise MismatchError(f"{name}: {metric} is {one[metric]}, the reference has {value}")


def plain(
    label: Any, prediction: Any, ids: Sequence[int], spacing: Sequence[float], elements: str, backend: str
) -> dict[int, SurfaceDistances]:
    return surface_distances(label, prediction, ids, spacing, elements=elements, backend=backend)


def _on_tensors(label: np.ndarray, prediction: np.ndarray, *asked: Any, device: str) -> dict[int, SurfaceDistances]:
    one, other = (torch.from_numpy(array.copy(order="C")).to(device) for array in (label, prediction))
    return plain(one, other, *asked, backend="auto")


IMPLEMENTATIONS = {
    "cpu": functools.partial(plain, backend="cpu"),
    "cpu-tensors": functools.partial(_on_tensors, device="cpu"),
    "gpu": functools.partial(plain, backend="gpu"),
    "gpu-tensors": functools.partial(_on_tensors, device="cuda"),
}
SMALL = tuple(case for case in cases.CASES if not case.full)
OPERATIONS = (Operation("surface", SMALL, check_surface, IMPLEMENTATIONS, wrong.WRONG),)
