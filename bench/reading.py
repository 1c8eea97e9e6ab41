"""Reading a scan: this package against nibabel, alternating in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from umd_engine.data.nifti import read

TARGET = 1.6


def run(path: str | Path, repeats: int = 7) -> dict[str, Any]:
    """Median seconds of `read` and of `np.asanyarray(nibabel.load(path).dataobj)`, and their ratio.

    Both give every voxel of the file; the check that the voxels are equal comes before the times.

    Args:
        path: a .nii or .nii.gz file.
        repeats: timed pairs, after one warm-up of each.
    """

    def with_nibabel() -> np.ndarray:
        return np.asanyarray(nibabel.load(path).dataobj)

    ours = read(path)
    if not np.array_equal(ours.grid.to_file_order(ours.voxels), with_nibabel()):
        raise AssertionError(f"{path}: read and nibabel disagree")
    pairs = [(_seconds(with_nibabel), _seconds(lambda: read(path))) for _ in range(repeats)]
    theirs = statistics.median(pair[0] for pair in pairs)
    mine = statistics.median(pair[1] for pair in pairs)
    size = ours.voxels.nbytes
    return {
        "name": f"reading, {size >> 20} MiB of voxels",
        "seconds": mine,
        "peer": "np.asanyarray(nibabel.load(path).dataobj)",
        "peer_seconds": theirs,
        "ratio": theirs / mine,
        "target": TARGET,
        "mb_per_s": size / mine / 1e6,
        "repeats": repeats,
    }


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
