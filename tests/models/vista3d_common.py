"""What the tests of VISTA3D share: scans that say their labels, on grids of all kinds."""

import numpy as np

from umd_engine.data.volume import Volume


def scan(labels, affine):
    """An image whose voxels say their label: 100 HU a label, air elsewhere."""
    return Volume.from_array(np.where(labels > 0, 100.0 * labels, -1000).astype(np.float32), affine)


def affine(spacing, axes=(0, 1, 2), signs=(1, 1, 1), angle=0.0):
    matrix = np.zeros((4, 4))
    for column in range(3):
        matrix[axes[column], column] = signs[column] * spacing[column]
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ matrix
    matrix[:3, 3] = 5, -40, 22
    matrix[3, 3] = 1
    return matrix


GRIDS = {
    "plain": ((60, 41, 70), affine((1.5, 1.5, 1.5)), 1.0),
    "flipped, permuted": ((70, 38, 52), affine((1.5,) * 3, (2, 0, 1), (-1, 1, -1)), 1.0),
    "oblique, thin": ((20, 66, 45), affine((1.5,) * 3, (1, 0, 2), (1, -1, -1), 0.3), 1.0),
    "anisotropic": ((50, 60, 24), affine((1.1, 1.2, 4.5), (0, 1, 2), (-1, -1, 1)), 0.9),
}
