"""A concrete mend for each fault that `data check` finds, where there is one. No file is changed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from umd_engine.data.check import UNMARKED
from umd_engine.data.manifest import YES, Fault
from umd_engine.data.suggestions.advice import Advice, Table, change, read_whole_table
from umd_engine.data.suggestions.cells import advise_row
from umd_engine.data.suggestions.columns import advise_columns
from umd_engine.data.suggestions.files import advise_corrupt, advise_header, advise_missing
from umd_engine.data.suggestions.grids import advise_grid
from umd_engine.data.suggestions.labels import advise_empty, advise_ids
from umd_engine.data.suggestions.units import advise_voxels
from umd_engine.errors import (
    CorruptFileError,
    EmptyLabelError,
    GeometryError,
    LabelError,
    ManifestError,
    MissingFileError,
    VoxelError,
)

__all__ = ["Advice", "advise", "as_record", "corrected"]


def advise(path: str | Path, faults: Iterable[Fault], deep: bool = True) -> Iterator[tuple[Fault, Advice | None]]:
    """Each fault with its mend, or None where nothing concrete can be said.

    Args:
        path: the manifest that the faults are of.
        faults: those of `check_manifest`.
        deep: whether voxels may be read again.

    Raises:
        MissingFileError, ManifestError: the manifest cannot be read as a table.
    """
    table = read_whole_table(path, deep)
    for fault in faults:
        yield fault, _advise(fault, table)


def _advise(fault: Fault, table: Table) -> Advice | None:
    if fault.line == 0:
        return advise_columns(fault.message, table)
    if fault.error is None:
        return advise_row(fault.line, table)
    row = table.rows[fault.line]
    match fault.error:
        case MissingFileError():
            return advise_missing(fault.error, fault.line, row, table)
        case CorruptFileError():
            return advise_corrupt(fault.error, fault.line, row, table)
        case EmptyLabelError():
            return advise_empty(fault.line)
        case LabelError() if table.deep:
            return advise_ids(fault.line, row, table)
        case VoxelError():
            return advise_voxels(fault.error, fault.line, row, table)
        case GeometryError():
            return advise_header(fault.error) or advise_grid(fault.error, row, table)
        case ManifestError() if fault.error.fault == UNMARKED:
            return Advice(change("synthetic", YES, fault.line), {"synthetic": YES})
    return None


def as_record(fault: Fault, advice: Advice | None) -> dict[str, Any]:
    """The fault's record with `suggestion` (null where there is none) and `cells`, column -> text."""
    more: dict[str, Any] = {"suggestion": None, "cells": {}}
    if advice is not None:
        more = {"suggestion": advice.text, "cells": dict(advice.cells)}
    return {**fault.as_dict(), **more}


def corrected(path: str | Path, advised: Iterable[tuple[Fault, Advice | None]]) -> str:
    """The lines of the manifest whose cells a suggestion changes, as CSV with a header; empty if there are none.

    Where two suggestions change one cell, the first one does.
    """
    table = read_whole_table(path)
    changes: dict[int, dict[str, str]] = {}
    for fault, advice in advised:
        if advice is not None and advice.cells:
            changes[fault.line] = {**advice.cells, **changes.get(fault.line, {})}
    if not changes:
        return ""
    new = [column for cells in changes.values() for column in cells if column not in table.columns]
    columns = list(dict.fromkeys([*table.columns, *new]))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for line, cells in changes.items():
        kept = {column: cell or "" for column, cell in table.records[line].items() if column}
        writer.writerow({**kept, **cells})
    return text.getvalue()
