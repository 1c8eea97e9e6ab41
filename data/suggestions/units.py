"""Mends for images whose intensities do not fit their unit, or are no numbers of one volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from umd_engine.data.manifest import UNITS, ScanRow
from umd_engine.data.nifti import read, read_header
from umd_engine.data.plausibility import HU_LOWEST, plausible
from umd_engine.data.suggestions.advice import Advice, Table, change
from umd_engine.data.table import BETWEEN
from umd_engine.data.volume import Volume
from umd_engine.errors import DataError, VoxelError

AIR = -1000  # HU
STORED_AIR = 24  # the highest voxel of air where HU are stored as HU + 1024, as DICOM's CT mostly are
BONE_STORED = 1200  # such a scan has bone, at HU 200 and more
NORMALISED = 20  # no scan of a body in HU or Bq/mL stays below


def advise_voxels(error: VoxelError, line: int, row: ScanRow, table: Table) -> Advice | None:
    """How to mend an image: another unit where its values say so, else what to do to the file."""
    path = Path(error.where or "")
    try:
        read_header(path)
    except VoxelError:
        return _advise_header(path, error, row)
    if not table.deep:
        return None
    try:
        volume = read(path)
    except DataError:
        return _advise_finite(row) if "NaN" in error.fault else None
    return _advise_unit(volume, line, row)


def fits_unit(path: Path, unit: str) -> bool:
    """Whether the scan can be read and its values can be in the unit."""
    try:
        return not plausible(read(path), unit)
    except DataError:  # a fault of its own
        return False


def _advise_header(path: Path, error: VoxelError, row: ScanRow) -> Advice | None:
    if "volumes" not in error.fault:
        return None
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    names = BETWEEN.join(f"{stem}_{n}.nii.gz" for n in range(2))
    if path == row.label:
        return Advice("a label map is one volume: save its classes as ids of one 3D file")
    return Advice(f"save each volume as a file (nibabel.four_to_three) and name them in image as channels: {names}")


def _advise_finite(row: ScanRow) -> Advice:
    value = AIR if row.unit == "HU" else 0
    return Advice(
        f"where they mark what lies outside the field of view, write {value} there: "
        f"numpy.nan_to_num(voxels, nan={value}, posinf={value}, neginf={value})"
    )


def _advise_unit(volume: Volume, line: int, row: ScanRow) -> Advice | None:
    low, high = float(volume.voxels.min()), float(volume.voxels.max())
    if low == high or not plausible(volume, row.unit):
        return None
    others = [unit for unit in UNITS[row.modality] if unit not in (row.unit, "none") and not plausible(volume, unit)]
    if others:
        return Advice(f"its values ({low:g} to {high:g}) are those of {others[0]}: {change('unit', others[0], line)}",
                      {"unit": others[0]})  # fmt: skip
    if row.modality == "pet" and low <= AIR / 2 and not plausible(volume, "HU"):
        cells = {"modality": "ct", "unit": "HU"}
        return Advice(f"its values ({low:g} to {high:g}) are those of a CT: set modality to ct and unit to HU", cells)
    return _advise_hounsfield(volume, low, high) if row.unit == "HU" else None


def _advise_hounsfield(volume: Volume, low: float, high: float) -> Advice | None:
    if low < HU_LOWEST:
        return Advice(f"values of {low:g} mark what lies outside the field of view: write {AIR} there")
    if high <= NORMALISED:
        return Advice(f"its values ({low:g} to {high:g}) were normalised: name the scan before that step")
    # a quarter of a body's scan is air or lies outside the field of view
    air = float(np.quantile(volume.voxels, 0.05))
    if low >= 0 and air <= STORED_AIR + 100 and high >= BONE_STORED:
        return Advice(
            f"its values ({low:g} to {high:g}) look like HU + 1024: write it again with voxels - 1024, "
            "or with scl_slope 1 and scl_inter -1024"
        )
    return None
