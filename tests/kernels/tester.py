"""Holds an implementation of an operation against its reference on a case. Never one fast one against another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from umd_engine.kernels.confusion import cases as confusion_cases
from umd_engine.kernels.confusion import confusion
from umd_engine.kernels.resample import cases as resample_cases
from umd_engine.kernels.resample import zoom, zoom_separate

Implementation = Callable[..., Any]


class MismatchError(AssertionError):
    """An implementation whose result is not the reference's."""


def check_confusion(case: confusion_cases.Case, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(label, prediction, classes_label, classes_prediction)` against NumPy, exactly."""
    label, prediction = case.make(seed)
    before = label.copy(), prediction.copy()
    expected = confusion(label, prediction, *case.classes, backend="reference")
    with poisoned_outputs():
        found = implementation(label, prediction, *case.classes)
    _compare(case.name, found, expected, 0.0)
    _unchanged(case.name, (label, prediction), before)


def check_zoom(case: resample_cases.Case, implementation: Implementation, seed: int = 0) -> None:
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
    _compare(case.name, found, expected, 0.0 if exact else resample_cases.TOLERANCE * size)
    _unchanged(case.name, (data,), (before,))


def check_zoom_separate(case: resample_cases.SeparateCase, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(data, shape, axis, order, order_z)` against a loop over slices in SciPy."""
    data = case.make(seed)
    rule = (case.new, case.axis, case.order, case.order_z)
    expected = zoom_separate(data, *rule, backend="reference")
    with poisoned_outputs():
        found = implementation(data, *rule)
    exact = case.order == case.order_z == 0
    _compare(case.name, found, expected, 0.0 if exact else resample_cases.TOLERANCE * float(np.ptp(data)))


CHECKS: dict[str, Callable[..., None]] = {
    "confusion": check_confusion,
    "resample": check_zoom,
    "resample-separate": check_zoom_separate,
}
CASES: dict[str, tuple[Any, ...]] = {
    "confusion": confusion_cases.CASES,
    "resample": resample_cases.CASES,
    "resample-separate": resample_cases.SEPARATE_CASES,
}


def check_all(op: str, implementation: Implementation) -> None:
    for case in CASES[op]:
        CHECKS[op](case, implementation)


@contextmanager
def poisoned_outputs() -> Iterator[None]:
    """Every torch.empty within starts as NaN, or as the highest integer."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = fill


def _compare(name: str, found: Any, expected: np.ndarray, tolerance: float) -> None:
    found = found.cpu().numpy() if isinstance(found, torch.Tensor) else found
    if found.dtype != expected.dtype:
        raise MismatchError(f"{name}: dtype {found.dtype}, the reference has {expected.dtype}")
    if found.shape != expected.shape:
        raise MismatchError(f"{name}: shape {found.shape}, the reference has {expected.shape}")
    if not expected.size:
        return
    if not np.isfinite(found).all():
        raise MismatchError(f"{name}: {np.count_nonzero(~np.isfinite(found))} values were never written")
    worst = np.abs(found.astype(np.float64) - expected.astype(np.float64)).max()
    if worst > tolerance:
        raise MismatchError(f"{name}: off by {worst}, allowed {tolerance}")


def _unchanged(name: str, arrays: tuple[np.ndarray, ...], before: tuple[np.ndarray, ...]) -> None:
    for array, copy in zip(arrays, before, strict=True):
        if not np.array_equal(array, copy):
            raise MismatchError(f"{name}: the input was written to")
