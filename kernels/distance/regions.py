"""Which part of a volume the distances of an organ depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Slices = tuple[slice, slice, slice]
BORDERS = ("ignored", "background")


@dataclass(frozen=True)
class OrganDistance:
    """Distances of one organ.

    Attributes:
        box: where in the volume; the organ's own box, empty slices if it has no voxel.
        distance: [nx, ny, nz] of the box, float32; 0 outside the organ.
    """

    box: Slices
    distance: Any


def slices(box: np.ndarray) -> Slices:
    """[3, 2] half-open as slices."""
    x, y, z = (slice(int(first), int(last)) for first, last in box)
    return x, y, z


def widened(box: np.ndarray, shape: Sequence[int], border: str) -> np.ndarray:
    """[3, 2]: a box with the layer of background around it that decides the distances within.

    A voxel beyond that layer has one in the layer that is nearer to all of the box. Where the border is ignored,
    the layer ends at the volume's; otherwise it reaches one voxel outside.
    """
    wide = box + np.array([-1, 1])
    if border == "ignored":
        wide = np.stack([np.maximum(wide[:, 0], 0), np.minimum(wide[:, 1], shape)], axis=1)
    return wide


def within(box: np.ndarray, wide: np.ndarray) -> Slices:
    """`box` in coordinates of `wide`."""
    return slices(box - wide[:, :1])


def organ_mask(labels: np.ndarray, name: int, wide: np.ndarray) -> np.ndarray:
    """labels == name in the box `wide`, which may reach outside, as C-ordered bool; False outside."""
    inner = np.stack([np.maximum(wide[:, 0], 0), np.minimum(wide[:, 1], labels.shape)], axis=1)
    crop = labels[slices(inner)]
    if np.array_equal(inner, wide):
        return np.equal(crop, name, order="C")
    mask = np.zeros(wide[:, 1] - wide[:, 0], bool)
    np.equal(crop, name, out=mask[within(inner, wide)])
    return mask
