"""One organ's mask on the scan's grid, kept within a box: a small organ costs a small tensor."""

from __future__ import annotations

from dataclasses import dataclass

import torch

Triple = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Mask:
    """Voxels of a box; outside it nothing belongs to the organ.

    Attributes:
        voxels: uint8 [x, y, z], 0 or 1, on any device.
        low: the box's first voxel on the scan's grid, RAS+.
        shape: the scan's [X, Y, Z].
    """

    voxels: torch.Tensor
    low: Triple
    shape: Triple

    def __post_init__(self) -> None:
        assert self.voxels.dtype is torch.uint8 and self.voxels.ndim == 3
        assert all(0 <= lo <= hi <= n for lo, hi, n in zip(self.low, self.high, self.shape, strict=True)), self.box

    @classmethod
    def of(cls, voxels: torch.Tensor) -> Mask:
        """A mask [X, Y, Z] of the whole scan, bool or uint8, cut to the box of what is set."""
        set_ = voxels != 0
        low, high = [], []
        for axis in range(3):
            line = set_.any(dim=2 if axis < 2 else 1).any(dim=1 if axis == 0 else 0)  # [n of the axis]
            found = torch.nonzero(line)
            low.append(int(found[0]) if len(found) else 0)
            high.append(int(found[-1]) + 1 if len(found) else 0)
        box = tuple(slice(lo, hi) for lo, hi in zip(low, high, strict=True))
        return cls(set_[box].to(torch.uint8).contiguous(), (low[0], low[1], low[2]), _triple(voxels.shape))

    @classmethod
    def empty(cls, shape: Triple, device: torch.device | str = "cpu") -> Mask:
        return cls(torch.zeros((0, 0, 0), dtype=torch.uint8, device=device), (0, 0, 0), shape)

    @property
    def high(self) -> Triple:
        """One beyond the box's last voxel."""
        return _triple([lo + n for lo, n in zip(self.low, self.voxels.shape, strict=True)])

    @property
    def box(self) -> tuple[slice, slice, slice]:
        x, y, z = (slice(lo, hi) for lo, hi in zip(self.low, self.high, strict=True))
        return x, y, z

    def crop(self, low: Triple, high: Triple) -> torch.Tensor:
        """uint8 voxels of any box of the scan's grid; zeros outside this mask, also outside the scan."""
        size = [hi - lo for lo, hi in zip(low, high, strict=True)]
        voxels = self.voxels.new_zeros(size)
        first = [max(a, b) for a, b in zip(low, self.low, strict=True)]
        last = [min(a, b) for a, b in zip(high, self.high, strict=True)]
        if all(a < b for a, b in zip(first, last, strict=True)):
            here = tuple(slice(a - lo, b - lo) for a, b, lo in zip(first, last, low, strict=True))
            there = tuple(slice(a - lo, b - lo) for a, b, lo in zip(first, last, self.low, strict=True))
            voxels[here] = self.voxels[there]
        return voxels

    def full(self) -> torch.Tensor:
        """uint8 [X, Y, Z] of the whole scan."""
        return self.crop((0, 0, 0), self.shape)


def _triple(values: object) -> Triple:
    x, y, z = (int(value) for value in values)  # type: ignore[attr-defined]
    return x, y, z
