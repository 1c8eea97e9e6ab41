"""Tables and rows as CSV. No text of theirs is taken for a formula by a spreadsheet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.metrics import dice, iou, row_score
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.tables import Cell, Table

CELL_FIELDS = tuple(field.name for field in fields(Cell))
TABLE_COLUMNS = ("cohort", "organ", "modality", "model", "plan", "metric", "convention", *CELL_FIELDS)
ROW_COLUMNS = (
    *("cohort", "subject", "scan_id", "modality", "model", "plan", "organ", "step", "repeat"),
    *("status", "tp", "fp", "fn", "voxel_ml", "dice", "iou", "message"),
)


def tables_csv(tables: Sequence[Table]) -> str:
    """A line a cohort, organ, modality and model, unrounded."""
    return _csv(TABLE_COLUMNS, (line for table in tables for line in _table_lines(table)))


def rows_csv(rows: Iterable[Row], convention: Convention) -> str:
    """A line a row of the store, with its Dice and IoU under `convention`; empty where there is no figure."""
    return _csv(ROW_COLUMNS, (_row_line(row, convention) for row in rows))


def _row_line(row: Row, convention: Convention) -> list[object]:
    scores = {"dice": row_score(row, convention, dice), "iou": row_score(row, convention, iou)}
    return [scores[name] if name in scores else getattr(row, name) for name in ROW_COLUMNS]


def _table_lines(table: Table) -> Iterator[list[object]]:
    for row in table.rows:
        for line in row.lines:
            for column, cell in zip(table.columns, line.cells, strict=True):
                place = [table.cohort, row.organ, line.modality, column.model, column.plan]
                figures = [getattr(cell, name) for name in CELL_FIELDS]
                yield [*place, table.metric, table.convention.name, *figures]


def _csv(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in line] for line in lines)
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str):
        return "'" + value if value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
