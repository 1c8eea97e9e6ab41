"""Data sets whose file names say all: which files below a folder are images, and which label belongs to each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from umd_engine.data.geometry import check_same_grid
from umd_engine.data.layouts.common import FILE_ENDINGS, ImportOptions, LeftOut, unit_of
from umd_engine.data.manifest import ScanRow, scan_row
from umd_engine.data.nifti import read_header
from umd_engine.data.words import counted
from umd_engine.errors import DataError, ManifestError, MissingFileError


@dataclass(frozen=True)
class Pair:
    """A scan and its label map, where there is one. `case` may have a scan of every modality."""

    case: str
    modality: str
    image: Path
    label: Path | None


def nifti_below(folder: Path) -> list[Path]:
    """Every NIfTI file below the folder; hidden ones (macOS's `._*`) and those of hidden folders are not seen."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.name.endswith(FILE_ENDINGS)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def find_pairs(
    folder: Path,
    files: Iterable[Path],
    image: Callable[[str], tuple[str, str] | None],
    label: Callable[[str], str | None],
    naming: str,
) -> tuple[list[Pair], list[LeftOut]]:
    """The scans of a data set, and the files that are none, belong to none or share a name with another.

    Args:
        folder: what the paths handed to `image` and `label` start at.
        files: below `folder`.
        image: a path with "/" and without .nii.gz -> (case, modality), None where it is no image.
        label: a path -> case, None where it is no label.
        naming: how the layout names its files, for messages.

    Raises:
        MissingFileError: not one image.
    """
    images: dict[tuple[str, str], list[Path]] = {}
    labels: dict[str, list[Path]] = {}
    left_out: list[LeftOut] = []
    for path in files:
        inner = re.sub(r"\.nii(\.gz)?$", "", path.relative_to(folder).as_posix())
        if key := image(inner):
            images.setdefault(key, []).append(path)
        elif case := label(inner):
            labels.setdefault(case, []).append(path)
        else:
            mend = f"the layout has {naming}"
            left_out.append(
                LeftOut(inner, ManifestError("its name says neither image nor label", where=path, mend=mend))
            )
    if not images:
        raise MissingFileError("no image of this layout in it", where=folder, mend=f"it has {naming}")
    pairs: list[Pair] = []
    for (case, modality), found in images.items():
        if len(found) > 1 or len(labels.get(case, ())) > 1:
            left_out.append(LeftOut(case, _ambiguous(found if len(found) > 1 else labels[case])))
        else:
            pairs.append(Pair(case, modality, found[0], labels[case][0] if case in labels else None))
    of_images = {case for case, _ in images}
    for case in labels.keys() - of_images:
        fault = MissingFileError("a label without image", where=labels[case][0], mend="add the image or remove it")
        left_out.append(LeftOut(case, fault))
    return sorted(pairs, key=lambda pair: (pair.case, pair.modality)), left_out


def _ambiguous(paths: Sequence[Path]) -> ManifestError:
    others = ", ".join(str(path) for path in paths[1:])
    return ManifestError(f"of one case, as {others}", where=paths[0], mend="keep one of them")


def pair_rows(
    pairs: Sequence[Pair],
    options: ImportOptions,
    label_set: str,
    subject: Callable[[str], str] = lambda case: case,
) -> tuple[list[ScanRow], list[LeftOut], tuple[str, ...]]:
    """A row a scan, with scan_id CASE_MODALITY; scans whose files do not hold together are left out.

    The headers of image and label are read, no voxels.

    Args:
        label_set: of every label: a built-in set or a JSON file.
        subject: of a case.

    Returns:
        rows, what is left out, and notes on scans without a label.

    Raises:
        ManifestError: not one scan is whole, names that cannot be names of subjects.
    """
    rows: list[ScanRow] = []
    left_out: list[LeftOut] = []
    for pair in pairs:
        try:
            check_files(pair)
        except DataError as error:
            left_out.append(LeftOut(f"{pair.case} {pair.modality}", error))
            continue
        rows.append(
            scan_row(
                where=pair.image,
                cohort=options.cohort,
                subject=subject(pair.case),
                scan_id=f"{pair.case}_{pair.modality}",
                modality=pair.modality,
                images=(pair.image,),
                unit=unit_of(pair.modality, options.unit),
                label=pair.label,
                label_set=label_set if pair.label else None,
            )
        )
    if not rows:
        where = pairs[0].image.parent if pairs else None
        fault = f"not one scan is whole, e.g. {left_out[0]}" if left_out else "not one scan has a name of its own"
        raise ManifestError(fault, where=where, mend="unpack the data set again")
    return rows, left_out, tuple(_notes(rows))


def check_files(pair: Pair) -> None:
    """Raise DataError where the image or label is damaged, or the label lies on another grid."""
    image = read_header(pair.image)
    if pair.label is not None:
        check_same_grid(image.grid, read_header(pair.label).grid, where=pair.label)


def _notes(rows: Sequence[ScanRow]) -> Iterator[str]:
    if bare := [row.scan_id for row in rows if row.label is None]:
        yield f"without a label, to be predicted but not scored: {counted(len(bare), 'scan')}, e.g. {bare[0]}"
