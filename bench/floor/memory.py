"""Peak memory of one call beyond what the process held before it."""

from __future__ import annotations

import ctypes
import gc
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

from umd_engine.bench.floor.entry import Entry

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak(entry: Entry) -> int:
    """Bytes that one call of the entry needs at its peak, its result included and its inputs not.

    The first call, which compiles and imports, does not count; what the allocator kept of it is given back before the
    second. On a host it is the growth of the process's resident set; on a device that of torch's tensors, and what the
    first call left there beside them: weights and arenas of other libraries, pools of CUDA graphs, code.

    Raises:
        OSError: a system whose processes cannot reset their peak (Linux's can).
    """
    return _device_peak(entry.run) if entry.runs_on == "cuda" else _host_peak(entry.run)


def _host_peak(run: Callable[[], Any]) -> int:
    run()
    before = resident()
    return max(0, peak_resident(run) - before)


def resident() -> int:
    """Bytes of the process's resident set, without what the allocator can give back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _kilobytes("VmRSS") * 1024


def settle() -> None:
    """Spare what is there now, libraries above all, the collections that follow, which would look at it each time;
    until the next call."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def peak_resident(run: Callable[[], Any]) -> int:
    """The largest that the resident set is during a call, in bytes.

    Raises:
        OSError: see `peak`.
    """
    resident()
    RESET.write_text("5", encoding="ascii")
    run()
    return _kilobytes("VmHWM") * 1024


def hold_within(free: int) -> None:
    """Let this process take so many bytes more: what does not fit raises, and the kernel has nobody to kill."""
    limit = free + _kilobytes("VmData") * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _device_peak(run: Callable[[], Any]) -> int:
    import torch

    beside = _beside_tensors()
    run()
    gc.collect()
    left = _beside_tensors() - beside
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated() - before) + max(0, left)


def _beside_tensors() -> int:
    """Bytes in use on the device, by anyone, that hold none of torch's tensors and that torch cannot give back."""
    import torch

    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    return int(total - free - torch.cuda.memory_allocated())


def _kilobytes(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} has no {field}")
    return int(found.group(1))
