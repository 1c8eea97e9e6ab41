"""What a device reaches at most: a copy, and the best of a few dense products and 3D convolutions a precision."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import nullcontext
from typing import Any

import torch
from torch.nn.functional import conv3d

from umd_engine.bench.floor.ceiling import device_copy, host_copy
from umd_engine.bench.floor.clock import Clock, DeviceClock, HostClock
from umd_engine.bench.floor.repetition import Rule, repeat
from umd_engine.bench.profile.result import Ceilings
from umd_engine.engine.backends.eager import computes_bf16, tf32_of

TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SQUARE = {"cpu": 1024, "cuda": 8192}  # rows of a product's matrices
# channels and side of a 3x3x3 convolution: early, middle and late in a U-Net
CONVOLUTIONS = {"cpu": ((32, 48), (128, 24), (320, 8)), "cuda": ((32, 192), (128, 96), (320, 48))}
Run = Callable[[], Any]


def precisions_of(device: torch.device) -> tuple[str, ...]:
    """Those that the device multiplies in itself: a CPU no fp16, and bf16 where it has the instructions."""
    if device.type == "cpu":
        return ("fp32", "bf16") if computes_bf16() else ("fp32",)
    from_ampere = torch.cuda.get_device_capability(device) >= (8, 0)
    return ("fp32", "tf32", "bf16", "fp16") if from_ampere else ("fp32", "fp16")


@torch.no_grad()
def ceilings(device: torch.device, rule: Rule, precisions: Collection[str] = tuple(TYPES)) -> Ceilings:
    """Of a device, in those of the precisions that it has."""
    clock: Clock = DeviceClock() if device.type == "cuda" else HostClock()
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        copy = device_copy(rule) if device.type == "cuda" else host_copy(rule)
        product, conv = {}, {}
        for precision in filter(precisions.__contains__, precisions_of(device)):
            with tf32_of(precision, device):
                product[precision] = _rate(*_product(device, precision), clock, rule)
                runs = [_convolution(device, precision, *size) for size in CONVOLUTIONS[device.type]]
                conv[precision] = max(_rate(*run, clock, rule) for run in runs)
    return Ceilings(copy, product, conv)


def _rate(run: Run, flops: int, clock: Clock, rule: Rule) -> float:
    return flops / repeat(run, clock, rule).median


def _product(device: torch.device, precision: str) -> tuple[Run, int]:
    rows = SQUARE[device.type]
    left, right = (torch.randn(rows, rows, device=device).to(TYPES[precision]) for _ in range(2))
    return lambda: left @ right, 2 * rows**3


def _convolution(device: torch.device, precision: str, channels: int, side: int) -> tuple[Run, int]:
    dtype = TYPES[precision]
    layout = torch.contiguous_format if dtype is torch.float32 else torch.channels_last_3d
    image = torch.randn(1, channels, side, side, side, device=device).to(dtype).to(memory_format=layout)
    weight = torch.randn(channels, channels, 3, 3, 3, device=device).to(dtype).to(memory_format=layout)
    return lambda: conv3d(image, weight, padding=1), 2 * 27 * channels**2 * side**3
