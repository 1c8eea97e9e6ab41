"""Joint counts from logits on the CPU: the argmax of a chunk that stays in the cache, then its counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np
import torch

from umd_engine.errors import KernelError
from umd_engine.kernels.backends import missing_library
from umd_engine.kernels.compiled import compile_loop
from umd_engine.kernels.confusion import cpu, loops, loops_logits
from umd_engine.kernels.threads import run_all, workers

CHUNK = 1 << 16  # voxels: their predicted ids stay in the second-level cache


def confusion_from_logits(
    label: torch.Tensor, logits: torch.Tensor, classes_label: int, threads: int | None = None
) -> np.ndarray:
    """int64 [classes_label, classes]; at most `threads` (default: the CPUs this process may use).

    float32 and float64 logits whose classes are dense volumes are read where they lie. Others (16-bit types,
    channels last, views) are brought to float32 a few slices at a time.

    Raises:
        KernelError: NaN among the logits, or a label id not below `classes_label`.
        BackendError: numba is not installed.
    """
    count_flat, argmax = cpu.compiled_loops()[0], _compiled()
    shares = workers(threads)
    label, logits = _densest_last(label, logits)
    stride = 1 << (len(logits) - 1).bit_length()
    chunks = list(_chunks(label, logits))

    def task(first: int) -> tuple[np.ndarray, np.ndarray]:
        histogram = np.zeros((loops.WAYS, 256 * stride + 256), np.int64)
        highest = np.zeros(2, np.int64)
        for part in chunks[first::shares]:
            rows, start = _rows(logits, part)
            found = label[part].reshape(-1).numpy()
            predicted = np.empty(found.size, np.uint8)
            if argmax(rows, start, predicted):
                raise KernelError("confusion: the logits hold NaN")
            count_flat(found, predicted, stride, histogram, highest)
        return histogram.sum(axis=0), highest

    results = run_all([partial(task, first) for first in range(shares)], shares)
    return cpu.total(results, stride, classes_label, len(logits))


def _densest_last(label: torch.Tensor, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both with the voxel axes in the logits' memory order; dense logits and their label with one voxel axis."""
    order = sorted(range(label.ndim), key=lambda axis: -logits.stride(axis + 1))
    label, logits = label.permute(order), logits.permute(0, *(axis + 1 for axis in order))
    if _readable(logits):
        return label.reshape(-1), logits.reshape(len(logits), -1)
    return label, logits


def _readable(logits: torch.Tensor) -> bool:
    return logits.is_contiguous() and logits.dtype in (torch.float32, torch.float64)


def _chunks(label: torch.Tensor, logits: torch.Tensor) -> Iterator[slice]:
    """Ranges of the first voxel axis of about `CHUNK` voxels."""
    if not label.numel():
        return
    step = max(1, CHUNK * len(label) // label.numel())
    for start in range(0, len(label), step):
        yield slice(start, min(start + step, len(label)))


def _rows(logits: torch.Tensor, part: slice) -> tuple[np.ndarray, int]:
    """C-ordered [classes, voxels] that hold a part of the volume, and the voxel at which it starts."""
    if _readable(logits) and logits.ndim == 2:
        return logits.numpy(), part.start
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    copied = logits[:, part].to(dtype, memory_format=torch.contiguous_format)
    return copied.contiguous().view(len(logits), -1).numpy(), 0


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., bool]:
    try:
        return compile_loop(loops_logits.argmax)
    except ImportError as error:
        raise missing_library("confusion", "cpu", "numba") from error
