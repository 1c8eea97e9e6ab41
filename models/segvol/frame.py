"""Where the network's axes lie: the file's axes in reverse, (d, h, w), cut to the foreground.

Three lattices share these axes: the scan's voxels inside the cut ("crop"), the whole crop resized to the network's
window ("resized"), and windows of the crop. The official code never leaves them; the way back onto the scan's grid
is `Frame.to_scan`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from umd_engine.data.volume import Grid
from umd_engine.kernels.parts import does
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.prompts import Box, Point, is_inside, voxel_of
from umd_engine.models.segvol.prompt_tokens import WINDOW

# Coordinates in mm do not come back as whole voxels; what is nearer than this to a border lies on it.
SLACK = 1e-6


def nearest(size: int, new: int, exact: bool = False) -> torch.Tensor:
    """int64 [new]: which of `size` voxels torch's `nearest` (or `nearest-exact`) resize takes."""
    line = torch.arange(size, dtype=torch.float32)[None, None]
    rule = "nearest-exact" if exact else "nearest"
    return torch.nn.functional.interpolate(line, size=new, mode=rule)[0, 0].long()


@does("resample")
def pick(volume: torch.Tensor, lines: Sequence[torch.Tensor]) -> torch.Tensor:
    """volume[..., lines[0] x lines[1] x lines[2]], the axis that shrinks most first."""
    order = sorted(range(3), key=lambda axis: len(lines[axis]) / max(volume.shape[axis - 3], 1))
    for axis in order:
        volume = volume.index_select(axis - 3, lines[axis].to(volume.device))
    return volume


@dataclass(frozen=True, eq=False)
class Frame:
    """The crop of a scan.

    Attributes:
        grid: the scan's.
        low: the crop's first voxel, (d, h, w) of the file's array.
        size: the crop's (d, h, w).
    """

    grid: Grid
    low: Triple
    size: Triple

    @property
    def axes(self) -> Triple:
        """The canonical axes that d, h and w are."""
        x, y, z = self.grid.file_axes
        return z, y, x

    @property
    def flips(self) -> tuple[bool, bool, bool]:
        x, y, z = self.grid.file_flips
        return z, y, x

    @cached_property
    def to_resized(self) -> list[torch.Tensor]:
        """For every resized voxel the crop's voxel that it shows, axis by axis."""
        return [nearest(n, window, exact=True) for n, window in zip(self.size, WINDOW, strict=True)]

    @cached_property
    def from_resized(self) -> list[torch.Tensor]:
        """For every crop voxel the resized voxel whose logit it takes, axis by axis."""
        return [nearest(window, n) for n, window in zip(self.size, WINDOW, strict=True)]

    @property
    def resized_affine(self) -> np.ndarray:
        """(4, 4), resized voxel (d, h, w) -> mm (RAS)."""
        to_file = np.zeros((4, 4))  # (d, h, w) -> file voxel
        to_file[3, 3] = 1.0
        for axis, (low, n, window) in enumerate(zip(self.low, self.size, WINDOW, strict=True)):
            to_file[2 - axis, axis] = n / window
            to_file[2 - axis, 3] = low + 0.5 * n / window - 0.5
        return self.grid.file_affine @ to_file

    def to_scan(self, voxels: torch.Tensor, low: Triple) -> Mask:
        """A mask [d, h, w] whose first voxel lies at `low` of the crop, on the scan's grid."""
        found = Mask.of(voxels)
        start: list[int] = [0, 0, 0]
        for axis, (world, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            first = self.low[axis] + low[axis] + found.low[axis]
            n = found.voxels.shape[axis]
            start[world] = self.grid.shape[world] - first - n if flip else first
        turned = found.voxels.flip([axis for axis in range(3) if self.flips[axis]])
        turned = turned.permute([self.axes.index(world) for world in range(3)]).contiguous()
        if not turned.numel():
            return Mask.empty(self.grid.shape, voxels.device)
        return Mask(turned, (start[0], start[1], start[2]), self.grid.shape)

    def from_scan(self, mask: Mask, lines: Sequence[torch.Tensor]) -> torch.Tensor:
        """uint8 [d, h, w]: the mask at the crop's voxels `lines`, axis by axis."""
        result = torch.zeros([len(line) for line in lines], dtype=torch.uint8, device=mask.voxels.device)
        rows, where = [], []
        for axis, (world, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            at = lines[axis] + self.low[axis]
            at = (self.grid.shape[world] - 1 - at if flip else at) - mask.low[world]
            here = torch.nonzero((at >= 0) & (at < mask.voxels.shape[world]))[:, 0]
            if not len(here):
                return result
            rows.append(slice(int(here[0]), int(here[-1]) + 1))  # lines rise
            where.append(at[here])
        result[tuple(rows)] = pick(mask.voxels.permute(self.axes), where)
        return result

    def box(self, box: Box) -> tuple[list[int], list[int]]:
        """First and last voxel (d, h, w) of a box, counted from the crop's first; they may lie outside."""
        first, last = [], []
        for axis, (world, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            low, high = box.low[world], box.high[world] - 1
            if flip:
                low, high = self.grid.shape[world] - 1 - high, self.grid.shape[world] - 1 - low
            first.append(low - self.low[axis])
            last.append(high - self.low[axis])
        return first, last

    def resized_voxel(self, world: Point) -> tuple[Triple, bool] | None:
        """The resized voxel in which a point in mm lies; None outside the scan.

        A coordinate c of the crop, whose voxels are centred on whole numbers, lies in resized voxel
        floor((c + 0.5) * window / n). The flag says that the point lies outside the crop and was moved to its border.
        """
        if not is_inside(voxel_of(world, self.grid.affine), self.grid):
            return None
        x, y, z = np.linalg.solve(self.grid.file_affine, [*world, 1.0])[:3]
        found, moved = [], False
        for c, low, n, window in zip((z, y, x), self.low, self.size, WINDOW, strict=True):
            at = math.floor((c - low + 0.5) * window / n + SLACK)
            found.append(min(max(at, 0), window - 1))
            moved = moved or not -0.5 - SLACK <= c - low <= n - 0.5 + SLACK
        return (found[0], found[1], found[2]), moved
