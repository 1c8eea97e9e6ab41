"""The CUDA C of the surface distances without a GPU: run on the CPU, and compiled ahead of time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from cuda_on_cpu import ORDERS, compile_for, parameters
from op_surface import SMALL, check_surface
from test_distance_cuda import on_cpu

from umd_engine.kernels.bounds import bounds
from umd_engine.kernels.distance.jobs import volume
from umd_engine.kernels.surface import SurfaceDistances, cases, surface_distances
from umd_engine.kernels.surface.areas import element_areas
from umd_engine.kernels.surface.grids import common
from umd_engine.kernels.surface.source import NAMES, SURFACE

pytest.importorskip("cupy")
from umd_engine.kernels.surface import gpu

QUICK = [case for case in SMALL if np.prod(case.shape) <= 13_000]


def simulated(
    label: np.ndarray, prediction: np.ndarray, ids: Sequence[int], spacing: Sequence[float], elements: str, order: int
) -> dict[int, SurfaceDistances]:
    """`surface_distances` of the GPU with its launches on the CPU; scratch starts as nonsense."""
    maps = np.array(label, order="C"), np.array(prediction, order="C")
    found = surface_distances(*maps, ids, spacing, elements=elements, backend="reference")
    boxes = tuple(bounds(one, 256, backend="reference").boxes for one in maps)
    organs = common((boxes[0], boxes[1]), ids)
    if not organs:
        return found
    table = gpu.both_tables([box for _, box in organs], [name for name, _ in organs], elements)
    size = volume(table)
    codes, steps, squares = np.full(size, 77, np.uint8), np.full(size, 12345, np.uint16), np.full(size, np.nan)
    launch, sizes = on_cpu(SURFACE, order), np.array(spacing, np.float64)
    gpu.run_search(launch, maps, table, table.copy(), sizes, codes, steps, squares, elements)
    places = np.flatnonzero(codes)
    rows = np.searchsorted(table[:, 6], places, side="right") - 1
    distances = np.full(places.size, np.nan)
    gpu.run_query(launch, table, places, rows, squares, len(organs), sizes, distances)
    areas = element_areas(elements, spacing)[codes[places]]
    for index, (name, _) in enumerate(organs):
        sides = []
        for row in (index, index + len(organs)):
            away, weights = distances[rows == row], areas[rows == row]
            order_of = np.argsort(away, kind="stable")
            sides += [away[order_of], weights[order_of]]
        found[name] = SurfaceDistances("ok", elements, *sides)
    return found


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_equals_the_reference(case: cases.Case, order: int) -> None:
    check_surface(case, lambda *asked: simulated(*asked, order=order))


@pytest.mark.parametrize("capability", [80, 90])
def test_compiles_ahead_of_time(capability: int) -> None:
    assert len(compile_for(SURFACE, capability)) > 1000
    assert all(parameters(SURFACE, name) for name in NAMES)
