"""Resampling on a CUDA device: wide bands, since a launch costs more than multiplications by zero."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from umd_engine.kernels.resample import separable

ROWS = 512


def zoom(data: torch.Tensor, shape: Sequence[int], orders: Sequence[int], clip: separable.Clip) -> torch.Tensor:
    """As `separable.zoom`, for a tensor on a CUDA device; float64 throughout."""
    return separable.zoom(data, shape, orders, clip, ROWS)
