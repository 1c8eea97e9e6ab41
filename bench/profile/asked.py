"""What a user asks the profiler for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """Attributes:
    models: names of the catalogue, NAME=PATH with a checkpoint; without one it has stand-in weights.
    backend, precision, device: of every row; device is "cpu" or "cuda:0".
    batches: sizes of a batch for the units; scans run with the largest.
    scan: a volume to run the scans on; None: a phantom.
    quick: reduced units, a small phantom, short windows.
    hour: what an hour of this machine costs; kwh: what a kWh does, and watts: what the machine draws where no counter
        tells it. None: not said.
    overhead: also measure what the profiler itself adds.
    """

    models: tuple[str, ...]
    backend: str = "torch"
    precision: str = "fp32"
    device: str = "cpu"
    batches: tuple[int, ...] = (1, 4, 8)
    scan: Path | None = None
    quick: bool = False
    hour: float | None = None
    kwh: float | None = None
    watts: float | None = None
    overhead: bool = False
