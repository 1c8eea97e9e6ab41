"""Sliding windows: where they start, and how much each voxel of one counts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

Triple = tuple[int, int, int]


def window_starts(size: int, patch: int, step: float) -> list[int]:
    """Starts along one axis: evenly spread, the last window flush with the end.

    Args:
        size: voxels along the axis, at least `patch`.
        step: the largest step as a share of the patch (0.5: neighbours overlap by half or more).
    """
    assert size >= patch and 0 < step <= 1
    span = size - patch
    count = math.ceil(span / (patch * step)) + 1
    if count == 1:
        return [0]
    # np.round: halves go to the even neighbour, as in nnU-Net
    return [int(np.round(span / (count - 1) * i)) for i in range(count)]


def flush_starts(size: int, patch: int, overlap: float) -> list[int]:
    """Starts along one axis as MONAI's: steps of int(patch * (1 - overlap)), the last window moved back to the end."""
    assert size >= patch
    step = max(int(patch * (1 - overlap)), 1)
    count = -(-(size - patch) // step) + 1
    return [min(number * step, size - patch) for number in range(count)]


def window_grid(shape: Triple, patch: Triple, step: float = 0.5) -> list[Triple]:
    """Start corners of all windows, the last axis running fastest."""
    starts = (window_starts(n, p, step) for n, p in zip(shape, patch, strict=True))
    return list(itertools.product(*starts))  # type: ignore[arg-type]


def centred_gaussian(patch: Triple, sigma_scale: float = 0.125, smallest: float = 1e-3) -> torch.Tensor:
    """MONAI's weights float32 [*patch]: exp(-x^2 / (2 (p * sigma_scale)^2)) around the middle, at least `smallest`."""
    weights = torch.ones(())
    for n in patch:
        line = torch.arange(n, dtype=torch.float32) - (n - 1) / 2
        weights = weights[..., None] * torch.exp(line**2 / (-2 * (n * sigma_scale) ** 2))
    return weights.clamp_(min=max(float(weights.min()), smallest))


def gaussian_weights(patch: Triple, dtype: torch.dtype, sigma_scale: float = 0.125, peak: float = 10.0) -> torch.Tensor:
    """A Gaussian around voxel `patch // 2` with its maximum at `peak`; zeros become the smallest weight.

    Equal to `scipy.ndimage.gaussian_filter` of a unit impulse with sigma = patch * sigma_scale, cut off at
    4 sigma: the response to an impulse is the product of three one-dimensional kernels. The centre of an
    even patch is off by half a voxel, so the weights are asymmetric; networks were evaluated with it.

    Returns:
        Weights [X, Y, Z] in `dtype`, all above zero.
    """
    weights = np.ones(())
    for n in patch:
        sigma = n * sigma_scale
        x = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
        kernel = np.exp(-0.5 / sigma**2 * x**2)
        kernel /= kernel.sum()
        line = np.zeros(n)
        inside = (x + n // 2 >= 0) & (x + n // 2 < n)
        line[x[inside] + n // 2] = kernel[inside]
        weights = weights[..., None] * line
    weights /= weights.max() / peak
    result = torch.from_numpy(weights).to(dtype)
    result[result == 0] = result[result > 0].min()
    return result
