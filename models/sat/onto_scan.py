"""From sums on the cut to each organ's mask on the scan's grid, slab by slab."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from umd_engine.kernels.resample import affine
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.sat.frame import Frame


class OntoScan:
    """Takes means of the cut from below and keeps, organ by organ, the boxes of the scan's voxels that are set.

    A voxel of the scan takes the mean probability at its centre, trilinear, and is set above 0.5; with `nearest` it
    takes whether the voxel of the cut in which it lies is above 0.5. Outside the cut nothing is set.
    """

    def __init__(self, frame: Frame, queries: int, nearest: bool):
        self.frame, self.nearest = frame, nearest
        self._ranges = frame.shown(0), frame.shown(1)
        self._z = frame.shown(2).start  # the scan's next plane
        self._pieces: list[list[Mask]] = [[] for _ in range(queries)]
        self._kept: list[torch.Tensor] = []  # each organ's last plane [X, Y, 1]: between it and the next lie voxels

    def add(self, first: int, sums: torch.Tensor, total: torch.Tensor) -> None:
        """Planes from `first` on: sums [queries, X, Y, planes] and what they are to be divided by."""
        zs = self._ready(first + sums.shape[-1])
        kept = []
        for organ, values in enumerate(sums):
            mean = values / total
            kept.append(mean[..., -1:].clone())
            planes = torch.cat([self._kept[organ], mean], dim=2) if self._kept else mean
            # most slabs hold nothing of most organs, and no mean of such probabilities is above 0.5
            if zs and all(self._ranges) and float(planes.amax()) > 0.5:
                self._keep(organ, planes, first - bool(self._kept), zs)
        self._kept = kept

    def _ready(self, end: int) -> range:
        """The scan's planes, from the next one on, that need no plane of the cut from `end` on."""
        size = self.frame.size[2]
        stop = self.frame.within(2, -0.5, size - 0.5 if end == size else end - 1).stop
        begin, self._z = self._z, max(self._z, stop)
        return range(begin, self._z)

    def mask(self, organ: int) -> Mask:
        """All that was found of an organ."""
        return join(self._pieces[organ], self.frame.grid.shape, self._device)

    @property
    def _device(self) -> torch.device:
        return self._kept[0].device

    def _keep(self, organ: int, planes: torch.Tensor, bottom: int, zs: range) -> None:
        xs, ys = self._ranges
        matrix = np.diag([*self.frame.steps, 1.0])
        for axis, own in enumerate((xs, ys, zs)):
            matrix[axis, 3] = self.frame.place(axis, own.start) - (bottom if axis == 2 else 0)
        source = (planes > 0.5).to(torch.uint8) if self.nearest else planes
        shape = (len(xs), len(ys), len(zs))
        order = 0 if self.nearest else 1
        found = affine(source[None], matrix, shape, order, precision="float32")[0]
        piece = Mask.of(found if self.nearest else found > 0.5)
        if piece.voxels.numel():
            low = (piece.low[0] + xs.start, piece.low[1] + ys.start, piece.low[2] + zs.start)
            self._pieces[organ].append(Mask(piece.voxels, low, self.frame.grid.shape))


def join(pieces: Sequence[Mask], shape: Triple, device: torch.device) -> Mask:
    """The union of masks of one grid, in the box of all."""
    if not pieces:
        return Mask.empty(shape, device)
    low = [min(piece.low[axis] for piece in pieces) for axis in range(3)]
    high = [max(piece.high[axis] for piece in pieces) for axis in range(3)]
    whole = torch.zeros([b - a for a, b in zip(low, high, strict=True)], dtype=torch.uint8, device=device)
    for piece in pieces:
        box = tuple(slice(a - lo, b - lo) for a, b, lo in zip(piece.low, piece.high, low, strict=True))
        whole[box] |= piece.voxels
    return Mask(whole, (low[0], low[1], low[2]), shape)
