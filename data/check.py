"""Every fault of every row of a manifest, found before any work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from umd_engine.data.geometry import check_same_grid
from umd_engine.data.labelset import LabelSet, load_label_set
from umd_engine.data.manifest import Fault, ScanRow, parse_manifest
from umd_engine.data.nifti import Header, read, read_header, read_labels
from umd_engine.data.plausibility import check_unit
from umd_engine.errors import EmptyLabelError, ManifestError, UmdEngineError

UNMARKED = "a synthetic phantom that the manifest does not mark"


def check_manifest(path: str | Path, deep: bool = True) -> Iterator[Fault]:
    """The faults of a manifest: those of the table first, then those of each sound row's files, in order.

    One row's fault hides none of another row, and one file's fault none of another file.

    Args:
        deep: read the voxels too (finite, plausible in their unit, ids of the label set); else only headers.

    Raises:
        MissingFileError, ManifestError: the manifest cannot be read as a table at all.
    """
    rows, faults = parse_manifest(path)
    yield from faults
    for line, row in rows:
        yield from check_row(row, deep, line)


def check_row(row: ScanRow, deep: bool = True, line: int = 0) -> list[Fault]:
    """Every fault of one row's files; `line` is where the row stands."""
    findings = _Findings(line, row.scan_id)
    headers = [_check_image(findings, path, row.unit, deep) for path in row.images]
    found = [(path, header) for path, header in zip(row.images, headers, strict=True) if header is not None]
    for path, header in found[1:]:
        with findings.noting():
            check_same_grid(found[0][1].grid, header.grid, where=path, reference="the first image")
    with findings.noting():
        _check_mark(row, [header for _, header in found])
    if row.label is not None:
        _check_label(findings, row, found[0][1] if found else None, deep)
    return findings.faults


@dataclass
class _Findings:
    """The faults of one row; a check that raises ends itself, not the next one."""

    line: int
    scan_id: str
    faults: list[Fault] = field(default_factory=list)

    @contextmanager
    def noting(self) -> Iterator[None]:
        try:
            yield
        except UmdEngineError as error:
            self.faults.append(Fault(self.line, self.scan_id, error.status, str(error), error))


def _header(findings: _Findings, path: Path) -> Header | None:
    with findings.noting():
        return read_header(path)
    return None


def _check_image(findings: _Findings, path: Path, unit: str, deep: bool) -> Header | None:
    header = _header(findings, path)
    if deep and header is not None:
        with findings.noting():
            check_unit(read(path), unit)
    return header


def _check_mark(row: ScanRow, headers: list[Header]) -> None:
    for header in headers:
        if header.synthetic and not row.synthetic:
            raise ManifestError(UNMARKED, where=header.path, mend="set its column synthetic to yes")


def _check_label(findings: _Findings, row: ScanRow, image: Header | None, deep: bool) -> None:
    assert row.label is not None and row.label_set is not None
    label_set: LabelSet | None = None
    with findings.noting():
        label_set = load_label_set(row.label_set)
    header = _header(findings, row.label)
    if header is None:
        return
    if image is not None:
        with findings.noting():
            check_same_grid(image.grid, header.grid, where=row.label)
    if deep:
        with findings.noting():
            _check_ids(row.label, label_set)


def _check_ids(path: Path, label_set: LabelSet | None) -> None:
    voxels = read_labels(path).voxels
    if not voxels.any():
        raise EmptyLabelError(
            "not one voxel is labelled", where=path, mend="leave the label column empty if there is no reference"
        )
    if label_set is not None:
        label_set.check(voxels, where=path)
