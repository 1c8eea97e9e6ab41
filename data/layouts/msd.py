"""Data sets of the Medical Segmentation Decathlon: dataset.json lists the images and labels of `training`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from umd_engine.data.labelset import LabelSet, parse_labels, read_json
from umd_engine.data.layouts.common import (
    FILE_ENDINGS,
    Imported,
    ImportOptions,
    LeftOut,
    check_folder,
    check_modality,
    guess_modality,
    label_set_beside,
    stem,
    unit_of,
)
from umd_engine.data.manifest import ScanRow, scan_row
from umd_engine.data.nifti import read_header
from umd_engine.data.progress import Watch
from umd_engine.data.words import counted
from umd_engine.errors import DataError, ManifestError, MissingFileError, VoxelError

CONVERT = "convert it with nnUNetv2_convert_MSD_dataset and import that with --layout nnunet"
CONVERT_OLD = "convert it with nnUNetv2_convert_old_nnUNet_dataset and import that with --layout nnunet"


@dataclass(frozen=True)
class Dataset:
    """What dataset.json says. `pairs` are the image and the label of each case."""

    path: Path
    labels: LabelSet
    modality: str
    pairs: dict[str, tuple[Path, Path]]
    announced: int | None


def import_msd(folder: Path, options: ImportOptions, manifest: Path, watch: Watch) -> Imported:
    """One row a case of `training`; what is listed under `test` has no labels and stays out.

    Of each image the header is read. A case whose image or label is missing, or whose image has a damaged header,
    is left out and named.

    Args:
        folder: holds dataset.json.
        options: the modality is needed where dataset.json names it by a word that tells none.
        manifest, watch: not used.

    Raises:
        MissingFileError: no dataset.json. VoxelError: images of several volumes (4D).
        ManifestError: a dataset.json that is not the decathlon's, several modalities a file, a path that leaves
            the folder, two cases of one name, names that cannot be names of subjects; no case that is whole.
    """
    dataset = _read_dataset(check_folder(folder), options)
    rows: list[ScanRow] = []
    left_out: list[LeftOut] = []
    for case, (image, label) in dataset.pairs.items():
        row = _row(dataset, options, manifest, case)
        try:
            _check_files(image, label)
        except VoxelError:  # 4D: so are the others
            raise
        except DataError as error:
            left_out.append(LeftOut(case, error))
        else:
            rows.append(row)
    if not rows:
        fault = f"not one case of {len(dataset.pairs)} is whole, e.g. {left_out[0]}"
        raise ManifestError(fault, where=dataset.path, mend="unpack the data set again")
    return Imported(rows, dataset.labels, tuple(left_out), tuple(_notes(dataset)))


def _row(dataset: Dataset, options: ImportOptions, manifest: Path, case: str) -> ScanRow:
    image, label = dataset.pairs[case]
    return scan_row(
        where=image,
        cohort=options.cohort,
        subject=case,
        scan_id=case,
        modality=dataset.modality,
        images=(image,),
        unit=unit_of(dataset.modality, options.unit),
        label=label,
        label_set=str(label_set_beside(manifest)),
    )


def _check_files(image: Path, label: Path) -> None:
    if not image.exists() and (old := image.with_name(f"{stem(image)}_0000.nii.gz")).exists():
        fault = f"no such file, but there is {old.name}: a data set of nnU-Net v1"
        raise ManifestError(fault, where=image, mend=CONVERT_OLD)
    try:
        read_header(image)
    except VoxelError as error:
        raise VoxelError(error.fault, where=image, mend=f"{error.mend}, or {CONVERT}") from error
    if not label.is_file():
        raise MissingFileError("no such label", where=label, mend="unpack the data set again")


def _read_dataset(folder: Path, options: ImportOptions) -> Dataset:
    path = folder / "dataset.json"
    try:
        content = read_json(path)
    except MissingFileError as error:
        fault = "no such file: its folder is no data set of the Medical Segmentation Decathlon"
        raise MissingFileError(fault, where=path, mend="name the folder that holds dataset.json") from error
    if not isinstance(content, dict):
        raise ManifestError("not a JSON object", where=path)
    if "channel_names" in content:
        raise ManifestError("it has channel_names: a data set of nnU-Net v2", where=path, mend="use --layout nnunet")
    name = content.get("name")
    name = name.strip() if isinstance(name, str) and name.strip() else folder.name
    announced = content.get("numTraining")
    return Dataset(
        path,
        LabelSet(name, _labels(content.get("labels"), path)),
        _modality(content.get("modality"), options, path),
        _pairs(content.get("training"), path),
        announced if type(announced) is int else None,
    )


def _labels(labels: Any, path: Path) -> dict[str, tuple[int, ...]]:
    """Organ -> ids of {"0": "background", "1": "liver"}: the decathlon writes labels the other way round."""
    if not isinstance(labels, dict) or not all(
        key.isdecimal() and isinstance(organ, str) for key, organ in labels.items()
    ):
        raise ManifestError("labels is no object of ids and names", where=path, mend='e.g. {"1": "liver"}')
    organs = {int(key): organ.strip() for key, organ in labels.items() if int(key)}
    if len(set(organs.values())) < len(organs):
        raise ManifestError("two labels have one name", where=path, mend="name them apart")
    return parse_labels({organ: key for key, organ in organs.items()}, path)


def _modality(modality: Any, options: ImportOptions, path: Path) -> str:
    if not isinstance(modality, dict) or not modality:
        raise ManifestError('modality is no object such as {"0": "CT"}', where=path)
    names = [str(name) for name in modality.values()]
    if len(names) > 1:
        raise ManifestError(f"each image holds {len(names)} volumes: {', '.join(names)}", where=path, mend=CONVERT)
    if options.modality is not None:
        return check_modality(options.modality)
    if (guess := guess_modality(names[0])) is None:
        mend = "say --modality ct, mr or pet"
        raise ManifestError(f"its modality is called '{names[0]}', which names none", where=path, mend=mend)
    return guess


def _pairs(training: Any, path: Path) -> dict[str, tuple[Path, Path]]:
    if not isinstance(training, list):
        raise ManifestError("training is no list of images and labels", where=path)
    pairs: dict[str, tuple[Path, Path]] = {}
    for entry in training:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("image", "label")):
            raise ManifestError(f"training lists {entry!r}, which has no image and label", where=path)
        if PurePosixPath(entry["image"]).name.startswith("._"):  # what macOS leaves beside a file
            continue
        image, label = (_inside(path, entry[key]) for key in ("image", "label"))
        if (case := stem(image)) in pairs:
            raise ManifestError(f"two cases are called {case}", where=path, mend="rename one of them")
        pairs[case] = (image, label)
    if not pairs:
        raise ManifestError("training lists no image", where=path, mend="only images with labels are imported")
    return pairs


def _inside(path: Path, text: str) -> Path:
    inner = PurePosixPath(text)
    if inner.is_absolute() or ".." in inner.parts:
        raise ManifestError(f"'{text}' leads out of the folder", where=path, mend="list files below the folder")
    if not inner.name.endswith(FILE_ENDINGS):
        raise ManifestError(f"'{text}' does not end in .nii.gz or .nii", where=path, mend="convert the file")
    return path.parent / inner


def _notes(dataset: Dataset) -> list[str]:
    listed = len(dataset.pairs)
    if dataset.announced in (None, listed):
        return []
    return [f"{dataset.path}: numTraining is {dataset.announced}, but training lists {counted(listed, 'image')}"]
