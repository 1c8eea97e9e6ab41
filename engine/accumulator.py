"""Weighted sums of overlapping windows."""

from __future__ import annotations

import torch

from umd_engine.engine.windows import Triple


class Accumulator:
    """Sums weighted window outputs on a whole grid; `mean` divides by the summed weights.

    Args:
        channels: outputs a voxel.
        shape: the grid [X, Y, Z].
        weights: a window's weights [x, y, z].
        dtype: of the sums. float32, except where a protocol's official code sums in another type.
    """

    def __init__(self, channels: int, shape: Triple, weights: torch.Tensor, dtype: torch.dtype = torch.float32):
        self.weights = weights
        self.sums = torch.zeros((channels, *shape), dtype=dtype, device=weights.device)
        self.total = torch.zeros(shape, dtype=dtype, device=weights.device)

    def add(self, start: Triple, output: torch.Tensor) -> None:
        """Add one window's output [C, x, y, z], which is consumed, at its start corner."""
        box = tuple(slice(s, s + n) for s, n in zip(start, self.weights.shape, strict=True))
        output *= self.weights
        self.sums[(slice(None), *box)] += output
        self.total[box] += self.weights

    def mean(self) -> torch.Tensor:
        """The weighted mean [C, X, Y, Z], in place of the sums."""
        return self.sums.div_(self.total)
