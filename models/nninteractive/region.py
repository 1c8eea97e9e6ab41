"""A box of voxels, half open, that may leave the scan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from umd_engine.models.mask import Mask, Triple


@dataclass(frozen=True)
class Region:
    """Voxels low to high - 1, in the file's order."""

    low: Triple
    high: Triple

    @classmethod
    def around(cls, center: Triple, size: Triple) -> Region:
        """`size` voxels from center - size // 2 on."""
        low = triple(c - n // 2 for c, n in zip(center, size, strict=True))
        return cls(low, triple(lo + n for lo, n in zip(low, size, strict=True)))

    @property
    def size(self) -> Triple:
        return triple(hi - lo for lo, hi in zip(self.low, self.high, strict=True))

    @property
    def empty(self) -> bool:
        return any(n <= 0 for n in self.size)

    def overlap(self, other: Region) -> Region:
        """What both have in common; `empty` where that is nothing."""
        low = triple(max(a, b) for a, b in zip(self.low, other.low, strict=True))
        return Region(low, triple(min(a, b) for a, b in zip(self.high, other.high, strict=True)))

    def meets(self, other: Region) -> bool:
        return not self.overlap(other).empty

    def within(self, shape: Sequence[int]) -> Region:
        return self.overlap(Region((0, 0, 0), triple(shape)))

    def grown(self, by: int) -> Region:
        return Region(triple(lo - by for lo in self.low), triple(hi + by for hi in self.high))

    def moved(self, by: Triple, sign: int = 1) -> Region:
        low = triple(lo + sign * b for lo, b in zip(self.low, by, strict=True))
        return Region(low, triple(hi + sign * b for hi, b in zip(self.high, by, strict=True)))

    def seen_from(self, frame: Region) -> tuple[slice, slice, slice]:
        """Slices of a tensor that holds `frame`."""
        x, y, z = (slice(lo - first, hi - first) for lo, hi, first in zip(self.low, self.high, frame.low, strict=True))
        return x, y, z


def triple(values: Iterable[int]) -> Triple:
    x, y, z = (int(value) for value in values)
    return x, y, z


def hull(regions: Sequence[Region]) -> Region:
    """The smallest region that holds all of them."""
    low = triple(min(region.low[axis] for region in regions) for axis in range(3))
    return Region(low, triple(max(region.high[axis] for region in regions) for axis in range(3)))


def tight(mask: Mask) -> Mask:
    """The same mask in the smallest box that holds it."""
    inner = Mask.of(mask.voxels)
    low = triple(a + b for a, b in zip(inner.low, mask.low, strict=True)) if inner.voxels.numel() else (0, 0, 0)
    return Mask(inner.voxels, low, mask.shape)


def placed(values: torch.Tensor, at: Region, frame: Region) -> torch.Tensor:
    """A frame that holds values in the region `at` of it, and zeros elsewhere."""
    if at == frame:
        return values
    out = values.new_zeros(frame.size)
    out[at.seen_from(frame)] = values
    return out


def cut(volume: torch.Tensor, region: Region) -> torch.Tensor:
    """A region of [X, Y, Z]; zeros where it leaves the volume."""
    inside = region.within(volume.shape)
    if inside == region:
        return volume[region.seen_from(Region((0, 0, 0), triple(volume.shape)))]
    out = volume.new_zeros(region.size)
    if not inside.empty:
        out[inside.seen_from(region)] = volume[inside.seen_from(Region((0, 0, 0), triple(volume.shape)))]
    return out
