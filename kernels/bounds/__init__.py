"""Box, voxel count and centroid of every label of a map, in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from umd_engine.errors import KernelError
from umd_engine.kernels.backends import missing_library, resolve

MAX_CLASSES = 256


@dataclass(frozen=True)
class Bounds:
    """Where the labels of a map lie; index c is label c.

    Attributes:
        boxes: int64 [classes, 3, 2], first voxel and the one after the last of each axis; zeros for an absent label.
        counts: int64 [classes], voxels.
        centroids: float64 [classes, 3], mean voxel coordinates; NaN for an absent label.
    """

    boxes: np.ndarray
    counts: np.ndarray
    centroids: np.ndarray

    def slices(self, label: int) -> tuple[slice, slice, slice]:
        """The box of a label as an index; empty for an absent one."""
        x, y, z = (slice(int(start), int(stop)) for start, stop in self.boxes[label])
        return x, y, z


def bounds(label: Any, classes: int, backend: str = "auto") -> Bounds:
    """The half-open box, the voxel count and the centroid of every label.

    Args:
        label: uint8 label map [X, Y, Z] of any memory order, NumPy array or torch tensor.
        classes: number of ids, background included: ids are 0 to classes - 1.
        backend: "auto" (where the map lies), "cpu" (numba), "gpu" (Triton) or "reference" (NumPy).

    Raises:
        KernelError: another dtype, not three axes, or a voxel whose id is not below the number of classes.
        BackendError: the named backend cannot run here.
        OptionError: an unknown backend name.
    """
    _check(label, classes)
    on_gpu = isinstance(label, torch.Tensor) and label.is_cuda
    name = resolve(backend, on_gpu=on_gpu, kernel="bounds")
    if name == "gpu":
        return _on_gpu(label, classes)
    array = label if isinstance(label, np.ndarray) else label.detach().cpu().numpy()
    if name == "reference":
        from umd_engine.kernels.bounds import reference

        return reference.bounds(array, classes)
    from umd_engine.kernels.bounds import cpu

    return cpu.bounds(array, classes)


def _on_gpu(label: Any, classes: int) -> Bounds:
    try:
        import triton  # noqa: F401
    except ImportError as error:
        raise missing_library("bounds", "gpu", "triton") from error
    from umd_engine.kernels.bounds import gpu

    if isinstance(label, np.ndarray):
        label = torch.from_numpy(np.array(label, order="K"))  # torch takes neither flips nor read-only arrays
    return gpu.bounds(label.detach(), classes)


def _check(label: Any, classes: int) -> None:
    if not isinstance(label, (np.ndarray, torch.Tensor)):
        raise KernelError(f"bounds: label is a {type(label).__name__}, not an array or a tensor")
    if label.dtype not in (np.dtype(np.uint8), torch.uint8):
        raise KernelError(f"bounds: label is {label.dtype}, not uint8", mend="cast it to uint8")
    if label.ndim != 3:
        raise KernelError(f"bounds: label has shape {tuple(label.shape)}, not [X, Y, Z]")
    if not 1 <= classes <= MAX_CLASSES:
        raise KernelError(f"bounds: classes is {classes}", mend=f"1 to {MAX_CLASSES}: ids are uint8")
