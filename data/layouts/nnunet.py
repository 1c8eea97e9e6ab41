"""nnU-Net v2 raw data sets: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, dataset.json."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from umd_engine.data.labelset import LabelSet, parse_labels, read_json, write_label_set
from umd_engine.data.manifest import IntensityUnit, Modality, ScanRow
from umd_engine.errors import ManifestError, MissingFileError, OptionError, UnknownNameError

UNIT_OF: dict[str, IntensityUnit] = {"ct": "HU", "pet": "SUV", "mr": "none"}
FILE_ENDINGS = (".nii.gz", ".nii")
# Names that data sets give their channels; what is not here must be said with --channel.
MODALITY_OF = {
    "ct": ("ct", "ctres", "ldct", "cect"),
    "pet": ("pet", "pt", "suv", "fdg", "fdgpet", "petsuv"),
    "mr": ("mr", "mri", "t1", "t1w", "t1c", "t1ce", "t1gd", "t1n", "t2", "t2w", "t2f", "flair", "dwi", "adc"),
}


@dataclass(frozen=True)
class Dataset:
    """What dataset.json says. `labels` are names and ids, regions joined; `channels` are names."""

    folder: Path
    name: str
    channels: dict[int, str]
    labels: dict[str, tuple[int, ...]]
    ending: str


def import_nnunet(
    folder: str | Path,
    *,
    out: str | Path,
    cohort: str | None = None,
    channels: Mapping[int, str] | None = None,
    test: bool = False,
) -> list[ScanRow]:
    """Rows of the scans of an nnU-Net raw data set; its label set is written to `out`.

    Args:
        folder: holds dataset.json, imagesTr and labelsTr.
        out: the folder of the manifest to be; gets NAME-labels.json.
        cohort: of all rows; default: the name in dataset.json, else the folder's.
        channels: modality (ct, pet, mr) of each channel that is a scan of its own: one row a channel, with
            scan_id CASE_MODALITY. Without it one row a case, with all channels as images of one scan; its
            modality is that of the first channel, and its unit is none where channels are of several.
        test: the cases of imagesTs too, without labels.

    Raises:
        MissingFileError: no dataset.json or imagesTr, a case without one of its channels or its label.
        ManifestError: a dataset.json that is not nnU-Net v2's, a channel whose modality its name does not tell.
        OptionError: channels that the data set does not have.
        UnknownNameError: a modality other than ct, mr, pet.
    """
    dataset = read_dataset(Path(folder))
    label_set = Path(out) / f"{_word(dataset.name)}-labels.json"
    names = _modalities(dataset, channels)
    cases = [(case, "Tr") for case in _cases(dataset, "imagesTr")]
    if test:
        cases += [(case, "Ts") for case in _cases(dataset, "imagesTs")]
    rows: list[ScanRow] = []
    for case, part in cases:
        images = _images(dataset, f"images{part}", case)
        label = _label(dataset, case) if part == "Tr" else None
        for scan_id, modality, unit, numbers in _scans(case, names, split=channels is not None):
            rows.append(
                ScanRow(
                    cohort=cohort or _word(dataset.name),
                    subject=case,
                    scan_id=scan_id,
                    modality=modality,
                    images=tuple(images[number] for number in numbers),
                    unit=unit,
                    label=label,
                    label_set=str(label_set.absolute()) if label else None,
                )
            )
    write_label_set(label_set, LabelSet(dataset.name, dataset.labels))
    return rows


def read_dataset(folder: Path) -> Dataset:
    """dataset.json of an nnU-Net v2 raw data set."""
    path = folder / "dataset.json"
    content = read_json(path)
    if "channel_names" not in content:
        mend = "convert it with nnUNetv2_convert_MSD_dataset or nnUNetv2_convert_old_nnUNet_dataset"
        raise ManifestError("no channel_names: not a data set of nnU-Net v2", where=path, mend=mend)
    if "dataset" in content:
        raise ManifestError("it lists its files one by one", where=path, mend="use imagesTr and labelsTr")
    ending = content.get("file_ending", FILE_ENDINGS[0])
    if ending not in FILE_ENDINGS:
        raise ManifestError(f"its files end in {ending}", where=path, mend="convert them to .nii.gz")
    name = content.get("name")
    name = name if isinstance(name, str) and name.strip() else folder.absolute().name
    channels = _channels(content["channel_names"], path)
    return Dataset(folder, name.strip(), channels, parse_labels(content.get("labels"), path), str(ending))


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
        if modality not in UNIT_OF:
            raise UnknownNameError("modality", modality, UNIT_OF)
    return {number: given[number] for number in sorted(given)}


def _guess(dataset: Dataset, number: int) -> str:
    name = dataset.channels[number]
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    for modality, names in MODALITY_OF.items():
        if plain in names:
            return modality
    raise ManifestError(
        f"channel {number} is called '{name}', which names no modality",
        where=dataset.folder / "dataset.json",
        mend=f"say --channel {number}=ct, mr or pet",
    )


def _scans(case: str, modalities: dict[int, str], split: bool) -> list[tuple[str, Modality, IntensityUnit, list[int]]]:
    """(scan_id, modality, unit, channel numbers) of each scan of a case."""
    if not split:
        kinds = list(modalities.values())
        unit = UNIT_OF[kinds[0]] if len(set(kinds)) == 1 else "none"
        return [(case, cast(Modality, kinds[0]), unit, list(modalities))]
    count = Counter(modalities.values())
    return [
        (
            f"{case}_{modality}" + (f"_{number:04d}" if count[modality] > 1 else ""),
            cast(Modality, modality),
            UNIT_OF[modality],
            [number],
        )
        for number, modality in modalities.items()
    ]


def _cases(dataset: Dataset, part: str) -> list[str]:
    folder = dataset.folder / part
    if not folder.is_dir():
        raise MissingFileError("no such folder", where=folder, mend="an nnU-Net raw data set has it")
    pattern = re.compile(r"(.+)_\d{4}" + re.escape(dataset.ending))
    found = [pattern.fullmatch(path.name) for path in folder.iterdir() if not path.name.startswith(".")]
    cases = sorted({match[1] for match in found if match})
    if not cases:
        raise MissingFileError(f"no file CASE_0000{dataset.ending}", where=folder)
    if part == "imagesTr":
        _check_labels_have_images(dataset, cases)
    return cases


def _images(dataset: Dataset, part: str, case: str) -> dict[int, Path]:
    paths = {n: dataset.folder / part / f"{case}_{n:04d}{dataset.ending}" for n in dataset.channels}
    for number, path in paths.items():
        if not path.is_file():
            fault = f"case {case} has no channel {number} ({dataset.channels[number]})"
            raise MissingFileError(fault, where=path, mend="add the file or remove the case")
    return paths


def _label(dataset: Dataset, case: str) -> Path:
    path = dataset.folder / "labelsTr" / f"{case}{dataset.ending}"
    if not path.is_file():
        raise MissingFileError(f"case {case} has no label", where=path, mend="add it or move the case to imagesTs")
    return path


def _check_labels_have_images(dataset: Dataset, cases: list[str]) -> None:
    labels = dataset.folder / "labelsTr"
    names = [path.name for path in sorted(labels.glob(f"*{dataset.ending}")) if not path.name.startswith(".")]
    for name in names:
        if name.removesuffix(dataset.ending) not in cases:
            raise MissingFileError("a label without images", where=labels / name, mend="add them or remove it")


def _word(name: str) -> str:
    """A name that may be a cohort and part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_.") or "nnunet"
