"""Voxels gathered by an affine map, in Triton: nearest, trilinear and cubic B-spline.

Coordinates are float64 sums of the terms of `placement`, weights and sums have the result's dtype. The launch needs
no copy of the source: it is read by its strides.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
import triton.language as tl

from umd_engine.kernels.resample.placement import Placement
from umd_engine.kernels.resample.weights import PAD

BLOCK = 512  # voxels of a plane of the result
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # order 0 copies bits, whatever they mean


@triton.jit
def _places(
    terms: tl.tensor,
    axis: tl.constexpr,
    x: tl.tensor,
    y: tl.tensor,
    z: tl.tensor,
    inside: tl.tensor,
    new_x: tl.tensor,
    new_y: tl.tensor,
    new_z: tl.tensor,
    DIAGONAL: tl.constexpr,
) -> tl.tensor:
    """[BLOCK] float64 coordinates along an input axis; terms [3, new_x + new_y + new_z]."""
    row = terms + axis * (new_x + new_y + new_z)
    if DIAGONAL:
        # the terms of the other axes are 0, but for the translation among those of X
        if axis == 0:
            return tl.load(row + x) + tl.zeros_like(z).to(tl.float64)
        if axis == 1:
            return tl.load(row + x) + tl.load(row + new_x + y, mask=inside, other=0.0)
        return tl.load(row + x) + tl.load(row + new_x + new_y + z, mask=inside, other=0.0)
    line = tl.load(row + x) + tl.load(row + new_x + y, mask=inside, other=0.0)
    return line + tl.load(row + new_x + new_y + z, mask=inside, other=0.0)


@triton.jit
def _spline(t: tl.tensor, KNOT: tl.constexpr) -> tl.tensor:
    """Weight of the coefficient KNOT - 1 voxels above the one below, at t above it."""
    s = 1.0 - t
    if KNOT == 0:
        return s * s * s / 6.0
    if KNOT == 1:
        return (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0
    if KNOT == 2:
        return (4.0 - 6.0 * s * s + 3.0 * s * s * s) / 6.0
    return t * t * t / 6.0


@triton.jit
def gather_kernel(
    source: tl.tensor,
    terms: tl.tensor,
    limits: tl.tensor,
    result: tl.tensor,
    channels: tl.tensor,
    stride_c: tl.tensor,
    stride_0: tl.tensor,
    stride_1: tl.tensor,
    stride_2: tl.tensor,
    old_0: tl.tensor,
    old_1: tl.tensor,
    old_2: tl.tensor,
    new_x: tl.tensor,
    new_y: tl.tensor,
    new_z: tl.tensor,
    ORDER: tl.constexpr,
    BOUND: tl.constexpr,
    DIAGONAL: tl.constexpr,
    PAD: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """result [channels, new_x, new_y, new_z], BLOCK voxels of a plane a program, all channels.

    With BOUND, voxels whose place lies in no old voxel stay as they are. Order 3 reads coefficients with PAD more at
    each border (old_* count voxels) and keeps to limits [channels, 2].
    """
    kind = result.dtype.element_ty
    x = tl.program_id(0)
    offsets = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < new_y * new_z
    y, z = offsets // new_z, offsets % new_z
    at_0 = _places(terms, 0, x, y, z, inside, new_x, new_y, new_z, DIAGONAL)
    at_1 = _places(terms, 1, x, y, z, inside, new_x, new_y, new_z, DIAGONAL)
    at_2 = _places(terms, 2, x, y, z, inside, new_x, new_y, new_z, DIAGONAL)
    write = inside
    if BOUND:
        write = write & (at_0 >= -0.5) & (at_1 >= -0.5) & (at_2 >= -0.5)
        write = write & (at_0 <= old_0 - 0.5) & (at_1 <= old_1 - 0.5) & (at_2 <= old_2 - 0.5)
    target = result + x.to(tl.int64) * new_y * new_z + offsets
    volume = tl.cast(new_x, tl.int64) * new_y * new_z
    if ORDER == 0:
        i = tl.minimum(tl.maximum(tl.floor(at_0 + 0.5), 0.0), old_0 - 1.0).to(tl.int64)
        j = tl.minimum(tl.maximum(tl.floor(at_1 + 0.5), 0.0), old_1 - 1.0).to(tl.int64)
        k = tl.minimum(tl.maximum(tl.floor(at_2 + 0.5), 0.0), old_2 - 1.0).to(tl.int64)
        place = source + i * stride_0 + j * stride_1 + k * stride_2
        for channel in range(channels):
            step = tl.cast(channel, tl.int64)
            tl.store(target + step * volume, tl.load(place + step * stride_c, mask=write, other=0), mask=write)
    elif ORDER == 1:
        at_0 = tl.minimum(tl.maximum(at_0, 0.0), old_0 - 1.0)
        at_1 = tl.minimum(tl.maximum(at_1, 0.0), old_1 - 1.0)
        at_2 = tl.minimum(tl.maximum(at_2, 0.0), old_2 - 1.0)
        i, j, k = at_0.to(tl.int64), at_1.to(tl.int64), at_2.to(tl.int64)
        part_0, part_1, part_2 = (at_0 - i).to(kind), (at_1 - j).to(kind), (at_2 - k).to(kind)
        place = source + i * stride_0 + j * stride_1 + k * stride_2
        up_0 = tl.where(i + 1 < old_0, stride_0, 0).to(tl.int64)
        up_1 = tl.where(j + 1 < old_1, stride_1, 0).to(tl.int64)
        up_2 = tl.where(k + 1 < old_2, stride_2, 0).to(tl.int64)
        for channel in range(channels):
            step = tl.cast(channel, tl.int64)
            here = place + step * stride_c
            a = tl.load(here, mask=write, other=0).to(kind)
            a += part_2 * (tl.load(here + up_2, mask=write, other=0).to(kind) - a)
            b = tl.load(here + up_1, mask=write, other=0).to(kind)
            b += part_2 * (tl.load(here + up_1 + up_2, mask=write, other=0).to(kind) - b)
            c = tl.load(here + up_0, mask=write, other=0).to(kind)
            c += part_2 * (tl.load(here + up_0 + up_2, mask=write, other=0).to(kind) - c)
            d = tl.load(here + up_0 + up_1, mask=write, other=0).to(kind)
            d += part_2 * (tl.load(here + up_0 + up_1 + up_2, mask=write, other=0).to(kind) - d)
            a += part_1 * (b - a)
            c += part_1 * (d - c)
            tl.store(target + step * volume, a + part_0 * (c - a), mask=write)
    else:
        # HOLD voxels beyond the border and further out the value there stays
        at_0 = tl.minimum(tl.maximum(at_0 + PAD, 1.0), old_0 + 2.0 * PAD - 2.0)
        at_1 = tl.minimum(tl.maximum(at_1 + PAD, 1.0), old_1 + 2.0 * PAD - 2.0)
        at_2 = tl.minimum(tl.maximum(at_2 + PAD, 1.0), old_2 + 2.0 * PAD - 2.0)
        i = tl.minimum(at_0.to(tl.int64), old_0 + 2 * PAD - 3)
        j = tl.minimum(at_1.to(tl.int64), old_1 + 2 * PAD - 3)
        k = tl.minimum(at_2.to(tl.int64), old_2 + 2 * PAD - 3)
        part_0, part_1, part_2 = (at_0 - i).to(kind), (at_1 - j).to(kind), (at_2 - k).to(kind)
        place = source + (i - 1) * stride_0 + (j - 1) * stride_1 + (k - 1) * stride_2
        for channel in range(channels):
            step = tl.cast(channel, tl.int64)
            total = tl.zeros((BLOCK,), dtype=kind)
            for p in tl.static_range(4):
                for q in tl.static_range(4):
                    line = tl.zeros((BLOCK,), dtype=kind)
                    for r in tl.static_range(4):
                        there = place + step * stride_c + p * stride_0 + q * stride_1 + r * stride_2
                        line += _spline(part_2, r) * tl.load(there, mask=write, other=0.0)
                    total += _spline(part_0, p) * _spline(part_1, q) * line
            total = tl.minimum(tl.maximum(total, tl.load(limits + 2 * step)), tl.load(limits + 2 * step + 1))
            tl.store(target + step * volume, total, mask=write)


def gather(
    source: torch.Tensor, placement: Placement, order: int, result: torch.Tensor, limits: torch.Tensor, bound: bool
) -> None:
    """Fill `result` [C, X, Y, Z], contiguous, on the device of `source`.

    Args:
        source: [C, X, Y, Z] of any strides; for order 3 its coefficients, PAD more at each border.
        limits: [C, 2] of the result's dtype: what order 3 keeps to.
        bound: leave voxels whose place lies outside the input as they are.
    """
    if order == 0:
        bits = BITS[source.element_size()]
        source, result = source.view(bits), result.view(bits)
    terms = torch.from_numpy(placement.joined).to(source.device)
    new_x, new_y, new_z = placement.new
    if not result.numel():
        return
    with _current(source.device):
        gather_kernel[(new_x, triton.cdiv(new_y * new_z, BLOCK))](
            *(source, terms, limits, result, len(source), *source.stride(), *placement.old, *placement.new),
            ORDER=order,
            BOUND=bound,
            DIAGONAL=placement.diagonal,
            PAD=PAD,
            BLOCK=BLOCK,
            num_warps=4,
        )


def interpreted() -> bool:
    """Whether the kernel above runs in Triton's interpreter, on the CPU."""
    return not isinstance(gather_kernel, triton.JITFunction)


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Makes `device` the current one, where Triton launches; nothing for the interpreter's CPU."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
