"""Whether two images lie on one grid."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

from umd_engine.data.volume import Grid
from umd_engine.errors import GeometryError

# Corners may lie this share of the smallest spacing apart: rounded headers pass (float32 quaternions, affines
# written with three decimals), a grid moved by half a voxel does not.
CORNER_TOLERANCE = 0.05


def corners(grid: Grid) -> np.ndarray:
    """The eight outer corners of the grid (outer faces of the outermost voxels) in mm (RAS), [8, 3]."""
    ends = [(-0.5, size - 0.5) for size in grid.shape]
    voxels = np.array(list(product(*ends)))
    return voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def corner_distance(one: Grid, other: Grid) -> float:
    """The largest distance in mm between a corner of one grid and the same corner of the other."""
    return float(np.linalg.norm(corners(one) - corners(other), axis=1).max())


def check_same_grid(
    image: Grid,
    label: Grid,
    where: str | Path | None = None,
    tolerance_mm: float | None = None,
    reference: str = "the image",
) -> None:
    """Raise GeometryError unless `label`, or a further channel, lies on the grid of `image`.

    Both are compared in canonical order, so that files that store the same lattice in other axis orders agree.
    Shape must be equal; each of the eight outer corners may be `tolerance_mm` apart (default: 5 % of the
    image's smallest spacing), which bounds origin, spacing and direction at once. Files in other units than mm
    are refused when they are read. `reference` is what the error calls the image.
    """
    mend = f"resample it onto {reference}'s grid"
    if image.shape != label.shape:
        fault = f"{_shape(label)} voxels, but {reference} has {_shape(image)}"
        raise GeometryError(fault, where=where, mend=mend)
    allowed = CORNER_TOLERANCE * min(image.spacing) if tolerance_mm is None else tolerance_mm
    distance = corner_distance(image, label)
    if distance > allowed:
        fault = f"its grid lies {distance:.3g} mm off that of {reference} ({allowed:.2g} mm allowed): "
        raise GeometryError(fault + _difference(image, label), where=where, mend=mend)


def _shape(grid: Grid) -> str:
    return "x".join(str(size) for size in grid.shape)


def _difference(image: Grid, label: Grid) -> str:
    if not np.allclose(image.spacing, label.spacing, rtol=1e-3):
        return f"spacing {_numbers(label.spacing)} mm against {_numbers(image.spacing)} mm"
    if not np.allclose(_directions(image), _directions(label), atol=1e-3):
        return "its axes point elsewhere"
    return f"origin {_numbers(label.affine[:3, 3])} mm against {_numbers(image.affine[:3, 3])} mm"


def _directions(grid: Grid) -> np.ndarray:
    columns = grid.affine[:3, :3]
    return np.asarray(columns / np.linalg.norm(columns, axis=0))


def _numbers(values: np.ndarray | tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
