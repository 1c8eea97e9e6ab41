"""A volume on another grid: a CT on its PET's, a label map back on its scan's."""

from __future__ import annotations

import numpy as np

from umd_engine.data.volume import Grid, HeaderCodes, Volume
from umd_engine.errors import UnknownNameError
from umd_engine.kernels.resample import affine

ORDERS = {"nearest": 0, "linear": 1, "cubic": 3}
ROUNDED = 9  # decimals of a voxel: what inverting an affine leaves of a 0 or 1 is rounded away


def resample_to(volume: Volume, grid: Grid, how: str, outside: float | None = None) -> Volume:
    """`volume` at the centres of the voxels of `grid`, both placed in mm by their affines.

    Args:
        how: "nearest" (labels), "linear" or "cubic" (B-spline, kept within the volume's range).
        outside: what voxels get whose centre lies in no voxel of `volume`, in its unit (HU, SUV); default: its lowest
            value, and 0 for "nearest".

    Returns:
        A volume on `grid`: float32 for linear and cubic, the dtype of `volume` for nearest.

    Raises:
        UnknownNameError: another `how`.
        KernelError: an `outside` that the dtype of a nearest volume cannot hold.
    """
    if how not in ORDERS:
        raise UnknownNameError("way to resample", how, ORDERS)
    if outside is None:
        outside = 0.0 if how == "nearest" else float(volume.voxels.min())
    found = affine(
        volume.voxels[None],
        voxel_to_voxel(volume.grid, grid),
        grid.shape,
        ORDERS[how],
        border="constant",
        fill=outside,
        clip="volume" if how == "cubic" else None,
        precision="float32",
    )[0]
    found.flags.writeable = False
    return Volume(found, grid, None, HeaderCodes.of(grid.file_affine))


def voxel_to_voxel(old: Grid, new: Grid) -> np.ndarray:
    """(4, 4) voxel of `new` -> voxel of `old`; exactly the identity where both lie alike."""
    matrix = np.linalg.solve(old.affine, new.affine)
    whole = np.round(matrix)
    matrix = np.where(np.abs(matrix - whole) < 10.0**-ROUNDED, whole, matrix)
    matrix[3] = (0, 0, 0, 1)
    return matrix
