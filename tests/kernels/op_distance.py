"""Distances against SciPy on the whole volume, within float32 rounding."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tester import Implementation, MismatchError, Operation, poisoned_outputs, unchanged
from wrong import distance as wrong

from umd_engine.kernels.distance import OrganDistance, cases, organ_distances


def check_distance(case: cases.Case, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(labels, ids, spacing, border, squared)` against SciPy; squares of whole voxels are exact."""
    labels = case.make(seed)
    before = labels.copy()
    asked = (case.ids, case.spacing, case.border, case.squared)
    expected = plain(labels, *asked, backend="reference")
    with poisoned_outputs():
        found = implementation(labels, *asked)
    if found.keys() != expected.keys():
        raise MismatchError(f"{case.name}: organs {list(found)}, asked for {case.ids}")
    exact = case.squared and case.spacing == (1.0, 1.0, 1.0)
    tolerance = 0.0 if exact else cases.TOLERANCE * (2 if case.squared else 1)
    for name, organ in expected.items():
        compare_organ(f"{case.name}, organ {name}", found[name], organ, tolerance)
    unchanged(case.name, (labels,), (before,))


def compare_organ(name: str, found: OrganDistance, expected: OrganDistance, tolerance: float) -> None:
    """The same box, type and infinities, every distance within `tolerance` of itself."""
    if found.box != expected.box:
        raise MismatchError(f"{name}: box {found.box}, the reference has {expected.box}")
    if found.distance.dtype != expected.distance.dtype or found.distance.shape != expected.distance.shape:
        raise MismatchError(f"{name}: {found.distance.dtype} {found.distance.shape}")
    if not np.array_equal(np.isinf(found.distance), np.isinf(expected.distance)):
        raise MismatchError(f"{name}: other voxels are without a distance")
    there = np.isfinite(expected.distance)
    away = np.abs(found.distance[there].astype(np.float64) - expected.distance[there])
    if not (away <= tolerance * expected.distance[there]).all():
        raise MismatchError(f"{name}: off by up to {np.nanmax(away)}")


def plain(
    labels: Any, ids: Sequence[int], spacing: Sequence[float], border: str, squared: bool, backend: str
) -> dict[int, OrganDistance]:
    return organ_distances(labels, ids, spacing, border=border, squared=squared, backend=backend)


def _on_tensors(labels: np.ndarray, *asked: Any, device: str) -> dict[int, OrganDistance]:
    found = plain(torch.from_numpy(labels.copy(order="C")).to(device), *asked, backend="auto")
    assert all(one.distance.device.type == device for one in found.values())
    return {name: OrganDistance(one.box, one.distance.cpu().numpy()) for name, one in found.items()}


IMPLEMENTATIONS = {
    "cpu": functools.partial(plain, backend="cpu"),
    "cpu-tensors": functools.partial(_on_tensors, device="cpu"),
    "gpu": functools.partial(plain, backend="gpu"),
    "gpu-tensors": functools.partial(_on_tensors, device="cuda"),
}
SMALL = tuple(case for case in cases.CASES if not case.full)
OPERATIONS = (Operation("distance", SMALL, check_distance, IMPLEMENTATIONS, wrong.WRONG),)
