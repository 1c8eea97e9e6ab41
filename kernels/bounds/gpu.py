"""Bounds in Triton: a program walks along rows of one plane, its totals by label stay in registers.

A tile [ROWS, COLUMNS] is taken apart id by id: the voxels of an id are counted by row and by column, and both counts
give sum and extremes of a coordinate. Tiles of a label map hold one id or few. At its end a program adds its
totals with one 64-bit integer atomic a label and column, so the result does not depend on the order.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import triton
import triton.language as tl

from umd_engine.kernels.backends import missing_device
from umd_engine.kernels.bounds import Bounds
from umd_engine.kernels.bounds.totals import COLUMNS, COUNT, check_ids, no_totals, to_bounds

ROWS = 16
TILE_Z = 256
TILES_Y = 4  # tiles of rows a program
IDS = 256
BEYOND = tl.constexpr(256)  # no uint8 id
HIGH = tl.constexpr(0x7FFFFFFF)


@triton.jit
def bounds_kernel(
    label: tl.tensor,
    totals: tl.tensor,
    ny: tl.tensor,
    nz: tl.tensor,
    stride_x: tl.tensor,
    stride_y: tl.tensor,
    stride_z: tl.tensor,
    IDS: tl.constexpr,
    ROWS: tl.constexpr,
    TILE_Z: tl.constexpr,
    TILES_Y: tl.constexpr,
) -> None:
    """totals [IDS, 10] int64: count, sums, lowest, highest and one more; program (x, block of rows)."""
    x = tl.program_id(0).to(tl.int64)
    ids = tl.arange(0, IDS)
    count = tl.zeros((IDS,), dtype=tl.int32)
    sum_y, sum_z = tl.zeros((IDS,), dtype=tl.int64), tl.zeros((IDS,), dtype=tl.int64)
    low_y, low_z = tl.full((IDS,), HIGH, dtype=tl.int32), tl.full((IDS,), HIGH, dtype=tl.int32)
    high_y, high_z = tl.zeros((IDS,), dtype=tl.int32), tl.zeros((IDS,), dtype=tl.int32)
    for block in range(TILES_Y):
        y = (tl.program_id(1) * TILES_Y + block) * ROWS + tl.arange(0, ROWS)
        for start in range(0, nz, TILE_Z):
            z = start + tl.arange(0, TILE_Z)
            where = y[:, None].to(tl.int64) * stride_y + z[None, :].to(tl.int64) * stride_z
            inside = (y < ny)[:, None] & (z < nz)[None, :]
            left = tl.load(label + x * stride_x + where, mask=inside, other=0).to(tl.int32)
            left = tl.where(inside, left, BEYOND)
            one = tl.min(tl.min(left, axis=1), axis=0)
            while one < BEYOND:
                found = (left == one).to(tl.int32)
                rows, columns = tl.sum(found, axis=1), tl.sum(found, axis=0)
                here = ids == one
                count += tl.where(here, tl.sum(rows, axis=0), 0)
                sum_y += tl.where(here, tl.sum(rows.to(tl.int64) * y, axis=0), 0)
                sum_z += tl.where(here, tl.sum(columns.to(tl.int64) * z, axis=0), 0)
                low_y = tl.where(here, tl.minimum(low_y, tl.min(tl.where(rows > 0, y, HIGH), axis=0)), low_y)
                low_z = tl.where(here, tl.minimum(low_z, tl.min(tl.where(columns > 0, z, HIGH), axis=0)), low_z)
                high_y = tl.where(here, tl.maximum(high_y, tl.max(tl.where(rows > 0, y + 1, 0), axis=0)), high_y)
                high_z = tl.where(here, tl.maximum(high_z, tl.max(tl.where(columns > 0, z + 1, 0), axis=0)), high_z)
                left = tl.where(left == one, BEYOND, left)
                one = tl.min(tl.min(left, axis=1), axis=0)
    seen = count > 0
    row = totals + ids * 10
    tl.atomic_add(row, count.to(tl.int64), mask=seen)
    tl.atomic_add(row + 1, count * x, mask=seen)
    tl.atomic_add(row + 2, sum_y, mask=seen)
    tl.atomic_add(row + 3, sum_z, mask=seen)
    tl.atomic_min(row + 4, tl.zeros_like(sum_y) + x, mask=seen)
    tl.atomic_min(row + 5, low_y.to(tl.int64), mask=seen)
    tl.atomic_min(row + 6, low_z.to(tl.int64), mask=seen)
    tl.atomic_max(row + 7, tl.zeros_like(sum_y) + x + 1, mask=seen)
    tl.atomic_max(row + 8, high_y.to(tl.int64), mask=seen)
    tl.atomic_max(row + 9, high_z.to(tl.int64), mask=seen)


def bounds(label: torch.Tensor, classes: int) -> Bounds:
    """Of a map [X, Y, Z] of any strides, read where it lies; a map on the CPU is copied to the device.

    Raises:
        KernelError: an id not below `classes`.
        BackendError: there is no CUDA device.
    """
    device = _device(label)
    axes = sorted(
        range(3), key=lambda axis: (label.shape[axis] != 1, -label.stride()[axis])
    )  # a single row lies along z
    turned = label.to(device).permute(axes)
    nx, ny, nz = turned.shape
    totals = torch.from_numpy(no_totals(IDS)).to(device)
    if turned.numel():
        grid = (nx, triton.cdiv(ny, ROWS * TILES_Y))
        sizes = {"IDS": IDS, "ROWS": ROWS, "TILE_Z": TILE_Z, "TILES_Y": TILES_Y}
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            bounds_kernel[grid](turned, totals, ny, nz, *turned.stride(), **sizes, num_warps=4)
    found = totals.cpu().numpy()
    assert found.shape == (IDS, COLUMNS)
    check_ids(int(found[:, COUNT].nonzero()[0].max(initial=0)), classes)
    return to_bounds(found[:classes], axes)


def interpreted() -> bool:
    """Whether the kernel above runs in Triton's interpreter, on the CPU."""
    return not isinstance(bounds_kernel, triton.JITFunction)


def _device(label: torch.Tensor) -> torch.device:
    if label.is_cuda:
        return label.device
    if interpreted():
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise missing_device("bounds")
    return torch.device("cuda", torch.cuda.current_device())
