"""RTSTRUCT: the contours of organs as masks on a series' grid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from umd_engine.data.dicom.files import Dataset, text
from umd_engine.data.dicom.stack import Stack
from umd_engine.errors import GeometryError, LabelError

# How far a contour may lie from the middle of its slice, in slices.
PLANE_TOLERANCE = 0.25
SNAP = 1e-6  # voxels: what inverting an affine leaves of a whole number


def names(structures: Dataset) -> dict[int, str]:
    """Number of each region of interest -> its name."""
    regions = structures.get("StructureSetROISequence") or []
    return {int(region.ROINumber): text(region, "ROIName") for region in regions}


def referenced_series(structures: Dataset) -> set[str]:
    """The SeriesInstanceUIDs that it was drawn on."""
    return {
        text(series, "SeriesInstanceUID")
        for frame in structures.get("ReferencedFrameOfReferenceSequence") or []
        for study in frame.get("RTReferencedStudySequence") or []
        for series in study.get("RTReferencedSeriesSequence") or []
    }


def region_masks(structures: Dataset, stack: Stack, where: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Name and mask, bool [columns, rows, slices], of every region that has contours.

    A voxel is inside where its centre is (even-odd, so that a contour in another one is a hole).

    Raises:
        GeometryError: a contour between slices, across them or outside of the scan. LabelError: an open or broken one.
    """
    to_voxel = np.linalg.inv(stack.lps)
    named = names(structures)
    for region in structures.get("ROIContourSequence") or []:
        contours = region.get("ContourSequence") or []
        if not contours:
            continue
        name = named.get(int(region.ReferencedROINumber), "")
        mask = np.zeros(stack.shape, bool)
        for contour in contours:
            if (kind := text(contour, "ContourGeometricType")) == "POINT":
                continue
            points = _points(contour, kind, name, where)
            voxels = points @ to_voxel[:3, :3].T + to_voxel[:3, 3]
            k = _slice(voxels[:, 2], stack.shape[2], name, where)
            mask[..., k] ^= fill(voxels[:, :2], stack.shape[:2])
        yield name, mask


def _points(contour: Dataset, kind: str, name: str, where: Path) -> np.ndarray:
    """[points, 3] in mm (LPS)."""
    flat = np.array([float(value) for value in contour.get("ContourData") or []])
    if kind not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
        raise LabelError(f"{name}: a contour of type {kind}", where=where, mend="export closed planar contours")
    if flat.size < 9 or flat.size % 3 or not np.isfinite(flat).all():
        raise LabelError(f"{name}: a contour of {flat.size} numbers", where=where, mend="export it again")
    return flat.reshape(-1, 3)


def _slice(heights: np.ndarray, slices: int, name: str, where: Path) -> int:
    k = round(float(heights.mean()))
    if np.abs(heights - k).max() > PLANE_TOLERANCE:
        mend = "draw it on this series, or export it on this series' slices"
        raise GeometryError(f"{name}: a contour that lies between slices or across them", where=where, mend=mend)
    if not 0 <= k < slices:
        raise GeometryError(f"{name}: a contour outside of the scan", where=where, mend="add the missing slices")
    return k


def fill(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Which voxel centres lie in a polygon.

    Args:
        points: [points, 2], corners in voxels: the centre of voxel (i, j) is at (i, j). The last one joins the first.
        shape: columns, rows.

    Returns:
        bool [columns, rows]. A centre on a left or lower edge is inside, on a right or upper edge outside.
    """
    corners = np.where(np.abs(points - np.rint(points)) < SNAP, np.rint(points), points)
    crossings = np.zeros((shape[0] + 1, shape[1]), np.int64)  # edges left of or at a centre, by the first such centre
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        low, high = sorted((y0, y1))
        rows = np.arange(max(int(np.ceil(low)), 0), min(int(np.ceil(high)), shape[1]))
        if rows.size:
            at = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
            first = np.ceil(np.where(np.abs(at - np.rint(at)) < SNAP, np.rint(at), at))
            np.add.at(crossings, (np.clip(first, 0, shape[0]).astype(int), rows), 1)
    return np.cumsum(crossings, axis=0)[:-1] % 2 == 1
