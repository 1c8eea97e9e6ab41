"""autoPET I to IV: TCIA's folder a study, nnU-Net's imagesTr, and the longitudinal CTs of IV."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from umd_engine.data.labelset import LabelSet
from umd_engine.data.layouts.common import Imported, ImportOptions, check_folder, label_set_beside
from umd_engine.data.layouts.pairs import find_pairs, nifti_below, pair_rows
from umd_engine.data.progress import Watch
from umd_engine.data.words import counted
from umd_engine.errors import MissingFileError

# a study's folder is called e.g. "03-23-2003-NA-PET-CT Ganzkoerper  primaer mit KM-10445"
STUDY = re.compile(r"(?:.*/)?(PETCT_[0-9A-Za-z]+)/([^/]+)/(CT|CTres|PET|SUV|SEG)")
STUDY_IMAGES = {"CTres": "ct", "SUV": "pet"}  # on the grid of SEG; CT and PET are not, or in Bq/mL
CHANNEL = re.compile(r"imagesTr/((?:fdg|psma)_[0-9A-Za-z]+)_([^/]+)_(0000|0001)")
CHANNEL_LABEL = re.compile(r"labelsTr/((?:fdg|psma)_[0-9A-Za-z]+)_([^/]+)")
CHANNELS = {"0000": "ct", "0001": "pet"}
VISIT = re.compile(r"inputsTr/([0-9A-Za-z]+_(?:BL|FU))_img(?:_(?:BL|FU)_img)?(_\d\d)")
VISIT_LABEL = re.compile(r"(?:inputsTr|targetsTr)/([0-9A-Za-z]+_(?:BL|FU))_mask(?:_(?:BL|FU)_img)?(_\d\d)")
LESIONS = 255  # the longitudinal masks number a patient's lesions
NAMING = (
    "PETCT_ID/STUDY/CTres.nii.gz, SUV.nii.gz and SEG.nii.gz (I, II), imagesTr/fdg_ID_0000.nii.gz and _0001 (III, IV) "
    "or inputsTr/ID_BL_img_00.nii.gz (IV, longitudinal)"
)


@dataclass(frozen=True)
class Release:
    """How one of the challenges names its files: each function as `find_pairs` takes it."""

    image: Callable[[str], tuple[str, str] | None]
    label: Callable[[str], str | None]
    subject: Callable[[str], str]
    lesions: int = 1


def import_autopet(folder: Path, options: ImportOptions, manifest: Path, watch: Watch) -> Imported:
    """A CT and a PET row a study, on one grid, with the lesions as label; of the longitudinal task a CT row a visit.

    Which of the challenges it is, the first image's name tells. A patient's studies are one subject.

    Args:
        folder: what the download holds: folders PETCT_ID, or imagesTr and labelsTr, or inputsTr and targetsTr.
        options: only the cohort.
        manifest: the label set will lie beside it.
        watch: not called.

    Raises:
        MissingFileError: no folder, or no image of one of the challenges. ManifestError: not one scan is whole.
    """
    folder = check_folder(folder)
    files = nifti_below(folder)
    inner = {path: re.sub(r"\.nii(\.gz)?$", "", path.relative_to(folder).as_posix()) for path in files}
    release = next((one for one in RELEASES if any(map(one.image, inner.values()))), None)
    if release is None:
        raise MissingFileError("no image of autoPET in it", where=folder, mend=f"it has {NAMING}")
    others = [path for path in files if (match := STUDY.fullmatch(inner[path])) and match[3] in ("CT", "PET")]
    kept = [path for path in files if path not in set(others)]
    pairs, left_out = find_pairs(folder, kept, release.image, release.label, NAMING)
    beside = str(label_set_beside(manifest))
    rows, damaged, notes = pair_rows(pairs, options, beside, release.subject)
    if others:
        what = f"{counted(len(others), 'file')} CT.nii.gz and PET.nii.gz"
        notes += (f"not imported: {what}, as CTres and SUV are the same scans on the grid of the labels",)
    ids = tuple(range(1, release.lesions + 1))
    return Imported(rows, LabelSet("autopet", {"lesion": ids}), (*left_out, *damaged), notes)


def _study_image(inner: str) -> tuple[str, str] | None:
    match = STUDY.fullmatch(inner)
    return (_study(match), STUDY_IMAGES[match[3]]) if match and match[3] in STUDY_IMAGES else None


def _study_label(inner: str) -> str | None:
    match = STUDY.fullmatch(inner)
    return _study(match) if match and match[3] == "SEG" else None


def _channel_image(inner: str) -> tuple[str, str] | None:
    match = CHANNEL.fullmatch(inner)
    return (_study(match), CHANNELS[match[3]]) if match else None


def _channel_label(inner: str) -> str | None:
    match = CHANNEL_LABEL.fullmatch(inner)
    return _study(match) if match else None


def _study(match: re.Match[str]) -> str:
    """The patient and the study: its date and words, which hold blanks, become one name."""
    return f"{match[1]}_" + re.sub(r"[^A-Za-z0-9.]+", "-", match[2]).strip("-.")


def _visit_image(inner: str) -> tuple[str, str] | None:
    match = VISIT.fullmatch(inner)
    return (match[1] + match[2], "ct") if match else None


def _visit_label(inner: str) -> str | None:
    match = VISIT_LABEL.fullmatch(inner)
    return match[1] + match[2] if match else None


RELEASES = (
    Release(_study_image, _study_label, lambda case: "_".join(case.split("_")[:2])),
    Release(_channel_image, _channel_label, lambda case: "_".join(case.split("_")[:2])),
    Release(_visit_image, _visit_label, lambda case: case.split("_")[0], LESIONS),
)
