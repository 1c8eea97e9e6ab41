"""Distances, the plain way: SciPy on the whole volume, organ by organ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def distance(mask: np.ndarray, spacing: Sequence[float], border: str, squared: bool) -> NDArray[np.float32]:
    """float32 [X, Y, Z]: of each voxel of the mask to the nearest one outside it; inf where there is none."""
    from scipy import ndimage

    mask = mask.astype(bool)
    if border == "background":
        padded = distance(np.pad(mask, 1), spacing, "ignored", squared)
        return padded[1:-1, 1:-1, 1:-1].copy()
    if mask.all():  # SciPy measures to a voxel that is not there
        return np.full(mask.shape, np.inf, np.float32)
    found = ndimage.distance_transform_edt(mask, sampling=spacing)
    return (found**2 if squared else found).astype(np.float32)
