"""InstanceNorm, activation and residual addition of a network's inference in one operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from umd_engine.kernels.backends import missing_library, resolve
from umd_engine.kernels.norm_act.arguments import check, negative_slope
from umd_engine.kernels.norm_act.module import NormAct, fuse_norm_act

__all__ = ["NormAct", "fuse_norm_act", "norm_act"]


def norm_act(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    activation: str | None = "relu",
    slope: float = 0.01,
    residual: Any = None,
    backend: str = "auto",
) -> Any:
    """activation((x - mean) / sqrt(variance + eps) * weight + bias + residual), statistics of each item and channel.

    Args:
        x: [N, C, X, Y, Z] (or any number of voxel axes) float16, bfloat16 or float32, NumPy array or torch tensor;
            contiguous and channels-last tensors are read where they lie. The variance is the biased one, as in
            `torch.nn.InstanceNorm3d`; of one voxel it is 0.
        weight: [C], default ones.
        bias: [C], default zeros.
        activation: "relu", "leaky_relu" or None.
        slope: of "leaky_relu" below zero.
        residual: like x, added before the activation.
        backend: "auto" (where x lies), "cpu" (numba), "gpu" (Triton) or "reference" (NumPy, float64).

    Returns:
        Like x: its kind, type, device and memory format. Statistics and arithmetic are float32 or better, rounded once
        to the type of x.

    Raises:
        KernelError: another dtype or device, unlike shapes, an eps that is not positive, an unknown activation, or
            tensors that need a gradient: this is for inference.
        BackendError: the named backend cannot run here.
        OptionError: an unknown backend name.
    """
    check(x, weight, bias, eps, activation, residual)
    below = negative_slope(activation, slope)
    name = resolve(backend, on_gpu=isinstance(x, torch.Tensor) and x.is_cuda, kernel="norm_act")
    values, scale, shift, added = (None if one is None else _as_tensor(one) for one in (x, weight, bias, residual))
    result = _implementation(name)(values, scale, shift, added, eps, below)
    return result.cpu().numpy() if isinstance(x, np.ndarray) else result


def _implementation(name: str) -> Callable[..., torch.Tensor]:
    if name == "reference":
        from umd_engine.kernels.norm_act import reference

        return reference.norm_act
    if name == "cpu":
        from umd_engine.kernels.norm_act import cpu

        return cpu.norm_act
    try:
        import triton  # noqa: F401
    except ImportError as error:
        raise missing_library("norm_act", "gpu", "triton") from error
    from umd_engine.kernels.norm_act import gpu

    return gpu.norm_act


def _as_tensor(array: Any) -> torch.Tensor:
    if isinstance(array, torch.Tensor):
        return array.detach()
    return torch.from_numpy(np.array(array, order="C"))
