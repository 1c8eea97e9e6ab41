"""nnU-Net v2 raw data sets: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, dataset.json."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from umd_engine.data.labelset import LabelSet, parse_labels, read_json
from umd_engine.data.layouts.common import (
    FILE_ENDINGS,
    UNIT_OF,
    Imported,
    ImportOptions,
    check_modality,
    guess_modality,
    label_set_beside,
)
from umd_engine.data.manifest import ScanRow, scan_row
from umd_engine.data.progress import Watch
from umd_engine.errors import ManifestError, MissingFileError, OptionError

IGNORE = "ignore"


@dataclass(frozen=True)
class Dataset:
    """What dataset.json says. `labels` are names and ids, regions joined; `channels` are names."""

    folder: Path
    name: str
    channels: dict[int, str]
    labels: dict[str, tuple[int, ...]]
    ending: str


def import_nnunet(folder: Path, options: ImportOptions, manifest: Path, watch: Watch) -> Imported:
    """The scans of imagesTr with their labels, and the label set of dataset.json.

    Args:
        folder: holds dataset.json, imagesTr and labelsTr.
        options: with `channels`, one row a channel named there, with scan_id CASE_MODALITY. Without, one row a
            case, with all channels as images of one scan; its modality is that of the first channel, and its
            unit is none where they are of several.
        manifest: the label set will lie beside it.
        watch: not called.

    Raises:
        MissingFileError: no dataset.json or imagesTr, a case without one of its channels or its label.
        ManifestError: a dataset.json that is not nnU-Net v2's or has an ignore label, a channel whose modality
            its name does not tell, case names that cannot be names of files.
        OptionError: channels that the data set does not have. UnknownNameError: another modality.
    """
    dataset = read_dataset(folder.resolve())
    channels, label_set = options.channels, label_set_beside(manifest)
    modalities = _modalities(dataset, channels)
    rows: list[ScanRow] = []
    for case in _cases(dataset):
        images = _images(dataset, case, modalities)
        label = _label(dataset, case)
        for scan_id, modality, unit, numbers in _scans(case, modalities, split=channels is not None):
            rows.append(
                scan_row(
                    where=images[numbers[0]],
                    cohort=options.cohort,
                    subject=case,
                    scan_id=scan_id,
                    modality=modality,
                    images=tuple(images[number] for number in numbers),
                    unit=unit,
                    label=label,
                    label_set=str(label_set),
                )
            )
    return Imported(rows, LabelSet(dataset.name, dataset.labels))


def read_dataset(folder: Path) -> Dataset:
    """dataset.json of an nnU-Net v2 raw data set."""
    path = folder / "dataset.json"
    try:
        content = read_json(path)
    except MissingFileError as error:
        fault = "no such file: its folder is no nnU-Net raw data set"
        mend = "name the folder that holds dataset.json, imagesTr and labelsTr"
        raise MissingFileError(fault, where=path, mend=mend) from error
    if not isinstance(content, dict):
        raise ManifestError("not a JSON object", where=path)
    if "channel_names" not in content:
        mend = "convert it with nnUNetv2_convert_MSD_dataset or nnUNetv2_convert_old_nnUNet_dataset"
        raise ManifestError("no channel_names: not a data set of nnU-Net v2", where=path, mend=mend)
    if "dataset" in content:
        raise ManifestError("it lists its files one by one", where=path, mend="use imagesTr and labelsTr")
    ending = content.get("file_ending", FILE_ENDINGS[0])
    if ending not in FILE_ENDINGS:
        raise ManifestError(f"its files end in {ending}", where=path, mend="convert them to .nii.gz")
    name = content.get("name")
    name = name if isinstance(name, str) and name.strip() else folder.name
    labels = content.get("labels")
    if isinstance(labels, dict) and IGNORE in labels:
        # its voxels must not be scored, and a label set cannot say so
        raise ManifestError("it has an ignore label", where=path, mend="give those voxels a class or the background")
    return Dataset(folder, name.strip(), _channels(content["channel_names"], path), parse_labels(labels, path), ending)


def _channels(names: object, path: Path) -> dict[int, str]:
    fault = ManifestError("channel_names is not an object of numbers and names", where=path)
    if not isinstance(names, dict) or not names or not all(str(number).isdecimal() for number in names):
        raise fault
    channels = {int(number): str(name) for number, name in names.items()}
    if sorted(channels) != list(range(len(channels))):
        raise fault
    return channels


def _modalities(dataset: Dataset, given: Mapping[int, str] | None) -> dict[int, str]:
    """Modality of each channel that becomes (part of) a scan."""
    if given is None:
        return {number: _guess(dataset, number) for number in sorted(dataset.channels)}
    if not given:
        raise OptionError("no channel is named", where=dataset.folder, mend="give --channel 0=ct")
    for number, modality in given.items():
        if number not in dataset.channels:
            known = ", ".join(f"{key} ({name})" for key, name in sorted(dataset.channels.items()))
            raise OptionError(f"there is no channel {number}", where=dataset.folder, mend=f"channels: {known}")
        check_modality(modality)
    return {number: given[number] for number in sorted(given)}


def _guess(dataset: Dataset, number: int) -> str:
    name = dataset.channels[number]
    if modality := guess_modality(name):
        return modality
    raise ManifestError(
        f"channel {number} is called '{name}', which names no modality",
        where=dataset.folder / "dataset.json",
        mend=f"say --channel {number}=ct, mr or pet",
    )


def _scans(case: str, modalities: dict[int, str], split: bool) -> list[tuple[str, str, str, list[int]]]:
    """(scan_id, modality, unit, channel numbers) of each scan of a case."""
    if not split:
        kinds = list(modalities.values())
        unit = UNIT_OF[kinds[0]] if len(set(kinds)) == 1 else "none"
        return [(case, kinds[0], unit, list(modalities))]
    count = Counter(modalities.values())
    return [
        (
            f"{case}_{modality}" + (f"_{number:04d}" if count[modality] > 1 else ""),
            modality,
            UNIT_OF[modality],
            [number],
        )
        for number, modality in modalities.items()
    ]


def _cases(dataset: Dataset) -> list[str]:
    folder = dataset.folder / "imagesTr"
    if not folder.is_dir():
        raise MissingFileError("no such folder", where=folder, mend="an nnU-Net raw data set has it")
    pattern = re.compile(r"(.+)_\d{4}" + re.escape(dataset.ending))
    cases: set[str] = set()
    for path in _files(folder, dataset.ending):
        match = pattern.fullmatch(path.name)
        if match is None:
            raise ManifestError("its name is not CASE_0000 with a channel's number", where=path, mend="rename it")
        cases.add(match[1])
    if not cases:
        raise MissingFileError(f"no file CASE_0000{dataset.ending}", where=folder, mend="check the folder")
    for path in _files(dataset.folder / "labelsTr", dataset.ending):
        if path.name.removesuffix(dataset.ending) not in cases:
            raise MissingFileError("a label without images", where=path, mend="add them or remove it")
    return sorted(cases)


def _files(folder: Path, ending: str) -> list[Path]:
    """Not hidden ones: macOS leaves a `._` file beside each one it copies."""
    return sorted(path for path in folder.glob(f"*{ending}") if not path.name.startswith("."))


def _images(dataset: Dataset, case: str, numbers: Iterable[int]) -> dict[int, Path]:
    paths = {n: dataset.folder / "imagesTr" / f"{case}_{n:04d}{dataset.ending}" for n in numbers}
    for number, path in paths.items():
        if not path.is_file():
            fault = f"case {case} has no channel {number} ({dataset.channels[number]})"
            raise MissingFileError(fault, where=path, mend="add the file or remove the case")
    return paths


def _label(dataset: Dataset, case: str) -> Path:
    path = dataset.folder / "labelsTr" / f"{case}{dataset.ending}"
    if not path.is_file():
        raise MissingFileError(f"case {case} has no label", where=path, mend="add it or remove the case")
    return path
