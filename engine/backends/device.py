"""Names of devices."""

from __future__ import annotations

import torch

from umd_engine.errors import BackendError


def resolve_device(name: str) -> torch.device:
    """ "auto" is the first CUDA device where there is one, else the CPU.

    Raises:
        BackendError: the named device is not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BackendError(f"unknown device '{name}'", mend="use auto, cpu or cuda[:index]") from None
    if device.type not in ("cpu", "cuda"):
        raise BackendError(f"device '{name}' is not supported", mend="use auto, cpu or cuda[:index]")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BackendError(
            f"no device '{name}': torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices",
            mend="use --device cpu, or install a CUDA build of torch and its driver",
        )
    return device
