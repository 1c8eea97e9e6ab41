"""Checks of the arguments of a resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from umd_engine.errors import KernelError

ORDERS = (0, 1, 3)
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}
BORDERS = ("nearest", "constant")
Sizes = tuple[int, int, int]
Clip = tuple[int, ...] | None  # the axes of [C, X, Y, Z] whose every index has a range of its own


def check(data: Any, shape: Sequence[int], orders: Sequence[int]) -> tuple[Sizes, Sizes]:
    """The new shape and the orders as tuples of ints; raises KernelError, see `zoom` of the package."""
    if not isinstance(data, (np.ndarray, torch.Tensor)) or data.ndim != 4:
        raise KernelError(f"resample: {_describe(data)} is not [C, X, Y, Z]", mend="add the axis of channels")
    if not _is_real(data):
        raise KernelError(f"resample: {data.dtype} is not a real dtype")
    if len(shape) != 3 or len(orders) != 3:
        raise KernelError(f"resample: shape {tuple(shape)} and orders {tuple(orders)} need three numbers each")
    if min(*shape, *data.shape[1:]) < 1:
        sizes = f"{tuple(data.shape[1:])} to {tuple(shape)}"
        thin = "the volume is too thin for the target spacing: give one with more slices, or name a finer target"
        mend = thin if min(data.shape[1:]) else "give a volume that has voxels"
        raise KernelError(f"resample: cannot resample {sizes}: an axis is empty", mend=mend)
    if not set(orders) <= set(ORDERS):
        raise KernelError(f"resample: orders {tuple(orders)}", mend=f"each is one of {ORDERS}")
    return _sizes(shape), _sizes(orders)


def check_precision(precision: str) -> torch.dtype:
    """The dtype of a result that is not copied; raises KernelError."""
    if precision not in PRECISIONS:
        raise KernelError(f"resample: unknown precision '{precision}'", mend=f"one of {', '.join(PRECISIONS)}")
    return PRECISIONS[precision]


def check_border(border: str, fill: float, kept: torch.dtype) -> float | None:
    """What places outside the input get, None for its edge voxels; raises KernelError if `kept` cannot hold it."""
    if border not in BORDERS:
        raise KernelError(f"resample: unknown border '{border}'", mend=f"one of {', '.join(BORDERS)}")
    if border == "nearest":
        return None
    held = _held(fill, kept)
    if not held:
        raise KernelError(f"resample: {kept} cannot hold the fill value {fill}", mend="give one that it can")
    return fill


def _held(fill: float, dtype: torch.dtype) -> bool:
    if dtype.is_floating_point:
        return math.isfinite(fill) and abs(fill) <= torch.finfo(dtype).max
    if dtype == torch.bool:
        return fill in (0, 1)
    return float(fill).is_integer() and torch.iinfo(dtype).min <= fill <= torch.iinfo(dtype).max


def parse_clip(clip: str | None, old: Sequence[int], new: Sequence[int]) -> Clip:
    """The axes of [C, X, Y, Z] whose every index has a range of its own, None for no clip."""
    if clip is None:
        return None
    if clip == "volume":
        return (0,)
    kind, _, number = clip.partition(":")
    if kind != "slice" or number not in ("0", "1", "2"):
        raise KernelError(f"resample: unknown clip '{clip}'", mend="volume, slice:0, slice:1, slice:2 or None")
    axis = int(number)
    if old[axis] != new[axis]:
        raise KernelError(f"resample: clip '{clip}' needs axis {axis} to keep its length of {old[axis]}")
    return (0, axis + 1)


def _sizes(numbers: Sequence[int]) -> Sizes:
    first, second, third = (int(number) for number in numbers)
    return first, second, third


def _describe(data: Any) -> str:
    return f"shape {tuple(data.shape)}" if hasattr(data, "shape") else type(data).__name__


def _is_real(data: np.ndarray | torch.Tensor) -> bool:
    if isinstance(data, torch.Tensor):
        return not data.dtype.is_complex
    return data.dtype.kind in "biuf"
