"""Mends for labels: the label set whose ids they have."""

from __future__ import annotations

from pathlib import Path

from umd_engine.data.labelset import found_ids, is_label_set_file, load_label_set
from umd_engine.data.manifest import ScanRow
from umd_engine.data.nifti import read_labels
from umd_engine.data.suggestions.advice import Advice, Table, change
from umd_engine.errors import DataError


def label_ids(path: Path) -> set[int] | None:
    """The ids of a label map but 0, or None where it cannot be read as one."""
    try:
        return set(found_ids(read_labels(path).voxels)) - {0}
    except DataError:  # a fault of its own
        return None


def advise_empty(line: int) -> Advice:
    """A label map without a voxel: the scan has no reference."""
    cells = {"label": "", "label_set": ""}
    return Advice(f"leave label and label_set empty in line {line}, or name the label map that has its organs", cells)


def advise_ids(line: int, row: ScanRow, table: Table) -> Advice | None:
    """The label set that has every id of a label map which the row's label set has not."""
    assert row.label is not None and row.label_set is not None
    if not (ids := label_ids(row.label)):
        return None
    listed = f"its ids ({_range(ids)})"
    fits = table.fitting_label_sets(ids)
    if len(fits) == 1:
        return Advice(f"{listed} are those of {fits[0]}: {change('label_set', fits[0], line)}", {"label_set": fits[0]})
    if fits:
        return Advice(
            f"{listed} are all in {', '.join(fits)}: set label_set in line {line} to the one it was made with"
        )
    if is_label_set_file(row.label_set):
        unknown = sorted(ids - load_label_set(row.label_set).known)
        entries = ", ".join(f'"NAME": {number}' for number in unknown[:3])
        return Advice(f"no label set at hand has them: add {entries} with the organ's name to {row.label_set}")
    if len(ids) == 1:
        (number,) = ids
        entry = f'{{"labels": {{"ORGAN": {number}}}}}'
        return Advice(f"it is a mask of one organ: write {entry} into a .json file and name that file in label_set")
    return None


def _range(ids: set[int]) -> str:
    return f"{min(ids)} to {max(ids)}" if len(ids) > 1 else str(min(ids))
