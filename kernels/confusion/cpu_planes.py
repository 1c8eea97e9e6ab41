"""TP, FP and FN of bit planes on the CPU: numba, counters of one bit column each, Python threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np

from umd_engine.kernels.backends import missing_library
from umd_engine.kernels.compiled import compile_loop
from umd_engine.kernels.confusion import loops_planes
from umd_engine.kernels.confusion.arguments import check_bits
from umd_engine.kernels.confusion.layout import Pair, pieces
from umd_engine.kernels.confusion.loops_planes import BLOCK, GROUP, LANES
from umd_engine.kernels.threads import run_all, workers


def confusion_planes(
    reference: np.ndarray, prediction: np.ndarray, organs: int, threads: int | None = None
) -> np.ndarray:
    """int64 [organs, 3]: TP, FP, FN; at most `threads` (default: the CPUs this process may use).

    Words that share a dense memory order are read where they lie, others copied a slice at a time.

    Raises:
        KernelError: a bit set at or above `organs`.
        BackendError: numba is not installed.
    """
    count_bits = _compiled()
    shares = workers(threads)
    work = pieces(reference, prediction, shares)

    def task(first: int) -> np.ndarray:
        totals = np.zeros((3, 64), np.int64)
        for piece in work[first::shares]:
            for left, right in _flat(*piece):
                for blocks in _blocks(left, right):
                    count_bits(*blocks, totals)
        return totals

    totals = np.sum(run_all([partial(task, first) for first in range(shares)], shares), axis=0)
    # a 64-bit word holds voxels side by side, little-endian: organ k lies at k, k + bits, ...
    bits = 8 * reference.dtype.itemsize
    both, left, right = totals.reshape(3, -1, bits).sum(axis=1)
    counts = np.stack([both, right - both, left - both], axis=1)
    check_bits(counts, organs)
    return counts[:organs].copy()


def _flat(left: np.ndarray, right: np.ndarray) -> Iterator[Pair]:
    if left.ndim == 1:
        yield left, right
        return
    for one, other in zip(left, right, strict=True):
        yield np.ascontiguousarray(one).reshape(-1), np.ascontiguousarray(other).reshape(-1)


def _blocks(left: np.ndarray, right: np.ndarray) -> Iterator[Pair]:
    """Both as [blocks, GROUP, LANES] uint64: whole blocks where they lie, the rest padded with zeros."""
    size = BLOCK * 8 // left.itemsize
    whole = left.size // size * size
    if whole:
        yield _words(left[:whole]), _words(right[:whole])
    if left.size - whole:
        rest = np.zeros((2, size), left.dtype)
        rest[0, : left.size - whole], rest[1, : left.size - whole] = left[whole:], right[whole:]
        yield _words(rest[0]), _words(rest[1])


def _words(flat: np.ndarray) -> np.ndarray:
    return flat.view(np.uint64).reshape(-1, GROUP, LANES)


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., None]:
    try:
        return compile_loop(loops_planes.count_bits)
    except ImportError as error:
        raise missing_library("confusion", "cpu", "numba") from error
