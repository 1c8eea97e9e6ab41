"""Where the surface elements of an organ lie: corners between voxels, or voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ELEMENTS = ("surfels", "voxels")


def union(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The box [3, 2] around two boxes."""
    return np.stack([np.minimum(one[:, 0], other[:, 0]), np.maximum(one[:, 1], other[:, 1])], axis=1)


def grid(box: np.ndarray, elements: str) -> np.ndarray:
    """[3, 2]: the elements' own box of a box of voxels. Corner i lies between voxels i - 1 and i."""
    return box + np.array([0, 1]) if elements == "surfels" else box


def common(boxes: tuple[np.ndarray, np.ndarray], ids: Sequence[int]) -> list[tuple[int, np.ndarray]]:
    """(id, union box) of the organs that both maps have, by the boxes [256, 3, 2] of each map."""
    return [
        (name, union(boxes[0][name], boxes[1][name])) for name in ids if boxes[0][name].any() and boxes[1][name].any()
    ]
