"""Windows on a CUDA device, in Triton: a launch a batch; nothing is added atomically."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
import triton
import triton.language as tl

from umd_engine.errors import KernelError
from umd_engine.kernels.backends import missing_device
from umd_engine.kernels.windows import programs
from umd_engine.kernels.windows.arguments import Places, Rule

BLOCK = 1024
ROWS = 8  # a tile of accumulate: 8 x 128 voxels of a plane
COLUMNS = 128
PIXELS = {
    torch.uint8: tl.uint8,
    torch.int16: tl.int16,
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.float32: tl.float32,
}


def gather(
    volumes: Sequence[torch.Tensor],
    places: Places,
    patch: tuple[int, int, int],
    intensity: np.ndarray,
    padding: float,
    dtype: torch.dtype,
) -> torch.Tensor:
    """[N, C, *patch] in `dtype`, on the device; volumes on the CPU are copied to it."""
    device = _device(volumes[0])
    there = [volume.to(device) for volume in volumes]
    count, channels = len(places.starts), there[0].shape[0]
    out = torch.empty((count, channels, *patch), dtype=dtype, device=device)
    if not out.numel():
        return out
    rows = [(there[v].data_ptr(), *there[v].shape[1:], *there[v].stride()) for v in places.source.tolist()]
    columns = (np.array(rows, np.int64), places.starts, places.flips[:, None], places.source[:, None])
    table = torch.from_numpy(np.concatenate(columns, axis=1).astype(np.int64)).to(device)
    stored = torch.from_numpy(intensity).to(device)
    grid = (triton.cdiv(out[0, 0].numel(), BLOCK), count * channels)
    with _current(device):
        programs.gather_kernel[grid](
            table, stored, out, float(padding), channels, *patch, PIXEL=PIXELS[there[0].dtype], BLOCK=BLOCK
        )
    return out


def accumulate(sums: torch.Tensor, weights: torch.Tensor, logits: torch.Tensor, places: Places) -> None:
    """In place; sums on the CPU are copied to the device and back. Products and additions are not contracted."""
    if not logits.numel():
        return
    device = _device(sums)
    there, windows = sums.to(device), logits.to(device).contiguous()
    columns = np.concatenate([places.starts, places.flips[:, None]], axis=1).astype(np.int64)
    low = places.starts.min(axis=0)
    size = places.starts.max(axis=0) + np.array(weights.shape) - low
    tiles = int(size[0]), triton.cdiv(int(size[1]), ROWS), triton.cdiv(int(size[2]), COLUMNS)
    with _current(device):
        programs.accumulate_kernel[(tiles[0] * tiles[1] * tiles[2],)](
            there, weights.to(device).contiguous(), windows, torch.from_numpy(columns).to(device), len(windows),
            *low.tolist(), tiles[1], tiles[2], len(there), *there.stride(), *weights.shape,
            ROWS=ROWS, COLUMNS=COLUMNS, enable_fp_fusion=False,
        )  # fmt: skip
    if there is not sums:
        sums.copy_(there)


def finish(sums: torch.Tensor, total: torch.Tensor, rule: Rule, out: torch.Tensor) -> None:
    """Labels into `out`; a byte a voxel of the sums' grid beside it."""
    device = _device(sums)
    values, divisor, result = sums.to(device), total.to(device), out.to(device)
    old, new = values.shape[1:], result.shape
    codes = torch.empty(old, dtype=torch.uint8, device=device)
    bad = torch.zeros(1, dtype=torch.int32, device=device)
    labels = torch.from_numpy(rule.labels).to(device)
    below, above, fraction = (
        torch.from_numpy(np.concatenate(part)).to(device) for part in zip(*rule.axes, strict=True)
    )
    strides = (*values.stride(), *divisor.stride())
    options = {"REGIONS": rule.by_regions, "BLOCK": BLOCK}
    with _current(device):
        programs.decide_kernel[(triton.cdiv(codes.numel(), BLOCK),)](
            values, divisor, codes, bad, codes.numel(), *old[1:], len(values), *strides, **options
        )
        programs.finish_kernel[(new[0], triton.cdiv(new[1] * new[2], BLOCK))](
            values, divisor, codes, labels, below, above, fraction, result,
            *new, *old[1:], len(values), *strides, *result.stride(), **options,
        )  # fmt: skip
    if int(bad):
        raise KernelError("windows: finish: sums / total is not finite somewhere", mend="look at the network's outputs")
    if result is not out:
        out.copy_(result)


def interpreted() -> bool:
    """Whether the kernels run in Triton's interpreter, on the CPU."""
    return not isinstance(programs.gather_kernel, triton.JITFunction)


def _device(tensor: torch.Tensor) -> torch.device:
    if tensor.is_cuda:
        return tensor.device
    if interpreted():
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise missing_device("windows")
    return torch.device("cuda", torch.cuda.current_device())


def _current(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
