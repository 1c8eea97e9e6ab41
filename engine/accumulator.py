"""Weighted sums of overlapping windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from umd_engine.engine.windows import Triple
from umd_engine.kernels.windows import accumulate, weight_sums


@dataclass(frozen=True, eq=False)
class Sums:
    """Weighted sums and what they are to be divided by; the division waits for who needs it.

    Attributes:
        values: [C, X, Y, Z].
        total: summed weights [X, Y, Z] float32; None: the values are means already.
    """

    values: torch.Tensor
    total: torch.Tensor | None = None

    def crop(self, box: tuple[slice, slice, slice]) -> Sums:
        """Views of both."""
        return Sums(self.values[(slice(None), *box)], None if self.total is None else self.total[box])

    def mean(self) -> torch.Tensor:
        """[C, X, Y, Z], a copy where there is something to divide by."""
        return self.values if self.total is None else self.values / self.total


class Accumulator:
    """Sums weighted window outputs on a whole grid.

    float32 sums are the kernel's: a window a pass, whatever its mirroring, and the weights of all windows summed
    once, at the end. Other types are summed step by step as torch does, each step rounded.

    Args:
        channels: outputs a voxel.
        shape: the grid [X, Y, Z].
        weights: a window's weights [x, y, z].
        dtype: of the sums. float32, except where a protocol's official code sums in another type.
    """

    def __init__(self, channels: int, shape: Triple, weights: torch.Tensor, dtype: torch.dtype = torch.float32):
        self.weights = weights
        self.values = torch.zeros((channels, *shape), dtype=dtype, device=weights.device)
        self._starts: list[Triple] = []
        self._total = None if dtype is torch.float32 else torch.zeros(shape, dtype=dtype, device=weights.device)

    def add(self, start: Triple, output: torch.Tensor, flips: Sequence[int] = ()) -> None:
        """Add one window's output [C, x, y, z] at its start corner.

        Args:
            flips: the spatial axes (0 to 2) of the grid along which the window was mirrored.
        """
        if self._total is None:
            accumulate(self.values, self.weights, output[None], [start], flips=[flips])
            self._starts.append(start)
            return
        box = tuple(slice(s, s + n) for s, n in zip(start, self.weights.shape, strict=True))
        mirrored = output.flip([axis + 1 for axis in flips]) if flips else output
        self.values[(slice(None), *box)] += mirrored * self.weights
        self._total[box] += self.weights

    def sums(self) -> Sums:
        """What was added so far; the same memory as is added to."""
        if self._total is not None:
            return Sums(self.values, self._total)
        return Sums(self.values, weight_sums(self.weights, self._starts, self.values.shape[1:]))

    def mean(self) -> torch.Tensor:
        """The weighted mean [C, X, Y, Z], in place of the sums."""
        return self.values.div_(self.sums().total)  # type: ignore[arg-type]
