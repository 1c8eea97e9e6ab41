"""Deliberately wrong normalisations: each a mistake that a fast one makes."""

from __future__ import annotations

from typing import Any

import torch

from umd_engine.kernels.norm_act import norm_act


def _like(result: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    last = x.ndim == 5 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last_3d)
    return result.contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)


def _plain(x: torch.Tensor, mean: Any, variance: Any, given: dict[str, Any]) -> torch.Tensor:
    column = (1, -1) + (1,) * (x.ndim - 2)
    result = (x.float() - mean) / (variance + 1e-5).sqrt()
    if given["weight"] is not None:
        result = result * given["weight"].view(column) + given["bias"].view(column)
    if given["residual"] is not None:
        result = result + given["residual"].float()
    slope = {"relu": 0.0, "leaky_relu": given["slope"], None: 1.0}[given["activation"]]
    return _like(torch.where(result > 0, result, result * slope).to(x.dtype), x)


def _moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    axes = tuple(range(2, x.ndim))
    mean = x.float().mean(axes, keepdim=True)
    return mean, ((x.float() - mean) ** 2).mean(axes, keepdim=True)


def mean_of_squares(x: torch.Tensor, **given: Any) -> torch.Tensor:
    """One pass: E[x^2] - E[x]^2 in float32 loses every digit at a large mean."""
    if not x.numel():
        return x
    mean, _ = _moments(x)
    square = (x.float() ** 2).mean(tuple(range(2, x.ndim)), keepdim=True)
    return _plain(x, mean, (square - mean**2).clamp(min=0), given)


def scale_and_shift(x: torch.Tensor, **given: Any) -> torch.Tensor:
    """x * a + b with b = -mean * a: two large numbers' difference."""
    if not x.numel() or given["residual"] is not None:
        return norm_act(x, **given, backend="reference")
    mean, variance = _moments(x)
    scale = 1 / (variance + 1e-5).sqrt()
    return _plain(x.float() * scale - mean * scale, 0.0, torch.ones(()), given).to(x.dtype)


def unbiased_variance(x: torch.Tensor, **given: Any) -> torch.Tensor:
    if not x.numel() or x[0, 0].numel() == 1:
        return norm_act(x, **given, backend="reference")
    mean, variance = _moments(x)
    voxels = x[0, 0].numel()
    return _plain(x, mean, variance * voxels / (voxels - 1), given)


def statistics_of_the_batch(x: torch.Tensor, **given: Any) -> torch.Tensor:
    """A channel's statistics over all items."""
    if not x.numel():
        return x
    axes = (0, *range(2, x.ndim))
    return _plain(x, x.float().mean(axes, keepdim=True), x.float().var(axes, keepdim=True, correction=0), given)


def activates_before_the_residual(x: torch.Tensor, **given: Any) -> torch.Tensor:
    result = norm_act(x, **{**given, "residual": None}, backend="reference")
    return result if given["residual"] is None else _like(result + given["residual"], x)


def forgets_the_slope(x: torch.Tensor, **given: Any) -> torch.Tensor:
    activation = "relu" if given["activation"] else None
    return norm_act(x, **{**given, "activation": activation}, backend="reference")


def counts_the_padding(x: torch.Tensor, **given: Any) -> torch.Tensor:
    """The last tile's missing voxels count as values of zero."""
    if not x.numel():
        return x
    voxels = x[0, 0].numel()
    padded = torch.nn.functional.pad(x.reshape(*x.shape[:2], voxels), (0, -voxels % 1024))
    mean, variance = (one.view(*x.shape[:2], *(1,) * (x.ndim - 2)) for one in _moments(padded))
    return _plain(x, mean, variance, given)


def loses_the_memory_format(x: torch.Tensor, **given: Any) -> torch.Tensor:
    return norm_act(x, **given, backend="reference").contiguous()


def half_sums(x: torch.Tensor, **given: Any) -> torch.Tensor:
    """Partial sums in the input's type."""
    if x.dtype != torch.float16:
        return norm_act(x, **given, backend="reference")
    sums = x.flatten(2).cumsum(-1, dtype=torch.float16)[..., -1].float()
    mean = (sums / x[0, 0].numel()).view(*x.shape[:2], *(1,) * (x.ndim - 2))
    return _plain(x, mean, ((x.float() - mean) ** 2).mean(tuple(range(2, x.ndim)), keepdim=True), given)


WRONG = (
    mean_of_squares,
    scale_and_shift,
    unbiased_variance,
    statistics_of_the_batch,
    activates_before_the_residual,
    forgets_the_slope,
    counts_the_padding,
    loses_the_memory_format,
    half_sums,
)
