"""The manifest: a table with one row a scan, in CSV or Parquet. Its columns are described in docs/manifest.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from umd_engine.data.labelset import LABEL_SETS, is_label_set_file
from umd_engine.data.remote import absolute, is_remote, joined, url_of
from umd_engine.data.table import BETWEEN, read_table, write_table
from umd_engine.data.words import counted
from umd_engine.errors import ManifestError, UmdEngineError, UnknownNameError

Modality = Literal["ct", "mr", "pet"]
Unit = Literal["HU", "SUV", "Bq/mL", "none"]
UNITS: dict[str, tuple[str, ...]] = {"ct": ("HU", "none"), "mr": ("none",), "pet": ("SUV", "Bq/mL", "none")}
REQUIRED = ("cohort", "subject", "scan_id", "modality", "image", "unit")
GROUPS = ("sex", "age", "scanner", "site")
OPTIONAL = ("label", "label_set", *GROUPS, "synthetic")
COLUMNS = REQUIRED + OPTIONAL
YES = "yes"
MEND = "the columns and their values are listed in docs/manifest.md"

# they become names of files and folders
_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\z", max_length=120)]


def _yes(value: object) -> bool:
    if value not in (True, False, YES):  # not the many words that pydantic takes for yes and no
        raise ValueError("it is yes or empty")
    return bool(value)


class ScanRow(BaseModel):
    """One scan: its images, one a channel, and its reference where there is one.

    Attributes:
        scan_id: unique within cohort and subject.
        unit: of every image's voxels; "none" also where the channels have different ones.
        label: a label map on the images' grid.
        label_set: what its ids mean: the name of a built-in set or the path of a JSON file.
        age: years.
        synthetic: a computer-made phantom, no patient; every output says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cohort: _Id
    subject: _Id
    scan_id: _Id
    modality: Modality
    images: Annotated[tuple[Path, ...], Field(min_length=1)]
    unit: Unit
    label: Path | None = None
    label_set: str | None = None
    sex: str | None = None
    age: Annotated[float, Field(ge=0, le=150)] | None = None
    scanner: str | None = None
    site: str | None = None
    synthetic: Annotated[bool, BeforeValidator(_yes)] = False

    @model_validator(mode="after")
    def _fields_agree(self) -> ScanRow:
        if self.unit not in UNITS[self.modality]:
            raise ValueError(f"unit '{self.unit}' for {self.modality}, which has {' or '.join(UNITS[self.modality])}")
        if self.label is not None and self.label_set is None:
            raise ValueError(f"a label without a label_set that names its ids, e.g. {LABEL_SETS[0]}")
        if self.label_set is not None and not is_label_set_file(self.label_set) and self.label_set not in LABEL_SETS:
            raise ValueError(str(UnknownNameError("label set", self.label_set, LABEL_SETS)))
        return self

    @property
    def key(self) -> tuple[str, str, str]:
        """What must be unique: (cohort, subject, scan_id)."""
        return (self.cohort, self.subject, self.scan_id)

    @property
    def groups(self) -> dict[str, str]:
        """What is known of sex, age, scanner and site, as text."""
        known = {name: getattr(self, name) for name in GROUPS}
        return {name: f"{value:g}" if name == "age" else value for name, value in known.items() if value is not None}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a row.

    Attributes:
        line: where the row ends in the CSV file; of a Parquet file the row, from 1. 0 is the table itself.
        status: that of the error it raises, e.g. "missing-file".
        error: what a check of the row's files raised; None for a fault of the table.
    """

    line: int
    scan_id: str
    status: str
    message: str
    error: UmdEngineError | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else "table"
        return f"{place}{f', {self.scan_id}' if self.scan_id else ''} [{self.status}] {self.message}"

    def as_dict(self) -> dict[str, Any]:
        """line, scan_id, status and message."""
        return {"line": self.line, "scan_id": self.scan_id, "status": self.status, "message": self.message}


def read_manifest(path: str | Path) -> list[ScanRow]:
    """The rows of a manifest; relative paths start at its folder, which may be remote. No image is opened.

    Raises:
        MissingFileError: no such manifest.
        ManifestError: it names every faulty row: unknown or missing columns, bad values, duplicates.
    """
    rows, faults = parse_manifest(path)
    if faults:
        listed = "".join(f"\n  {fault}" for fault in faults)
        raise ManifestError(f"{counted(len(faults), 'fault')}{listed}\n ", where=path, mend=MEND)
    return [row for _, row in rows]


def parse_manifest(path: str | Path) -> tuple[list[tuple[int, ScanRow]], list[Fault]]:
    """The sound rows of a manifest with their lines, and the faults of all others.

    Raises:
        MissingFileError, ManifestError: the file cannot be read as a table at all.
    """
    path = Path(path)
    columns, records = read_table(path)
    if faults := [_table_fault(text) for text in _column_faults(columns)]:
        return [], faults
    if not records:
        return [], [_table_fault("it has no rows")]
    rows: list[tuple[int, ScanRow]] = []
    lines: dict[tuple[str, str, str], int] = {}
    for line, record in records:
        try:
            row = parse_record(record, absolute(path.parent))
            if row.key in lines:
                raise ManifestError(f"the same cohort, subject and scan_id as line {lines[row.key]}")
        except ManifestError as error:
            faults.append(Fault(line, record.get("scan_id") or "", error.status, error.fault))
        else:
            lines[row.key] = line
            rows.append((line, row))
    return rows, faults


def write_manifest(path: str | Path, rows: Sequence[ScanRow]) -> None:
    """Write rows as CSV or Parquet, by the file's ending; paths below the manifest's folder become relative.

    Raises:
        ManifestError: another ending, a folder that is not writable, an image path with a semicolon, duplicate rows.
    """
    path = Path(path)
    if len({row.key for row in rows}) < len(rows):
        raise ManifestError("two rows have the same cohort, subject and scan_id", where=path)
    records = [_record(row, path) for row in rows]
    always = (*REQUIRED, "label", "label_set")
    write_table(path, [c for c in COLUMNS if c in always or any(record[c] for record in records)], records)


def scan_row(where: str | Path | None = None, **fields: Any) -> ScanRow:
    """A checked row.

    Raises:
        ManifestError: values that do not hold together.
    """
    try:
        return ScanRow(**fields)
    except ValidationError as error:
        raise ManifestError("; ".join(_sentences(error)), where=where, mend=MEND) from None


def parse_record(record: Mapping[str, str], folder: Path) -> ScanRow:
    """A row from the texts of its columns; `folder` is what relative paths are relative to.

    Raises:
        ManifestError: values that do not hold together.
    """
    if None in record or None in record.values():  # what csv.DictReader makes of a row of another length
        raise ManifestError("more or fewer fields than the header has columns")
    cells = {column: text.strip() for column, text in record.items()}
    images = [name.strip() for name in cells.pop("image").split(BETWEEN)]
    if not all(images):
        raise ManifestError("image: no path, or an empty one between semicolons")
    fields: dict[str, Any] = {name: text or None for name, text in cells.items() if text or name in REQUIRED}
    fields["images"] = tuple(joined(folder, name) for name in images)
    if "label" in fields:
        fields["label"] = joined(folder, fields["label"])
    if "label_set" in fields and is_label_set_file(fields["label_set"]):
        fields["label_set"] = str(joined(folder, fields["label_set"]))
    return scan_row(**fields)


def _sentences(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        place = f"{fault['loc'][0]}: " if fault["loc"] else ""
        if fault["type"] == "string_pattern_mismatch":
            text = f"{fault['input']!r} is not made of letters, digits and inner '.', '_' and '-'"
        elif fault["input"] is None:
            text = "empty"
        else:
            text = fault["msg"].removeprefix("Value error, ") + (f", not {fault['input']!r}" if place else "")
        yield place + text


def _table_fault(text: str) -> Fault:
    return Fault(0, "", ManifestError.status, text)


def _column_faults(columns: Sequence[str]) -> Iterator[str]:
    if missing := [c for c in REQUIRED if c not in columns]:
        subject = f"column {missing[0]} is" if len(missing) == 1 else f"columns {', '.join(missing)} are"
        yield f"{subject} missing (a CSV file is separated by commas)"
    if unknown := [c for c in columns if c not in COLUMNS]:
        noun = "unknown columns" if len(unknown) > 1 else "unknown column"
        yield f"{noun} {', '.join(map(repr, unknown))}; known: {', '.join(COLUMNS)}"
    if twice := sorted({c for c in columns if columns.count(c) > 1}):
        yield f"more than one column of the name {' and of '.join(map(repr, twice))}"


def _record(row: ScanRow, manifest: Path) -> dict[str, str]:
    if bad := [image for image in row.images if BETWEEN in str(image)]:
        raise ManifestError("a semicolon in the path of an image", where=bad[0], mend="rename it")
    values = row.model_dump(exclude={"images"})
    values["image"] = BETWEEN.join(_relative(image, manifest) for image in row.images)
    values["synthetic"] = YES if row.synthetic else None
    values["label"] = _relative(row.label, manifest) if row.label else None
    if row.label_set and is_label_set_file(row.label_set):
        values["label_set"] = _relative(Path(row.label_set), manifest)
    return {column: "" if values[column] is None else str(values[column]) for column in COLUMNS}


def _relative(path: Path, manifest: Path) -> str:
    if is_remote(path):
        return url_of(path)
    folder = manifest.parent.resolve()
    path = path.parent.resolve() / path.name  # a file that is a link keeps its name
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
