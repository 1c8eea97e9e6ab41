"""Distances between surfaces, the plain way: SciPy on the whole volume, organ by organ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umd_engine.kernels.surface.areas import CORNERS, element_areas
from umd_engine.kernels.surface.measures import OK, SurfaceDistances, empty, status_of

Spacing = tuple[float, float, float]


def surface_distances(
    label: np.ndarray, prediction: np.ndarray, ids: Sequence[int], spacing: Spacing, elements: str
) -> dict[int, SurfaceDistances]:
    """id -> both directed distances."""
    return {name: _organ(label == name, prediction == name, spacing, elements) for name in ids}


def _organ(label: np.ndarray, prediction: np.ndarray, spacing: Spacing, elements: str) -> SurfaceDistances:
    from scipy import ndimage

    status = status_of(bool(label.any()), bool(prediction.any()))
    if status != OK:
        return empty(status, elements)
    areas = element_areas(elements, spacing)
    codes = [_codes(mask, elements) for mask in (label, prediction)]
    directed = []
    for own, other in (codes, codes[::-1]):
        away = ndimage.distance_transform_edt(other == 0, sampling=spacing)[own > 0]
        weights = areas[own[own > 0]]
        order = np.lexsort((weights, away))
        directed += [away[order], weights[order]]
    return SurfaceDistances(status, elements, *directed)


def _codes(mask: np.ndarray, elements: str) -> np.ndarray:
    """The codes of the surface's elements, 0 elsewhere; outside the volume there is background."""
    from scipy import ndimage

    if elements == "voxels":
        return (mask & ~ndimage.binary_erosion(mask)).astype(np.uint8)
    padded = np.pad(mask, 1).astype(np.uint8)
    corners = np.zeros([size + 1 for size in mask.shape], np.uint8)
    for bit, offset in enumerate(CORNERS):
        x, y, z = (slice(start, start + size + 1) for start, size in zip(offset, mask.shape, strict=True))
        corners |= padded[x, y, z] << (7 - bit)
    corners[corners == 255] = 0
    return corners
