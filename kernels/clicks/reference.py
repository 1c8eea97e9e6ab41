"""Clicks, the plain way: NumPy and SciPy on the whole volume, organ by organ."""

from __future__ import annotations

import numpy as np

from umd_engine.kernels.clicks.philox import draw_index
from umd_engine.kernels.clicks.rules import ANY_DEPTH, DEEPEST, Rule
from umd_engine.kernels.clicks.volumes import Volumes

NONE = (-1, -1, -1, 0, 0)


def draw(volumes: Volumes, rule: Rule, words: np.ndarray) -> np.ndarray:
    """int64 [N, 5]: x, y, z, positive, drawn of each organ."""
    rows = [_draw_one(*volumes.masks(slot), rule, volumes.spacing, words[slot]) for slot in range(volumes.count)]
    return np.array(rows, np.int64).reshape(volumes.count, 5)


def _draw_one(
    inside: np.ndarray, found: np.ndarray, rule: Rule, spacing: tuple[float, ...], words: np.ndarray
) -> tuple[int, ...]:
    missed, wrong = inside & ~found, found & ~inside
    regions = [_reduced(region, rule) for region in ((missed, wrong) if rule.split else (missed | wrong,))]
    depths = [_depth(region, spacing) if rule.depth != ANY_DEPTH else region.astype(float) for region in regions]
    if rule.depth == ANY_DEPTH:
        values = [float(np.count_nonzero(region)) for region in regions]
    else:
        values = [float(depth.max(initial=0.0)) for depth in depths]
    chosen = 0
    if rule.split:
        chosen = 0 if values[0] > values[1] or (rule.ties_positive and values[0] == values[1]) else 1
    may = regions[chosen]
    if rule.depth == DEEPEST:
        may = may & (depths[chosen] == values[chosen])
    elif rule.depth != ANY_DEPTH:
        may = may & (4 * depths[chosen] > values[chosen])  # squared distances
    if not may.any() and rule.fallback:
        may = inside
    voxels = np.argwhere(may)
    if not len(voxels):
        return NONE
    x, y, z = voxels[0 if rule.first else draw_index(words, len(voxels))].tolist()
    return x, y, z, int(inside[x, y, z]), 1


def _reduced(region: np.ndarray, rule: Rule) -> np.ndarray:
    from scipy import ndimage

    if rule.erode and region.size:
        region = ndimage.binary_erosion(region, np.ones((3, 3, 3)), border_value=1)
    if rule.largest and region.any():
        components, _ = ndimage.label(region, np.ones((3, 3, 3)))
        sizes = np.bincount(components.ravel())
        sizes[0] = 0
        region = components == np.argmax(sizes)
    return region


def _depth(region: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Squared distance to the nearest voxel outside, of the nearest voxel that SciPy finds."""
    from scipy import ndimage

    padded = np.pad(region, 1)
    nearest = ndimage.distance_transform_edt(padded, spacing, return_distances=False, return_indices=True)
    total = np.zeros(padded.shape, np.float32)
    for axis in (2, 1, 0):
        at = np.arange(padded.shape[axis]).reshape([-1 if other == axis else 1 for other in range(3)])
        total += np.float32(spacing[axis]) ** 2 * (at - nearest[axis]).astype(np.float32) ** 2
    return total[1:-1, 1:-1, 1:-1] * region
