"""Distances on a GPU: every pass is one launch over the boxes of all organs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from umd_engine.kernels.backends import missing_device
from umd_engine.kernels.bounds import bounds
from umd_engine.kernels.distance.arguments import as_tensor
from umd_engine.kernels.distance.jobs import grids, job_table, volume
from umd_engine.kernels.distance.regions import OrganDistance, slices, widened, within
from umd_engine.kernels.distance.source import DISTANCE, THREADS
from umd_engine.kernels.launch import Launch, on_device


def run(
    launch: Launch,
    labels: Any,
    table: np.ndarray,
    jobs: Any,
    spacing: Any,
    steps: Any,
    squares: Any,
    out: Any,
    squared: bool,
) -> None:
    """The four launches; arrays are where the kernels run, buffers hold the voxels of one box after another.

    Args:
        labels: [X, Y, Z] uint8, C-contiguous.
        table: of the jobs, and again as `jobs`.
        spacing: [3] float64.
        steps, squares: uint16 and float64 scratch.
        out: float32, the distances.
    """
    voxels, columns = grids(table)
    launch("cut", voxels, (THREADS,), (labels, *map(int, labels.shape), jobs, steps))
    launch("scan", columns, (THREADS,), (jobs, steps))
    launch("search_y", voxels, (THREADS,), (jobs, steps, squares, spacing))
    launch("search_z", voxels, (THREADS,), (jobs, squares, out, spacing, int(squared)))


def organ_distances(
    labels: Any, ids: Sequence[int], spacing: Sequence[float], border: str, squared: bool
) -> dict[int, OrganDistance]:
    """As the package's, distances as tensors on the device.

    Raises:
        BackendError: there is no CUDA device.
    """
    device = device_of(labels, "distance")
    with torch.cuda.device(device):
        tensor = as_tensor(labels, device)
        boxes = bounds(tensor, 256).boxes[list(ids)]
        wide = [widened(box, tensor.shape, border) if box.any() else box for box in boxes]
        table = job_table(wide, ids)
        size = volume(table)
        out = torch.empty(size, dtype=torch.float32, device=device)
        if size:
            steps = torch.empty(size, dtype=torch.int16, device=device)
            squares = torch.empty(size, dtype=torch.float64, device=device)
            jobs = torch.from_numpy(table).to(device)
            sizes = torch.tensor(spacing, dtype=torch.float64, device=device)
            run(on_device(DISTANCE), tensor, table, jobs, sizes, steps, squares, out, squared)
    parts = (out[row[6] : row[6] + row[3:6].prod()].view(*map(int, row[3:6])) for row in table)
    return {
        name: OrganDistance(slices(box), part[within(box, around)])
        for name, box, around, part in zip(ids, boxes, wide, parts, strict=True)
    }


def device_of(array: Any, kernel: str) -> torch.device:
    """That of a tensor on a GPU, otherwise the current one.

    Raises:
        BackendError: there is no CUDA device.
    """
    if isinstance(array, torch.Tensor) and array.is_cuda:
        return array.device
    if not torch.cuda.is_available():
        raise missing_device(kernel)
    return torch.device("cuda", torch.cuda.current_device())
