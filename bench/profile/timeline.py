"""What a process holds, looked at by a thread of its own while it runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import torch

from umd_engine.bench.profile.result import Moment
from umd_engine.bench.profile.sensors import nvml

HERTZ = 20
STATM, PAGE = Path("/proc/self/statm"), os.sysconf("SC_PAGE_SIZE")


class Timeline:
    """Moments at 20 Hz, the first at the start and one at the end.

    Attributes:
        moments: in their order; `device` is what torch's tensors hold.
        process: the most that NVML says this process held on the device; None where it does not say.
    """

    def __init__(self, device: torch.device):
        self.moments: list[Moment] = []
        self.process: int | None = None
        self._device, self._ended = device, Event()
        self._held = _held_by(device)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look while the block runs."""
        began = time.perf_counter()
        self._look(began)
        thread = Thread(target=self._follow, args=(began,), name="timeline", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            self._look(began)

    def _follow(self, began: float) -> None:
        while not self._ended.wait(1 / HERTZ):
            self._look(began)

    def _look(self, began: float) -> None:
        held = torch.cuda.memory_allocated(self._device) if self._device.type == "cuda" else None
        self.moments.append(Moment(time.perf_counter() - began, resident(), held))
        if (process := self._held()) is not None:
            self.process = max(process, self.process or 0)


def resident() -> int:
    """Bytes of this process's resident set."""
    return int(STATM.read_text(encoding="ascii").split()[1]) * PAGE


def _held_by(device: torch.device) -> Callable[[], int | None]:
    gpu = nvml(device.index or 0) if device.type == "cuda" else ""
    return (lambda: None) if isinstance(gpu, str) else gpu.held
