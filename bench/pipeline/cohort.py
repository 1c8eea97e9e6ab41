"""Phantom pairs as the commands of either side want them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from umd_engine.bench.demo.study import CT, PET
from umd_engine.data.manifest import ScanRow, read_manifest
from umd_engine.data.nifti import read_labels
from umd_engine.data.phantom.files import MANIFEST, write_cohort
from umd_engine.errors import OptionError

NETWORKS = {"ct": CT, "pet": PET}


@dataclass(frozen=True)
class Cohort:
    """Scans, and a folder of their labels as CASE.nii.gz.

    Attributes:
        folder: for masks, as CASE.nii.gz too.
    """

    rows: Sequence[ScanRow]
    labels: Path
    folder: Path

    def of(self, modality: str) -> list[ScanRow]:
        return [row for row in self.rows if row.modality == modality]


def case_of(row: ScanRow) -> str:
    return f"{row.subject}_{row.modality}"


def make_cohort(scans: Path, folder: Path, pairs: int, size: str) -> Cohort:
    """Make `scans` if it is not there, and link its labels below `folder`.

    Raises:
        OptionError: `scans` holds fewer subjects.
    """
    if not (scans / MANIFEST).exists():
        write_cohort(scans, "petct", pairs, size=size)
    rows = read_manifest(scans / MANIFEST)
    subjects = list(dict.fromkeys(row.subject for row in rows))
    if len(subjects) < pairs:
        raise OptionError(f"it holds {len(subjects)} subjects", where=scans, mend="remove it or ask for fewer --pairs")
    chosen = [row for row in rows if row.subject in subjects[:pairs]]
    labels = folder / "labels"
    labels.mkdir()
    for row in chosen:
        assert row.label is not None
        (labels / f"{case_of(row)}.nii.gz").symlink_to(row.label.resolve())
    return Cohort(chosen, labels, folder)


def unlike_voxels(rows: Sequence[ScanRow], masks: Path, others: Path) -> tuple[int, int]:
    """Voxels in which the masks of two folders differ, and voxels that are an organ's in `others`."""
    unlike = filled = 0
    for row in rows:
        one, other = (read_labels(folder / f"{case_of(row)}.nii.gz").voxels for folder in (masks, others))
        unlike += int(np.count_nonzero(one != other))
        filled += int(np.count_nonzero(other))
    return unlike, filled
