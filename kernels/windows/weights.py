"""The summed weights of a plan's windows, once a plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from umd_engine.kernels.windows.arguments import Triple


def weight_sums(weights: torch.Tensor, starts: np.ndarray, shape: Triple) -> torch.Tensor:
    """float32 [*shape]: weights [px, py, pz] summed at every start, on the device of the weights.

    Where the starts are all combinations of starts along each axis, each equally often (as a sliding window's
    are), the sum is taken axis after axis: nx + ny + nz shifted additions in place of nx * ny * nz.
    """
    weights = weights.float()
    unique, times = np.unique(starts.reshape(-1, 3), axis=0, return_counts=True)
    lines = [np.unique(unique[:, axis]) for axis in range(3)]
    if len(unique) and len(unique) == np.prod([len(line) for line in lines]) and (times == times[0]).all():
        total = weights
        for axis, line in enumerate(lines):
            total = _shifted(total, axis, line.tolist(), shape[axis])
        return total.mul_(float(times[0]))
    total = torch.zeros(shape, device=weights.device)
    for start, count in zip(unique.tolist(), times.tolist(), strict=True):
        box = tuple(slice(s, s + n) for s, n in zip(start, weights.shape, strict=True))
        total[box] += weights * count
    return total


def _shifted(data: torch.Tensor, axis: int, starts: Sequence[int], size: int) -> torch.Tensor:
    """Copies of `data` at starts along an axis, summed on an axis of `size` voxels."""
    shape = list(data.shape)
    shape[axis] = size
    total = torch.zeros(shape, device=data.device)
    for start in starts:
        total.narrow(axis, start, data.shape[axis]).add_(data)
    return total
