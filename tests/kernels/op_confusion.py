"""The joint counts against NumPy, exactly."""

from __future__ import annotations

import functools

import numpy as np
import torch
from tester import Implementation, Operation, compare, poisoned_outputs, unchanged
from wrong import confusion as wrong

from umd_engine.kernels.confusion import cases, confusion, cpu


def check_confusion(case: cases.Case, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(label, prediction, classes_label, classes_prediction)` against NumPy, exactly."""
    label, prediction = case.make(seed)
    before = label.copy(), prediction.copy()
    expected = confusion(label, prediction, *case.classes, backend="reference")
    with poisoned_outputs():
        found = implementation(label, prediction, *case.classes)
    compare(case.name, found, expected, 0.0)
    unchanged(case.name, (label, prediction), before)


def _on_tensors(label: np.ndarray, prediction: np.ndarray, *classes: int, device: str) -> np.ndarray:
    left, right = (torch.from_numpy(array.copy(order="K")).to(device) for array in (label, prediction))
    return confusion(left, right, *classes)


IMPLEMENTATIONS = {
    "cpu": functools.partial(confusion, backend="cpu"),
    "cpu-1-thread": functools.partial(cpu.confusion, threads=1),
    "cpu-5-threads": functools.partial(cpu.confusion, threads=5),
    "cpu-tensors": functools.partial(_on_tensors, device="cpu"),
    "gpu": functools.partial(confusion, backend="gpu"),
    "gpu-tensors": functools.partial(_on_tensors, device="cuda"),
}
OPERATIONS = (Operation("confusion", cases.CASES, check_confusion, IMPLEMENTATIONS, wrong.WRONG),)
