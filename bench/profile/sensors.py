"""What counters tell of a device: its state before and after a run, and joules. They are read, never set."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from umd_engine.bench.profile.result import Energy, State

SYS, CPUINFO = Path("/sys"), Path("/proc/cpuinfo")
PACKAGES = ("coretemp", "k10temp", "zenpower", "cpu_thermal")  # drivers of a processor's own sensors


@dataclass(frozen=True)
class Look:
    """One moment of a device; the fields of `State`, one value each."""

    clock: float | None = None
    temperature: float | None = None
    power: float | None = None
    others: int | None = None
    load: float | None = None


def look(device: torch.device) -> Look:
    """The device as it is now; `load` is the host's, whatever the device."""
    load = os.getloadavg()[0]
    if device.type != "cuda":
        return Look(clock=_host_clock(), temperature=_host_temperature(), load=load)
    gpu = nvml(device.index or 0)
    if isinstance(gpu, str):
        return Look(load=load)
    return Look(gpu.clock(), gpu.temperature(), gpu.power(), gpu.others(), load)


def state_of(before: Look, after: Look) -> State:
    """Both moments; of processes the larger number, and the load of before, as afterwards it is our own."""

    def both(name: str) -> tuple[float, float] | None:
        first, last = getattr(before, name), getattr(after, name)
        return None if first is None or last is None else (first, last)

    others = [moment.others for moment in (before, after) if moment.others is not None]
    return State(both("clock"), both("temperature"), both("power"), max(others, default=None), before.load)


class Gpu:
    """A device as NVML sees it; what a driver does not tell is None.

    Args:
        library: `pynvml`. handle: of the device.
    """

    def __init__(self, library: Any, handle: Any):
        self.library, self.handle = library, handle

    def clock(self) -> float | None:
        """MHz of its multiprocessors."""
        return self._told("nvmlDeviceGetClockInfo", self.library.NVML_CLOCK_SM)

    def temperature(self) -> float | None:
        """Degrees Celsius."""
        return self._told("nvmlDeviceGetTemperature", self.library.NVML_TEMPERATURE_GPU)

    def power(self) -> float | None:
        """Watts, of the last second or less."""
        return self._told("nvmlDeviceGetPowerUsage", scale=1e-3)

    def joules(self) -> float | None:
        """Since the driver was loaded; Volta and later."""
        return self._told("nvmlDeviceGetTotalEnergyConsumption", scale=1e-3)

    def others(self) -> int | None:
        """Processes that compute on it besides this one."""
        found = self._processes()
        return None if found is None else sum(process.pid != os.getpid() for process in found)

    def held(self) -> int | None:
        """Bytes that this process holds; None where a container hides its number from the driver."""
        mine = (process.usedGpuMemory for process in self._processes() or () if process.pid == os.getpid())
        return next(mine, None)

    def _processes(self) -> list[Any] | None:
        try:
            return list(self.library.nvmlDeviceGetComputeRunningProcesses(self.handle))
        except self.library.NVMLError:
            return None

    def _told(self, name: str, *arguments: Any, scale: float = 1.0) -> float | None:
        try:
            return float(getattr(self.library, name)(self.handle, *arguments)) * scale
        except self.library.NVMLError:
            return None


@cache
def nvml(index: int) -> Gpu | str:
    """torch's device of that number, or why NVML does not tell of it."""
    try:
        import pynvml
    except ImportError:
        return "no module pynvml: pip install nvidia-ml-py"
    try:
        pynvml.nvmlInit()
        # by its name for all: CUDA_VISIBLE_DEVICES gives torch another order than NVML's
        return Gpu(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(index).uuid}"))
    except pynvml.NVMLError as error:
        return f"NVML: {error}"


class Rapl:
    """Joules of a processor's packages since this was made: the kernel's counters, put together across their wraps.

    A counter starts again after 60 kJ or more, so it has to be read every few minutes.

    Raises:
        OSError: there is none, or it may not be read.
    """

    def __init__(self, root: Path = SYS):
        zones = [zone for zone in (root / "class/powercap").glob("*-rapl:*") if zone.name.count(":") == 1]
        self.zones = [zone for zone in zones if (zone / "name").read_text().startswith("package")]
        if not self.zones:
            raise FileNotFoundError("the kernel has no RAPL counter of the processor")
        self._spans = [int((zone / "max_energy_range_uj").read_text()) + 1 for zone in self.zones]
        self._last, self._total = self._read(), 0

    def _read(self) -> list[int]:
        return [int((zone / "energy_uj").read_text()) for zone in self.zones]

    def joules(self) -> float:
        now = self._read()
        self._total += sum(
            (new - old) % span for new, old, span in zip(now, self._last, self._spans, strict=True)
        )  # a counter that went back has wrapped once
        self._last = now
        return self._total / 1e6


class Meter:
    """Joules that a device takes.

    Attributes:
        source: "NVML" or "RAPL", or why there is no counter.
    """

    def __init__(self, device: torch.device, root: Path = SYS):
        self.source, self._joules = _counter(device, root)

    @property
    def works(self) -> bool:
        return self._joules is not None

    def joules(self) -> float | None:
        """Since some moment before; None without a counter."""
        return None if self._joules is None else self._joules()

    def spent(self, since: float | None, calls: int) -> Energy:
        """Of one of so many calls that were made since the counter said `since`."""
        now = self.joules()
        if since is None or now is None:
            return Energy(None, self.source)
        if now <= since:
            return Energy(None, f"{self.source} did not move in so short a time")
        return Energy((now - since) / calls, self.source)


def _counter(device: torch.device, root: Path) -> tuple[str, Callable[[], float | None] | None]:
    if device.type == "cuda":
        gpu = nvml(device.index or 0)
        if isinstance(gpu, str):
            return f"not available: {gpu}", None
        return ("NVML", gpu.joules) if gpu.joules() is not None else ("not available: this device counts none", None)
    try:
        return "RAPL", Rapl(root).joules
    except PermissionError:
        return "not available: RAPL's counters are for root alone here", None
    except OSError as error:
        return f"not available: {error.strerror or error}", None


def _host_clock(root: Path = SYS, told: Path = CPUINFO) -> float | None:
    """MHz, the mean of this process's CPUs as the kernel's governor says it, or else of those in /proc/cpuinfo."""
    cores = [root / f"devices/system/cpu/cpu{n}/cpufreq/scaling_cur_freq" for n in sorted(os.sched_getaffinity(0))]
    if found := [int(core.read_text()) / 1e3 for core in cores if core.exists()]:
        return mean(found)
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    found = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    return mean(found) if found else None


def _host_temperature(root: Path = SYS) -> float | None:
    """Degrees Celsius of the hottest sensor of the processor."""
    chips = [chip.parent for chip in root.glob("class/hwmon/*/name") if chip.read_text().strip() in PACKAGES]
    found = []
    for sensor in (path for chip in chips for path in chip.glob("temp*_input")):
        try:
            found.append(int(sensor.read_text()) / 1e3)
        except OSError:  # a sensor that is switched off
            continue
    return max(found, default=None)
