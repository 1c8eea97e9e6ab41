"""Connected components on the CPU: numba, union-find of runs; the volume is read twice and the numbers written once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from umd_engine.kernels.backends import missing_library
from umd_engine.kernels.compiled import compile_loop
from umd_engine.kernels.components import loops
from umd_engine.kernels.threads import each_slab

SLACK = {6: (0, -1), 18: (1, 0), 26: (1, 1)}  # see loops.join_runs: side, corner


@dataclass(frozen=True)
class Runs:
    """A label map as runs along its last axis, and the component of each.

    Attributes:
        rows: int64 [X * Y + 1], the first run of each row.
        starts, ends: int32 [runs], half-open. ids: uint8 [runs].
        numbers: int32 [runs], from 1. sizes: int64 [N], voxels of component i + 1.
    """

    rows: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    ids: np.ndarray
    numbers: np.ndarray
    sizes: np.ndarray

    def component_ids(self) -> np.ndarray:
        """uint8 [N]: the id that each component is of."""
        ids = np.zeros(self.sizes.size, np.uint8)
        ids[self.numbers - 1] = self.ids
        return ids


def components(
    labels: np.ndarray, connectivity: int, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int32 numbers [X, Y, Z], int64 [N] sizes, uint8 [N] ids; at most `threads` (default: this process's CPUs)."""
    runs = find_runs(labels, connectivity, threads)
    return paint(runs, runs.numbers, labels.shape, np.int32, threads), runs.sizes, runs.component_ids()


def find_runs(labels: np.ndarray, connectivity: int, threads: int | None = None) -> Runs:
    """Runs and components of a uint8 map [X, Y, Z]; a map that is not C-contiguous is copied."""
    volume = np.ascontiguousarray(labels)
    count, fill, join, _ = _compiled()
    rows = np.zeros(volume.shape[0] * volume.shape[1] + 1, np.int64)
    each_slab(lambda first, last: count(volume, rows, first, last), volume.shape[0], threads)
    np.cumsum(rows, out=rows)
    total = int(rows[-1])
    starts, ends = np.empty(total, np.int32), np.empty(total, np.int32)
    ids, numbers = np.empty(total, np.uint8), np.empty(total, np.int32)
    each_slab(lambda first, last: fill(volume, rows, starts, ends, ids, first, last), volume.shape[0], threads)
    parent, sizes = np.empty(total, np.int32), np.empty(total, np.int64)
    found = join(rows, starts, ends, ids, volume.shape, *SLACK[connectivity], parent, numbers, sizes)
    return Runs(rows, starts, ends, ids, numbers, sizes[:found].copy())


def paint(runs: Runs, values: np.ndarray, shape: tuple[int, ...], dtype: Any, threads: int | None = None) -> np.ndarray:
    """`values` [runs] on the voxels of each run, 0 elsewhere."""
    out = np.empty(shape, dtype)
    write = _compiled()[3]
    each_slab(lambda first, last: write(out, runs.rows, runs.starts, runs.ends, values, first, last), shape[0], threads)
    return out


@lru_cache(maxsize=1)
def _compiled() -> tuple[Callable[..., Any], ...]:
    try:
        names = ("count_runs", "fill_runs", "join_runs", "paint_runs")
        return tuple(compile_loop(getattr(loops, name)) for name in names)
    except ImportError as error:
        raise missing_library("components", "cpu", "numba") from error
