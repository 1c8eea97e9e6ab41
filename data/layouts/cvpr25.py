"""CVPR25 (foundation models for 3D biomedical segmentation): NPZ files with imgs, gts and spacing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from umd_engine.data.labelset import LabelSet, load_label_set, read_json, write_label_set
from umd_engine.data.layouts.common import (
    Imported,
    ImportOptions,
    LeftOut,
    check_folder,
    converted_beside,
    named_label_set,
)
from umd_engine.data.layouts.converted import Conversion, convert_all, failures
from umd_engine.data.layouts.label_maps import claim
from umd_engine.data.manifest import ScanRow, scan_row
from umd_engine.data.npz import array_names, array_shape, read_array
from umd_engine.data.organ_names import organ_ids
from umd_engine.data.progress import Watch
from umd_engine.data.volume import Volume
from umd_engine.errors import (
    DataError,
    GeometryError,
    LabelError,
    ManifestError,
    MissingFileError,
    OptionError,
    VoxelError,
)

MODALITIES = {"CT": "ct", "MR": "mr", "PET": "pet"}
IMAGE, LABEL, SPACING = "imgs", "gts", "spacing"
CLASSES = "*with_class*.json"  # CVPR25_TextSegFMData_with_class.json: data set -> id -> name and prompts
INSTANCES = "instance_label"  # of a data set whose ids number the instances of one class


@dataclass(frozen=True)
class Case:
    """A scan: the files that hold its voxels and, where there are any, its labels with what they mean."""

    name: str
    modality: str
    image: Path
    label: Path | None = None
    label_set: str | None = None
    instances: bool = False


def import_cvpr25(folder: Path, options: ImportOptions, manifest: Path, watch: Watch) -> Imported:
    """One row an NPZ file with `imgs`, which is converted to NIfTI; its `gts` may lie in a second file of its name.

    The voxels are those of the challenge, 0 to 255 after windowing, so the unit is none. `spacing` is read as
    SimpleITK's GetSpacing, [x, y, z] in mm, as the challenge's own preparation writes it; where the scan lies and how
    the patient lay is not in the files. `text_prompts` and `boxes` are not read: the former are pickles.

    Args:
        folder: holds the NPZ files, in folders of any depth, and the challenge's class file (`*with_class*.json`).
        options: the cohort, the folder for the NIfTI files, and the label set where there is no class file.
        manifest: the NIfTI files will lie in NAME.converted beside it.
        watch: called after each file.

    Raises:
        MissingFileError: no folder or no NPZ file. OptionError: labels that nothing names, another data set's files
            in the folder for the NIfTI files. ManifestError: two class files, or not one case is whole.
    """
    folder = check_folder(folder)
    cases, left_out = _find(folder)
    target = converted_beside(manifest, options)
    claim(target, {"folder": str(folder), "layout": "cvpr25"})
    named, unnamed = _with_label_sets(folder, cases, options, target)
    work = [one for case in named for one in _conversions(case, target)]
    outcomes = list(convert_all(work, watch))
    left_out += [*unnamed, *failures(outcomes)]
    gone = {one.case for one in left_out}
    rows = [_row(case, options, target) for case in named if case.name not in gone]
    if not rows:
        raise ManifestError(f"not one case is whole, e.g. {left_out[0]}", where=folder, mend="download it again")
    return Imported(rows, None, tuple(sorted(left_out, key=lambda one: one.case)))


def _find(folder: Path) -> tuple[list[Case], list[LeftOut]]:
    images: dict[str, list[Path]] = {}
    labels: dict[str, list[Path]] = {}
    left_out: list[LeftOut] = []
    for path in sorted(path for path in folder.rglob("*.npz") if not path.name.startswith(".")):
        try:
            names = array_names(path)
        except DataError as error:
            left_out.append(LeftOut(path.stem, error))
            continue
        if not names & {IMAGE, LABEL}:
            fault = ManifestError(f"neither {IMAGE} nor {LABEL} in it", where=path, mend="the challenge's files have")
            left_out.append(LeftOut(path.stem, fault))
        if IMAGE in names:
            images.setdefault(path.stem, []).append(path)
        if LABEL in names:
            labels.setdefault(path.stem, []).append(path)
    if not images:
        raise MissingFileError(f"no NPZ file with {IMAGE} in it", where=folder, mend="name the folder of the NPZ files")
    cases: list[Case] = []
    for name in sorted(images.keys() | labels.keys()):
        found = _case(name, images.get(name, []), labels.get(name, []))
        (left_out if isinstance(found, LeftOut) else cases).append(found)  # type: ignore[arg-type]
    return cases, left_out


def _case(name: str, images: list[Path], labels: list[Path]) -> Case | LeftOut:
    for paths in (images, labels):
        if len(paths) > 1:
            fault = f"of one case, as {', '.join(map(str, paths[1:]))}"
            return LeftOut(name, ManifestError(fault, where=paths[0], mend="keep one of them"))
    if not images:
        return LeftOut(name, MissingFileError("labels without an image", where=labels[0], mend="add the image"))
    kind = name.split("_")[0]
    if kind not in MODALITIES:
        fault = f"its name begins with {kind}, not with {', '.join(MODALITIES)}"
        return LeftOut(name, ManifestError(fault, where=images[0], mend="only ct, mr and pet are evaluated"))
    return Case(name, MODALITIES[kind], images[0], labels[0] if labels else None)


def _with_label_sets(
    folder: Path, cases: list[Case], options: ImportOptions, target: Path
) -> tuple[list[Case], list[LeftOut]]:
    """The cases with what their labels mean, and those whose data set the class file does not name."""
    if not any(case.label for case in cases):
        return cases, []
    if options.label_set is not None:
        chosen = named_label_set(options.label_set)
        return [replace(case, label_set=chosen) if case.label else case for case in cases], []
    path, content = _class_file(folder)
    named: list[Case] = []
    left_out: list[LeftOut] = []
    for case in cases:
        try:
            named.append(_named(case, path, content, target) if case.label else case)
        except DataError as error:
            left_out.append(LeftOut(case.name, error))
    return named, left_out


def _class_file(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    paths = sorted(folder.rglob(CLASSES))
    if not paths:
        mend = f"put the challenge's class file ({CLASSES}) into it, or name a set"
        raise OptionError(f"nothing in {folder} says what the labels mean", where="--label-set", mend=mend)
    content = read_json(paths[0])
    if len(paths) > 1 or not isinstance(content, dict):
        fault = "no JSON object" if len(paths) == 1 else f"{len(paths)} class files, e.g. {paths[1].name}"
        raise ManifestError(fault, where=paths[0], mend="keep the challenge's one")
    return paths[0], content


def _named(case: Case, path: Path, content: Mapping[str, Any], target: Path) -> Case:
    known = [name for name in content if case.name == name or case.name.startswith(f"{name}_")]
    if not known:
        raise ManifestError(f"no data set in it begins the name {case.name}", where=path, mend="add the data set")
    name = max(known, key=len)
    entry = content[name]
    entry = entry if isinstance(entry, dict) else {}
    labels = {int(key): _first(value) for key, value in entry.items() if key.isdecimal() and int(key)}
    instances = bool(entry.get(INSTANCES))
    if not labels or (instances and len(labels) > 1):
        raise ManifestError(f"{name} does not name its ids", where=path, mend='write {"1": ["liver"]}')
    file = target / "label-sets" / f"{name}.json"
    if file.resolve().parent != file.parent:
        raise ManifestError(f"the data set {name!r} leads out of the folder", where=path, mend="rename it")
    label_set = LabelSet(name, organ_ids((text, number) for number, text in labels.items()))
    if not file.exists() or load_label_set(file) != label_set:
        write_label_set(file, label_set)
    return replace(case, label_set=str(file), instances=instances)


def _first(value: Any) -> str:
    """A class's name: the text, or the first of its prompts."""
    return str(value[0] if isinstance(value, list) and value else value)


def _conversions(case: Case, target: Path) -> list[Conversion]:
    image = Conversion(case.name, [case.image], target / f"{case.name}.nii.gz", partial(_image, case))
    if case.label is None:
        return [image]
    sources = list({case.image, case.label})
    return [image, Conversion(case.name, sources, target / f"{case.name}_label.nii.gz", partial(_label, case))]


def _row(case: Case, options: ImportOptions, target: Path) -> ScanRow:
    return scan_row(
        where=case.image,
        cohort=options.cohort,
        subject=case.name,
        scan_id=case.name,
        modality=case.modality,
        images=(target / f"{case.name}.nii.gz",),
        unit="none",
        label=target / f"{case.name}_label.nii.gz" if case.label else None,
        label_set=case.label_set,
    )


def _image(case: Case) -> tuple[Volume, str]:
    return Volume.from_array(_voxels(case.image, IMAGE), _affine(case.image)), ""


def _label(case: Case) -> tuple[Volume, str]:
    assert case.label is not None
    voxels = _voxels(case.label, LABEL)
    if voxels.dtype.kind not in "bui" or voxels.min() < 0 or voxels.max() > np.iinfo(np.uint16).max:
        raise LabelError(f"{LABEL} are no ids from 0 to 65535", where=case.label, mend="save them as integers")
    voxels = (voxels > 0).astype(np.uint8) if case.instances else voxels.astype(np.uint16)
    shape = array_shape(case.image, IMAGE)
    if voxels.shape[::-1] != shape:
        fault = f"{LABEL} of shape {voxels.shape[::-1]}, but {IMAGE} of {shape}"
        raise GeometryError(fault, where=case.label, mend="download the file again")
    return Volume.from_array(voxels, _affine(case.image)), ""


def _voxels(path: Path, name: str) -> np.ndarray:
    """[X, Y, Z] of a stored [Z, Y, X]."""
    voxels = read_array(path, name)
    if voxels.ndim != 3 or 0 in voxels.shape:
        raise VoxelError(f"{name} of shape {voxels.shape} is no volume", where=path, mend="only 3D scans are evaluated")
    return voxels.T


def _affine(path: Path) -> np.ndarray:
    """(4, 4) RAS of the spacing in mm: SimpleITK's axes without a direction, which point left and back."""
    spacing = np.asarray(read_array(path, SPACING) if SPACING in array_names(path) else (), np.float64)
    if spacing.shape != (3,) or not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise GeometryError(f"{SPACING} is not three lengths in mm", where=path, mend="download the file again")
    return np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
