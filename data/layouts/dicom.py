"""DICOM: series of CT, MR and PET anywhere below a folder, with RTSTRUCT and SEG objects as labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from umd_engine.data.dicom import contours, segmentation
from umd_engine.data.dicom.files import Dataset, Found, Series, find_series, listed, pydicom, text
from umd_engine.data.dicom.stack import Stack, read_stack, stack_series
from umd_engine.data.labelset import LabelSet, load_label_set
from umd_engine.data.layouts.common import (
    UNIT_OF,
    Imported,
    ImportOptions,
    LeftOut,
    check_folder,
    converted_beside,
    label_set_beside,
)
from umd_engine.data.layouts.converted import Conversion, convert_all, failures
from umd_engine.data.layouts.label_maps import claim
from umd_engine.data.manifest import ScanRow, scan_row
from umd_engine.data.organ_names import organ_ids, organ_name
from umd_engine.data.progress import Watch
from umd_engine.data.volume import Volume
from umd_engine.data.words import counted
from umd_engine.errors import CorruptFileError, DataError, EmptyLabelError, ManifestError, MissingFileError

ORGANS = "umd13"  # whose ids organs of its names get; others get the next ones
AGE = re.compile(r"(\d{3})Y")
SEXES = ("M", "F")


@dataclass(frozen=True)
class Labels:
    """An RTSTRUCT or SEG object: the organs it names and the series it was drawn on."""

    path: Path
    kind: str
    names: tuple[str, ...]
    series: frozenset[str]


@dataclass(frozen=True)
class Scan:
    """A series in order, its name, and what was drawn on it."""

    name: str
    series: Series
    stack: Stack
    labels: Labels | None


def import_dicom(folder: Path, options: ImportOptions, manifest: Path, watch: Watch) -> Imported:
    """One row a series, converted to NIfTI: HU of a CT, SUV by body weight of a PET, as stored of an MR.

    The subject is the PatientID, the scan_id SUBJECT_MODALITY_NUMBER with the series' number. An RTSTRUCT or SEG
    becomes the label map of the series that it refers to. Sex, age and scanner come from the headers; nothing else of
    the patient is kept.

    Args:
        folder: holds DICOM files in folders of any depth.
        options: the cohort, and the folder for the NIfTI files.
        manifest: the label set will lie beside it, and the NIfTI files in NAME.converted.
        watch: called after each file.

    Raises:
        MissingFileError: no folder, or no series in it. BackendError: pydicom is not installed.
        ManifestError: not one series is whole. OptionError: another data set's files in the folder for them.
    """
    folder = check_folder(folder)
    found = find_series(folder)
    if not found.series:
        raise MissingFileError("no DICOM series of CT, MR or PET", where=folder, mend="name the folder of the series")
    objects, left_out = _read_objects(found)
    scans, broken, notes = _scans(found.series, objects)
    left_out += broken
    ids = _ids(name for one in objects for name in one.names)
    target = converted_beside(manifest, options)
    work = [_image(scan, target) for scan in scans]
    claim(target / "images", {"folder": str(folder), "layout": "dicom"})
    if any(scan.labels for scan in scans):
        claim(target / "labels", {"folder": str(folder), "layout": "dicom", "labels": ids})
        work += [_label(scan, scan.labels, ids, target) for scan in scans if scan.labels]
    outcomes = list(convert_all(work, watch))
    left_out += failures(outcomes)
    notes += [one.note for one in outcomes if not isinstance(one, LeftOut) and one.note]
    gone = {one.case for one in left_out}
    rows = [_row(scan, options, manifest, target) for scan in scans if scan.name not in gone]
    if not rows:
        raise ManifestError(f"not one series is whole, e.g. {left_out[0]}", where=folder, mend="export them again")
    label_set = LabelSet("dicom", organ_ids(ids.items())) if any(row.label for row in rows) else None
    return Imported(rows, label_set, tuple(left_out), (*notes, *listed(found.others)))


def _read_objects(found: Found) -> tuple[list[Labels], list[LeftOut]]:
    """What was drawn, and the objects that cannot be read or refer to no series of the folder."""
    known = {series.uid for series in found.series} - {""}
    objects: list[Labels] = []
    left_out = [LeftOut(path.name, error) for path, error in found.damaged]
    for path, kind in found.objects:
        try:
            labels = _read_object(path, kind)
            if not labels.series & known:
                raise MissingFileError("its series is not in the folder", where=path, mend="add the series")
            objects.append(labels)
        except DataError as error:
            left_out.append(LeftOut(path.name, error))
    return objects, left_out


def _read_object(path: Path, kind: str) -> Labels:
    header = _open(path)
    reader = contours if kind == "RTSTRUCT" else segmentation
    try:
        return Labels(path, kind, tuple(reader.names(header).values()), frozenset(reader.referenced_series(header)))
    except (AttributeError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None


def _open(path: Path) -> Dataset:
    try:
        return pydicom().dcmread(path, stop_before_pixels=True)
    except Exception as error:  # pydicom raises whatever a damaged file leads it to
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> CorruptFileError:
    return CorruptFileError(f"cannot be read: {type(error).__name__}", where=path, mend="export it again")


def _scans(series: Sequence[Series], objects: Sequence[Labels]) -> tuple[list[Scan], list[LeftOut], list[str]]:
    """Series in order with their names, those that are no volume, and a note on localizers."""
    numbered = [f"{one.subject}_{one.modality}_{one.number}" for one in series]
    count = Counter(numbered)
    scans: list[Scan] = []
    left_out: list[LeftOut] = []
    localizers: list[str] = []
    for one, short in sorted(zip(series, numbered, strict=True), key=lambda pair: (pair[1], pair[0].short_uid)):
        name = short if count[short] == 1 else f"{short}_{one.short_uid}"
        if one.is_localizer:
            localizers.append(name)
            continue
        try:
            scans.append(Scan(name, one, stack_series(one), _drawn_on(one, objects)))
        except DataError as error:
            left_out.append(LeftOut(name, error))
    notes = [f"not imported: {counted(len(localizers), 'localizer')}, e.g. {localizers[0]}"] if localizers else []
    return scans, left_out, notes


def _drawn_on(series: Series, objects: Sequence[Labels]) -> Labels | None:
    found = [one for one in objects if series.uid and series.uid in one.series]
    if len(found) > 1:
        others = ", ".join(str(one.path) for one in found[1:])
        fault = f"drawn on the same series as {others}"
        raise ManifestError(fault, where=found[0].path, mend="keep one of them in the folder")
    return found[0] if found else None


def _ids(names: Iterator[str]) -> dict[str, int]:
    """Organ -> id: those of the 13 organs, and the next ones for whatever else was drawn."""
    known = {organ: ids[0] for organ, ids in load_label_set(ORGANS).ids.items()}
    drawn = sorted({organ_name(name) for name in names} - {""})
    others = [organ for organ in drawn if organ not in known]
    numbers = {**known, **{organ: number for number, organ in enumerate(others, start=len(known) + 1)}}
    return {organ: numbers[organ] for organ in sorted(drawn, key=numbers.__getitem__)}


def _path(scan: Scan, target: Path, what: str) -> Path:
    return target / what / scan.series.subject / f"{scan.name}.nii.gz"


def _image(scan: Scan, target: Path) -> Conversion:
    return Conversion(scan.name, scan.stack.files, _path(scan, target, "images"), lambda: (read_stack(scan.stack), ""))


def _label(scan: Scan, labels: Labels, ids: Mapping[str, int], target: Path) -> Conversion:
    sources = [labels.path, *scan.stack.files]
    return Conversion(scan.name, sources, _path(scan, target, "labels"), partial(_drawn, scan, labels, ids))


def _drawn(scan: Scan, labels: Labels, ids: Mapping[str, int]) -> tuple[Volume, str]:
    """The label map of what was drawn; where organs overlap, the highest id has the voxel."""
    dataset = _open(labels.path)
    read = contours.region_masks if labels.kind == "RTSTRUCT" else segmentation.segment_masks
    held: dict[int, np.ndarray] = {}
    try:
        for name, mask in read(dataset, scan.stack, labels.path):
            number = ids.get(organ_name(name), 0)
            held[number] = held[number] | mask if number in held else mask
    except (AttributeError, TypeError, ValueError) as error:
        raise _damaged(labels.path, error) from None
    held.pop(0, None)  # a region without a name
    voxels = np.zeros(scan.stack.shape, np.uint16, order="F")
    shared = 0
    for number, mask in sorted(held.items()):
        shared += int(np.count_nonzero(mask & (voxels > 0)))
        voxels[mask] = number
    if not voxels.any():
        raise EmptyLabelError("nothing drawn in it covers a voxel", where=labels.path)
    note = f"{scan.name}: organs overlap in {counted(shared, 'voxel')}: the highest id has them" if shared else ""
    return Volume.from_array(voxels, scan.stack.affine), note


def _row(scan: Scan, options: ImportOptions, manifest: Path, target: Path) -> ScanRow:
    header, modality = scan.series.headers[0], scan.series.modality
    sex, age = text(header, "PatientSex"), AGE.fullmatch(text(header, "PatientAge"))
    scanner = " ".join(filter(None, (text(header, "Manufacturer"), text(header, "ManufacturerModelName"))))
    return scan_row(
        where=scan.series.files[0].parent,
        cohort=options.cohort,
        subject=scan.series.subject,
        scan_id=scan.name,
        modality=modality,
        images=(_path(scan, target, "images"),),
        unit=UNIT_OF[modality],
        label=_path(scan, target, "labels") if scan.labels else None,
        label_set=str(label_set_beside(manifest)) if scan.labels else None,
        sex=sex if sex in SEXES else None,
        age=int(age[1]) if age else None,
        scanner=scanner or None,
    )
