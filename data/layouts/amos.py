"""AMOS22: imagesTr/amos_0001.nii.gz with labelsTr/amos_0001.nii.gz, and so Va and Ts."""

from __future__ import annotations

import re
from pathlib import Path

from umd_engine.data.layouts.common import Imported, ImportOptions, check_folder
from umd_engine.data.layouts.pairs import find_pairs, nifti_below, pair_rows
from umd_engine.data.progress import Watch

LAST_CT = 500  # numbers above are MR
IMAGE = re.compile(r"images(?:Tr|Va|Ts)/(amos_(\d{4}))")
LABEL = re.compile(r"labels(?:Tr|Va|Ts)/(amos_\d{4})")


def import_amos(folder: Path, options: ImportOptions, manifest: Path, watch: Watch) -> Imported:
    """One row a scan: CT up to amos_0500, MR above; labels mean what the label set `amos22` says.

    Args:
        folder: holds imagesTr, labelsTr, imagesVa and so on.
        options: only the cohort.
        manifest, watch: not used.

    Raises:
        MissingFileError: no folder or no image. ManifestError: not one scan is whole.
    """
    folder = check_folder(folder)
    naming = "imagesTr/amos_0001.nii.gz and labelsTr/amos_0001.nii.gz, Va and Ts alike"
    pairs, left_out = find_pairs(folder, nifti_below(folder), _image, _label, naming)
    rows, damaged, notes = pair_rows(pairs, options, "amos22")
    return Imported(rows, None, (*left_out, *damaged), notes)


def _image(inner: str) -> tuple[str, str] | None:
    match = IMAGE.fullmatch(inner)
    return (match[1], "ct" if int(match[2]) <= LAST_CT else "mr") if match else None


def _label(inner: str) -> str | None:
    match = LABEL.fullmatch(inner)
    return match[1] if match else None
