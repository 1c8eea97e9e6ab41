"""Resampling against SciPy, to 1e-12 of the data's range in float64 and 1e-5 in float32."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from tester import Implementation, Operation, compare, poisoned_outputs, unchanged
from wrong import resample as wrong
from wrong import resample_grids as wrong_grids

from umd_engine.kernels.resample import affine, area, cases, zoom, zoom_separate


def check_zoom(case: cases.Case, implementation: Implementation, seed: int = 0, **options: Any) -> None:
    """`implementation(data, shape, orders, clip)` against SciPy, called with `options`."""
    data = case.make(seed)
    before = data.copy()
    expected = zoom(data, case.new, case.orders, case.clip, backend="reference", **options)
    with poisoned_outputs():
        found = implementation(data, case.new, case.orders, case.clip)
    compare(case.name, found, expected, _allowed(data, expected, exact=not any(case.orders)))
    unchanged(case.name, (data,), (before,))


def check_area(case: cases.Case, implementation: Implementation, seed: int = 0, **options: Any) -> None:
    """`implementation(data, shape)` against NumPy's means."""
    data = case.make(seed)
    before = data.copy()
    expected = area(data, case.new, backend="reference", **options)
    with poisoned_outputs():
        found = implementation(data, case.new)
    compare(case.name, found, expected, _allowed(data, expected))
    unchanged(case.name, (data,), (before,))


def check_affine(case: cases.AffineCase, implementation: Implementation, seed: int = 0, **options: Any) -> None:
    """`implementation(data, matrix, shape, order, border, fill, clip)` against SciPy at NumPy's coordinates."""
    data = case.make(seed)
    before = data.copy()
    arguments = (case.matrix, case.new, case.order, case.border, case.fill, case.clip)
    expected = affine(data, *arguments, backend="reference", **options)
    with poisoned_outputs():
        found = implementation(data, *arguments)
    compare(case.name, found, expected, _allowed(data, expected, exact=case.order == 0))
    unchanged(case.name, (data,), (before,))


def _allowed(data: np.ndarray, expected: np.ndarray, exact: bool = False) -> float:
    if exact or not data.size:
        return 0.0
    # rounding errors of a constant volume scale with its value, not with its range of zero
    size = max(float(np.ptp(data.astype(np.float64))), float(np.abs(data.astype(np.float64)).max()))
    return size * (cases.TOLERANCE if expected.dtype == np.float64 else cases.TOLERANCE_SINGLE)


def check_zoom_separate(case: cases.SeparateCase, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(data, shape, axis, order, order_z)` against a loop over slices in SciPy."""
    data = case.make(seed)
    rule = (case.new, case.axis, case.order, case.order_z)
    expected = zoom_separate(data, *rule, backend="reference")
    with poisoned_outputs():
        found = implementation(data, *rule)
    exact = case.order == case.order_z == 0
    compare(case.name, found, expected, 0.0 if exact else cases.TOLERANCE * float(np.ptp(data)))


def _on_tensors(data: np.ndarray, *arguments: Any, device: str, operation: Any = zoom, **options: Any) -> np.ndarray:
    result = operation(torch.from_numpy(data.copy(order="K")).to(device), *arguments, **options)
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


def _everywhere(operation: Any, **options: Any) -> dict[str, Implementation]:
    """An operation on both devices, from arrays and from tensors."""
    return {
        "cpu": functools.partial(operation, backend="cpu", **options),
        "cpu-tensors": functools.partial(_on_tensors, device="cpu", operation=operation, **options),
        "gpu": functools.partial(operation, backend="gpu", **options),
        "gpu-tensors": functools.partial(_on_tensors, device="cuda", operation=operation, **options),
    }


SINGLE: dict[str, Any] = {"precision": "float32"}
CORNERS: dict[str, Any] = {"align_corners": True}
ZOOM_OPERATION = Operation("resample", cases.CASES, check_zoom, ZOOM, wrong.WRONG)
OPERATIONS = (
    ZOOM_OPERATION,
    Operation("resample-separate", cases.SEPARATE_CASES, check_zoom_separate, SEPARATE, wrong.WRONG_SEPARATE),
    Operation(
        "resample-float32",
        cases.SINGLE_CASES,
        functools.partial(check_zoom, **SINGLE),
        _everywhere(zoom, **SINGLE),
        wrong_grids.WRONG_SINGLE,
    ),
    Operation(
        "resample-corners",
        cases.CORNER_CASES,
        functools.partial(check_zoom, **CORNERS),
        _everywhere(zoom, **CORNERS),
        wrong_grids.WRONG_CORNERS,
    ),
    Operation("resample-area", cases.AREA_CASES, check_area, _everywhere(area), wrong_grids.WRONG_AREA),
    Operation(
        "resample-area-float32",
        cases.AREA_CASES,
        functools.partial(check_area, **SINGLE),
        _everywhere(area, **SINGLE),
        wrong_grids.in_single(wrong_grids.WRONG_AREA),
    ),
    Operation("resample-affine", cases.AFFINE_CASES, check_affine, _everywhere(affine), wrong_grids.WRONG_AFFINE),
    Operation(
        "resample-affine-float32",
        cases.AFFINE_CASES,
        functools.partial(check_affine, **SINGLE),
        _everywhere(affine, **SINGLE),
        wrong_grids.in_single(wrong_grids.WRONG_AFFINE),
    ),
)
