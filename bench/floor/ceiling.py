"""The rate at which this machine copies: what a streaming operation is held against, measured in the same run."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from umd_engine.bench.floor.clock import DeviceClock, HostClock
from umd_engine.bench.floor.repetition import Rule, repeat

HOST_BYTES = 1 << 28  # beyond any cache
DEVICE_BYTES = 1 << 30


def threads() -> int:
    """CPUs that this process may use: as many threads as the kernels take."""
    return len(os.sched_getaffinity(0))


def host_copy(rule: Rule, size: int = HOST_BYTES) -> float:
    """GB/s (1e9 bytes, read and written) of `numpy.copyto` on every CPU at once, a piece of the array each."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    pieces = list(zip(np.array_split(target, threads()), np.array_split(source, threads()), strict=True))
    with ThreadPoolExecutor(threads()) as pool:
        timing = repeat(lambda: list(pool.map(lambda pair: np.copyto(*pair), pieces)), HostClock(), rule)
    return 2 * size / timing.median / 1e9


def device_copy(rule: Rule, size: int = DEVICE_BYTES) -> float | None:
    """GB/s of a copy from device memory to device memory; None without a CUDA device."""
    import torch

    if not torch.cuda.is_available():
        return None
    source = torch.ones(size, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    timing = repeat(lambda: target.copy_(source), DeviceClock(), rule)
    return 2 * size / timing.median / 1e9


def ceilings(rule: Rule) -> dict[str, float | None]:
    """Of "cpu" and of "cuda"."""
    return {"cpu": host_copy(rule), "cuda": device_copy(rule)}
