"""Mends for a label or a channel on another grid than its image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from umd_engine.data.geometry import check_same_grid, corner_distance, corners
from umd_engine.data.manifest import ScanRow
from umd_engine.data.nifti import read_header
from umd_engine.data.suggestions.advice import Advice, Table
from umd_engine.data.volume import Grid
from umd_engine.errors import DataError, GeometryError

COPY = "nibabel.Nifti1Image(array, image.affine)"
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def advise_grid(error: GeometryError, row: ScanRow, table: Table) -> Advice | None:
    """Whether the header is wrong and how, whose grid it is, or how to resample it."""
    path = Path(error.where or "")
    image, other = _grid(row.images[0]), _grid(path)
    if image is None or other is None:
        return None
    text = _header_fault(image, other) or _elsewhere(path, image, other, row, table)
    return Advice(text)


def _grid(path: Path) -> Grid | None:
    try:
        return read_header(path).grid
    except DataError:  # a fault of its own
        return None


def _header_fault(image: Grid, other: Grid) -> str | None:
    """What is wrong with the header of a file that has the image's voxels."""
    if image.shape == other.shape and corner_distance(image, other) <= min(image.spacing) / 2:
        return f"less than half a voxel apart: its header was rounded, write it again with the image's: {COPY}"
    if image.file_shape == other.file_shape:
        return _affine_fault(image.file_affine, other.file_affine)
    if image.file_shape == other.file_shape[::-1]:
        return f"its axes are in the order z, y, x: write it again with array.transpose(2, 1, 0): {COPY}"
    return None


def _affine_fault(image: np.ndarray, other: np.ndarray) -> str | None:
    again = f"write it again with the image's affine and look at the overlay: {COPY}"
    if np.allclose(LPS @ other, image, atol=0.01):
        return f"its affine is the image's in LPS+, and NIfTI's is RAS+: {again}"
    spacing = np.linalg.norm(image[:3, :3], axis=0)
    if any(np.allclose(other, _upright(sizes), atol=0.01) for sizes in (np.ones(3), spacing)):
        return f"it has the image's shape, but its affine was lost when it was saved: {again}"
    if np.allclose(abs(other[:3, :3]), abs(image[:3, :3]), atol=0.01) and not np.allclose(
        other[:3, :3], image[:3, :3], atol=0.01
    ):
        return f"it has the image's shape and spacing, but an axis runs the other way: {again}"
    return None


def _upright(sizes: np.ndarray) -> np.ndarray:
    return np.diag([*sizes, 1.0])


def _elsewhere(path: Path, image: Grid, other: Grid, row: ScanRow, table: Table) -> str:
    order, noun = (0, "label") if path == row.label else (1, "channel")
    resample = f"nibabel.processing.resample_from_to({noun}, image, order={order})"
    for line, sibling in table.rows.items():
        if sibling.subject == row.subject and sibling.key != row.key and _on_grid(other, sibling):
            return f"it lies on the grid of {sibling.scan_id} (line {line}): resample it with {resample}"
    if not _overlap(image, other):
        return "it does not overlap with the image in space: it is of another scan, or one of the two affines is wrong"
    return f"resample it with {resample}"


def _on_grid(other: Grid, row: ScanRow) -> bool:
    if (grid := _grid(row.images[0])) is None:
        return False
    try:
        check_same_grid(grid, other)
    except GeometryError:
        return False
    return True


def _overlap(one: Grid, other: Grid) -> bool:
    """Whether the boxes around both, along the axes of space, meet."""
    a, b = corners(one), corners(other)
    return bool((a.min(axis=0) < b.max(axis=0)).all() and (b.min(axis=0) < a.max(axis=0)).all())
