"""Deliberately wrong joint counts: each a mistake that a fast one makes."""

from __future__ import annotations

import numpy as np


def _count(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    code = label.ravel().astype(np.int64) * columns + prediction.ravel()
    return np.bincount(code, minlength=rows * columns).reshape(rows, columns).astype(np.int64)


def drops_the_tail(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    whole = label.size // 64 * 64
    return _count(label.ravel()[:whole], prediction.ravel()[:whole], rows, columns)


def counts_the_padding(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    pad = -label.size % 64
    left, right = (np.pad(array.ravel(), (0, pad)) for array in (label, prediction))
    return _count(left, right, rows, columns)


def swaps_the_maps(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return _count(prediction, label, columns, rows).reshape(rows, columns)


def saturates(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """16-bit counters that stop at their end."""
    return np.minimum(_count(label, prediction, rows, columns), 2**16 - 1)


def overflows(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """16-bit counters that start again at zero."""
    return _count(label, prediction, rows, columns).astype(np.uint16).astype(np.int64)


def narrow_result(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return _count(label, prediction, rows, columns).astype(np.int32)


def reads_memory_order(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Each map in the order it lies in memory, whatever the other's."""
    return _count(label.ravel(order="K"), prediction.ravel(order="K"), rows, columns)


def ignores_flips(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    left, right = (
        array[tuple(slice(None, None, -1 if step < 0 else 1) for step in array.strides)]
        for array in (label, prediction)
    )
    return _count(left, right, rows, columns)


def drops_background(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    counts = _count(label, prediction, rows, columns)
    counts[0, 0] = 0
    return counts


def seven_bit_ids(label: np.ndarray, prediction: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Ids above 127 lose their highest bit."""
    return _count(label & 127, prediction & 127, rows, columns)


WRONG = (
    drops_the_tail,
    counts_the_padding,
    swaps_the_maps,
    saturates,
    overflows,
    narrow_result,
    reads_memory_order,
    ignores_flips,
    drops_background,
    seven_bit_ids,
)
