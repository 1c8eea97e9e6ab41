"""Mean and squared deviations of parts, merged."""

from __future__ import annotations

import numpy as np


def merged(means: np.ndarray, squares: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of parts [P, C] with `sizes` [P] values each: mean [C] and squared deviations [C] of all.

    Chan, Golub, LeVeque 1983; deviations from the first part's mean, so that a large mean costs no accuracy.
    """
    weights = sizes[:, None] / sizes.sum()
    mean = means[0] + (weights * (means - means[0])).sum(axis=0)
    return mean, squares.sum(axis=0) + (sizes[:, None] * (means - mean) ** 2).sum(axis=0)
