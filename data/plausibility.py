"""Whether intensities can be in the unit that the manifest claims. The rules are in docs/manifest.md.

The bounds are wide on purpose: they find a wrong unit (Bq/mL called SUV, stored values called HU, a scan
normalised to 0..1), not a noisy scan.
"""

from __future__ import annotations

from pathlib import Path

from umd_engine.data.volume import Volume
from umd_engine.errors import VoxelError

# Air is -1000 HU; scanners fill the corners outside the field of view with -1024, -2000, -2048 or -3024.
HU_LOWEST, HU_HIGHEST = -4096, 32767
HU_AIR_OR_FAT = -20  # every CT of a body has something below
# A full bladder reaches some hundred SUV.
SUV_HIGHEST = 1000
# FDG at SUV 1 is about 5000 Bq/mL; the most active vial is below 1e9.
BQML_LOWEST_MAXIMUM, BQML_HIGHEST = 100, 1e9
# Spline resampling undershoots beside a hot bladder.
UNDERSHOOT = 0.1


def plausible(volume: Volume, unit: str) -> list[str]:
    """What speaks against `unit` (HU, SUV, Bq/mL, none), a sentence each; empty if nothing does."""
    low, high = float(volume.voxels.min()), float(volume.voxels.max())
    if low == high:
        return [f"every voxel is {low:g}"]
    faults = {"HU": _hounsfield, "SUV": _suv, "Bq/mL": _activity}
    return faults[unit](low, high) if unit in faults else []


def check_unit(volume: Volume, unit: str, where: str | Path | None = None) -> None:
    """Raise VoxelError if the intensities cannot be in `unit`."""
    faults = plausible(volume, unit)
    if faults:
        where = volume.path if where is None else where
        raise VoxelError("; ".join(faults), where=where, mend="correct the unit in the manifest, or the scan")


def _hounsfield(low: float, high: float) -> list[str]:
    faults = []
    if low < HU_LOWEST or high > HU_HIGHEST:
        faults.append(f"{low:g} to {high:g} is beyond what HU can be ({HU_LOWEST} to {HU_HIGHEST})")
    if low > HU_AIR_OR_FAT:
        faults.append(f"the lowest voxel is {low:g}: HU of a body reach air (-1000); is scl_inter missing?")
    return faults


def _suv(low: float, high: float) -> list[str]:
    faults = _undershoot(low, high, "SUV")
    if high > SUV_HIGHEST:
        faults.append(f"the highest voxel is {high:g}: SUV stay below {SUV_HIGHEST}; is it in Bq/mL?")
    return faults


def _activity(low: float, high: float) -> list[str]:
    faults = _undershoot(low, high, "Bq/mL")
    if not BQML_LOWEST_MAXIMUM <= high <= BQML_HIGHEST:
        faults.append(f"the highest voxel is {high:g}: Bq/mL reach thousands; is it in SUV?")
    return faults


def _undershoot(low: float, high: float, unit: str) -> list[str]:
    if high <= 0 or low < -UNDERSHOOT * high:
        return [f"{low:g} to {high:g}: {unit} are not negative"]
    return []
