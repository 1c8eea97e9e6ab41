"""Counts, the plain way: NumPy."""

from __future__ import annotations

import numpy as np

from umd_engine.errors import KernelError
from umd_engine.kernels.confusion.arguments import check_bits


def confusion(label: np.ndarray, prediction: np.ndarray, classes_label: int, classes_prediction: int) -> np.ndarray:
    """int64 [classes_label, classes_prediction]: one bin count of the joint code."""
    for name, array, classes in (
        ("label", label, classes_label),
        ("prediction", prediction, classes_prediction),
    ):
        if array.size and array.max() >= classes:
            raise KernelError(f"confusion: {name} holds id {array.max()} of {classes} classes")
    code = label.astype(np.int64) * classes_prediction + prediction
    counts = np.bincount(code.ravel(), minlength=classes_label * classes_prediction)
    return counts.reshape(classes_label, classes_prediction).astype(np.int64)


def confusion_from_logits(label: np.ndarray, logits: np.ndarray, classes_label: int) -> np.ndarray:
    """int64 [classes_label, classes]: of `logits.argmax(0)`, the first maximum."""
    if np.isnan(logits).any():
        raise KernelError("confusion: the logits hold NaN")
    return confusion(label, logits.argmax(axis=0).astype(np.uint8), classes_label, len(logits))


def confusion_planes(reference: np.ndarray, prediction: np.ndarray, organs: int) -> np.ndarray:
    """int64 [organs, 3]: TP, FP, FN, mask by mask."""
    rows = []
    for bit in range(8 * reference.dtype.itemsize):
        one, other = ((words >> bit & 1).astype(bool) for words in (reference, prediction))
        rows.append([(one & other).sum(), (~one & other).sum(), (one & ~other).sum()])
    totals = np.array(rows, np.int64)
    check_bits(totals, organs)
    return totals[:organs]
