"""What `distance` and `surface` take: label maps or masks, ids, spacing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from umd_engine.errors import KernelError

LONGEST = 65000  # voxels of an axis: steps along it are 16 bits wide
Spacing = tuple[float, float, float]


def check_map(array: Any, kernel: str, name: str) -> bool:
    """Whether a [X, Y, Z] bool or uint8 map lies on a CUDA device.

    Raises:
        KernelError: another kind, dtype, number of axes, or an axis that is too long.
    """
    if not isinstance(array, (np.ndarray, torch.Tensor)):
        raise KernelError(f"{kernel}: {name} is a {type(array).__name__}, not an array or a tensor")
    if array.dtype not in (np.dtype(np.uint8), np.dtype(bool), torch.uint8, torch.bool):
        raise KernelError(f"{kernel}: {name} is {array.dtype}, not uint8 or bool", mend="cast it to uint8")
    if array.ndim != 3:
        raise KernelError(f"{kernel}: {name} has {array.ndim} axes, not X, Y, Z")
    if max(array.shape) > LONGEST:
        raise KernelError(f"{kernel}: {name} is {max(array.shape)} voxels long", mend=f"at most {LONGEST}")
    return isinstance(array, torch.Tensor) and array.is_cuda


def check_spacing(spacing: Sequence[float], kernel: str) -> Spacing:
    """Three positive, finite numbers.

    Raises:
        KernelError: anything else.
    """
    values = tuple(float(value) for value in spacing)
    if len(values) != 3 or not all(math.isfinite(value) and value > 0 for value in values):
        raise KernelError(f"{kernel}: spacing is {values}", mend="three positive numbers, in mm or 1 for voxels")
    return values


def check_ids(ids: Sequence[int], kernel: str) -> tuple[int, ...]:
    """Ids of organs, 1 to 255, each once.

    Raises:
        KernelError: anything else.
    """
    values = tuple(int(value) for value in ids)
    if not all(1 <= value <= 255 for value in values) or len(set(values)) != len(values):
        raise KernelError(f"{kernel}: ids are {values}", mend="each of 1 to 255 at most once")
    return values


def as_array(array: Any) -> np.ndarray:
    """uint8 on the CPU, a view where it can be."""
    found = array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()
    return found.view(np.uint8) if found.dtype == bool else found


def as_tensor(array: Any, device: torch.device) -> torch.Tensor:
    """uint8, C-contiguous on `device`."""
    if isinstance(array, torch.Tensor):
        tensor = array.detach()
    else:
        tensor = torch.from_numpy(np.array(array, order="C"))
    tensor = tensor.to(device).contiguous()
    return tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor
