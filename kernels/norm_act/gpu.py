"""Normalisation and activation in Triton: moments of splits, then one pass that merges them and writes the result.

Value (n, c, v) lies at `n * stride_n + c * stride_c + v * stride_v`: contiguous and channels-last tensors are the same
kernels with another tile [VOXELS, CHANNELS]. No atomics, so twice the same bits.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import triton
import triton.language as tl

from umd_engine.kernels.backends import missing_device
from umd_engine.kernels.norm_act.layout import memory_format

TILE = 4096  # values
WIDEST = 64  # channels of a channels-last tile
MAX_SPLITS = 64
PROGRAMS = 1056  # of the moments: eight for each of 132 multiprocessors
TILES = 4  # of a program of the second pass


@triton.jit
def moments_kernel(
    x: tl.tensor,
    moments: tl.tensor,
    voxels: tl.tensor,
    channels: tl.tensor,
    split: tl.tensor,
    stride_n: tl.tensor,
    stride_c: tl.tensor,
    stride_v: tl.tensor,
    VOXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    """moments [N, splits, 2, channels] float32 = mean and squared deviations of `split` voxels each."""
    item, part = tl.program_id(2).to(tl.int64), tl.program_id(0)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    start = part.to(tl.int64) * split
    stop = tl.minimum(start + split, voxels)
    mean, squares = tl.zeros((CHANNELS,), dtype=tl.float32), tl.zeros((CHANNELS,), dtype=tl.float32)
    before = 0.0  # voxels merged so far
    for begin in range(start, stop, VOXELS):
        voxel = begin + tl.arange(0, VOXELS)
        inside = (voxel < stop)[:, None] & (channel < channels)[None, :]
        where = item * stride_n + channel[None, :].to(tl.int64) * stride_c + voxel[:, None] * stride_v
        value = tl.load(x + where, mask=inside, other=0).to(tl.float32)
        size = tl.minimum(stop - begin, VOXELS).to(tl.float32)
        middle = tl.sum(value, axis=0) / size
        away = tl.where(inside, value - middle[None, :], 0.0)
        # `middle` is off by the sum's rounding errors; what they leave tells the exact mean
        off = tl.sum(away, axis=0) / size
        apart = middle - mean + off
        squares += tl.sum(away * away, axis=0) - off * off * size + apart * apart * (before * (size / (before + size)))
        mean += apart * (size / (before + size))
        before += size
    row = moments + (item * tl.num_programs(0) + part) * 2 * channels + channel
    tl.store(row, mean, mask=channel < channels)
    tl.store(row + channels, squares, mask=channel < channels)


@triton.jit
def apply_kernel(
    x: tl.tensor,
    moments: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    residual: tl.tensor,
    out: tl.tensor,
    voxels: tl.tensor,
    channels: tl.tensor,
    split: tl.tensor,
    splits: tl.tensor,
    stride_n: tl.tensor,
    stride_c: tl.tensor,
    stride_v: tl.tensor,
    eps: tl.tensor,
    slope: tl.tensor,
    HAS_WEIGHT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    SPLITS: tl.constexpr,
    VOXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
    TILES: tl.constexpr,
) -> None:
    """out = activation((x - mean) / sqrt(variance + eps) * weight + bias + residual)."""
    item = tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    real = channel < channels
    part = tl.arange(0, SPLITS)
    size = tl.minimum(tl.maximum(voxels - part.to(tl.int64) * split, 0), split).to(tl.float32)[:, None]
    row = moments + item * splits * 2 * channels
    held = (part < splits)[:, None] & real[None, :]
    means = tl.load(row + part[:, None] * 2 * channels + channel[None, :], mask=held, other=0)
    squares = tl.load(row + part[:, None] * 2 * channels + channels + channel[None, :], mask=held, other=0)
    # deviations from the first split's mean: a mean far from zero costs no accuracy
    first = tl.load(row + channel, mask=real, other=0)
    mean = first + tl.sum(size * (means - first[None, :]), axis=0) / voxels
    apart = means - mean[None, :]
    variance = tl.sum(tl.maximum(squares, 0.0) + size * apart * apart, axis=0) / voxels
    factor = 1.0 / tl.sqrt(variance + eps)
    if HAS_WEIGHT:
        factor *= tl.load(weight + channel, mask=real, other=0).to(tl.float32)
    shift = tl.zeros((CHANNELS,), dtype=tl.float32)
    if HAS_BIAS:
        shift = tl.load(bias + channel, mask=real, other=0).to(tl.float32)
    for tile in range(TILES):
        voxel = (tl.program_id(0).to(tl.int64) * TILES + tile) * VOXELS + tl.arange(0, VOXELS)
        inside = (voxel < voxels)[:, None] & real[None, :]
        where = item * stride_n + channel[None, :].to(tl.int64) * stride_c + voxel[:, None] * stride_v
        value = tl.load(x + where, mask=inside, other=0).to(tl.float32)
        value = (value - mean[None, :]) * factor[None, :] + shift[None, :]
        if HAS_RESIDUAL:
            value += tl.load(residual + where, mask=inside, other=0).to(tl.float32)
        # 0 * -inf is no number, and ReLU of -inf is 0
        below = tl.where((slope == 0) & (value <= 0), 0.0, value * slope)
        tl.store(out + where, tl.where(value > 0, value, below).to(out.dtype.element_ty), mask=inside)


def norm_act(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    eps: float,
    slope: float,
) -> torch.Tensor:
    """Of x [N, C, ...]; tensors on the CPU are copied to the device.

    Raises:
        BackendError: there is no CUDA device.
    """
    device, form = _device(x), memory_format(x)
    x = x.to(device).contiguous(memory_format=form)
    out = torch.empty_like(x)
    if not x.numel():
        return out
    items, channels = x.shape[:2]
    voxels = x.numel() // (items * channels)
    last = form != torch.contiguous_format
    wide = min(WIDEST, triton.next_power_of_2(channels)) if last else 1
    tile = {"VOXELS": max(16, min(TILE // wide, triton.next_power_of_2(voxels))), "CHANNELS": wide}
    columns = triton.cdiv(channels, wide)
    split, splits = _splits(voxels, tile["VOXELS"], items * columns)
    strides = (voxels * channels, *((1, channels) if last else (voxels, 1)))
    moments = torch.empty(items, splits, 2, channels, dtype=torch.float32, device=device)
    given = [x if one is None else one.to(device).contiguous() for one in (weight, bias)]
    added = x if residual is None else residual.to(device).contiguous(memory_format=form)
    has = {"HAS_WEIGHT": weight is not None, "HAS_BIAS": bias is not None, "HAS_RESIDUAL": residual is not None}
    sizes = {**has, "SPLITS": triton.next_power_of_2(splits), **tile, "TILES": TILES}
    blocks = triton.cdiv(voxels, tile["VOXELS"] * TILES)
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        moments_kernel[(splits, columns, items)](x, moments, voxels, channels, split, *strides, **tile, num_warps=8)
        apply_kernel[(blocks, columns, items)](
            x, moments, *given, added, out, voxels, channels, split, splits, *strides, eps, slope, **sizes, num_warps=8
        )
    return out


def _splits(voxels: int, tile: int, planes: int) -> tuple[int, int]:
    """Voxels of a split, whole tiles, and how many splits: enough programs for the device, few enough to merge."""
    wanted = min(MAX_SPLITS, triton.cdiv(PROGRAMS, planes), triton.cdiv(voxels, tile))
    split = triton.cdiv(triton.cdiv(voxels, wanted), tile) * tile
    return split, triton.cdiv(voxels, split)


def interpreted() -> bool:
    """Whether the kernels above run in Triton's interpreter, on the CPU."""
    return not isinstance(apply_kernel, triton.JITFunction)


def _device(x: torch.Tensor) -> torch.device:
    if x.is_cuda:
        return x.device
    if interpreted():
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise missing_device("norm_act")
    return torch.device("cuda", torch.cuda.current_device())
