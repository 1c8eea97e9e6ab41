"""Windows as MONAI's sliding window lays them, summed slab by slab.

The windows are walked layer by layer along one axis. A row that no later window touches is finished and dropped, so
only as many rows are held as a window is deep: with C channels, windows p and a volume n, walked along axis a,

    bytes = 4 * (C + 1) * p[a] * n[b] * n[c]

(the 1 is the summed weights), whatever n[a] is. Sums of whole volumes take 4 * (C + 1) * n[a] * n[b] * n[c].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import torch

from umd_engine.engine.windows import flush_starts
from umd_engine.errors import ModelError
from umd_engine.kernels.windows import accumulate
from umd_engine.models.mask import Triple

Finish = Callable[[int, torch.Tensor, torch.Tensor], None]


def slowest_axis(shape: Triple, patch: Triple) -> int:
    """The axis to walk along for the fewest bytes."""
    return max(range(3), key=lambda axis: shape[axis] / patch[axis])


def slab_bytes(channels: int, shape: Triple, patch: Triple, axis: int) -> int:
    """Bytes of the sums and the summed weights, see above."""
    return 4 * (channels + 1) * patch[axis] * math.prod(shape) // shape[axis]


class SlabSums:
    """Weighted sums of windows over a slab of a volume.

    Args:
        channels: of a window's output.
        shape: of the volume, at least the windows'.
        weights: of a window, [x, y, z].
        overlap: of neighbours, as a share of the window.
        axis: to walk along.
        finish: called with the first row, the sums [channels, ...] and the summed weights of rows that are whole;
            both are views into memory that is used again.
        blank: channels of zeros before the others, given to `finish` too.
    """

    def __init__(
        self,
        channels: int,
        shape: Triple,
        weights: torch.Tensor,
        overlap: float,
        axis: int,
        finish: Finish,
        blank: int = 0,
    ):
        patch = tuple(weights.shape)
        lines = [flush_starts(n, p, overlap) for n, p in zip(shape, patch, strict=True)]
        self.starts = _in_layers(lines, axis)
        self.weights, self.axis, self.finish, self.blank = weights, axis, finish, blank
        held = [patch[a] if a == axis else n for a, n in enumerate(shape)]
        self.values = torch.zeros((channels + blank, *held), device=weights.device)
        self.total = torch.zeros((1, *held), device=weights.device)
        self._ones = torch.ones((1, 1, *patch), device=weights.device)
        self._first, self._next = 0, 0  # the slab's first row; the window to come

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.total.nbytes

    def add(self, number: int, output: torch.Tensor) -> None:
        """Add the output [channels, x, y, z] of a window; those before it that were left out count as zeros."""
        assert number >= self._next, "windows come in their order"
        for skipped in range(self._next, number):
            self._place(skipped)
        start = self._place(number)
        accumulate(self.values[self.blank :], self.weights, output[None].contiguous(), [start])
        self._next = number + 1

    def close(self) -> None:
        """Finish what is left."""
        for skipped in range(self._next, len(self.starts)):
            self._place(skipped)
        self._next = len(self.starts)
        self._finish(self.values.shape[self.axis + 1])

    def _place(self, number: int) -> Triple:
        """A window's corner in the slab, after moving the slab there and counting its weights."""
        start = list(self.starts[number])
        if start[self.axis] > self._first:
            self._finish(start[self.axis] - self._first)
        start[self.axis] -= self._first
        corner = (start[0], start[1], start[2])
        accumulate(self.total, self.weights, self._ones, [corner])
        return corner

    def _finish(self, rows: int) -> None:
        values = self.values.narrow(self.axis + 1, 0, rows)
        check_finite(values)
        self.finish(self._first, values, self.total[0].narrow(self.axis, 0, rows))
        for held in (self.values, self.total):
            _move_on(held, self.axis + 1, rows)
        self._first += rows


def check_finite(channels: Iterable[torch.Tensor]) -> None:
    """Raise ModelError unless all are finite; one at a time, as torch copies views to reduce them."""
    ends = torch.stack([end for channel in channels for end in torch.aminmax(channel)])
    if not bool(torch.isfinite(ends).all()):
        raise ModelError("the network gives infinite or undefined logits", mend="use --precision fp32 or bf16")


def _in_layers(lines: Sequence[Sequence[int]], axis: int) -> list[Triple]:
    """All corners, those along `axis` outermost, the last of the others fastest."""
    order = [axis, *(a for a in range(3) if a != axis)]
    back = [order.index(a) for a in range(3)]
    corners = itertools.product(*(lines[a] for a in order))
    return [(c[back[0]], c[back[1]], c[back[2]]) for c in corners]


def _move_on(held: torch.Tensor, axis: int, rows: int) -> None:
    """Drop the first rows: the others move to the front, in pieces that do not overlap, zeros follow."""
    count = held.shape[axis]
    for first in range(0, count - rows, rows):
        piece = min(rows, count - rows - first)
        held.narrow(axis, first, piece).copy_(held.narrow(axis, first + rows, piece))
    held.narrow(axis, count - rows, rows).zero_()
