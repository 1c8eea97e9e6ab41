"""Sliding windows over the cut, and their sums: a slab along Z at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch

from umd_engine.engine.windows import gaussian_weights
from umd_engine.kernels.windows import accumulate
from umd_engine.models.mask import Triple
from umd_engine.models.sat.network import PATCH

Done = Callable[[int, torch.Tensor, torch.Tensor], None]


def window_starts(size: int, patch: int) -> list[int]:
    """Starts along one axis: every half patch, max(ceil(size / step) - 1, 1) of them, the last moved back to fit."""
    step = patch // 2
    count = max(-(-size // step) - 1, 1)
    return [max(min(number * step, size - patch), 0) for number in range(count)]


def window_grid(size: Triple, patch: Triple = PATCH) -> list[Triple]:
    """Start corners of all windows, Z slowest, then X: those of one slab follow one another."""
    xs, ys, zs = (window_starts(n, p) for n, p in zip(size, patch, strict=True))
    return [(x, y, z) for z in zs for x in xs for y in ys]


def window(image: torch.Tensor, start: Triple, patch: Triple = PATCH) -> torch.Tensor:
    """[1, *patch]: the cut's voxels, zeros beyond its end."""
    piece = image[tuple(slice(s, s + n) for s, n in zip(start, patch, strict=True))]
    pads = [side for n, own in zip(patch[::-1], piece.shape[::-1], strict=True) for side in (0, n - own)]
    return torch.nn.functional.pad(piece, pads)[None]


def window_weights(patch: Triple = PATCH) -> torch.Tensor:
    """A Gaussian of SD patch / 8 with its maximum at 10, rounded to float16, as float32."""
    return gaussian_weights(patch, torch.float16).float()


class Slabs:
    """Weighted sums of the windows of one Z, handed over from below as soon as no later window touches them.

    Holds 4 (queries + 1) X Y min(patch Z, Z) bytes, X, Y and Z being the cut's: the same additions in the same order
    as on the whole grid.

    Args:
        size: the cut's [X, Y, Z].
        weights: a window's, float32; what sums are to be divided by is made of them.
        factors: what outputs are multiplied by, `weights` too, or ones where that has been done.
        done: takes (first Z, sums [queries, X, Y, planes], summed weights [X, Y, planes]); views, valid for the call.
    """

    def __init__(self, queries: int, size: Triple, weights: torch.Tensor, factors: torch.Tensor, done: Done):
        # zeros beyond the cut's end are computed and not kept
        extent = [min(n, p) for n, p in zip(size, weights.shape, strict=True)]
        self.inner = tuple(slice(0, n) for n in extent)
        self.weights, self.factors = weights[self.inner], factors[self.inner].contiguous()
        self.values = torch.zeros((queries, *size[:2], extent[2]), device=weights.device)
        self.total = torch.zeros((*size[:2], extent[2]), device=weights.device)
        self.first, self.done = 0, done

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.total.nbytes

    def add(self, start: Triple, output: torch.Tensor) -> None:
        """Add a window's output [queries, *patch]; starts come in the order of `window_grid`."""
        x, y, z = start
        if z > self.first:
            self._move_to(z)
        assert z == self.first, (z, self.first)
        cut = output[(slice(None), *self.inner)].contiguous()
        accumulate(self.values, self.factors, cut[None], [(x, y, 0)])
        nx, ny, _ = self.weights.shape
        self.total[x : x + nx, y : y + ny] += self.weights

    def finish(self) -> None:
        """Hand over what is left."""
        self.done(self.first, self.values, self.total)

    def _move_to(self, z: int) -> None:
        count = z - self.first
        self.done(self.first, self.values[..., :count], self.total[..., :count])
        for volume in (*self.values, self.total):  # one at a time: the copy stays small
            volume[..., :-count] = volume[..., count:].clone()
            volume[..., -count:] = 0
        self.first = z
