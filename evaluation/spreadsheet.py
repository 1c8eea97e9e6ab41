"""Tables and rows as CSV. No text of theirs is taken for a formula by a spreadsheet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from itertools import chain

from umd_engine.data.manifest import YES
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.metrics import METRICS, values
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.tables import Cell, Column, Table

CELL_FIELDS = tuple(field.name for field in fields(Cell))
PROMPT = ("prompt", "prompt_hash", "uses_label")
TABLE_COLUMNS = ("cohort", "organ", "modality", "model", "plan", "metric", "convention", *CELL_FIELDS, *PROMPT)
ROW_COLUMNS = (
    *("cohort", "subject", "scan_id", "modality", "model", "plan", "organ", "step", "repeat"),
    *("status", "tp", "fp", "fn", "voxel_ml", *METRICS, "message", "synthetic"),
    *(*PROMPT, "seconds", "note"),
)


def tables_csv(tables: Sequence[Table]) -> str:
    """A line a cohort, organ, modality and model, unrounded; a gap is a line of the modality "ct-pet" or "mr-pet".

    `synthetic` of `scans` (in a gap: of `n` subjects) are phantoms. Below them the clicks tables: a line a figure,
    which stands in the column `metric`, e.g. "dice@3", "auc", "noc@80".
    """
    lines = (line for table in tables for line in _table_lines(table))
    return csv_text(TABLE_COLUMNS, chain(lines, (line for table in tables for line in _click_lines(table))))


def rows_csv(rows: Iterable[Row], convention: Convention) -> str:
    """A line a row of the store, with every metric under `convention`; empty where there is no figure."""
    every = list(rows)
    figures = zip(*(values(every, name, convention).tolist() for name in METRICS), strict=True)
    return csv_text(ROW_COLUMNS, (_row_line(row, found) for row, found in zip(every, figures, strict=True)))


def _row_line(row: Row, figures: Sequence[float]) -> list[object]:
    made = {**dict(zip(METRICS, figures, strict=True)), "synthetic": YES if row.synthetic else ""}
    return [made[name] if name in made else getattr(row, name) for name in ROW_COLUMNS]


def _table_lines(table: Table) -> Iterator[list[object]]:
    for row in table.rows:
        for line in row.lines:
            for column, cell in zip(table.columns, line.cells, strict=True):
                yield _table_line(table, row.organ, line.modality, column, asdict(cell))
        for gaps in row.gaps:
            for column, gap in zip(table.columns, gaps.cells, strict=True):
                yield _table_line(table, row.organ, gaps.name, column, asdict(gap))


def _click_lines(table: Table) -> Iterator[list[object]]:
    for clicks in table.clicks:
        for line in clicks.lines:
            counts = {"scans": line.scans, "failed": line.failed, "absent": line.absent}
            for name, figure in zip(clicks.names, line.figures, strict=True):
                figures = asdict(figure) | counts
                yield _table_line(table, line.organ, line.modality, clicks.column, figures, name.lower())


def _table_line(
    table: Table, organ: str, line: str, column: Column, figures: dict[str, object], metric: str = ""
) -> list[object]:
    place = [table.cohort, organ, line, column.model, column.plan, metric or table.metric, table.convention.name]
    return [*place, *(figures.get(name) for name in CELL_FIELDS), *(getattr(column, name) for name in PROMPT)]


def csv_text(columns: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in line] for line in lines)
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str):
        return "'" + value if value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
