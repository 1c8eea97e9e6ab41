"""Where a network's voxels lie on the scan: turned axes, a box, and a lattice over the box."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from umd_engine.data.volume import Grid as ScanGrid
from umd_engine.errors import ModelError
from umd_engine.kernels.resample import affine, zoom
from umd_engine.models.custom.description import Grid

Triple = tuple[int, int, int]
ORDERS = {"nearest": 0, "linear": 1, "cubic": 3}
MOST = 1 << 31  # voxels of a lattice
KEPT = 1e-3  # mm: an axis this near to the spacing asked for is left as it is
WORLD = {"R": (0, False), "L": (0, True), "A": (1, False), "P": (1, True), "S": (2, False), "I": (2, True)}


@dataclass(frozen=True)
class Turn:
    """From RAS+ to another orientation: axis i is canonical axis axes[i], against it where flips[i]."""

    axes: Triple
    flips: tuple[bool, bool, bool]

    @classmethod
    def of(cls, code: str) -> Turn:
        """The turn to e.g. "LPS": the letters say where each axis runs to."""
        (a, fa), (b, fb), (c, fc) = (WORLD[letter] for letter in code)
        return cls((a, b, c), (fa, fb, fc))

    def there(self, volume: torch.Tensor) -> torch.Tensor:
        """[..., X, Y, Z] turned; a copy only where an axis is flipped."""
        lead = volume.ndim - 3
        turned = volume.permute(*range(lead), *(lead + axis for axis in self.axes))
        against = [lead + axis for axis, flip in enumerate(self.flips) if flip]
        return turned.flip(against) if against else turned

    def back(self, volume: torch.Tensor) -> torch.Tensor:
        """The inverse of `there`."""
        lead = volume.ndim - 3
        against = [lead + axis for axis, flip in enumerate(self.flips) if flip]
        straight = volume.flip(against) if against else volume
        x, y, z = (lead + int(axis) for axis in np.argsort(self.axes))
        return straight.permute(*range(lead), x, y, z)

    def of_canonical(self, values: tuple[float, float, float]) -> tuple[float, float, float]:
        a, b, c = (values[axis] for axis in self.axes)
        return a, b, c


@dataclass(frozen=True, eq=False)
class Frame:
    """A lattice over a box of the turned scan.

    Attributes:
        full: the turned scan's shape.
        low, high: the box, in turned voxels.
        shape: the lattice's.
        steps: voxels of the box from one lattice voxel to the next where the first voxel is kept; None: the extent.
            A lattice that keeps the extent and the shape is the box itself.
    """

    full: Triple
    low: Triple
    high: Triple
    shape: Triple
    steps: tuple[float, float, float] | None
    order: int

    @property
    def size(self) -> Triple:
        a, b, c = (hi - lo for lo, hi in zip(self.low, self.high, strict=True))
        return a, b, c

    @property
    def box(self) -> tuple[slice, slice, slice]:
        a, b, c = (slice(lo, hi) for lo, hi in zip(self.low, self.high, strict=True))
        return a, b, c

    def onto_lattice(self, channel: torch.Tensor) -> torch.Tensor:
        """float32 [*shape], memory of its own, of a turned channel [*full]."""
        inside = channel[self.box]
        if self.steps is not None:
            matrix = np.diag([*self.steps, 1.0])
            found = affine(inside[None], matrix, self.shape, order=self.order, precision="float32")[0]
        elif self.shape != self.size:
            found = zoom(inside[None].contiguous(), self.shape, (self.order,) * 3, precision="float32")[0]
        else:
            found = inside
        return found.float().clone(memory_format=torch.contiguous_format)

    def place(self, turned: np.ndarray) -> np.ndarray:
        """The lattice coordinate of a turned scan voxel, held within the lattice."""
        inside = turned - np.array(self.low)
        if self.steps is not None:
            found = inside / np.array(self.steps)
        else:
            found = (inside + 0.5) * np.array(self.shape) / np.array(self.size) - 0.5
        return np.clip(found, 0, np.array(self.shape) - 1)

    def onto_box(self, values: torch.Tensor, order: int) -> torch.Tensor:
        """float32 [*size] of one channel on the lattice, for lattices that keep the first voxel."""
        assert self.steps is not None
        if order == 0:
            found = values
            for axis, (n, step) in enumerate(zip(self.size, self.steps, strict=True)):
                # halves go to the even neighbour, as torch's grid_sample rounds them
                line = np.rint(np.arange(n) / step).astype(np.int64).clip(0, self.shape[axis] - 1)
                found = found.index_select(axis, torch.from_numpy(line).to(values.device))
            return found
        matrix = np.diag([*(1 / step for step in self.steps), 1.0])
        return affine(values[None], matrix, self.size, order=order, precision="float32")[0].float()


def frame_of(grid: Grid, scan: ScanGrid, turn: Turn, box: tuple[Triple, Triple] | None = None) -> Frame:
    """The frame of a stage.

    Args:
        box: low and high in turned voxels; None: the whole scan.

    Raises:
        ModelError: a lattice of more voxels than anything could hold.
    """
    frame = _frame(grid, scan, turn, box)
    if math.prod(frame.shape) > max(MOST, math.prod(frame.size)):
        shape, size = (" x ".join(map(str, axes)) for axes in (frame.shape, frame.size))
        raise ModelError(f"its grid has {shape} voxels for {size} of the scan", mend="is grid.spacing in mm?")
    return frame


def _frame(grid: Grid, scan: ScanGrid, turn: Turn, box: tuple[Triple, Triple] | None) -> Frame:
    full: Triple = tuple(scan.shape[axis] for axis in turn.axes)  # type: ignore[assignment]
    low, high = box if box is not None else ((0, 0, 0), full)
    size: Triple = tuple(b - a for a, b in zip(low, high, strict=True))  # type: ignore[assignment]
    order = ORDERS[grid.interpolation]
    if grid.shape is not None:
        return Frame(full, low, high, grid.shape, None, order)
    if grid.spacing is None:
        return Frame(full, low, high, size, None, order)
    here = turn.of_canonical(scan.spacing)
    if grid.placing == "extent":
        shape = tuple(max(round(n * mm / new), 1) for n, mm, new in zip(size, here, grid.spacing, strict=True))
        return Frame(full, low, high, shape, None, order)  # type: ignore[arg-type]
    norms = np.linalg.norm(scan.affine[:3, :3], axis=0)  # MONAI's spacing is the affine's, not the header's
    here = turn.of_canonical((float(norms[0]), float(norms[1]), float(norms[2])))
    steps = [1.0 if abs(mm - new) <= KEPT else new / mm for mm, new in zip(here, grid.spacing, strict=True)]
    if steps == [1.0] * 3:
        return Frame(full, low, high, size, None, order)
    shape = tuple(int(np.round((n - 1) / step + 1)) for n, step in zip(size, steps, strict=True))
    return Frame(full, low, high, shape, (steps[0], steps[1], steps[2]), order)  # type: ignore[arg-type]
