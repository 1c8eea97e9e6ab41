"""Joint counts from logits in Triton: the argmax of a tile stays in registers, where its histogram is made.

Codes are those of gpu.py, and one more bin: voxels with a NaN among their logits.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl

from umd_engine.errors import KernelError
from umd_engine.kernels.confusion.gpu import (
    NARROW_BINS,
    WIDE_TILE,
    add_voxels,
    current,
    device_of,
    raise_id,
    tile_counts,
)

TILE = 1024  # voxels of a histogram: a class's logits are 8 values a thread of 4 warps
TILES = 16


@triton.jit
def tile_codes(
    label: tl.tensor,
    logits: tl.tensor,
    offsets: tl.tensor,
    inside: tl.tensor,
    classes_label: tl.tensor,
    classes: tl.tensor,
    class_stride: tl.tensor,
    voxel_stride: tl.tensor,
    COMPARED: tl.constexpr,
) -> tl.tensor:
    """int32 codes of a tile of voxels; logits [classes, voxels] at any two strides, compared in type `COMPARED`."""
    where = logits + offsets * voxel_stride
    best = tl.load(where, mask=inside, other=0).to(COMPARED)
    found = tl.zeros_like(offsets).to(tl.int32)
    unordered = best != best
    for row in range(1, classes):
        where += class_stride
        value = tl.load(where, mask=inside, other=0).to(COMPARED)
        unordered |= value != value
        found = tl.where(value > best, row, found)
        best = tl.where(value > best, value, best)
    left = tl.load(label + offsets, mask=inside, other=0).to(tl.int32)
    code = tl.where(left < classes_label, left * classes + found, classes_label * classes)
    return tl.where(unordered, classes_label * classes + 1, code)


@triton.jit
def narrow_logits_kernel(
    label: tl.tensor,
    logits: tl.tensor,
    counts: tl.tensor,
    voxels: tl.tensor,
    classes_label: tl.tensor,
    classes: tl.tensor,
    class_stride: tl.tensor,
    voxel_stride: tl.tensor,
    COMPARED: tl.constexpr,
    BINS: tl.constexpr,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
) -> None:
    """counts [>= BINS] int64 += histogram of the codes; BINS is a power of two above both bins of faults."""
    total = tl.zeros((BINS,), dtype=tl.int32)
    start = tl.program_id(0).to(tl.int64) * (TILE * TILES)
    for tile in range(TILES):
        offsets = start + tile * TILE + tl.arange(0, TILE)
        inside = offsets < voxels
        code = tile_codes(label, logits, offsets, inside, classes_label, classes, class_stride, voxel_stride, COMPARED)
        total += tile_counts(code, inside, BINS)
    tl.atomic_add(counts + tl.arange(0, BINS), total.to(tl.int64), mask=total > 0)


@triton.jit
def wide_logits_kernel(
    label: tl.tensor,
    logits: tl.tensor,
    counts: tl.tensor,
    voxels: tl.tensor,
    classes_label: tl.tensor,
    classes: tl.tensor,
    class_stride: tl.tensor,
    voxel_stride: tl.tensor,
    COMPARED: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    """counts [classes_label * classes + 2] int64 += the codes, an atomic addition a voxel."""
    offsets = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    inside = offsets < voxels
    code = tile_codes(label, logits, offsets, inside, classes_label, classes, class_stride, voxel_stride, COMPARED)
    add_voxels(counts, code, inside, TILE)


def confusion_from_logits(label: torch.Tensor, logits: torch.Tensor, classes_label: int) -> np.ndarray:
    """int64 [classes_label, classes]; inputs on the CPU are copied to the device.

    Contiguous and channels-last logits are read where they lie.

    Raises:
        KernelError: NaN among the logits, or a label id not below `classes_label`.
        BackendError: there is no CUDA device.
    """
    device, classes = device_of(label), len(logits)
    left, rows = _flat(label.to(device), logits.to(device))
    faults = classes_label * classes
    bins = triton.next_power_of_2(faults + 2)
    counts = torch.zeros(bins, dtype=torch.int64, device=device)
    arguments = (left, rows, counts, left.numel(), classes_label, classes, *rows.stride())
    compared = tl.float64 if rows.dtype == torch.float64 else tl.float32
    with current(device):
        if left.numel() and bins <= NARROW_BINS:
            programs = triton.cdiv(left.numel(), TILE * TILES)
            narrow_logits_kernel[(programs,)](*arguments, compared, BINS=bins, TILE=TILE, TILES=TILES, num_warps=4)
        elif left.numel():
            programs = triton.cdiv(left.numel(), WIDE_TILE)
            wide_logits_kernel[(programs,)](*arguments, compared, TILE=WIDE_TILE, num_warps=4)
    result = counts.cpu().numpy()
    if result[faults + 1]:
        raise KernelError("confusion: the logits hold NaN")
    if result[faults]:
        raise_id("label", left, classes_label)
    return result[:faults].reshape(classes_label, classes).copy()


def _flat(label: torch.Tensor, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[voxels] and [classes, voxels] of one voxel order; views where the logits' voxel axes are dense."""
    order = sorted(range(label.ndim), key=lambda axis: -logits.stride(axis + 1))
    left = label.permute(order).contiguous().view(-1)
    rows = logits.permute(0, *(axis + 1 for axis in order))
    return left, rows.reshape(len(logits), -1)
