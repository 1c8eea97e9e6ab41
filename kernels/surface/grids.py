"""Where the surface elements of an organ lie: corners between voxels, or voxels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from umd_engine.kernels.surface.measures import SurfaceDistances, empty, status_of

ELEMENTS = ("surfels", "voxels")
AT_ONCE = 1 << 26  # places of the boxes that are worked on together; an organ with more is done alone
Boxes = tuple[np.ndarray, np.ndarray]  # [256, 3, 2] of each map, as `bounds` gives them
Organ = tuple[int, np.ndarray]  # id, box around both masks


def union(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The box [3, 2] around two boxes."""
    return np.stack([np.minimum(one[:, 0], other[:, 0]), np.maximum(one[:, 1], other[:, 1])], axis=1)


def grid(box: np.ndarray, elements: str) -> np.ndarray:
    """[3, 2]: the elements' own box of a box of voxels. Corner i lies between voxels i - 1 and i."""
    return box + np.array([0, 1]) if elements == "surfels" else box


def common(boxes: Boxes, ids: Sequence[int]) -> list[Organ]:
    """(id, union box) of the organs that both maps have, by the boxes [256, 3, 2] of each map."""
    return [
        (name, union(boxes[0][name], boxes[1][name])) for name in ids if boxes[0][name].any() and boxes[1][name].any()
    ]


def batches(organs: Sequence[Organ], at_once: int = AT_ONCE) -> Iterator[list[Organ]]:
    """The organs in groups whose boxes have at most `at_once` places, or that are one organ: memory stays bounded where
    stray voxels make every box as large as the scan."""
    group: list[Organ] = []
    places = 0
    for name, box in organs:
        size = int((box[:, 1] - box[:, 0] + 1).prod())
        if group and places + size > at_once:
            yield group
            group, places = [], 0
        group.append((name, box))
        places += size
    if group:
        yield group


def all_of(
    ids: Sequence[int], boxes: Boxes, measured: Mapping[int, SurfaceDistances], elements: str
) -> dict[int, SurfaceDistances]:
    """What was measured, and of the others which mask is empty."""
    return {
        name: measured[name]
        if name in measured
        else empty(status_of(*(bool(box[name].any()) for box in boxes)), elements)
        for name in ids
    }
