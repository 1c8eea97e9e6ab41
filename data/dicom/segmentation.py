"""SEG: binary segments as masks on a series' grid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from umd_engine.data.dicom.files import Dataset, number, text, values
from umd_engine.data.dicom.stack import COSINE_TOLERANCE, Stack, read_pixels
from umd_engine.errors import GeometryError, LabelError

# How far a frame may lie off the voxels of the series, in voxels.
PLACE_TOLERANCE = 0.05


def names(segmentation: Dataset) -> dict[int, str]:
    """Number of each segment -> its label."""
    return {int(one.SegmentNumber): text(one, "SegmentLabel") for one in segmentation.get("SegmentSequence") or []}


def referenced_series(segmentation: Dataset) -> set[str]:
    """The SeriesInstanceUIDs that it was drawn on."""
    return {text(series, "SeriesInstanceUID") for series in segmentation.get("ReferencedSeriesSequence") or []}


def segment_masks(segmentation: Dataset, stack: Stack, path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Label and mask, bool [columns, rows, slices], of every segment.

    Args:
        segmentation: its header.
        path: its file, for the pixels.

    Raises:
        LabelError: fractional segments, or a frame of no segment. GeometryError: frames that do not lie on the
            series' voxels.
    """
    if (kind := text(segmentation, "SegmentationType")) != "BINARY":
        raise LabelError(f"a segmentation of type {kind or 'unknown'}", where=path, mend="export it as BINARY")
    pixels = read_pixels(path).astype(bool)
    frames = pixels.reshape(-1, *pixels.shape[-2:])
    groups = segmentation.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != len(frames):
        raise LabelError(f"{len(frames)} frames, {len(groups)} of them placed", where=path, mend="export it again")
    shared = (segmentation.get("SharedFunctionalGroupsSequence") or [None])[0]
    masks = {number: np.zeros(stack.shape, bool) for number in names(segmentation)}
    for frame, group in zip(frames, groups, strict=True):
        segment = _one(group, shared, "SegmentIdentificationSequence", path)
        if (held := masks.get(int(number(segment, "ReferencedSegmentNumber") or 0))) is None:
            raise LabelError("a frame of no segment", where=path, mend="export it again")
        held[_place(frame, group, shared, stack, path)] |= frame.T
    for one, name in names(segmentation).items():
        yield name, masks[one]


def _one(group: Dataset, shared: Dataset | None, keyword: str, path: Path) -> Dataset:
    """The only item of a frame's functional group, or of the one that all frames share."""
    for where in (group, shared):
        if where is not None and where.get(keyword):
            return where.get(keyword)[0]
    raise GeometryError(f"a frame without {keyword}", where=path, mend="export it again")


def _place(
    frame: np.ndarray, group: Dataset, shared: Dataset | None, stack: Stack, path: Path
) -> tuple[slice, slice, int]:
    """Where a frame [rows, columns] lies in the series' voxels."""
    position = values(_one(group, shared, "PlanePositionSequence", path), "ImagePositionPatient")
    orientation = values(_one(group, shared, "PlaneOrientationSequence", path), "ImageOrientationPatient")
    spacing = values(_one(group, shared, "PixelMeasuresSequence", path), "PixelSpacing")
    own = stack.headers[0]
    mend = "export it on this series' grid"
    for mine, theirs, what in (
        (orientation, own.ImageOrientationPatient, "orientation"),
        (spacing, own.PixelSpacing, "spacing"),
    ):
        if not np.allclose([float(v) for v in mine], [float(v) for v in theirs], rtol=0, atol=COSINE_TOLERANCE):
            raise GeometryError(f"frames of another {what} than the series'", where=path, mend=mend)
    corner = np.linalg.solve(stack.lps, [*(float(v) for v in position), 1.0])[:3]
    i, j, k = (round(float(v)) for v in corner)
    if np.abs(corner - (i, j, k)).max() > PLACE_TOLERANCE:
        raise GeometryError("frames that lie between the series' voxels", where=path, mend=mend)
    rows, columns = frame.shape
    if min(i, j, k) < 0 or i + columns > stack.shape[0] or j + rows > stack.shape[1] or k >= stack.shape[2]:
        raise GeometryError("frames that lie outside of the series", where=path, mend=mend)
    return slice(i, i + columns), slice(j, j + rows), k
