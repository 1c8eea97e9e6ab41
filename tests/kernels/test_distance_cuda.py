"""The CUDA C of the distances without a GPU: run on the CPU, and compiled ahead of time for sm_80 and sm_90."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import ORDERS, CpuKernel, compile_for, parameters
from op_distance import SMALL, check_distance, plain

from umd_engine.kernels.bounds import bounds
from umd_engine.kernels.distance import OrganDistance, cases
from umd_engine.kernels.distance.jobs import job_table, volume
from umd_engine.kernels.distance.regions import slices, widened, within
from umd_engine.kernels.distance.source import DISTANCE, NAMES

pytest.importorskip("cupy")
from umd_engine.kernels.distance import gpu

QUICK = [case for case in SMALL if np.prod(case.shape) <= 20_000]


def on_cpu(source: str, order: int) -> Any:
    """A `launch` that runs a source's kernels on the CPU."""

    def launch(name: str, grid: tuple[int, ...], block: tuple[int, ...], arguments: Sequence[Any]) -> None:
        CpuKernel(source, name, order)(grid, block, arguments)

    return launch


def simulated(
    labels: np.ndarray, ids: Sequence[int], spacing: Sequence[float], border: str, squared: bool, order: int
) -> dict[int, OrganDistance]:
    """`organ_distances` of the GPU with its launches on the CPU; scratch starts as nonsense."""
    labels = np.array(labels, order="C")
    boxes = bounds(labels, 256, backend="reference").boxes[list(ids)]
    wide = [widened(box, labels.shape, border) if box.any() else box for box in boxes]
    table = job_table(wide, ids)
    size = volume(table)
    out, squares = np.full(size, np.nan, np.float32), np.full(size, np.nan)
    steps = np.full(size, 12345, np.uint16)
    if size:
        launch = on_cpu(DISTANCE, order)
        gpu.run(launch, labels, table, table.copy(), np.array(spacing, np.float64), steps, squares, out, squared)
    found = {}
    for name, box, around, row in zip(ids, boxes, wide, table, strict=True):
        part = out[row[6] : row[6] + row[3:6].prod()].reshape(row[3:6])
        found[name] = OrganDistance(slices(box), part[within(box, around)])
    return found


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_equals_the_reference(case: cases.Case, order: int) -> None:
    check_distance(case, lambda *asked: simulated(*asked, order=order))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 5.0)])
def test_gives_the_bits_of_the_cpu_in_voxels(spacing: tuple[float, float, float]) -> None:
    labels = cases.Case("", (20, 21, 22)).make(3)
    for name, organ in plain(labels, (1, 2, 3), spacing, "background", False, backend="cpu").items():
        found = simulated(labels, (1, 2, 3), spacing, "background", False, order=7)[name].distance
        if spacing == (1.0, 1.0, 1.0):
            np.testing.assert_array_equal(found, organ.distance)
        else:
            np.testing.assert_allclose(found, organ.distance, rtol=1.2e-7, atol=0)


@pytest.mark.parametrize("capability", [80, 90])
def test_compiles_ahead_of_time(capability: int) -> None:
    assert len(compile_for(DISTANCE, capability)) > 1000
    assert all(parameters(DISTANCE, name) for name in NAMES)
