"""The scans of a plan: what their headers say, or an assumed cohort."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from umd_engine.data.manifest import Modality, ScanRow, Unit
from umd_engine.data.nifti import read_header
from umd_engine.errors import DataError, UmdEngineError
from umd_engine.models.mask import Triple

Spacing = tuple[float, float, float]
UMD = "umd"
PETCT, PETMRI = 490, 464  # examinations
SLICES = (350, 900)  # of a CT
LENGTH = (1050.0, 1350.0)  # mm, from the shortest to the longest examination
BETWEEN = 3.0  # mm between slices of the others
PACKED = 0.5  # of an image's bytes, in a file that is compressed
ASSUMED_SCANS = (
    f"{PETCT} PET/CT and {PETMRI} PET/MRI examinations, each two scans: {2 * (PETCT + PETMRI)} volumes, each with a "
    f"label of 13 organs",
    f"CT 512 x 512 at 0.98 mm, int16, {SLICES[0]} slices of 3 mm to {SLICES[1]} of 1.5 mm, evenly spread "
    f"({LENGTH[0] / 1e3:g} to {LENGTH[1] / 1e3:g} m)",
    "PET of PET/CT 400 x 400 at 2.04 mm, of PET/MRI 344 x 344 at 2.09 mm, float32, slices of 3 mm; "
    "MR 320 x 260 at 1.56 mm, int16, slices of 3 mm",
    f"files hold {PACKED:.0%} of the voxels' bytes",
)


@dataclass(frozen=True, eq=False)
class PlannedScan:
    """A scan that is not read.

    Attributes:
        spacing: mm. voxel_bytes: of all its images' voxels as stored, a voxel. disk: bytes of its files.
    """

    row: ScanRow
    shape: Triple
    spacing: Spacing
    voxel_bytes: int
    disk: int

    @property
    def voxels(self) -> int:
        return math.prod(self.shape)

    @property
    def decoded(self) -> int:
        """Bytes that reading makes: the images and a label of a byte a voxel."""
        return self.voxels * (self.voxel_bytes + int(self.row.label is not None))


def planned(rows: Sequence[ScanRow]) -> tuple[list[PlannedScan], list[tuple[ScanRow, UmdEngineError]]]:
    """The scans whose headers can be read, and the others with what is wrong with them."""
    scans, faults = [], []
    for row in rows:
        try:
            scans.append(_planned(row))
        except UmdEngineError as error:
            faults.append((row, error))
        except OSError as error:
            faults.append((row, DataError(error.strerror or str(error), where=error.filename)))
    return scans, faults


def _planned(row: ScanRow) -> PlannedScan:
    headers = [read_header(path) for path in row.images]
    files = [*row.images, *([row.label] if row.label is not None else [])]
    voxel = sum(header.dtype.itemsize for header in headers)
    disk = sum(path.stat().st_size for path in files)
    return PlannedScan(row, headers[0].shape, headers[0].spacing, voxel, disk)


def umd_scans() -> list[PlannedScan]:
    """The assumed cohort; every number of it is in `ASSUMED_SCANS`."""
    found: list[PlannedScan] = []
    for cohort, subjects in (("petct", PETCT), ("petmri", PETMRI)):
        for number in range(subjects):
            length = float(np.interp(number, (0, subjects - 1), LENGTH))
            across = round(length / BETWEEN)
            if cohort == "petct":
                slices = round(np.interp(number, (0, subjects - 1), SLICES))
                found.append(_assumed(cohort, number, "ct", (512, 512, slices), (0.98, 0.98, length / slices)))
                found.append(_assumed(cohort, number, "pet", (400, 400, across), (2.04, 2.04, BETWEEN)))
            else:
                found.append(_assumed(cohort, number, "mr", (320, 260, across), (1.56, 1.56, BETWEEN)))
                found.append(_assumed(cohort, number, "pet", (344, 344, across), (2.09, 2.09, BETWEEN)))
    return found


def _assumed(cohort: str, number: int, modality: Modality, shape: Triple, spacing: Spacing) -> PlannedScan:
    name = f"{cohort}-{number:04d}"
    units: dict[Modality, Unit] = {"ct": "HU", "pet": "SUV", "mr": "none"}
    row = ScanRow(
        cohort=cohort, subject=name, scan_id=f"{name}-{modality}", modality=modality, images=(Path("assumed"),),
        unit=units[modality], label=Path("assumed"), label_set="umd13",
    )  # fmt: skip
    voxel = 4 if modality == "pet" else 2
    return PlannedScan(row, shape, spacing, voxel, int(PACKED * math.prod(shape) * voxel))
