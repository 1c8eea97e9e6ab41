"""Manifests: the scans of a study as a table, CSV or Parquet, one row a scan (docs/manifest.md)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from umd_engine.data.atomic import atomic_file
from umd_engine.errors import ManifestError, MissingFileError

Modality = Literal["ct", "mr", "pet"]
IntensityUnit = Literal["HU", "SUV", "Bq/mL", "none"]
UNITS_OF: dict[str, tuple[str, ...]] = {"ct": ("HU", "none"), "pet": ("SUV", "Bq/mL", "none"), "mr": ("none",)}
REQUIRED = ("cohort", "subject", "scan_id", "modality", "image", "unit", "label", "label_set")
OPTIONAL = ("sex", "age", "scanner", "site")
CHANNEL_SEPARATOR = ";"

# Words end up in names of files and in tables: no slash, no control characters, no blanks around them.
Word = Annotated[str, Field(pattern=r"^[^\s/\\\x00-\x1f]([^/\\\x00-\x1f]*[^\s/\\\x00-\x1f])?$")]


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class ScanRow(BaseModel):
    """One scan: the image a model gets, and its label if there is one.

    `images` has one path a channel. `label_set` is a name that comes with the package or the path of a .json
    file. `line` is where the row stood in its manifest (0: nowhere yet); it is never written.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cohort: Word
    subject: Word
    scan_id: Word
    modality: Modality
    images: Annotated[tuple[Path, ...], Field(min_length=1)]
    unit: IntensityUnit
    label: Path | None = None
    label_set: str | None = None
    sex: Annotated[Literal["F", "M", "O"] | None, BeforeValidator(_upper)] = None
    age: Annotated[float | None, Field(ge=0, le=130)] = None  # years
    scanner: str | None = None
    site: str | None = None
    line: Annotated[int, Field(exclude=True, repr=False, ge=0)] = 0

    @model_validator(mode="after")
    def _holds_together(self) -> ScanRow:
        if self.unit not in UNITS_OF[self.modality]:
            units = " or ".join(UNITS_OF[self.modality])
            raise ValueError(f"unit {self.unit} of a {self.modality} scan: give {units}")
        if self.label is not None and self.label_set is None:
            raise ValueError("a label without a label_set that names its ids")
        return self

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes a row the only one of its kind."""
        return (self.cohort, self.subject, self.scan_id)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a row. `line` is its line in the manifest, `status` that of the typed error."""

    line: int
    scan_id: str
    status: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line} ({self.scan_id or 'no scan_id'}): {self.message}"


def parse_manifest(path: str | Path) -> tuple[list[ScanRow], list[Fault]]:
    """The good rows of a manifest and the faults of the others. Relative paths are made from its folder.

    Raises:
        MissingFileError: no such file.
        ManifestError: a table that cannot be read, misses a column or has an unknown one, or has no row.
    """
    path = Path(path)
    rows: list[ScanRow] = []
    faults: list[Fault] = []
    lines: dict[tuple[str, str, str], int] = {}
    for line, cells in _table(path):
        try:
            row = _row(line, cells, path.parent)
        except ValidationError as error:
            faults += [_fault(line, cells, _message(one)) for one in error.errors()]
            continue
        if row.key in lines:
            faults.append(_fault(line, cells, f"the same cohort, subject and scan_id as line {lines[row.key]}"))
            continue
        lines[row.key] = line
        rows.append(row)
    if not rows and not faults:
        raise ManifestError("the manifest has no rows", where=path)
    return rows, faults


def read_manifest(path: str | Path) -> list[ScanRow]:
    """The rows of a manifest.

    Raises:
        MissingFileError: no such file.
        ManifestError: every faulty row, with its line.
    """
    rows, faults = parse_manifest(path)
    if faults:
        listed = "".join(f"\n  {fault}" for fault in faults)
        raise ManifestError(f"{len(faults)} faults{listed}", where=path)
    return rows


def write_manifest(path: str | Path, rows: Sequence[ScanRow]) -> None:
    """Write rows as .csv or .parquet; paths below the manifest's folder become relative to it.

    Raises:
        ManifestError: another suffix, or a path with the separator of channels in it.
    """
    path = Path(path)
    table = [_cells(row, path) for row in rows]
    columns = [name for name in (*REQUIRED, *OPTIONAL) if name in REQUIRED or any(cells[name] for cells in table)]
    if path.suffix == ".parquet":
        _write_parquet(path, columns, table)
        return
    if path.suffix != ".csv":
        raise ManifestError("a manifest must end in .csv or .parquet", where=path)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    with atomic_file(path) as file:
        file.write(text.getvalue().encode())


def _table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, cells) of each row; empty cells are left out."""
    if not path.is_file():
        raise MissingFileError("no such manifest", where=path, mend="correct the path")
    rows = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    for line, cells in rows:
        kept = {name: value for name, value in cells.items() if value not in (None, "")}
        if kept:
            yield line, kept


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError("not a text in UTF-8", where=path, mend="save it as CSV UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        _check_columns(columns, path)
        line = reader.line_num + 1
        for values in reader:
            yield line, _named(columns, [value.strip() for value in values])
            line = reader.line_num + 1
    except csv.Error as error:
        raise ManifestError(f"line {reader.line_num}: {error}", where=path) from error


def _named(columns: list[str], values: list[str]) -> dict[str, Any]:
    cells: dict[str, Any] = dict(zip(columns, values, strict=False))
    if len(values) > len(columns):
        cells["cells beyond the last column"] = values[len(columns) :]
    return cells


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a Parquet table, counted from 1."""
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise ManifestError(f"not a Parquet file: {error}", where=path) from error
    _check_columns(table.column_names, path)
    yield from enumerate(table.to_pylist(), start=1)


def _check_columns(columns: list[str], path: Path) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    unknown = [name or "(no name)" for name in columns if name not in (*REQUIRED, *OPTIONAL)]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    kinds = (("missing", missing), ("unknown", unknown), ("repeated", twice))
    faults = [f"{kind} columns {', '.join(names)}" for kind, names in kinds if names]
    if faults:
        mend = f"the columns are {', '.join(REQUIRED)} and, if known, {', '.join(OPTIONAL)}"
        raise ManifestError("; ".join(faults), where=path, mend=mend)


def _row(line: int, cells: dict[str, Any], folder: Path) -> ScanRow:
    fields = dict(cells, line=line)
    image = fields.pop("image", None)
    if image is not None:
        names = image if isinstance(image, list) else str(image).split(CHANNEL_SEPARATOR)
        fields["images"] = tuple(folder / str(name).strip() for name in names if str(name).strip())
    if "label" in fields:
        fields["label"] = folder / str(fields["label"])
    if str(fields.get("label_set", "")).endswith(".json"):
        fields["label_set"] = str(folder / fields["label_set"])
    return ScanRow.model_validate(fields)


def _message(error: Any) -> str:
    field = ".".join(str(part) for part in error["loc"] if part != "line")
    field = "image" if field == "images" else field
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] == "missing":
        return f"{field} is empty"
    shown = f" (it is {error['input']!r})" if isinstance(error["input"], str | int | float) else ""
    return f"{field}: {text}{shown}" if field else text


def _fault(line: int, cells: dict[str, Any], message: str) -> Fault:
    return Fault(line, str(cells.get("scan_id", "")), ManifestError.status, message)


def _cells(row: ScanRow, path: Path) -> dict[str, Any]:
    images = [_relative(image, path) for image in row.images]
    if any(CHANNEL_SEPARATOR in image for image in images):
        fault = f"a path of {row.scan_id} has '{CHANNEL_SEPARATOR}' in it, which separates channels"
        raise ManifestError(fault, where=path, mend="rename the file")
    cells = row.model_dump(exclude={"images", "label", "label_set"})
    cells["image"] = CHANNEL_SEPARATOR.join(images)
    cells["label"] = _relative(row.label, path) if row.label else None
    is_file = row.label_set is not None and row.label_set.endswith(".json")
    cells["label_set"] = _relative(Path(str(row.label_set)), path) if is_file else row.label_set
    return cells


def _relative(file: Path, manifest: Path) -> str:
    file, folder = Path.absolute(file), Path.absolute(manifest).parent
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)


def _write_parquet(path: Path, columns: list[str], table: Iterable[dict[str, Any]]) -> None:
    import pyarrow
    from pyarrow import parquet

    types = {name: pyarrow.float64() if name == "age" else pyarrow.string() for name in columns}
    rows = [{name: cells[name] for name in columns} for cells in table]
    with atomic_file(path) as file:
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(types.items())), file)
