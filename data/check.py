"""Every fault of every row of a manifest, found before any work is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from umd_engine.data import nifti
from umd_engine.data.geometry import check_same_grid
from umd_engine.data.labelset import LabelSet, check_labels, load_label_set
from umd_engine.data.manifest import Fault, ScanRow
from umd_engine.data.plausibility import check_unit
from umd_engine.errors import UmdEngineError

Progress = Callable[[int, int], None]


@dataclass
class _Findings:
    """The faults of one row; a check that raises ends itself, not the next one."""

    row: ScanRow
    faults: list[Fault] = field(default_factory=list)

    @contextmanager
    def noting(self) -> Iterator[None]:
        try:
            yield
        except UmdEngineError as error:
            self.faults.append(Fault(self.row.line, self.row.scan_id, error.status, str(error)))


def check_rows(rows: Sequence[ScanRow], deep: bool = True, progress: Progress | None = None) -> list[Fault]:
    """Every fault of every row, in the order of the rows; one row's fault never hides another's.

    Args:
        deep: read the voxels too (finite, plausible in their unit, label ids); else headers alone.
        progress: called with (rows done, rows) after each row.
    """
    faults: list[Fault] = []
    for done, row in enumerate(rows, start=1):
        faults += check_row(row, deep)
        if progress is not None:
            progress(done, len(rows))
    return faults


def check_row(row: ScanRow, deep: bool = True) -> list[Fault]:
    """Every fault of one row."""
    findings = _Findings(row)
    headers = [_header(findings, path) for path in row.images]
    first = next((header for header in headers if header is not None), None)
    for header in headers:
        if header is None or first is None:
            continue
        with findings.noting():
            check_same_grid(first.grid, header.grid, where=header.path)
        if deep:
            with findings.noting():
                check_unit(nifti.read(header.path), row.unit)
    if row.label is not None:
        _check_label(findings, row.label, first, deep)
    return findings.faults


def _header(findings: _Findings, path: Path) -> nifti.Header | None:
    with findings.noting():
        return nifti.read_header(path)
    return None


def _check_label(findings: _Findings, path: Path, image: nifti.Header | None, deep: bool) -> None:
    label_set = _label_set(findings)
    header = _header(findings, path)
    if header is None:
        return
    if image is not None:
        with findings.noting():
            check_same_grid(image.grid, header.grid, where=path)
    if deep and label_set is not None:
        with findings.noting():
            check_labels(nifti.read_labels(path), label_set)


def _label_set(findings: _Findings) -> LabelSet | None:
    with findings.noting():
        return load_label_set(str(findings.row.label_set))
    return None
