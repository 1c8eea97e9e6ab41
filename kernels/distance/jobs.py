"""The boxes of all organs as one launch's work: a table of jobs over flat buffers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umd_engine.kernels.distance.source import COLUMNS, THREADS

Grid = tuple[int, int]


def job_table(boxes: Sequence[np.ndarray], ids: Sequence[int]) -> np.ndarray:
    """int64 [jobs, 8]: corner and shape of each box [3, 2], where it starts in a flat buffer of all, its id."""
    table = np.zeros((len(ids), len(COLUMNS)), np.int64)
    offset = 0
    for row, box, name in zip(table, boxes, ids, strict=True):
        row[:3], row[3:6], row[6], row[7] = box[:, 0], box[:, 1] - box[:, 0], offset, name
        offset += int(np.prod(row[3:6]))
    return table


def volume(table: np.ndarray) -> int:
    """Voxels of all boxes together."""
    return int(table[:, 3:6].prod(axis=1).sum())


def grids(table: np.ndarray) -> tuple[Grid, Grid]:
    """Blocks (x, jobs) for a thread a voxel, and for a thread a column (y, z), of the largest box."""
    voxels = int(table[:, 3:6].prod(axis=1).max())
    columns = int(table[:, 4:6].prod(axis=1).max())
    return (-(-voxels // THREADS), len(table)), (-(-columns // THREADS), len(table))
