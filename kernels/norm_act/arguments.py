"""Checks of norm_act's arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from umd_engine.errors import KernelError

DTYPES = ("float32", "float16", "bfloat16")
ACTIVATIONS = ("relu", "leaky_relu", None)


def negative_slope(activation: str | None, slope: float) -> float:
    """The factor of values below zero: 0 is ReLU, 1 no activation."""
    return {"relu": 0.0, "leaky_relu": slope, None: 1.0}[activation]


def check(x: Any, weight: Any, bias: Any, eps: float, activation: str | None, residual: Any) -> None:
    _check_array(x, "x")
    if x.ndim < 3:
        raise KernelError(f"norm_act: x has shape {tuple(x.shape)}, not [N, C, X, Y, Z]")
    channels = (x.shape[1],)
    for name, array, shape in (("weight", weight, channels), ("bias", bias, channels), ("residual", residual, x.shape)):
        if array is None:
            continue
        _check_array(array, name)
        if tuple(array.shape) != tuple(shape):
            raise KernelError(f"norm_act: {name} has shape {tuple(array.shape)}, not {tuple(shape)}")
        if _device(array) != _device(x):
            raise KernelError(f"norm_act: {name} lies on {_device(array)} and x on {_device(x)}")
    if residual is not None and _dtype(residual) != _dtype(x):
        raise KernelError(f"norm_act: residual is {residual.dtype} and x {x.dtype}")
    if not (math.isfinite(eps) and eps > 0):
        raise KernelError(f"norm_act: eps is {eps}", mend="a positive number, 1e-5 by default")
    if activation not in ACTIVATIONS:
        raise KernelError(f"norm_act: unknown activation '{activation}'", mend="relu, leaky_relu or None")
    _check_gradient(x, weight, bias, residual)


def _check_array(array: Any, name: str) -> None:
    if not isinstance(array, (np.ndarray, torch.Tensor)):
        raise KernelError(f"norm_act: {name} is a {type(array).__name__}, not an array or a tensor")
    if _dtype(array) not in DTYPES:
        raise KernelError(f"norm_act: {name} is {array.dtype}", mend=f"one of {', '.join(DTYPES)}")


def _check_gradient(*arrays: Any) -> None:
    tensors = [array for array in arrays if isinstance(array, torch.Tensor)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        raise KernelError(
            "norm_act: a tensor needs a gradient, which is not computed", mend="call it in torch.no_grad()"
        )


def _dtype(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")


def _device(array: Any) -> torch.device:
    return array.device if isinstance(array, torch.Tensor) else torch.device("cpu")
