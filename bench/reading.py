"""Reading a scan: this package against nibabel, both giving every voxel of the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from umd_engine.bench.floor import Entry
from umd_engine.data.nifti import read

TARGET = 1.6


def entries(path: str | Path) -> list[Entry]:
    """`read` and nibabel on one .nii or .nii.gz file.

    Raises:
        MissingFileError: there is no such file.
    """
    ours = read(path)
    voxels, in_file_order = ours.voxels.copy(), ours.grid.to_file_order(ours.voxels).copy()
    case = f"{voxels.nbytes >> 20} MiB of voxels"
    call = "np.asanyarray(nibabel.load(path).dataobj)"

    def with_nibabel() -> np.ndarray:
        return np.asanyarray(nibabel.load(path).dataobj)

    def check_ours(found: Any) -> None:
        np.testing.assert_array_equal(found.voxels, voxels)

    def check_theirs(found: np.ndarray) -> None:
        np.testing.assert_array_equal(found, in_file_order)

    size = Path(path).stat().st_size + voxels.nbytes
    return [
        Entry("reading", "read", case, lambda: read(path), size, check_ours, device="cpu"),
        Entry("reading", "peer:nibabel", case, with_nibabel, 0, check_theirs, peer=True, call=call, target=TARGET),
    ]
