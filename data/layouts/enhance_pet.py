"""ENHANCE.PET 1.6k: imaging-data/images/CT_0001-1000/0001.nii.gz, PT_0001-1683, ground-truth/Organs, labels.json."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from umd_engine.data.geometry import check_same_grid
from umd_engine.data.labelset import LabelSet, read_json
from umd_engine.data.layouts.common import (
    Imported,
    ImportOptions,
    LeftOut,
    check_folder,
    converted_beside,
    label_set_beside,
)
from umd_engine.data.layouts.converted import Conversion, convert_all, failures
from umd_engine.data.layouts.label_maps import claim
from umd_engine.data.layouts.pairs import Pair, find_pairs, nifti_below, pair_rows
from umd_engine.data.nifti import read_header, read_labels
from umd_engine.data.organ_names import organ_ids
from umd_engine.data.progress import Watch
from umd_engine.data.resample import resample_to
from umd_engine.data.volume import Volume
from umd_engine.data.words import counted
from umd_engine.errors import GeometryError, LabelError, ManifestError, MissingFileError

IMAGE = re.compile(r"(?:.*/)?(CT|PT)(?:_\d+-\d+)?/(\d{4})")
MODALITIES = {"CT": "ct", "PT": "pet"}
LABEL = re.compile(r"(?:.*/)?Organs/(\d{4})")
OTHERS = ("Body-Composition", "Cardiac", "Muscles", "Peripheral-Bones", "Ribs", "Vertebrae")
# What holds organs of the 13, and what is added to its ids in the label map that is made of both.
GROUPS = {"Organs": 0, "Cardiac": 100}
MOST_ID = 99  # of a group
NAMING = "images/CT_0001-1000/0001.nii.gz, images/PT_0001-1683/0001.nii.gz and ground-truth/Organs/0001.nii.gz"


def import_enhance_pet(folder: Path, options: ImportOptions, manifest: Path, watch: Watch) -> Imported:
    """A CT and a PET row a subject; the label maps of organs and of the heart become one on each scan's grid.

    The labels are drawn on the CT: where the PET lies on another grid they are brought onto it by the nearest voxel.
    Where an organ and the heart overlap, the organ has the voxel. The other five groups are not read.

    Args:
        folder: the download, or its folder imaging-data, with labels.json in it or beside it.
        options: the cohort, and the folder for the label maps.
        manifest: the label set will lie beside it, and the label maps in NAME.converted.
        watch: called after each label map.

    Raises:
        MissingFileError: no folder, no image or no labels.json. ManifestError: a labels.json without the groups;
            not one scan is whole. OptionError: label maps of another data set in the folder for them.
    """
    folder = check_folder(folder)
    files = [path for path in nifti_below(folder) if path.parent.name not in OTHERS]
    pairs, left_out = find_pairs(folder, files, _image, _label, NAMING)
    label_set, notes = None, []
    if any(pair.label for pair in pairs):
        label_set = LabelSet("enhance-pet", _organs(folder))
        target = converted_beside(manifest, options)
        claim(target, {"folder": str(folder), "labels": {organ: list(ids) for organ, ids in label_set.ids.items()}})
        work = [_conversion(pair, target) for pair in pairs if pair.label]
        outcomes = list(convert_all(work, watch))
        left_out += failures(outcomes)
        notes = [one.note for one in outcomes if not isinstance(one, LeftOut) and one.note]
        gone = {one.case for one in left_out}
        pairs = [_with_label(pair, target) for pair in pairs if _name(pair) not in gone]
    rows, damaged, more = pair_rows(pairs, options, str(label_set_beside(manifest)))
    return Imported(rows, label_set, (*left_out, *damaged), (*_joined(notes), *more))


def _image(inner: str) -> tuple[str, str] | None:
    match = IMAGE.fullmatch(inner)
    return (match[2], MODALITIES[match[1]]) if match else None


def _label(inner: str) -> str | None:
    match = LABEL.fullmatch(inner)
    return match[1] if match else None


def _name(pair: Pair) -> str:
    return f"{pair.case}_{pair.modality}"


def _with_label(pair: Pair, target: Path) -> Pair:
    return replace(pair, label=target / f"{_name(pair)}.nii.gz") if pair.label else pair


def _organs(folder: Path) -> dict[str, tuple[int, ...]]:
    """Organ -> its ids in the label maps that are made of both groups."""
    path = next((p for p in (folder / "labels.json", folder.parent / "labels.json") if p.is_file()), None)
    if path is None:
        raise MissingFileError("no labels.json", where=folder, mend="it comes with the data set: put it there")
    content = read_json(path)
    groups = content if isinstance(content, dict) else {}
    groups = {str(key).lower().removeprefix("clin_ct_"): value for key, value in groups.items()}
    labels: list[tuple[str, int]] = []
    for group, above in GROUPS.items():
        names = groups.get(group.lower())
        if not isinstance(names, dict) or not all(n.isdecimal() and int(n) <= MOST_ID for n in names):
            mend = 'it has e.g. {"organs": {"8": "liver"}}'
            raise ManifestError(f"no group {group} with ids and names", where=path, mend=mend)
        labels += [(str(name), above + int(number)) for number, name in names.items() if int(number)]
    return organ_ids(labels)


def _conversion(pair: Pair, target: Path) -> Conversion:
    assert pair.label is not None
    maps = {above: pair.label.parent.parent / group / pair.label.name for group, above in GROUPS.items()}
    read = partial(_merged, pair, maps)
    return Conversion(_name(pair), (pair.image, *maps.values()), target / f"{_name(pair)}.nii.gz", read)


def _merged(pair: Pair, maps: dict[int, Path]) -> tuple[Volume, str]:
    """The label map of all groups on the image's grid; the first group has the voxels that several claim."""
    merged: Volume | None = None
    for above, path in maps.items():
        if not path.is_file():
            raise MissingFileError("no such label map", where=path, mend="download it too")
        label = read_labels(path)
        if (highest := int(label.voxels.max())) > MOST_ID:
            raise LabelError(f"an id {highest}, above {MOST_ID}", where=path, mend="download the file again")
        voxels = np.where(label.voxels > 0, label.voxels + above, 0).astype(np.uint8)
        if merged is None:
            merged = label.with_voxels(voxels)
        else:
            check_same_grid(merged.grid, label.grid, where=path, reference=str(maps[0]))
            merged = merged.with_voxels(np.where(merged.voxels > 0, merged.voxels, voxels))
    assert merged is not None
    image = read_header(pair.image)
    try:
        check_same_grid(image.grid, merged.grid)
    except GeometryError:
        return resample_to(merged, image.grid, "nearest"), pair.case
    return merged, ""


def _joined(resampled: Sequence[str]) -> Iterator[str]:
    if resampled:
        scans = counted(len(resampled), "scan")
        yield f"the labels of {scans}, e.g. {resampled[0]}, were brought onto another grid than they were drawn on"
