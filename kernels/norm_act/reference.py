"""Normalisation and activation, the plain way: NumPy in float64, rounded once."""

from __future__ import annotations

import numpy as np
import torch


def norm_act(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    eps: float,
    slope: float,
) -> torch.Tensor:
    """Of x [N, C, ...]; the factor `slope` below zero is the activation."""
    values = _float64(x)
    axes = tuple(range(2, values.ndim))
    if values.size:
        values = (values - values.mean(axes, keepdims=True)) / np.sqrt(values.var(axes, keepdims=True) + eps)
    column = (1, -1) + (1,) * len(axes)
    if weight is not None:
        values = values * _float64(weight).reshape(column)
    if bias is not None:
        values = values + _float64(bias).reshape(column)
    if residual is not None:
        values = values + _float64(residual)
    below = np.multiply(values, slope, out=np.zeros_like(values), where=(slope != 0) | np.isnan(values))
    return torch.from_numpy(np.where(values > 0, values, below)).to(x.device, x.dtype)


def _float64(tensor: torch.Tensor) -> np.ndarray:
    return tensor.double().cpu().numpy()
