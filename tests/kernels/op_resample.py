"""Resampling against SciPy, to 1e-12 of the data's range."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from tester import Implementation, Operation, compare, poisoned_outputs, unchanged
from wrong import resample as wrong

from umd_engine.kernels.resample import cases, zoom, zoom_separate


def check_zoom(case: cases.Case, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(data, shape, orders, clip)` against SciPy, to 1e-12 of the data's range."""
    data = case.make(seed)
    before = data.copy()
    expected = zoom(data, case.new, case.orders, case.clip, backend="reference")
    with poisoned_outputs():
        found = implementation(data, case.new, case.orders, case.clip)
    scale = float(np.ptp(data.astype(np.float64))) if data.size else 0.0
    exact = not any(case.orders)
    # rounding errors of a constant volume scale with its value, not with its range of zero
    size = max(scale, float(np.abs(data).max())) if data.size else 0.0
    compare(case.name, found, expected, 0.0 if exact else cases.TOLERANCE * size)
    unchanged(case.name, (data,), (before,))


def check_zoom_separate(case: cases.SeparateCase, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(data, shape, axis, order, order_z)` against a loop over slices in SciPy."""
    data = case.make(seed)
    rule = (case.new, case.axis, case.order, case.order_z)
    expected = zoom_separate(data, *rule, backend="reference")
    with poisoned_outputs():
        found = implementation(data, *rule)
    exact = case.order == case.order_z == 0
    compare(case.name, found, expected, 0.0 if exact else cases.TOLERANCE * float(np.ptp(data)))


def _on_tensors(data: np.ndarray, *arguments: Any, device: str) -> np.ndarray:
    result = zoom(torch.from_numpy(data.copy(order="K")).to(device), *arguments)
    assert result.device.type == device
    return result.cpu().numpy()


ZOOM = {
    "cpu": functools.partial(zoom, backend="cpu"),
    "cpu-tensors": functools.partial(_on_tensors, device="cpu"),
    "gpu": functools.partial(zoom, backend="gpu"),
    "gpu-tensors": functools.partial(_on_tensors, device="cuda"),
}
SEPARATE = {
    "cpu": functools.partial(zoom_separate, backend="cpu"),
    "gpu": functools.partial(zoom_separate, backend="gpu"),
}
ZOOM_OPERATION = Operation("resample", cases.CASES, check_zoom, ZOOM, wrong.WRONG)
OPERATIONS = (
    ZOOM_OPERATION,
    Operation("resample-separate", cases.SEPARATE_CASES, check_zoom_separate, SEPARATE, wrong.WRONG_SEPARATE),
)
