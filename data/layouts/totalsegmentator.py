"""TotalSegmentator data sets: s0000/ct.nii.gz, s0000/segmentations/CLASS.nii.gz, meta.csv."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from umd_engine.data.labelset import load_label_set
from umd_engine.data.layouts.common import (
    UNIT_OF,
    Imported,
    ImportOptions,
    LeftOut,
    check_folder,
    nifti_files,
)
from umd_engine.data.layouts.label_maps import Merged, Merging, claim, merge_all
from umd_engine.data.layouts.subject_table import read_subject_table
from umd_engine.data.manifest import ScanRow, scan_row
from umd_engine.data.progress import Watch
from umd_engine.data.words import SHOWN, counted
from umd_engine.errors import DataError, ManifestError, MissingFileError

IMAGES = {"ct.nii.gz": "ct", "mri.nii.gz": "mr"}
MASKS = "segmentations"
LABEL_SETS = ("totalsegmentator-v2-117", "totalsegmentator-v1-104", "totalsegmentator-mr-50")


@dataclass(frozen=True)
class Subject:
    """A scan and its masks by class; without masks it can be predicted, not scored."""

    name: str
    modality: str
    image: Path
    masks: dict[str, Path]


def import_totalsegmentator(folder: Path, options: ImportOptions, manifest: Path, watch: Watch) -> Imported:
    """One row a subject; its masks become one label map, NAME.labels/s0000.nii.gz beside the manifest.

    The label set is that of TotalSegmentator v2, v1 or its MR task, the first that knows every class. A label map
    that is there already is kept if it is newer than its masks, so that an import that was stopped goes on. A
    subject whose files are missing or damaged is left out and named, and so is one that lacks a class that others
    have: the label map would say that the organ is absent.

    Args:
        folder: holds a folder a subject, and meta.csv if there is one.
        options: only the cohort.
        manifest: the label maps will lie beside it.
        watch: called after each subject.

    Raises:
        MissingFileError: no folder, or no subject in it. ManifestError: classes of no label set, a meta.csv that
            cannot be read, names that cannot be names of subjects, not one subject that is whole.
        OptionError: label maps of another data set in NAME.labels. DataError: a folder that cannot be written to.
    """
    folder = check_folder(folder)
    subjects, left_out = _find_subjects(folder)
    if not subjects:
        mend = "name the folder that holds s0000 and the others"
        raise MissingFileError(f"no folder in it holds {' or '.join(IMAGES)}", where=folder, mend=mend)
    label_set = _label_set(folder, {name for subject in subjects for name in subject.masks})
    whole, lacking = _with_all_classes(subjects)
    table = read_subject_table(folder / "meta.csv")
    target = manifest.parent.resolve() / f"{manifest.stem}.labels"
    rows = {s.name: _row(s, options.cohort, target, label_set, table.get(s.name, {})) for s in whole}
    left_out += lacking
    notes: tuple[str, ...] = ()
    if label_set is not None and whole:
        claim(target, {"folder": str(folder), "label_set": label_set, "classes": sorted(whole[0].masks)})
        outcomes = list(merge_all([_merging(rows[s.name], s, label_set) for s in whole], watch))
        left_out += [one for one in outcomes if isinstance(one, LeftOut)]
        notes = _notes({one.case: one.shared for one in outcomes if isinstance(one, Merged) and one.shared})
    gone = {one.case for one in left_out}
    kept = [row for name, row in rows.items() if name not in gone]
    if not kept:
        raise ManifestError(f"not one subject is whole, e.g. {left_out[0]}", where=folder, mend="unpack it again")
    return Imported(kept, None, tuple(sorted(left_out, key=lambda one: one.case)), notes)


def _find_subjects(folder: Path) -> tuple[list[Subject], list[LeftOut]]:
    subjects: list[Subject] = []
    left_out: list[LeftOut] = []
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        try:
            subjects.append(_subject(inner))
        except DataError as error:
            left_out.append(LeftOut(inner.name, error))
    return subjects, left_out


def _subject(folder: Path) -> Subject:
    images = [folder / name for name in IMAGES if (folder / name).is_file()]
    if not images:
        raise MissingFileError(f"neither {' nor '.join(IMAGES)}", where=folder, mend="add the scan")
    if len(images) > 1:
        raise ManifestError(f"both {' and '.join(IMAGES)}", where=folder, mend="a subject has one scan: keep one")
    inner = folder / MASKS
    return Subject(folder.name, IMAGES[images[0].name], images[0], nifti_files(inner) if inner.is_dir() else {})


def _with_all_classes(subjects: Sequence[Subject]) -> tuple[list[Subject], list[LeftOut]]:
    """Those that have every class that any has, and the others."""
    classes = {name for subject in subjects for name in subject.masks}
    left_out = [
        LeftOut(subject.name, _lacks(subject, classes - set(subject.masks)))
        for subject in subjects
        if classes - set(subject.masks)
    ]
    gone = {one.case for one in left_out}
    return [subject for subject in subjects if subject.name not in gone], left_out


def _lacks(subject: Subject, names: set[str]) -> MissingFileError:
    listed = _listed(names) if subject.masks else "any class"
    mend = "add them, empty where the organ is not in the scan"
    return MissingFileError(
        f"no mask of {listed}, which other subjects have", where=subject.image.parent / MASKS, mend=mend
    )


def _label_set(folder: Path, names: set[str]) -> str | None:
    """The first label set that knows every class; None where there are no masks."""
    if not names:
        return None
    unknown = {}
    for label_set in LABEL_SETS:
        known = {name for name, ids in load_label_set(label_set).ids.items() if len(ids) == 1}
        if names <= known:
            return label_set
        unknown[label_set] = names - known
    nearest = min(unknown, key=lambda label_set: len(unknown[label_set]))
    fault = f"masks of {_listed(unknown[nearest])}, which {nearest} does not know, nor has another set all classes"
    raise ManifestError(fault, where=folder, mend="move masks that are not TotalSegmentator's out of segmentations/")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _row(subject: Subject, cohort: str, target: Path, label_set: str | None, more: dict[str, str]) -> ScanRow:
    return scan_row(
        where=subject.image.parent,
        cohort=cohort,
        subject=subject.name,
        scan_id=subject.name,
        modality=subject.modality,
        images=(subject.image,),
        unit=UNIT_OF[subject.modality],
        label=target / f"{subject.name}.nii.gz" if label_set else None,
        label_set=label_set,
        **more,
    )


def _merging(row: ScanRow, subject: Subject, label_set: str) -> Merging:
    assert row.label is not None
    ids = load_label_set(label_set).ids
    return Merging(subject.name, subject.image, {ids[name][0]: path for name, path in subject.masks.items()}, row.label)


def _notes(shared: dict[str, int]) -> tuple[str, ...]:
    if not shared:
        return ()
    scans = f"{counted(len(shared), 'scan')}, e.g. {next(iter(shared))}"
    voxels = counted(sum(shared.values()), "voxel")
    return (f"masks overlap in {voxels} of {scans}: the class with the highest id has them",)
