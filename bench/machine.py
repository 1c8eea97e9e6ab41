"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    *("torch", "triton", "cupy-cuda13x", "cupy-cuda12x", "numpy", "onnxruntime", "onnxruntime-gpu", "nibabel", "isal"),
    *("numba", "scipy", "connected-components-3d", "edt", "scikit-image", "monai", "surface-distance"),
)


def describe() -> dict[str, object]:
    """Processor, threads, device, its driver and versions; nothing that names the machine."""
    import torch

    from umd_engine.engine.backends.tensorrt_library import driver_version

    return {
        "cpu": _cpu(),
        "threads": len(os.sched_getaffinity(0)),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "driver": driver_version(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
