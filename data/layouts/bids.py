"""BIDS: sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz, labels as _dseg.nii.gz below derivatives/."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from umd_engine.data.geometry import check_same_grid
from umd_engine.data.labelset import LabelSet, parse_labels, read_json
from umd_engine.data.layouts.common import (
    UNIT_OF,
    Imported,
    ImportOptions,
    LeftOut,
    check_folder,
    label_set_beside,
    named_label_set,
    stem,
    unit_of,
)
from umd_engine.data.layouts.pairs import nifti_below
from umd_engine.data.manifest import ScanRow, scan_row
from umd_engine.data.nifti import read_header
from umd_engine.data.organ_names import organ_ids
from umd_engine.data.progress import Watch
from umd_engine.data.words import counted
from umd_engine.errors import DataError, GeometryError, ManifestError, MissingFileError, OptionError

# Suffix -> modality. ct/ is a proposal (BEP 024), the others are BIDS 1.10's.
MR = "T1w T2w T1rho T2star T2starw FLAIR PDw PDT2 inplaneT1 inplaneT2 angio UNIT1 T1map T2map R1map R2map PDmap MTVmap"
MODALITIES = {**dict.fromkeys(MR.split(), "mr"), "pet": "pet", "ct": "ct"}
FOLDERS = ("anat", "pet", "ct")
DERIVATIVES = "derivatives"
LABELS = "dseg"
# Entities that a derivative has beside those of the image it was made of.
ADDED = ("space", "seg", "res", "den", "label", "desc", "atlas")
PET_UNITS = {"bq/ml": "Bq/mL", "suv": "SUV", "g/ml": "SUV"}
SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}
EMPTY = ("", "n/a")
Entities = tuple[tuple[str, str], ...]
NAMING = "sub-01/anat/sub-01_T1w.nii.gz, sub-01/pet/sub-01_pet.nii.gz or sub-01/ct/sub-01_ct.nii.gz"


@dataclass(frozen=True)
class File:
    """What a name says: its entities in order, e.g. (("sub", "01"), ("run", "1")), and the last word."""

    path: Path
    entities: Entities
    suffix: str

    @property
    def subject(self) -> str:
        return f"sub-{dict(self.entities)['sub']}"

    @property
    def source(self) -> Entities:
        """The entities of the image that a derivative was made of."""
        return tuple(pair for pair in self.entities if pair[0] not in ADDED)


def import_bids(folder: Path, options: ImportOptions, manifest: Path, watch: Watch) -> Imported:
    """One row an image of anat/, pet/ and ct/ with the label map that was made of it, and the participants' table.

    A label map belongs to the image whose entities it repeats; where several do (T1w and T2w), to those of them that
    lie on its grid. What its ids mean, its `_dseg.tsv` or a `dseg.tsv` above it says, or --label-set.

    Args:
        folder: holds sub-01 and so on.
        options: the cohort; the unit of PET images that have no JSON file with Units; the label set where there is
            no table of ids.
        manifest: the label set will lie beside it.
        watch: not called.

    Raises:
        MissingFileError: no folder, or no image. ManifestError: tables that cannot be read or name ids differently;
            not one image is whole. OptionError: labels that nothing names.
    """
    folder = check_folder(folder)
    images, labels, notes = _files(folder)
    label_set = _label_set(folder, labels, options) if labels else None
    participants = _participants(folder / "participants.tsv")
    meant = named_label_set(options.label_set) if options.label_set else str(label_set_beside(manifest))
    rows: list[ScanRow] = []
    left_out: list[LeftOut] = []
    for image in images:
        try:
            label = _label_of(image, images, labels)
            rows.append(_row(image, label, meant, options, participants.get(image.subject, {})))
        except DataError as error:
            left_out.append(LeftOut(stem(image.path), error))
    taken = {row.label for row in rows}
    for path in (label.path for label in labels if label.path not in taken):
        fault = MissingFileError("a label map of no image", where=path, mend="its name begins as its image's")
        left_out.append(LeftOut(stem(path), fault))
    if not rows:
        raise ManifestError(f"not one image is whole, e.g. {left_out[0]}", where=folder, mend="copy it again")
    return Imported(rows, label_set, tuple(left_out), tuple(notes))


def _files(folder: Path) -> tuple[list[File], list[File], list[str]]:
    """The images, the label maps, and what was seen beside them."""
    images: list[File] = []
    labels: list[File] = []
    others: list[Path] = []
    for path in nifti_below(folder):
        file = _parse(path)
        derived = DERIVATIVES in path.relative_to(folder).parts
        if file and derived and file.suffix == LABELS:
            labels.append(file)
        elif file and not derived and path.parent.name in FOLDERS and file.suffix in MODALITIES:
            images.append(file)
        else:
            others.append(path)
    if not images:
        raise MissingFileError("no image in anat/, pet/ or ct/ of a subject", where=folder, mend=f"BIDS has {NAMING}")
    what = f"{counted(len(others), 'NIfTI file')}, e.g. {others[0].relative_to(folder)}" if others else ""
    notes = [f"not imported: {what}, no image of anat/, pet/ or ct/ and no _dseg"] if others else []
    return images, labels, notes


def _parse(path: Path) -> File | None:
    *pairs, suffix = stem(path).split("_")
    entities = tuple((key, value) for key, _, value in (pair.partition("-") for pair in pairs))
    return File(path, entities, suffix) if entities and entities[0][0] == "sub" and entities[0][1] else None


def _label_of(image: File, images: Sequence[File], labels: Sequence[File]) -> Path | None:
    grid = read_header(image.path).grid
    found = [label for label in labels if label.source == image.entities]
    if any(other.entities == image.entities and other is not image for other in images):
        found = [label for label in found if _on_grid(label.path, image.path)]
    if len(found) > 1:
        others = ", ".join(str(label.path) for label in found[1:])
        raise ManifestError(f"two label maps of one image: {others} too", where=found[0].path, mend="keep one of them")
    if not found:
        return None
    check_same_grid(grid, read_header(found[0].path).grid, where=found[0].path)
    return found[0].path


def _on_grid(label: Path, image: Path) -> bool:
    try:
        check_same_grid(read_header(image).grid, read_header(label).grid)
    except GeometryError:
        return False
    return True


def _row(image: File, label: Path | None, label_set: str, options: ImportOptions, more: dict[str, str]) -> ScanRow:
    modality = MODALITIES[image.suffix]
    return scan_row(
        where=image.path,
        cohort=options.cohort,
        subject=image.subject,
        scan_id=stem(image.path),
        modality=modality,
        images=(image.path,),
        unit=_pet_unit(image.path, options.unit) if modality == "pet" else UNIT_OF[modality],
        label=label,
        label_set=label_set if label else None,
        **more,
    )


def _pet_unit(image: Path, asked: str | None) -> str:
    if asked is not None:
        return unit_of("pet", asked)
    path = image.with_name(f"{stem(image)}.json")
    content = read_json(path) if path.is_file() else {}
    written = str(content.get("Units", "")) if isinstance(content, dict) else ""
    if (unit := PET_UNITS.get(written.lower().replace(" ", ""))) is None:
        fault = f"Units is '{written}'" if written else "nothing says its Units"
        raise ManifestError(fault, where=path, mend="write Bq/mL or SUV there, or say --unit")
    return unit


def _label_set(folder: Path, labels: Sequence[File], options: ImportOptions) -> LabelSet | None:
    """What the tables of all label maps say; None where --label-set does."""
    if options.label_set is not None:
        return None
    sets: dict[Path, dict[str, tuple[int, ...]]] = {}
    for label in labels:
        table = _table_of(label.path, folder)
        if table is None:
            mend = "write a _dseg.tsv with index and name beside it, or name a set"
            raise OptionError(f"nothing says what the ids of {label.path} mean", where="--label-set", mend=mend)
        if table not in sets:
            sets[table] = _organs(table)
    first, *others = sets
    for other in others:
        if sets[other] != sets[first]:
            mend = "import one of the pipelines below derivatives/ alone"
            raise ManifestError(f"it names other ids than {first}", where=other, mend=mend)
    return LabelSet(folder.name, sets[first])


def _organs(table: Path) -> dict[str, tuple[int, ...]]:
    """Organ -> its ids."""
    rows = _rows(table, ("index", "name"))
    if bad := [row["index"] for row in rows if not row["index"].isdecimal()]:
        raise ManifestError(f"the index {bad[0]!r} is no id", where=table, mend="write whole numbers")
    ids = organ_ids((row["name"], int(row["index"])) for row in rows if int(row["index"]))
    return parse_labels({organ: list(numbers) for organ, numbers in ids.items()}, table)


def _table_of(label: Path, folder: Path) -> Path | None:
    """The table beside the label map, or the nearest `dseg.tsv` above it."""
    own = label.with_name(f"{stem(label)}.tsv")
    above = [parent / "dseg.tsv" for parent in label.parents if parent.is_relative_to(folder)]
    return next((path for path in (own, *above) if path.is_file()), None)


def _participants(path: Path) -> dict[str, dict[str, str]]:
    """Subject -> sex and age in years, where the table has them."""
    if not path.is_file():
        return {}
    found = {}
    for row in _rows(path, ("participant_id",)):
        sex = SEXES.get(row.get("sex", "").lower(), row.get("sex", ""))
        fields = {"sex": sex, "age": row.get("age", "")}
        found[row["participant_id"]] = {key: text for key, text in fields.items() if text.lower() not in EMPTY}
    return found


def _rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The lines of a table separated by tabs."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError):
        raise ManifestError("cannot be read as UTF-8", where=path, mend="save it again") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", restval="")
    if missing := [name for name in needed if name not in (reader.fieldnames or ())]:
        raise ManifestError(f"no column {missing[0]}", where=path, mend="its columns are separated by tabs")
    return [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
