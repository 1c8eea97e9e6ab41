"""What is asked of torch and ONNX Runtime about this machine; runs in a process of its own."""

from __future__ import annotations

import os
import shutil
from typing import Any


def facts() -> dict[str, Any]:
    """Versions that torch was built for, devices, and what a run may use.

    Returns:
        torch, cuda: versions; driver: NVIDIA's by its management library, None without. threads: torch's; cores: that
        this process may use; bf16: whether the CPU computes in it; compiler: of C++. memory: device -> bytes that a run
        declares by default. devices: of CUDA: name, bytes and compute capability.
    """
    import torch

    from umd_engine.engine.backends.eager import computes_bf16
    from umd_engine.engine.backends.tensorrt_library import driver_version
    from umd_engine.engine.memory import budget

    places = [torch.device("cpu"), *(torch.device("cuda", n) for n in range(torch.cuda.device_count()))]
    properties = [torch.cuda.get_device_properties(place) for place in places[1:]]
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "driver": driver_version(),
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)),
        "bf16": computes_bf16(),
        "compiler": next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None),
        "memory": {str(place): budget(place) for place in places},
        "devices": [
            {"name": one.name, "memory": one.total_memory, "capability": f"{one.major}.{one.minor}"}
            for one in properties
        ],
    }


def providers() -> list[str]:
    """That ONNX Runtime offers.

    Raises:
        BackendError: it is not installed.
    """
    from umd_engine.engine.backends.onnx_session import import_runtime

    offered: list[str] = import_runtime().get_available_providers()
    return offered
