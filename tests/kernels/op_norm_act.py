"""Normalisation and activation against NumPy in float64."""

from __future__ import annotations

import functools
from typing import Any

import torch
from tester import Implementation, MismatchError, Operation, compare, poisoned_outputs
from wrong import norm_act as wrong

from umd_engine.kernels.norm_act import cases, norm_act


def check_norm_act(case: cases.Case, implementation: Implementation, seed: int = 0) -> None:
    """`implementation(x=..., weight=...)` within the case's tolerance, in the input's type and memory format."""
    given = case.make(seed)
    before = {name: one.clone() for name, one in given.items() if isinstance(one, torch.Tensor)}
    expected = norm_act(**given, backend="reference")
    with poisoned_outputs():
        found = implementation(**given)
    if found.dtype != given["x"].dtype:
        raise MismatchError(f"{case.name}: dtype {found.dtype}, the input has {given['x'].dtype}")
    if case.layout == "channels_last" and not found.is_contiguous(memory_format=torch.channels_last_3d):
        raise MismatchError(f"{case.name}: the result is not channels last")
    compare(case.name, found.float(), expected.float().numpy(), case.tolerance(expected.float()))
    for name, copy in before.items():
        if not torch.equal(given[name], copy):
            raise MismatchError(f"{case.name}: {name} was written to")


def _on_cuda(**given: Any) -> torch.Tensor:
    moved = {name: one.cuda() if isinstance(one, torch.Tensor) else one for name, one in given.items()}
    return norm_act(**moved)


IMPLEMENTATIONS = {
    "cpu": functools.partial(norm_act, backend="cpu"),
    "gpu": _on_cuda,
}
OPERATIONS = (Operation("norm_act", cases.CASES, check_norm_act, IMPLEMENTATIONS, wrong.WRONG),)
