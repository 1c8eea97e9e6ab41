"""Joint counts, the plain way: NumPy."""

from __future__ import annotations

import numpy as np

from umd_engine.errors import KernelError


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
