"""Existing masks to score: two files, or two folders whose files have the same names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from umd_engine.errors import ManifestError, MissingFileError, OptionError

SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Pair:
    """A case's files. In folders one of them may be missing (None), never both."""

    case: str
    prediction: Path | None
    label: Path | None


def find_pairs(prediction: Path, label: Path) -> list[Pair]:
    """The cases of two files (one case, named after the prediction) or of two folders (by file name).

    Raises:
        MissingFileError: a path that does not exist, a folder without a NIfTI file.
        OptionError: a file and a folder. ManifestError: two files of one case (a.nii and a.nii.gz).
    """
    for path in (prediction, label):
        if not path.exists():
            raise MissingFileError("no such file or folder", where=path, mend="check the path")
    if prediction.is_dir() != label.is_dir():
        raise OptionError(
            "a file and a folder cannot be paired", where=prediction, mend="name two files or two folders"
        )
    if not prediction.is_dir():
        return [Pair(case_name(prediction), prediction, label)]
    predictions, labels = _masks(prediction), _masks(label)
    return [Pair(case, predictions.get(case), labels.get(case)) for case in sorted(predictions | labels)]


def case_name(path: Path) -> str:
    """The file's name without .nii or .nii.gz."""
    return next((path.name.removesuffix(s) for s in SUFFIXES if path.name.endswith(s)), path.name)


def _masks(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.endswith(SUFFIXES) or path.name.startswith("."):
            continue
        if (case := case_name(path)) in found:
            raise ManifestError(f"it holds two files of case {case}", where=folder, mend="keep one of them")
        found[case] = path
    if not found:
        raise MissingFileError("it holds no .nii or .nii.gz file", where=folder, mend="name the folder of the masks")
    return found
