"""Units that behave in one way each, for the tests of the profiler."""

from __future__ import annotations

import time

import torch

from umd_engine.bench.profile.subject import STAND_IN, Subject
from umd_engine.engine.unit import TensorSpec, Unit


class Slow(torch.nn.Module):
    """Sleeps as long as its patch is large: 1 s for 64^3 voxels an item."""

    def __init__(self, seconds: float):
        super().__init__()
        self.convolution, self.seconds = torch.nn.Conv3d(1, 2, 3, padding=1), seconds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not x.is_meta:
            time.sleep(self.seconds * x[0, 0].numel() / 64**3)
        return self.convolution(x)


class Positions(torch.nn.Module):
    """Has a table of positions, and so one patch."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(1, 1, 64, 64, 64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.table


class Drifting(torch.nn.Module):
    """Answers otherwise at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x + self.calls


class Full(torch.nn.Module):
    """As on a device that is full from two items on."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x * 2


def unit(module: torch.nn.Module, side: int = 64, name: str = "m.network") -> Unit:
    return Unit(name, module.eval().requires_grad_(False), (TensorSpec("image", (1, side, side, side)),))


def subject(*units: Unit) -> Subject:
    return Subject("m", STAND_IN, "protocol", units)
