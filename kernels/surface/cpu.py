"""Distances between surfaces on the CPU: only elements get one, only within the box of both masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from umd_engine.kernels.backends import missing_library
from umd_engine.kernels.bounds import bounds
from umd_engine.kernels.compiled import compile_loop
from umd_engine.kernels.distance.cpu import Slabs, planes_of, scan_steps
from umd_engine.kernels.distance.cpu import compiled as compiled_distance
from umd_engine.kernels.distance.regions import organ_mask
from umd_engine.kernels.surface import loops
from umd_engine.kernels.surface.areas import element_areas
from umd_engine.kernels.surface.grids import Boxes, Organ, all_of, batches, common, grid
from umd_engine.kernels.surface.measures import OK, SurfaceDistances
from umd_engine.kernels.threads import run_all

Spacing = tuple[float, float, float]
FEW = 200  # elements of a plane that are far from the other surface: a tree finds so many sooner than a sweep


@lru_cache(maxsize=4)
def _compiled(name: str) -> Callable[..., Any]:
    try:
        return compile_loop(getattr(loops, name))
    except ImportError as error:
        raise missing_library("surface", "cpu", "numba") from error


class _Side:
    """The surface of one organ in one map, and its distances to the other map's."""

    def __init__(self, labels: np.ndarray, name: int, box: np.ndarray, elements: str):
        self._mask = labels, name, box + np.array([-1, 1])
        self._loop = _compiled("mark_corners" if elements == "surfels" else "mark_voxels")
        around = grid(box, elements)
        shape = tuple(around[:, 1] - around[:, 0])
        self.codes, self.steps = np.empty(shape, np.uint8), np.empty(shape, np.uint16)
        self.starts = np.zeros(shape[0] + 1, np.int64)  # of each plane's elements

    def mark(self) -> None:
        """Elements, the first pass's start, and room for the distances."""
        mask = organ_mask(*self._mask).view(np.uint8)
        self._loop(mask, self.codes, self.steps, self.starts[1:])
        np.cumsum(self.starts, out=self.starts)
        self.distances, self.found = np.empty(self.starts[-1]), np.empty(self.starts[-1], np.uint8)

    def measure(self, other: _Side, first: int, last: int, spacing: np.ndarray, slabs: Slabs) -> None:
        """Distances of the elements of planes [first, last) to the elements of `other`.

        Around each element; a plane with many that are far from the other surface is swept as a whole. Few are left
        at -1.
        """
        missed = np.zeros(len(self.codes), np.int64)
        near, collect = _compiled("near"), _compiled("collect")
        near(other.steps, self.codes, first, last, spacing, self.starts, self.distances, self.found, missed)
        for x in np.flatnonzero(missed > FEW):
            squares = slabs.take(1, other.steps.shape[1:])
            compiled_distance("sweep")(other.steps, x, spacing, 1, squares)
            collect(squares, self.codes, x, spacing, int(self.starts[x]), self.distances, self.found)

    def reach(self, other: _Side, spacing: np.ndarray) -> None:
        """Distances of the elements that are left, in the order of the other passes' sums."""
        left = np.flatnonzero(self.distances < 0)
        if not len(left):
            return
        from scipy.spatial import cKDTree

        places, others = self.places()[left], other.places()
        _, nearest = cKDTree(others * spacing).query(places * spacing)
        x, y, z = ((places - others[nearest]) * spacing).T
        self.distances[left] = np.sqrt(x * x + y * y + z * z)

    def places(self) -> np.ndarray:
        """[N, 3] of the elements in the box, in their order."""
        places = np.empty((int(self.starts[-1]), 3), np.int64)
        _compiled("locate")(self.codes, self.starts, places)
        return places

    def order(self, areas: np.ndarray) -> None:
        """From near to far."""
        order = np.argsort(self.distances, kind="stable")
        self.distances, self.areas = self.distances[order], areas[self.found[order]]


def surface_distances(
    label: np.ndarray,
    prediction: np.ndarray,
    ids: Sequence[int],
    spacing: Spacing,
    elements: str,
    threads: int | None = None,
    boxes: Boxes | None = None,
) -> dict[int, SurfaceDistances]:
    """id -> both directed distances; at most `threads` (default: the CPUs this process may use).

    Raises:
        BackendError: numba is not installed.
    """
    boxes = boxes or (bounds(label, 256, backend="cpu").boxes, bounds(prediction, 256, backend="cpu").boxes)
    # along the memory: the axes of a NIfTI file are in the other order, and what is measured knows no axes
    axes = np.argsort([-abs(stride) for stride in label.strides], kind="stable")
    maps = label.transpose(axes), prediction.transpose(axes)
    turned = boxes[0][:, axes], boxes[1][:, axes]
    sizes = (spacing[axes[0]], spacing[axes[1]], spacing[axes[2]])
    measured: dict[int, SurfaceDistances] = {}
    for group in batches(common(turned, ids)):
        measured |= _measured(maps, group, sizes, elements, threads)
    return all_of(ids, boxes, measured, elements)


def _measured(
    maps: tuple[np.ndarray, np.ndarray], group: Sequence[Organ], spacing: Spacing, elements: str, threads: int | None
) -> dict[int, SurfaceDistances]:
    organs = {name: (_Side(maps[0], name, box, elements), _Side(maps[1], name, box, elements)) for name, box in group}
    sides = [side for pair in organs.values() for side in pair]
    both = [pair for one, other in organs.values() for pair in ((one, other), (other, one))]
    run_all([side.mark for side in sides], threads)
    scan_steps([side.steps for side in sides], threads)
    slabs, sizes, areas = Slabs(), np.array(spacing, np.float64), element_areas(elements, spacing)
    tasks = [
        partial(own.measure, other, *span, sizes, slabs)
        for own, other in both
        for span in planes_of(own.codes.shape)
        if own.starts[span[0]] < own.starts[span[1]]
    ]
    run_all(tasks, threads)
    run_all([partial(own.reach, other, sizes) for own, other in both], threads)
    run_all([partial(side.order, areas) for side in sides], threads)
    return {
        name: SurfaceDistances(OK, elements, one.distances, one.areas, other.distances, other.areas)
        for name, (one, other) in organs.items()
    }
