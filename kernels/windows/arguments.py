"""What the operations on windows take, checked and in the form that the implementations take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from umd_engine.errors import KernelError

Triple = tuple[int, int, int]
Axis = tuple[np.ndarray, np.ndarray, np.ndarray]
PIXELS = (torch.uint8, torch.int16, torch.float16, torch.bfloat16, torch.float32)
NETWORK = (torch.float16, torch.bfloat16, torch.float32)
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
NO_INTENSITY = (-np.inf, np.inf, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Places:
    """Where windows lie.

    Attributes:
        starts: [N, 3] int64, the corner in voxels.
        flips: [N] uint8; bit a is set where axis a is mirrored.
        source: [N] int64, the volume's number.
    """

    starts: np.ndarray
    flips: np.ndarray
    source: np.ndarray


@dataclass(frozen=True, eq=False)
class Rule:
    """How sums become labels.

    Attributes:
        axes: (below, above, fraction) of every new voxel along X, Y, Z: int64, int64, float32.
        by_regions: paint heads above zero in their order, instead of the first largest head.
        labels: uint8, the label of a code: the head's number, or by regions 0 for none and 1 + head.
    """

    axes: tuple[Axis, Axis, Axis]
    by_regions: bool
    labels: np.ndarray


def as_tensor(array: Any, name: str, dtypes: Sequence[torch.dtype], axes: int) -> torch.Tensor:
    """A tensor over the array's memory where torch can read it; checked.

    Raises:
        KernelError: not an array, another number of axes or type.
    """
    if not isinstance(array, np.ndarray | torch.Tensor):
        raise KernelError(f"windows: {name} is a {type(array).__name__}, not an array or a tensor")
    tensor = array.detach() if isinstance(array, torch.Tensor) else _from_numpy(array, name)
    if tensor.ndim != axes:
        raise KernelError(f"windows: {name} has {tensor.ndim} axes, expected {axes}")
    if tensor.dtype not in dtypes:
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise KernelError(f"windows: {name} is {str(tensor.dtype).removeprefix('torch.')}, expected {known}")
    return tensor


def _from_numpy(array: np.ndarray, name: str) -> torch.Tensor:
    native = array.dtype.newbyteorder("=")
    takes = array.flags.writeable and array.dtype == native and all(step >= 0 for step in array.strides)
    try:
        return torch.from_numpy(array if takes else np.array(array, dtype=native, order="C"))
    except TypeError as error:
        raise KernelError(f"windows: {name} is {array.dtype}, not a type that torch has") from error


def in_place(array: Any, name: str, axes: int) -> torch.Tensor:
    """A float32 tensor that shares the array's memory.

    Raises:
        KernelError: as `as_tensor`, and for an array that cannot be written to in place.
    """
    tensor = as_tensor(array, name, (torch.float32,), axes)
    if isinstance(array, np.ndarray) and not np.shares_memory(tensor.numpy(), array) and array.size:
        raise KernelError(f"windows: {name} is read-only or has negative strides", mend="give a writable copy")
    return tensor


def check_places(starts: Any, flips: Any, source: Any, count: int | None, volumes: int) -> Places:
    """Places of `count` windows (None: as many as starts) in `volumes` volumes."""
    corners = np.asarray(starts)
    if corners.size == 0:
        corners = corners.reshape(0, 3).astype(np.int64)
    if corners.ndim != 2 or corners.shape[1] != 3 or corners.dtype.kind not in "iu":
        raise KernelError(f"windows: starts are {corners.dtype} {corners.shape}, expected integers [N, 3]")
    if count is not None and len(corners) != count:
        raise KernelError(f"windows: {len(corners)} starts of {count} windows")
    numbers = np.zeros(len(corners), np.int64) if source is None else np.asarray(source, np.int64)
    if numbers.shape != (len(corners),) or (numbers.size and not 0 <= numbers.min() <= numbers.max() < volumes):
        raise KernelError(f"windows: source is {numbers.tolist()}, expected {len(corners)} numbers below {volumes}")
    axes = [()] * len(corners) if flips is None else [tuple(each) for each in flips]
    if len(axes) != len(corners) or any(axis not in (0, 1, 2) for each in axes for axis in each):
        raise KernelError(f"windows: flips are {axes}, expected axes (0 to 2) of {len(corners)} windows")
    bits = np.array([sum(1 << axis for axis in set(each)) for each in axes], np.uint8)
    return Places(np.ascontiguousarray(corners, np.int64), bits, numbers)


def check_intensity(intensity: Any, volumes: int, channels: int) -> np.ndarray:
    """float32 [volumes, channels, 4] of [4], [C, 4] or [V, C, 4]."""
    table = np.asarray(NO_INTENSITY if intensity is None else intensity, np.float32)
    try:
        table = np.broadcast_to(table, (volumes, channels, 4))
    except ValueError:
        raise KernelError(
            f"windows: intensity has shape {table.shape}, expected [4], [{channels}, 4] or [{volumes}, {channels}, 4]"
        ) from None
    if np.isnan(table).any() or not np.isfinite(table[..., 2:]).all() or (table[..., 3] == 0).any():
        raise KernelError("windows: intensity has NaN, an infinite mean or a standard deviation of 0 or infinity")
    if (table[..., 0] > table[..., 1]).any():
        raise KernelError("windows: intensity has a lower bound above its upper bound")
    return np.ascontiguousarray(table)


def check_triple(value: Sequence[int], name: str, least: int) -> Triple:
    sizes = tuple(int(n) for n in value)
    if len(sizes) != 3 or min(sizes) < least:
        raise KernelError(f"windows: {name} is {tuple(value)}, expected three integers of at least {least}")
    return sizes


def check_rule(
    old: Sequence[int], new: Triple, heads: int, orders: Sequence[int], regions: Sequence[int] | None
) -> Rule:
    """The rule that takes [heads, *old] to labels [*new]."""
    if len(orders) != 3 or any(order not in (0, 1) for order in orders):
        raise KernelError(f"windows: orders are {tuple(orders)}, expected 0 (nearest) or 1 (linear) for three axes")
    if 0 in old and 0 not in new:
        raise KernelError(f"windows: an empty grid {tuple(old)} cannot be resampled to {new}")
    most = 256 if regions is None else 255
    if not 1 <= heads <= most:
        raise KernelError(f"windows: {heads} heads, expected 1 to {most}: labels are uint8")
    if regions is not None and (len(regions) != heads or not all(0 <= label <= 255 for label in regions)):
        raise KernelError(f"windows: regions are {list(regions)}, expected {heads} labels of 0 to 255")
    labels = range(heads) if regions is None else (0, *regions)
    axes = tuple(_axis(*sizes) for sizes in zip(old, new, orders, strict=True))
    return Rule(axes, regions is not None, np.array(labels, np.uint8))  # type: ignore[arg-type]


def _axis(old: int, new: int, order: int) -> Axis:
    if 0 in (old, new):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    where = np.clip((old / new) * (np.arange(new) + 0.5) - 0.5, 0, old - 1)
    if order == 0:
        where = np.minimum(np.floor(where + 0.5), old - 1)
    below = np.floor(where).astype(np.int64)
    above = np.where(where > below, below + 1, below)  # a voxel on an old one needs no neighbour
    return below, above, (where - below).astype(np.float32)
