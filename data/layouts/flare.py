"""FLARE22: images CASE_0000.nii.gz and labels CASE.nii.gz, in whatever folders the download has."""

from __future__ import annotations

import re
from pathlib import Path

from umd_engine.data.layouts.common import Imported, ImportOptions, check_folder
from umd_engine.data.layouts.pairs import find_pairs, nifti_below, pair_rows
from umd_engine.data.progress import Watch

IMAGE = re.compile(r"(?:.*/)?([^/]+)_0000")
LABEL = re.compile(r"(?:.*/)?([^/]+)")


def import_flare(folder: Path, options: ImportOptions, manifest: Path, watch: Watch) -> Imported:
    """One row a CT; labels mean what the label set `flare22` says, and the unlabelled cases have none.

    Args:
        folder: holds images/FLARE22_Tr_0001_0000.nii.gz and labels/FLARE22_Tr_0001.nii.gz, or folders of such.
        options: only the cohort.
        manifest, watch: not used.

    Raises:
        MissingFileError: no folder or no image. ManifestError: not one scan is whole.
    """
    folder = check_folder(folder)
    naming = "images/FLARE22_Tr_0001_0000.nii.gz and labels/FLARE22_Tr_0001.nii.gz"
    pairs, left_out = find_pairs(folder, nifti_below(folder), _image, _label, naming)
    rows, damaged, notes = pair_rows(pairs, options, "flare22")
    return Imported(rows, None, (*left_out, *damaged), notes)


def _image(inner: str) -> tuple[str, str] | None:
    match = IMAGE.fullmatch(inner)
    return (match[1], "ct") if match else None


def _label(inner: str) -> str | None:
    match = LABEL.fullmatch(inner)
    return match[1] if match else None
