"""What layouts share: the options of an import, its outcome, and the words that tell a modality."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from umd_engine.data.labelset import LabelSet, is_label_set_file, load_label_set
from umd_engine.data.manifest import UNITS, ScanRow
from umd_engine.errors import ManifestError, MissingFileError, OptionError, UmdEngineError, UnknownNameError

UNIT_OF: dict[str, str] = {"ct": "HU", "pet": "SUV", "mr": "none"}
FILE_ENDINGS = (".nii.gz", ".nii")
# Names that data sets give their channels; what is not here must be said with --channel or --modality.
MODALITY_OF = {
    "ct": ("ct", "ctres", "ldct", "cect"),
    "pet": ("pet", "pt", "suv", "fdg", "fdgpet", "petsuv"),
    "mr": ("mr", "mri", "t1", "t1w", "t1c", "t1ce", "t1gd", "t1n", "t2", "t2w", "t2f", "flair", "dwi", "adc"),
}


@dataclass(frozen=True)
class ImportOptions:
    """What an import is told beside the folder. An option that a layout has no use for is an error there.

    Attributes:
        cohort: of every row.
        channels: modality (ct, mr, pet) of each channel that is a scan of its own; without it the channels of a
            case are the images of one scan.
        modality: of every scan.
        unit: of every scan's voxels: HU, SUV, Bq/mL or none; without it HU for ct, SUV for pet, none for mr.
        label_set: what the labels' ids mean: the name of a built-in set or the path of a JSON file.
        converted: the folder for what is converted to NIfTI; without it NAME.converted beside the manifest.
    """

    cohort: str = "petct"
    channels: Mapping[int, str] | None = None
    modality: str | None = None
    unit: str | None = None
    label_set: str | None = None
    converted: Path | None = None

    def check(self, layout: str, takes: Sequence[str]) -> None:
        """Raise OptionError if an option is set that the layout does not take."""
        for field in fields(self):
            if field.name not in ("cohort", *takes) and getattr(self, field.name) is not None:
                used = ", ".join(map(flag, takes)) or "none but --cohort"
                raise OptionError(
                    f"layout {layout} has no use for it", where=flag(field.name), mend=f"its options: {used}"
                )


def flag(option: str) -> str:
    """The command line's name of an option."""
    return "--channel" if option == "channels" else "--" + option.replace("_", "-")


@dataclass(frozen=True)
class LeftOut:
    """A case whose files are missing or damaged."""

    case: str
    error: UmdEngineError

    def __str__(self) -> str:
        return f"{self.case} [{self.error.status}] {self.error}"


@dataclass(frozen=True)
class Imported:
    """What a layout made of a folder.

    Attributes:
        label_set: what the import has to write beside the manifest; None where the rows name another.
        left_out: cases that are not in the manifest.
        notes: sentences that the user should read.
    """

    rows: list[ScanRow]
    label_set: LabelSet | None = None
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def label_set_beside(manifest: Path) -> Path:
    """NAME.labels.json beside the manifest NAME.csv."""
    return manifest.parent.resolve() / f"{manifest.stem}.labels.json"


def named_label_set(name: str) -> str:
    """The label set that an option names, as rows name it: a file's path absolute.

    Raises:
        UnknownNameError, MissingFileError, ManifestError: there is none.
    """
    load_label_set(name)
    return str(Path(name).resolve()) if is_label_set_file(name) else name


def converted_beside(manifest: Path, options: ImportOptions) -> Path:
    """The folder for converted files: the one asked for, or NAME.converted beside the manifest NAME.csv."""
    return (options.converted or manifest.parent / f"{manifest.stem}.converted").resolve()


def guess_modality(name: str) -> str | None:
    """The modality that a channel's name tells, e.g. "T1-Gd" -> "mr"."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return next((modality for modality, names in MODALITY_OF.items() if plain in names), None)


def check_modality(modality: str) -> str:
    """Raise UnknownNameError unless it is ct, mr or pet."""
    if modality not in UNIT_OF:
        raise UnknownNameError("modality", modality, UNIT_OF)
    return modality


def unit_of(modality: str, unit: str | None) -> str:
    """The unit asked for, or that which the modality's scans mostly have.

    Raises:
        OptionError: a unit that scans of the modality do not have.
    """
    if unit is None:
        return UNIT_OF[modality]
    if unit not in UNITS[modality]:
        known = " or ".join(UNITS[modality])
        raise OptionError(f"'{unit}' for {modality}", where="--unit", mend=f"{modality} has {known}")
    return unit


def nifti_files(folder: Path) -> dict[str, Path]:
    """The folder's NIfTI files by their names without ending; hidden ones (macOS's `._*`) are not seen.

    Raises:
        ManifestError: X.nii and X.nii.gz side by side, or a folder that cannot be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ManifestError(f"cannot read: {error.strerror}", where=folder, mend="check its permissions") from None
    found: dict[str, Path] = {}
    for path in paths:
        if path.name.startswith(".") or not path.name.endswith(FILE_ENDINGS):
            continue
        case = stem(path)
        if case in found:
            fault = f"two files of case {case}: {found[case].name} and {path.name}"
            raise ManifestError(fault, where=folder, mend="keep one of them")
        found[case] = path
    return found


def stem(path: Path) -> str:
    """The name without .nii or .nii.gz."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def check_folder(folder: Path) -> Path:
    """The folder as an absolute path.

    Raises:
        MissingFileError: it is none.
    """
    if not folder.is_dir():
        raise MissingFileError("no such folder", where=folder, mend="check the path")
    return folder.resolve()
