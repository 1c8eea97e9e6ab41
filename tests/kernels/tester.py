"""Holds an implementation of an operation against its reference on a case. Never one fast one against another.

Each `op_NAME.py` beside this file lists an operation's cases, check, implementations and wrong kernels.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

Implementation = Callable[..., Any]


class MismatchError(AssertionError):
    """An implementation whose result is not the reference's."""


@dataclass(frozen=True)
class Operation:
    """What is tested of an operation.

    Attributes:
        cases: have a `name` each; every one is run on every implementation.
        check: (case, implementation) -> None; raises MismatchError.
        implementations: those whose name begins with "gpu" need a CUDA device.
        wrong: what some case has to reject.
    """

    name: str
    cases: Sequence[Any]
    check: Callable[[Any, Implementation], None]
    implementations: Mapping[str, Implementation]
    wrong: Sequence[Implementation] = ()

    def check_all(self, implementation: Implementation) -> None:
        for case in self.cases:
            self.check(case, implementation)


def operations() -> dict[str, Operation]:
    """Those of every op_*.py, by name."""
    modules = [importlib.import_module(path.stem) for path in sorted(Path(__file__).parent.glob("op_*.py"))]
    return {operation.name: operation for module in modules for operation in module.OPERATIONS}


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


def compare(name: str, found: Any, expected: np.ndarray, tolerance: float) -> None:
    """Type, shape, and every value within `tolerance`; nothing may be NaN or infinite."""
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


def unchanged(name: str, arrays: Sequence[np.ndarray], before: Sequence[np.ndarray]) -> None:
    """The inputs are as they were."""
    for array, copy in zip(arrays, before, strict=True):
        if not np.array_equal(array, copy):
            raise MismatchError(f"{name}: the input was written to")
