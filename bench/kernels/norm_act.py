"""InstanceNorm, LeakyReLU and residual addition of a network's largest feature maps, against torch's in turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.nn.functional import instance_norm, leaky_relu_

from umd_engine.bench.floor import Entry, Promise
from umd_engine.kernels.norm_act import norm_act
from umd_engine.kernels.norm_act.cases import Case

TORCH = "leaky_relu_(instance_norm(x, weight=w, bias=b), 0.01)"
TORCH_RESIDUAL = "leaky_relu_(instance_norm(x, weight=w, bias=b).add_(residual), 0.01)"
SHAPE = (1, 32, 96, 96, 96)
PROMISE = Promise("H200", share=0.8)
CASES = (
    Case("32 x 96^3 float32", SHAPE),
    Case("32 x 96^3 float32, residual", SHAPE, residual=True),
    Case("32 x 96^3 float32, channels last", SHAPE, layout="channels_last"),
    Case("32 x 96^3 bfloat16, residual", SHAPE, torch.bfloat16, residual=True),
    Case("128 x 24^3 bfloat16", (1, 128, 24, 24, 24), torch.bfloat16),
)


def entries() -> list[Entry]:
    """Every case on the CPU, on a device, and by torch on the CPU and on the device."""
    return [entry for case in CASES for entry in _entries(case)]


def _entries(case: Case) -> list[Entry]:
    given = cache(case.make)
    there = cache(lambda: {k: v.cuda() if isinstance(v, torch.Tensor) else v for k, v in case.make().items()})
    expected = cache(lambda: norm_act(**given(), backend="reference").float())
    check, call = _check(case, expected), TORCH_RESIDUAL if case.residual else TORCH
    promise = PROMISE if case.shape == SHAPE else None  # the small one fits in a cache and is all launch
    return [
        Entry("norm_act", "cpu", case.name, lambda: _run(given()), case.bytes_moved, check),
        Entry("norm_act", "gpu", case.name, lambda: _run(there()), case.bytes_moved, check, promise=promise),
        Entry("norm_act", "peer:torch", case.name, lambda: _torch(given()), 0, check, True, call),
        Entry("norm_act", "peer:torch-gpu", case.name, lambda: _torch(there()), 0, check, True, call, device="cuda"),
    ]


@torch.no_grad()
def _run(given: dict[str, Any]) -> torch.Tensor:
    result: torch.Tensor = norm_act(**given)
    return result


@torch.no_grad()
def _torch(given: dict[str, Any]) -> torch.Tensor:
    x, weight, bias = (given[name] for name in ("x", "weight", "bias"))
    result = instance_norm(x, weight=weight.to(x.dtype), bias=bias.to(x.dtype))
    if given["residual"] is not None:
        result = result.add_(given["residual"])
    return leaky_relu_(result, given["slope"])


def _check(case: Case, expected: Callable[[], torch.Tensor]) -> Callable[[Any], None]:
    def check(found: torch.Tensor) -> None:
        # torch rounds between its steps, so three roundings of the type are allowed to both
        allowed = 3 * case.tolerance(expected())
        worst = float((found.float().cpu() - expected()).abs().max())
        if worst > allowed:
            raise AssertionError(f"off by {worst}, allowed {allowed}")

    return check
