"""Maxima over windows, means of blocks and nearest voxels, all by index: zeros are never stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product

import torch

from umd_engine.models.mask import Triple
from umd_engine.models.nninteractive.region import Region


def nearest_odd(number: float) -> int:
    """The official rounding of a window's width: up if that is odd, else down if that is, else beyond."""
    if math.ceil(number) % 2:
        return math.ceil(number)
    return math.floor(number) if math.floor(number) % 2 else round(number) + 1


def dilated(values: torch.Tensor, radius: int) -> torch.Tensor:
    """The maximum of [x, y, z] over windows of (2 radius + 1)^3, clipped to the volume."""
    for axis in range(3):
        values = torch.maximum(_reach(values, axis, radius), _reach(values.flip(axis), axis, radius).flip(axis))
    return values


def opened(mask: torch.Tensor, radius: int) -> torch.Tensor:
    """A uint8 mask without what a cube of (2 radius + 1)^3 does not fit into; the border does not erode."""
    return dilated(1 - dilated(1 - mask, radius), radius)


def _reach(values: torch.Tensor, axis: int, radius: int) -> torch.Tensor:
    """The maximum over a voxel and the `radius` after it; windows double, so this takes log2(radius) passes."""
    width, length = 1, values.shape[axis]
    while width < radius + 1 and width < length:
        step = min(width, radius + 1 - width)
        longer = values.clone()
        ahead = torch.maximum(values.narrow(axis, 0, length - step), values.narrow(axis, step, length - step))
        longer.narrow(axis, 0, length - step).copy_(ahead)
        values, width = longer, width + step
    return values


def block_means(values: torch.Tensor, at: Region, size: Triple, patch: Triple, dtype: torch.dtype) -> torch.Tensor:
    """The resize `area` of a frame of `size` to `patch`, from the one region that is not zero.

    Output i is the mean of voxels floor(i n / p) to ceil((i + 1) n / p) - 1. In float16 on a CPU torch adds and
    divides in float16, voxel by voxel, and so does this; otherwise sums are float32.

    Args:
        values: [x, y, z] of the region `at` of the frame; uint8 where it is 0 or 1.
        dtype: of the result.
    """
    blocks = [_Blocks.of(at, axis, size[axis], patch[axis], values.device) for axis in range(3)]
    halves = dtype is torch.float16 and values.device.type == "cpu"
    sums = _sums_in_order(values, blocks) if halves and values.dtype is dtype else _sums(values, blocks)
    means = sums.to(dtype) if halves else sums.float()
    for axis, block in enumerate(blocks):
        means = means / _along(block.ends - block.starts, axis).to(means.dtype)
    out = torch.zeros(patch, dtype=dtype, device=values.device)
    starts = [block.first for block in blocks]
    out[tuple(slice(lo, lo + n) for lo, n in zip(starts, means.shape, strict=True))] = means.to(dtype)
    return out


def _sums(values: torch.Tensor, blocks: Sequence[_Blocks]) -> torch.Tensor:
    """Axis by axis; uint8 stays uint8 where the sums of 0 and 1 fit."""
    fits = values.dtype is torch.uint8 and math.prod(block.most for block in blocks) < 256
    sums = values if fits else values.float()
    for axis, block in enumerate(blocks):
        parts = [block.part(sums, axis, k) for k in range(block.most)]
        sums = reduce(torch.add, parts)
    return sums


def _sums_in_order(values: torch.Tensor, blocks: Sequence[_Blocks]) -> torch.Tensor:
    """Voxel by voxel in C order, each sum rounded."""
    total = torch.zeros([len(block.starts) for block in blocks], dtype=values.dtype, device=values.device)
    for steps in product(*(range(block.most) for block in blocks)):
        part = values
        for axis, (block, k) in enumerate(zip(blocks, steps, strict=True)):
            part = block.part(part, axis, k)
        total = total + part
    return total


def _along(line: torch.Tensor, axis: int) -> torch.Tensor:
    return line.reshape([-1 if axis == i else 1 for i in range(3)])


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Along one axis: the outputs that a region reaches, and the voxels that each is the mean of.

    Attributes:
        low, length: of the region in the frame.
        first: number of the first output.
        starts, ends: [outputs] voxels of the frame.
        most: the longest block.
    """

    low: int
    length: int
    first: int
    starts: torch.Tensor
    ends: torch.Tensor
    most: int

    @classmethod
    def of(cls, at: Region, axis: int, size: int, patch: int, device: torch.device) -> _Blocks:
        low, high = at.low[axis], at.high[axis]
        spans = [(i, i * size // patch, -((i + 1) * size // -patch)) for i in range(patch)]
        spans = [span for span in spans if span[1] < high and span[2] > low]
        starts, ends = (torch.tensor([span[which] for span in spans], device=device) for which in (1, 2))
        return cls(low, high - low, spans[0][0], starts, ends, max(end - start for _, start, end in spans))

    def part(self, values: torch.Tensor, axis: int, k: int) -> torch.Tensor:
        """The k-th voxel of every block, zero where the block is shorter or leaves the region."""
        at = self.starts + k - self.low
        counted = (self.starts + k < self.ends) & (at >= 0) & (at < self.length)
        return values.index_select(axis, at.clamp(0, self.length - 1)) * _along(counted, axis)


def nearest_indices(size: int, patch: int, device: torch.device) -> torch.Tensor:
    """Which voxel of `size` the resize `nearest` to `patch` takes, by torch's own arithmetic."""
    line = torch.arange(size, dtype=torch.float32, device=device)[None, None]
    return torch.nn.functional.interpolate(line, patch, mode="nearest")[0, 0].long()
