"""Distances between surfaces on a GPU: every pass is one launch over both maps' boxes of all organs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from umd_engine.kernels.bounds import bounds
from umd_engine.kernels.distance.arguments import as_tensor
from umd_engine.kernels.distance.gpu import device_of
from umd_engine.kernels.distance.jobs import grids, job_table, volume
from umd_engine.kernels.distance.source import THREADS
from umd_engine.kernels.launch import Launch, on_device
from umd_engine.kernels.surface.areas import element_areas
from umd_engine.kernels.surface.grids import Boxes, Organ, all_of, batches, common, grid
from umd_engine.kernels.surface.measures import OK, SurfaceDistances
from umd_engine.kernels.surface.source import SURFACE

Spacing = tuple[float, float, float]


def run_search(
    launch: Launch,
    maps: tuple[Any, Any],
    table: np.ndarray,
    jobs: Any,
    spacing: Any,
    codes: Any,
    steps: Any,
    squares: Any,
    elements: str,
) -> None:
    """Elements of both maps, and squared distances to them in every plane of x and y.

    Args:
        maps: label and prediction [X, Y, Z] uint8, C-contiguous.
        table: of the jobs, each organ in the label and then each in the prediction; again as `jobs`.
        spacing: [3] float64.
        codes: uint8, steps: uint16, squares: float64, of all boxes' places; written.
    """
    places, columns = grids(table)
    surfels = int(elements == "surfels")
    launch("mark", places, (THREADS,), (*maps, *map(int, maps[0].shape), jobs, surfels, codes, steps))
    launch("scan", columns, (THREADS,), (jobs, steps))
    launch("search_y", places, (THREADS,), (jobs, steps, squares, spacing))


def run_query(
    launch: Launch, jobs: Any, places: Any, rows: Any, squares: Any, organs: int, spacing: Any, distances: Any
) -> None:
    """distances [N] float64 of the elements at `places` [N] int64, of the jobs `rows` [N] int64."""
    count = int(places.shape[0])
    blocks = ((count + THREADS - 1) // THREADS,)
    launch("query", blocks, (THREADS,), (jobs, places, rows, count, squares, organs, spacing, distances))


def both_tables(boxes: Sequence[np.ndarray], ids: Sequence[int], elements: str) -> np.ndarray:
    """The jobs of the label and then, over the same boxes further on, those of the prediction."""
    table = job_table([grid(box, elements) for box in boxes], ids)
    second = table.copy()
    second[:, 6] += volume(table)
    return np.concatenate([table, second])


def surface_distances(
    label: Any, prediction: Any, ids: Sequence[int], spacing: Spacing, elements: str, boxes: Boxes | None = None
) -> dict[int, SurfaceDistances]:
    """As the package's.

    Raises:
        BackendError: there is no CUDA device.
    """
    device = device_of(label, "surface")
    measured: dict[int, SurfaceDistances] = {}
    with torch.cuda.device(device):
        maps = as_tensor(label, device), as_tensor(prediction, device)
        boxes = boxes or (bounds(maps[0], 256).boxes, bounds(maps[1], 256).boxes)
        for organs in batches(common(boxes, ids)):
            directed = _directed(maps, organs, spacing, elements)
            for (name, _), one, other in zip(organs, directed[: len(organs)], directed[len(organs) :], strict=True):
                measured[name] = SurfaceDistances(OK, elements, *one, *other)
    return all_of(ids, boxes, measured, elements)


def _directed(
    maps: tuple[torch.Tensor, torch.Tensor], organs: Sequence[Organ], spacing: Spacing, elements: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(distances, areas) of every job, sorted."""
    device = maps[0].device
    table = both_tables([box for _, box in organs], [name for name, _ in organs], elements)
    size = volume(table)
    codes = torch.empty(size, dtype=torch.uint8, device=device)
    steps = torch.empty(size, dtype=torch.int16, device=device)
    squares = torch.empty(size, dtype=torch.float64, device=device)
    jobs = torch.from_numpy(table).to(device)
    sizes = torch.tensor(spacing, dtype=torch.float64, device=device)
    launch = on_device(SURFACE)
    run_search(launch, maps, table, jobs, sizes, codes, steps, squares, elements)
    places = torch.nonzero(codes).view(-1)
    rows = torch.searchsorted(jobs[:, 6].contiguous(), places, right=True) - 1
    distances = torch.empty(places.shape, dtype=torch.float64, device=device)
    run_query(launch, jobs, places, rows, squares, len(organs), sizes, distances)
    # by job, and from near to far within each: `rows` rise, so a stable sort by them keeps the order
    order = torch.argsort(distances, stable=True)
    order = order[torch.argsort(rows[order], stable=True)]
    counts = torch.bincount(rows, minlength=len(table)).cpu().numpy()
    areas = element_areas(elements, spacing)[codes[places[order]].cpu().numpy()]
    cuts = np.cumsum(counts)[:-1]
    return list(zip(np.split(distances[order].cpu().numpy(), cuts), np.split(areas, cuts), strict=True))
