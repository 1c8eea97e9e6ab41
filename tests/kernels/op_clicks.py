"""The clicks against NumPy and SciPy, exactly."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from tester import Implementation, Operation, compare, poisoned_outputs, unchanged
from wrong import clicks as wrong

from umd_engine.kernels.clicks import cases, draw_clicks


def check_clicks(case: cases.Case, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(label, prediction, case)` -> (voxels, positive, drawn) against the reference, exactly."""
    label, prediction = case.make(seed)
    inputs = [label] if prediction is None else [label, prediction]
    before = [volume.copy() for volume in inputs]
    expected = public(label, prediction, case, "reference")
    with poisoned_outputs():
        found = implementation(label, prediction, case)
    for name, ours, theirs in zip(("voxels", "positive", "drawn"), found, expected, strict=True):
        compare(f"{case.name}: {name}", ours, theirs, 0.0)
    unchanged(case.name, inputs, before)


def public(label: Any, prediction: Any, case: cases.Case, backend: str) -> tuple[Any, ...]:
    found = draw_clicks(label, case.organs, case.key, case.rule, prediction, case.spacing, backend)
    return found.voxels, found.positive, found.drawn


def _on_tensors(label: np.ndarray, prediction: np.ndarray | None, case: cases.Case, device: str) -> tuple[Any, ...]:
    volumes = [None if one is None else torch.from_numpy(one.copy()).to(device) for one in (label, prediction)]
    found = public(*volumes, case, "auto")
    assert all(field.device.type == device for field in found)
    return found


IMPLEMENTATIONS = {
    "cpu": functools.partial(public, backend="cpu"),
    "cpu-tensors": functools.partial(_on_tensors, device="cpu"),
    "gpu": functools.partial(public, backend="gpu"),
    "gpu-tensors": functools.partial(_on_tensors, device="cuda"),
}
OPERATIONS = (Operation("clicks", cases.CASES, check_clicks, IMPLEMENTATIONS, wrong.WRONG),)
