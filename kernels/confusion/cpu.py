"""Joint counts on the CPU: numba, a private histogram a thread, uniform blocks of 64 voxels counted at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from umd_engine.errors import KernelError
from umd_engine.kernels.backends import missing_library
from umd_engine.kernels.compiled import compile_loop
from umd_engine.kernels.confusion import loops
from umd_engine.kernels.confusion.layout import pieces
from umd_engine.kernels.threads import run_all, workers


def confusion(
    label: np.ndarray,
    prediction: np.ndarray,
    classes_label: int,
    classes_prediction: int,
    threads: int | None = None,
) -> np.ndarray:
    """int64 [classes_label, classes_prediction]; at most `threads` (default: the CPUs this process may use).

    The maps are read where they lie, in whatever order each is; neither is copied.

    Raises:
        KernelError: an id not below its number of classes.
        BackendError: numba is not installed.
    """
    count_flat, count_grid = compiled_loops()
    shares = workers(threads)
    stride = 1 << (classes_prediction - 1).bit_length()
    work = pieces(label, prediction, shares)

    def task(first: int) -> tuple[np.ndarray, np.ndarray]:
        # a row for every uint8 id: one out of range stays inside the histogram and shows in `highest`
        histogram = np.zeros((loops.WAYS, 256 * stride + 256), np.int64)
        highest = np.zeros(2, np.int64)
        for left, right in work[first::shares]:
            count = count_flat if left.ndim == 1 else count_grid
            count(left, right, stride, histogram, highest)
        return histogram.sum(axis=0), highest

    results = run_all([partial(task, first) for first in range(shares)], shares if len(work) > 1 else 1)
    return total(results, stride, classes_label, classes_prediction)


def total(
    results: list[tuple[np.ndarray, np.ndarray]], stride: int, classes_label: int, classes_prediction: int
) -> np.ndarray:
    """The counts of all threads' (histogram, highest ids), once no id is too high."""
    _check_ids(np.max([found for _, found in results], axis=0), classes_label, classes_prediction)
    counts = np.sum([histogram for histogram, _ in results], axis=0)
    return counts[: 256 * stride].reshape(256, stride)[:classes_label, :classes_prediction].copy()


def _check_ids(highest: np.ndarray, classes_label: int, classes_prediction: int) -> None:
    for name, found, classes in zip(
        ("label", "prediction"), highest.tolist(), (classes_label, classes_prediction), strict=True
    ):
        if found >= classes:
            raise KernelError(f"confusion: {name} holds id {found} of {classes} classes")


@lru_cache(maxsize=1)
def compiled_loops() -> tuple[Callable[..., None], Callable[..., None]]:
    """The two loops, compiled at their first call."""
    try:
        return compile_loop(loops.count_flat), compile_loop(loops.count_grid)
    except ImportError as error:
        raise missing_library("confusion", "cpu", "numba") from error
