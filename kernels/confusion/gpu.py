"""Joint counts in Triton: a histogram in registers a program, then one 64-bit atomic addition a bin.

The pair (label, prediction) of a voxel is the code label * classes_prediction + prediction. A voxel whose id is
not below its number of classes gets the code `classes_label * classes_prediction`: the bin of faults, which
the caller turns into an error. A tile of one code only (background, the inside of an organ) is one addition.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
import triton
import triton.language as tl

from umd_engine.errors import KernelError
from umd_engine.kernels.backends import missing_device

TILE = 4096  # voxels of a histogram
TILES = 16  # tiles a program
WIDE_TILE = 1024
NARROW_BINS = 2048  # above it a histogram no longer fits in registers and voxels add to memory one by one


@triton.jit
def tile_counts(code: tl.tensor, inside: tl.tensor, BINS: tl.constexpr) -> tl.tensor:
    """int32 [BINS]: the histogram of a tile's codes where `inside`."""
    # voxels past the end take no part in the range, so that the last tile may be uniform too
    lowest = tl.min(tl.where(inside, code, BINS - 1), axis=0)
    highest = tl.max(tl.where(inside, code, 0), axis=0)
    if lowest >= highest:
        found = tl.where(tl.arange(0, BINS) == lowest, tl.sum(inside.to(tl.int32), axis=0), 0)
    else:
        found = tl.histogram(code, BINS, mask=inside)
    return found


@triton.jit
def add_voxels(counts: tl.tensor, code: tl.tensor, inside: tl.tensor, TILE: tl.constexpr) -> None:
    """counts int64 += the codes of a tile, an atomic addition a voxel, or one where all are alike."""
    lowest = tl.min(tl.where(inside, code, 0x7FFFFFFF), axis=0)
    highest = tl.max(tl.where(inside, code, 0), axis=0)
    if lowest >= highest:
        tl.atomic_add(counts + lowest, tl.sum(inside.to(tl.int64), axis=0))
    else:
        tl.atomic_add(counts + code, tl.full((TILE,), 1, dtype=tl.int64), mask=inside)


@triton.jit
def narrow_kernel(
    label: tl.tensor,
    prediction: tl.tensor,
    counts: tl.tensor,
    voxels: tl.tensor,
    classes_label: tl.tensor,
    classes_prediction: tl.tensor,
    BINS: tl.constexpr,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
) -> None:
    """counts [>= BINS] int64 += histogram of the codes; BINS is a power of two above the bin of faults."""
    bins = tl.arange(0, BINS)
    total = tl.zeros((BINS,), dtype=tl.int32)  # <= TILE * TILES, far below 2^31
    start = tl.program_id(0).to(tl.int64) * (TILE * TILES)
    for tile in range(TILES):
        offsets = start + tile * TILE + tl.arange(0, TILE)
        inside = offsets < voxels
        left = tl.load(label + offsets, mask=inside, other=0).to(tl.int32)
        right = tl.load(prediction + offsets, mask=inside, other=0).to(tl.int32)
        valid = (left < classes_label) & (right < classes_prediction)
        code = tl.where(valid, left * classes_prediction + right, classes_label * classes_prediction)
        total += tile_counts(code, inside, BINS)
    tl.atomic_add(counts + bins, total.to(tl.int64), mask=total > 0)


@triton.jit
def wide_kernel(
    label: tl.tensor,
    prediction: tl.tensor,
    counts: tl.tensor,
    voxels: tl.tensor,
    classes_label: tl.tensor,
    classes_prediction: tl.tensor,
    TILE: tl.constexpr,
) -> None:
    """counts [classes_label * classes_prediction + 1] int64 += the codes, an atomic addition a voxel."""
    offsets = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    inside = offsets < voxels
    left = tl.load(label + offsets, mask=inside, other=0).to(tl.int32)
    right = tl.load(prediction + offsets, mask=inside, other=0).to(tl.int32)
    valid = (left < classes_label) & (right < classes_prediction)
    code = tl.where(valid, left * classes_prediction + right, classes_label * classes_prediction)
    add_voxels(counts, code, inside, TILE)


def confusion(label: torch.Tensor, prediction: torch.Tensor, classes_label: int, classes_prediction: int) -> np.ndarray:
    """int64 [classes_label, classes_prediction] of two uint8 maps; maps on the CPU are copied to the device.

    Raises:
        KernelError: an id not below its number of classes.
        BackendError: there is no CUDA device.
    """
    device = device_of(label)
    left, right = common_order(label.to(device), prediction.to(device))
    faults = classes_label * classes_prediction
    bins = triton.next_power_of_2(faults + 1)
    counts = torch.zeros(bins, dtype=torch.int64, device=device)
    arguments = (left, right, counts, left.numel(), classes_label, classes_prediction)
    with current(device):
        if left.numel() and bins <= NARROW_BINS:
            programs = triton.cdiv(left.numel(), TILE * TILES)
            narrow_kernel[(programs,)](*arguments, BINS=bins, TILE=TILE, TILES=TILES, num_warps=8)
        elif left.numel():
            programs = triton.cdiv(left.numel(), WIDE_TILE)
            wide_kernel[(programs,)](*arguments, TILE=WIDE_TILE, num_warps=4)
    result = counts.cpu().numpy()
    if result[faults]:
        _raise_ids(left, right, classes_label, classes_prediction)
    return result[:faults].reshape(classes_label, classes_prediction).copy()


def interpreted() -> bool:
    """Whether the kernels above run in Triton's interpreter, on the CPU."""
    return not isinstance(narrow_kernel, triton.JITFunction)


def device_of(label: torch.Tensor) -> torch.device:
    if label.is_cuda:
        return label.device
    if interpreted():
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise missing_device("confusion")
    return torch.device("cuda", torch.cuda.current_device())


def current(device: torch.device) -> AbstractContextManager[object]:
    """Makes `device` the current one, where Triton launches; nothing for the interpreter's CPU."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def common_order(label: torch.Tensor, prediction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both as contiguous 1-D tensors of one voxel order; a view where they share a dense memory order."""
    order = sorted(range(label.ndim), key=lambda axis: -label.stride()[axis])
    left, right = label.permute(order), prediction.permute(order)
    return left.contiguous().view(-1), right.contiguous().view(-1)


def _raise_ids(left: torch.Tensor, right: torch.Tensor, classes_label: int, classes_prediction: int) -> None:
    for name, flat, classes in (("label", left, classes_label), ("prediction", right, classes_prediction)):
        raise_id(name, flat, classes)


def raise_id(name: str, ids: torch.Tensor, classes: int) -> None:
    """An error where an id is not below `classes`."""
    found = int(ids.max())
    if found >= classes:
        raise KernelError(f"confusion: {name} holds id {found} of {classes} classes")
