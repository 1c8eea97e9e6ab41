"""Launches CUDA C on the current device, on torch's stream, with torch's tensors as arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

Launch = Callable[[str, tuple[int, ...], tuple[int, ...], Sequence[Any]], None]
OPTIONS = ("--std=c++17", "--fmad=false")  # no fused multiply-add: the CPU's results, bit for bit


@cache
def kernel(source: str, name: str) -> Any:
    """The compiled kernel; cupy keeps one a device."""
    import cupy

    return cupy.RawKernel(source, name, options=OPTIONS)


def on_device(source: str) -> Launch:
    """launch(name, grid, block, arguments): tensors and None are passed as pointers, int as int32, float as float32."""
    import cupy

    def launch(name: str, grid: tuple[int, ...], block: tuple[int, ...], arguments: Sequence[Any]) -> None:
        with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            kernel(source, name)(grid, block, tuple(map(_argument, arguments)))

    return launch


def _argument(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        assert value.is_cuda and value.is_contiguous()
        return np.uint64(value.data_ptr())
    if value is None:
        return np.uint64(0)
    return np.int32(value) if isinstance(value, int) else np.float32(value)
