"""The joint counts of maps, of logits and of bit planes against NumPy, exactly."""

from __future__ import annotations

import functools

import numpy as np
import torch
from tester import Implementation, Operation, compare, poisoned_outputs, unchanged
from wrong import confusion as wrong

from umd_engine.kernels.confusion import cases, confusion, confusion_from_logits, confusion_planes, cpu, cpu_planes


def check_confusion(case: cases.Case, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(label, prediction, classes_label, classes_prediction)` against NumPy, exactly."""
    label, prediction = case.make(seed)
    before = label.copy(), prediction.copy()
    expected = confusion(label, prediction, *case.classes, backend="reference")
    with poisoned_outputs():
        found = implementation(label, prediction, *case.classes)
    compare(case.name, found, expected, 0.0)
    unchanged(case.name, (label, prediction), before)


def check_logits(case: cases.LogitsCase, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(label, logits, classes_label)` against the counts of NumPy's argmax, exactly."""
    label, logits = case.make(seed)
    before = label.copy(), logits.copy()
    expected = confusion_from_logits(label, logits, case.classes[0], backend="reference")
    with poisoned_outputs():
        found = implementation(label, logits, case.classes[0])
    compare(case.name, found, expected, 0.0)
    unchanged(case.name, (label, logits), before)


def check_planes(case: cases.PlanesCase, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(reference, prediction, organs)` against NumPy, exactly."""
    words, other = case.make(seed)
    before = words.copy(), other.copy()
    expected = confusion_planes(words, other, case.organs, backend="reference")
    with poisoned_outputs():
        found = implementation(words, other, case.organs)
    compare(case.name, found, expected, 0.0)
    unchanged(case.name, (words, other), before)


def _logits_on_tensors(label: np.ndarray, logits: np.ndarray, classes_label: int, device: str) -> np.ndarray:
    left, right = (torch.from_numpy(array.copy(order="K")).to(device) for array in (label, logits))
    return confusion_from_logits(left, right, classes_label)


def _on_tensors(label: np.ndarray, prediction: np.ndarray, *classes: int, device: str) -> np.ndarray:
    left, right = (torch.from_numpy(array.copy(order="K")).to(device) for array in (label, prediction))
    return confusion(left, right, *classes)


MAPS = {
    "cpu": functools.partial(confusion, backend="cpu"),
    "cpu-1-thread": functools.partial(cpu.confusion, threads=1),
    "cpu-5-threads": functools.partial(cpu.confusion, threads=5),
    "cpu-tensors": functools.partial(_on_tensors, device="cpu"),
    "gpu": functools.partial(confusion, backend="gpu"),
    "gpu-tensors": functools.partial(_on_tensors, device="cuda"),
}
LOGITS = {
    "cpu": functools.partial(confusion_from_logits, backend="cpu"),
    "gpu": functools.partial(confusion_from_logits, backend="gpu"),
    "gpu-tensors": functools.partial(_logits_on_tensors, device="cuda"),
}
PLANES = {
    "cpu": functools.partial(confusion_planes, backend="cpu"),
    "cpu-1-thread": functools.partial(cpu_planes.confusion_planes, threads=1),
    "cpu-5-threads": functools.partial(cpu_planes.confusion_planes, threads=5),
    "gpu": functools.partial(confusion_planes, backend="gpu"),
}
OPERATIONS = (
    Operation("confusion", cases.CASES, check_confusion, MAPS, wrong.WRONG),
    Operation("confusion-logits", cases.LOGITS_CASES, check_logits, LOGITS, wrong.WRONG_LOGITS),
    Operation("confusion-planes", cases.PLANES_CASES, check_planes, PLANES, wrong.WRONG_PLANES),
)
