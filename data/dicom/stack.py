"""Slices as a volume: sorted along their normal, placed by their positions, in the unit of their rescaling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from umd_engine.data.dicom.files import MEND, Dataset, Series, number, pydicom, text, values
from umd_engine.data.dicom.suv import suv_factors
from umd_engine.data.volume import Volume
from umd_engine.data.words import SHOWN
from umd_engine.errors import CorruptFileError, DataError, GeometryError, VoxelError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# A slice may lie this share of the distance of slices off its place: rounded positions pass, a missing slice does not.
PLACE_TOLERANCE = 0.05
TILT_DEGREES = 0.1
COSINE_TOLERANCE = 1e-4
LIMITS = np.iinfo(np.int16)
CONVERT = "convert it with dcm2niix and import that with --layout plain"


@dataclass(frozen=True)
class Stack:
    """A series in order.

    Attributes:
        files, headers: sorted along the slices' normal.
        lps: (4, 4), voxel [column, row, slice] -> mm in DICOM's axes (left, posterior, superior).
        shape: columns, rows, slices.
    """

    modality: str
    files: tuple[Path, ...]
    headers: tuple[Dataset, ...]
    lps: np.ndarray
    shape: tuple[int, int, int]

    @property
    def affine(self) -> np.ndarray:
        """(4, 4), voxel -> mm (RAS)."""
        return np.asarray(LPS_TO_RAS @ self.lps)


def stack_series(series: Series) -> Stack:
    """The slices of a series in order.

    The distance of slices is that of their positions; SliceThickness, which is another thing, is not looked at.

    Raises:
        GeometryError: a slice without a position, or of another size, spacing or orientation; two at one place, one
            missing, uneven distances, a tilted gantry, a single slice.
        VoxelError: several frames a file, colours.
    """
    where = series.files[0].parent
    first = series.headers[0]
    for path, header in zip(series.files, series.headers, strict=True):
        _check_header(header, path)
        _check_alike(first, header, path)
    if len(series.files) < 2:
        raise GeometryError("a single slice is no volume", where=series.files[0], mend="add the other slices")
    orientation = np.array([float(v) for v in first.ImageOrientationPatient])
    along_row, along_column = orientation[:3], orientation[3:]
    normal = np.cross(along_row, along_column)
    positions = np.array([[float(v) for v in header.ImagePositionPatient] for header in series.headers])
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    between_rows, between_columns = (float(v) for v in first.PixelSpacing)
    _check_places(positions, normal, min(between_rows, between_columns), where)
    lps = np.eye(4)
    lps[:3, 0] = along_row * between_columns
    lps[:3, 1] = along_column * between_rows
    lps[:3, 2] = (positions[-1] - positions[0]) / (len(positions) - 1)
    lps[:3, 3] = positions[0]
    return Stack(
        series.modality,
        tuple(series.files[i] for i in order),
        tuple(series.headers[i] for i in order),
        lps,
        (int(first.Columns), int(first.Rows), len(order)),
    )


def _check_header(header: Dataset, path: Path) -> None:
    if (number(header, "NumberOfFrames") or 1) > 1:
        raise VoxelError("several frames in one file (enhanced DICOM)", where=path, mend=CONVERT)
    if text(header, "SamplesPerPixel") not in ("", "1") or text(header, "PhotometricInterpretation") != "MONOCHROME2":
        kind = text(header, "PhotometricInterpretation") or "no photometric interpretation"
        raise VoxelError(f"{kind}, not MONOCHROME2", where=path, mend="leave screenshots and reports out")
    for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
        try:
            held = [float(value) for value in values(header, keyword)]
        except (TypeError, ValueError):
            held = []
        if len(held) != count or not np.isfinite(held).all() or (count == 2 and min(held) <= 0):
            raise GeometryError(f"no {keyword}", where=path, mend="leave out what is no slice of a scan")
    cosines = np.array([float(v) for v in header.ImageOrientationPatient]).reshape(2, 3)
    if not np.allclose(cosines @ cosines.T, np.eye(2), atol=1e-3):
        raise GeometryError("rows and columns are not at right angles", where=path, mend="export the series again")
    if not header.get("Rows") or not header.get("Columns"):
        raise VoxelError("no pixels", where=path, mend="export the series again")


def _check_alike(first: Dataset, header: Dataset, path: Path) -> None:
    mend = "split the series, or leave localizers and reformats out"
    if (first.Rows, first.Columns) != (header.Rows, header.Columns):
        fault = f"{header.Columns}x{header.Rows} pixels, where another slice has {first.Columns}x{first.Rows}"
        raise GeometryError(fault, where=path, mend=mend)
    for keyword in ("PixelSpacing", "ImageOrientationPatient"):
        one, other = ([float(v) for v in values(each, keyword)] for each in (first, header))
        if not np.allclose(one, other, rtol=0, atol=COSINE_TOLERANCE):
            raise GeometryError(f"another {keyword} than the other slices", where=path, mend=mend)


def _check_places(positions: np.ndarray, normal: np.ndarray, pixel: float, where: Path) -> None:
    """Raise GeometryError unless the sorted positions [slices, 3] in mm lie evenly on a line along the normal."""
    heights = positions @ normal
    steps = np.diff(heights)
    usual = float(np.median(steps))
    if (twice := np.flatnonzero(steps < 1e-3)).size:
        fault = f"{twice.size} slices lie where another lies, e.g. at {heights[twice[0]]:.2f} mm"
        mend = "several phases, echoes or time points are in one series: split them"
        raise GeometryError(fault, where=where, mend=mend)
    uneven = np.flatnonzero(np.abs(steps - usual) > PLACE_TOLERANCE * usual)
    if uneven.size:
        missing = np.rint(steps[uneven] / usual).astype(int) - 1
        places = ", ".join(f"{heights[i]:.2f} mm" for i in uneven[:SHOWN])
        if (missing > 0).all() and np.allclose(steps[uneven], (missing + 1) * usual, atol=PLACE_TOLERANCE * usual):
            raise GeometryError(f"{missing.sum()} slices are missing, after {places}", where=where, mend="export again")
        fault = f"slices {steps.min():.3f} to {steps.max():.3f} mm apart, uneven after {places}"
        raise GeometryError(fault, where=where, mend="resample the series to even slices first")
    line = positions[0] + np.outer(np.arange(len(positions)) / (len(positions) - 1), positions[-1] - positions[0])
    off = float(np.linalg.norm(positions - line, axis=1).max())
    if off > PLACE_TOLERANCE * max(usual, pixel):
        raise GeometryError(f"slices lie up to {off:.2f} mm off a line", where=where, mend="split the series")
    whole = positions[-1] - positions[0]
    sideways = float(np.linalg.norm(whole - (whole @ normal) * normal))
    tilt = float(np.degrees(np.arctan2(sideways, whole @ normal)))
    if tilt > TILT_DEGREES and sideways > PLACE_TOLERANCE * pixel:
        mend = "resample it to slices at right angles to the table first, e.g. with dcm2niix"
        raise GeometryError(f"the gantry is tilted by {tilt:.1f} degrees", where=where, mend=mend)


def read_stack(stack: Stack) -> Volume:
    """The voxels of a series: HU of a CT, SUV by body weight of a PET, as rescaled of an MR.

    Integers where slope 1 and whole intercepts keep them so (int16 where they fit, else int32), else float32.

    Raises:
        CorruptFileError: a file without its pixels. VoxelError: a PET whose header does not tell the SUV, NaN.
        DataError: a compression that no installed library reads.
    """
    slopes, intercepts = (_of_slices(stack, name, default) for name, default in (("Slope", 1.0), ("Intercept", 0.0)))
    if stack.modality == "pet":
        factors = suv_factors(stack.headers, stack.files[0].parent)
        slopes, intercepts = slopes * factors, intercepts * factors
    whole = bool((slopes == 1).all() and (intercepts == np.rint(intercepts)).all())
    voxels = np.empty(stack.shape, np.int16 if whole else np.float32, order="F")
    for k, path in enumerate(stack.files):
        pixels = read_pixels(path)
        if pixels.shape != stack.shape[1::-1]:
            raise CorruptFileError(f"pixels of shape {pixels.shape}", where=path, mend="export the series again")
        if whole:
            plane = pixels.T.astype(np.int32) + int(intercepts[k])
            if voxels.dtype == np.int16 and not (LIMITS.min <= plane.min() and plane.max() <= LIMITS.max):
                voxels = voxels.astype(np.int32)
        else:
            plane = pixels.T.astype(np.float64) * slopes[k] + intercepts[k]
        voxels[..., k] = plane
    return Volume.from_array(voxels, stack.affine)


def _of_slices(stack: Stack, name: str, default: float) -> np.ndarray:
    """RescaleSlope or RescaleIntercept of each slice: a PET's differ from slice to slice."""
    held = [number(header, f"Rescale{name}") for header in stack.headers]
    if stack.modality == "ct" and None in held:
        missing = stack.files[held.index(None)]
        raise VoxelError(f"no Rescale{name}: the values are not HU", where=missing, mend="export the series again")
    found = np.array([default if value is None else value for value in held])
    if not np.isfinite(found).all() or (name == "Slope" and not found.all()):
        raise VoxelError(f"a Rescale{name} that is no scale", where=stack.files[0], mend="mend the header")
    return found


def read_pixels(path: Path) -> np.ndarray:
    """The stored pixels: [rows, columns], or [frames, rows, columns] where there are several.

    Raises:
        DataError: a compression that no installed library reads. CorruptFileError: pixels that cannot be read.
    """
    library = pydicom()
    try:
        dataset = library.dcmread(path)
        syntax = dataset.file_meta.TransferSyntaxUID
        readable = not syntax.is_encapsulated or _decoder(library, syntax)
        if readable:
            return np.asarray(dataset.pixel_array)
    except Exception as error:  # pydicom and its decoders raise whatever a damaged file leads them to
        fault = f"its pixels cannot be read: {type(error).__name__}"
        raise CorruptFileError(fault, where=path, mend="copy it again from its source") from None
    raise DataError(f"pixels compressed as {syntax.name}, which nothing installed reads", where=path, mend=MEND)


def _decoder(library: Any, syntax: Any) -> bool:
    try:
        return bool(library.pixels.get_decoder(syntax).is_available)
    except NotImplementedError:
        return False
