"""Which file axis runs along which world axis: closest canonical (RAS+) orientation of an affine."""

from __future__ import annotations

import numpy as np


def file_orientation(affine: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """The world axis nearest to each voxel axis, and whether the voxel axis runs against it.

    The rule of `nibabel.orientations.io_orientation`: the rotation nearest to the affine (polar
    decomposition), its voxel axes assigned from the most to the least certain one.

    Args:
        affine: (4, 4), voxel -> mm (RAS), not singular.

    Returns:
        (axes, flips): voxel axis i runs along world axis axes[i], against it where flips[i].
    """
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(columns)
    rotation = left @ right
    axes, flips = [0, 0, 0], [False, False, False]
    for axis in np.argsort(np.min(-(rotation**2), axis=0), kind="stable"):
        world = int(np.argmax(np.abs(rotation[:, axis])))
        axes[axis], flips[axis] = world, bool(rotation[world, axis] < 0)
        rotation[world, :] = 0  # taken
    return (axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2])


def canonical_affine(
    affine: np.ndarray,
    shape: tuple[int, int, int],
    axes: tuple[int, int, int],
    flips: tuple[bool, bool, bool],
) -> np.ndarray:
    """The affine of the voxels once axis i lies at axes[i] and runs along it (`nibabel`'s `inv_ornt_aff`).

    Args:
        affine: (4, 4) of the file's voxel order.
        shape: the file's shape.
    """
    to_file = np.zeros((4, 4))  # canonical voxel -> file voxel
    to_file[3, 3] = 1.0
    for axis, (world, flip) in enumerate(zip(axes, flips, strict=True)):
        to_file[axis, world] = -1.0 if flip else 1.0
        to_file[axis, 3] = shape[axis] - 1 if flip else 0
    return affine @ to_file
