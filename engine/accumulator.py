"""Weighted sums of overlapping windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

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

    Sums that do not fit on the device are made in the host's memory, and `spill` moves them there; windows are then
    added there, in the same order.

    Args:
        channels: outputs a voxel.
        shape: the grid [X, Y, Z].
        weights: a window's weights [x, y, z].
        dtype: of the sums. float32, except where a protocol's official code sums in another type.
    """

    host = torch.device("cpu")

    def __init__(self, channels: int, shape: Triple, weights: torch.Tensor, dtype: torch.dtype = torch.float32):
        self.weights = weights
        self._starts: list[Triple] = []
        self._lock, self._handed_out = Lock(), False
        self.device = weights.device
        try:
            self._make((channels, *shape), dtype)
        except torch.OutOfMemoryError:
            self.device = self.host
            self._make((channels, *shape), dtype)
            self.weights = weights.to(self.host)

    def _make(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        self.values = self.zeros(shape, dtype, self.device)
        self._total = None if dtype is torch.float32 else self.zeros(shape[1:], dtype, self.device)

    @staticmethod
    def zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """Where all memory of the sums comes from."""
        return torch.zeros(*shape, dtype=dtype, device=device)

    def spill(self) -> int:
        """Move the sums to the host's memory; returns the bytes that are free on the device now.

        Sums that were handed out stay where they are, as do those that are there already.
        """
        with self._lock:
            if self._handed_out or self.device == self.host:
                return 0
            values, total = self.values, self._total
            moved = self.zeros(values.shape, values.dtype, self.host).copy_(values)
            self._total = None if total is None else self.zeros(total.shape, total.dtype, self.host).copy_(total)
            self.values, self.weights, self.device = moved, self.weights.to(self.host), self.host
        return values.nbytes + (0 if total is None else total.nbytes)

    def add(self, start: Triple, output: torch.Tensor, flips: Sequence[int] = ()) -> None:
        """Add one window's output [C, x, y, z] at its start corner.

        Args:
            flips: the spatial axes (0 to 2) of the grid along which the window was mirrored.
        """
        with self._lock:
            self._add(start, output.to(self.values.device), flips)

    def _add(self, start: Triple, output: torch.Tensor, flips: Sequence[int]) -> None:
        if self._total is None:
            accumulate(self.values, self.weights, output[None], [start], flips=[flips])
            self._starts.append(start)
            return
        box = tuple(slice(s, s + n) for s, n in zip(start, self.weights.shape, strict=True))
        mirrored = output.flip([axis + 1 for axis in flips]) if flips else output
        self.values[(slice(None), *box)] += mirrored * self.weights
        self._total[box] += self.weights

    def sums(self) -> Sums:
        """What was added so far; the same memory as is added to, which stays where it is from now on."""
        with self._lock:
            self._handed_out = True
        if self._total is not None:
            return Sums(self.values, self._total)
        return Sums(self.values, weight_sums(self.weights, self._starts, self.values.shape[1:]))

    def mean(self) -> torch.Tensor:
        """The weighted mean [C, X, Y, Z], in place of the sums."""
        sums = self.sums()
        return sums.values.div_(sums.total)  # type: ignore[arg-type]
