"""The connected components against SciPy, exactly."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from tester import Implementation, Operation, compare, poisoned_outputs, unchanged
from wrong import components as wrong

from umd_engine.kernels.components import cases, components, cpu


def check_components(case: cases.Case, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(labels, connectivity)` -> (numbers, sizes, ids) against SciPy, exactly."""
    labels = case.make(seed)
    before = labels.copy()
    expected = components(labels, case.connectivity, backend="reference")
    with poisoned_outputs():
        numbers, sizes, ids = implementation(labels, case.connectivity)
    compare(f"{case.name}: numbers", numbers, expected.numbers, 0.0)
    compare(f"{case.name}: sizes", sizes, expected.sizes, 0.0)
    compare(f"{case.name}: ids", ids, expected.ids, 0.0)
    unchanged(case.name, (labels,), (before,))


def _public(labels: np.ndarray, connectivity: int, backend: str) -> tuple[Any, ...]:
    found = components(labels, connectivity, backend)
    return found.numbers, found.sizes, found.ids


def _on_tensors(labels: np.ndarray, connectivity: int, device: str) -> tuple[Any, ...]:
    found = components(torch.from_numpy(labels.copy()).to(device), connectivity)
    assert found.numbers.device.type == device
    return found.numbers, found.sizes, found.ids


IMPLEMENTATIONS = {
    "cpu": functools.partial(_public, backend="cpu"),
    "cpu-1-thread": functools.partial(cpu.components, threads=1),
    "cpu-5-threads": functools.partial(cpu.components, threads=5),
    "cpu-tensors": functools.partial(_on_tensors, device="cpu"),
    "gpu": functools.partial(_public, backend="gpu"),
    "gpu-tensors": functools.partial(_on_tensors, device="cuda"),
}
OPERATIONS = (Operation("components", cases.CASES, check_components, IMPLEMENTATIONS, wrong.WRONG),)
