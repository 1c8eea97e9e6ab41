"""Distances on the CPU: numba loops over the organs' own boxes, all boxes' slabs shared among threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from umd_engine.kernels.backends import missing_library
from umd_engine.kernels.compiled import compile_loop
from umd_engine.kernels.distance import loops
from umd_engine.kernels.threads import run_all, spans

SLAB = 1 << 16  # voxels whose squares, 512 KiB, are worked on at once
ROWS = 1 << 20  # voxels of a task of the first pass


@lru_cache(maxsize=4)
def compiled(name: str) -> Callable[..., Any]:
    """A loop of `loops`, compiled at its first call.

    Raises:
        BackendError: numba is not installed.
    """
    try:
        return compile_loop(getattr(loops, name))
    except ImportError as error:
        raise missing_library("distance", "cpu", "numba") from error


def scan_steps(steps: Sequence[np.ndarray], threads: int | None) -> None:
    """The first pass over several boxes, in place."""
    tasks = [
        partial(compiled("scan"), box, *rows)
        for box in steps
        for rows in spans(box.shape[1], max(ROWS // max(box.shape[0] * box.shape[2], 1), 1))
    ]
    run_all(tasks, threads)


class Slabs:
    """Scratch of a thread for the squares of some planes of a box."""

    def __init__(self) -> None:
        self._local = threading.local()

    def take(self, planes: int, shape: tuple[int, int]) -> np.ndarray:
        """[planes, *shape] float64, not initialised."""
        size = planes * shape[0] * shape[1]
        if getattr(self._local, "size", 0) < size:
            self._local.buffer, self._local.size = np.empty(size), size
        return self._local.buffer[:size].reshape(planes, *shape)


def planes_of(shape: Sequence[int]) -> list[tuple[int, int]]:
    """Spans of x that one task works on."""
    return list(spans(shape[0], max(SLAB // max(shape[1] * shape[2], 1), 1)))


def transform(
    masks: Sequence[np.ndarray], spacing: Sequence[float], squared: bool, threads: int | None = None
) -> list[np.ndarray]:
    """float32 distances of each mask [nx, ny, nz] bool to its nearest False voxel; inf where there is none."""
    steps = [np.where(mask, np.uint16(loops.NONE), np.uint16(0)) for mask in masks]
    results = [np.empty(mask.shape, np.float32) for mask in masks]
    scan_steps(steps, threads)
    slabs, sizes, sweep = Slabs(), np.array(spacing, np.float64), compiled("sweep")

    def task(index: int, first: int, last: int) -> None:
        squares = slabs.take(last - first, steps[index].shape[1:])
        sweep(steps[index], first, sizes, 2, squares)
        if squared:
            results[index][first:last] = squares
        else:
            np.sqrt(squares, out=results[index][first:last], casting="same_kind")

    tasks = [partial(task, index, *span) for index, box in enumerate(steps) for span in planes_of(box.shape)]
    run_all(tasks, threads)
    return results
