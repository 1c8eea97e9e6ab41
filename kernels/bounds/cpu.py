"""Bounds on the CPU: numba, a run of one id at a time, totals of its own a thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np

from umd_engine.kernels.backends import missing_library
from umd_engine.kernels.bounds import Bounds, loops
from umd_engine.kernels.bounds.totals import COUNT, STARTS, STOPS, check_ids, no_totals, to_bounds
from umd_engine.kernels.compiled import compile_loop
from umd_engine.kernels.threads import run_all, workers

IDS = 256  # a row for every uint8: an id out of range is found after the pass


def bounds(label: np.ndarray, classes: int, threads: int | None = None) -> Bounds:
    """Of a map [X, Y, Z]; at most `threads` (default: the CPUs this process may use).

    A map that is dense in some axis order is read where it lies; of another, one slice a thread is copied.

    Raises:
        KernelError: an id not below `classes`.
        BackendError: numba is not installed.
    """
    add_slab = _compiled()
    shares = workers(threads)
    axes = sorted(range(3), key=lambda axis: -abs(label.strides[axis]))
    turned = label.transpose(axes)

    def task(first: int) -> np.ndarray:
        totals = no_totals(IDS)
        for x in range(len(turned) * first // shares, len(turned) * (first + 1) // shares):
            add_slab(np.ascontiguousarray(turned[x]).reshape(-1), x, turned.shape[2], totals)
        return totals

    totals = _merged(np.stack(run_all([partial(task, first) for first in range(shares)], shares)))
    check_ids(int(np.flatnonzero(totals[:, COUNT]).max(initial=0)), classes)
    return to_bounds(totals[:classes], axes)


def _merged(parts: np.ndarray) -> np.ndarray:
    totals = parts.sum(axis=0)
    totals[:, STARTS] = parts[:, :, STARTS].min(axis=0)
    totals[:, STOPS] = parts[:, :, STOPS].max(axis=0)
    return totals


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., None]:
    try:
        return compile_loop(loops.add_slab)
    except ImportError as error:
        raise missing_library("bounds", "cpu", "numba") from error
