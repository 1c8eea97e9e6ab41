"""Tables as text, Markdown, CSV or JSON. Text that comes from data is escaped in each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.text import Text

from umd_engine.errors import UnknownNameError
from umd_engine.evaluation.chart import chart
from umd_engine.evaluation.click_tables import ClickTable
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.failures import Failure, failure_lines, find_failures
from umd_engine.evaluation.figures import without_nan
from umd_engine.evaluation.gaps import Gap
from umd_engine.evaluation.metrics import row_score, volume
from umd_engine.evaluation.sheets import Sheet, rendered, text_parts
from umd_engine.evaluation.spreadsheet import rows_csv, tables_csv
from umd_engine.evaluation.store import Row, Store
from umd_engine.evaluation.synthetic import warning
from umd_engine.evaluation.tables import Cell, OrganRow, Table, build_tables
from umd_engine.evaluation.text_tables import fitted, output_width, printed
from umd_engine.evaluation.wording import (
    click_cells,
    click_heads,
    click_notes,
    click_title,
    convention_line,
    counts_text,
    gap_names,
    header,
    notes,
    plain,
    prompt_lines,
    surface_lines,
    table_warning,
    title,
)

NOTHING = "no results"
Shown = Callable[[Cell | Gap], str]


def render(tables: Sequence[Table], form: str, failures: Sequence[Failure] = ()) -> str:
    """The tables as one document without a final line break.

    Args:
        form: "text" (as wide as the terminal), "markdown", "latex", "csv" (a line a cohort, organ, modality and model,
            unrounded) or "json" (unrounded, NaN as null).
        failures: listed after the tables of all forms but "csv".

    Raises:
        UnknownNameError: no such format.
    """
    if form not in FORMATS:
        raise UnknownNameError("report format", form, FORMATS)
    return FORMATS[form](tables, failures).rstrip("\n")


def report_run(run: Path, convention: Convention, form: str, metric: str = "dice", list_failures: bool = True) -> str:
    """The report of a run's store, which is not written to.

    Args:
        form: as for `render`, or "rows": CSV with a line a row of the store, for statistics elsewhere.
        list_failures: say which scans failed, and why, after the tables.

    Raises:
        MissingFileError: the run has no store. StoreError, UnknownNameError.
    """
    if form not in FORMS:
        raise UnknownNameError("report format", form, FORMS)
    rows = stored_rows(run)
    if form == ROWS:
        return rows_csv(rows, convention).rstrip("\n")
    return render(build_tables(rows, convention, metric), form, find_failures(rows) if list_failures else ())


def stored_rows(run: Path) -> list[Row]:
    """All rows of a run's store, which is not written to.

    Raises:
        MissingFileError: the run has no store. StoreError.
    """
    with Store(run / "store.sqlite", read_only=True) as store:
        return list(store.rows())


def _lines(rows: Sequence[OrganRow], shown: Shown) -> Iterator[list[str]]:
    """The cells of a printed table; the organ stands in the first of its lines."""
    for row in rows:
        for i, line in enumerate(row.lines):
            yield [plain(row.organ) if i == 0 else "", plain(line.modality), *(shown(cell) for cell in line.cells)]
        for name, gaps in zip(gap_names(row), row.gaps, strict=True):
            yield ["", name, *(shown(gap) for gap in gaps.cells)]


def _names(table: Table) -> list[str]:
    return ["organ", "modality", *(plain(column.title) for column in table.columns)]


def _as_text(tables: Sequence[Table], failures: Sequence[Failure]) -> str:
    width = output_width()
    parts = [_text(table, width) for table in tables]
    if failures:
        parts.append(printed([Text("Failures"), *map(Text, failure_lines(failures))], width))
    return "\n\n".join(parts) or NOTHING


def table_sheets(table: Table) -> list[Sheet]:
    """Scores, and how many scans stand behind them."""
    per_organ, organs = len(table.average.lines) + len(table.average.gaps), len(table.organs)
    step = per_organ if per_organ > 1 else organs
    ends = range(step - 1, organs * per_organ, step)
    scores, counts = (list(_lines(table.rows, shown)) for shown in (_score_text, counts_text))
    warning, said = table_warning(table), header(table)
    return [
        Sheet(title(table), _names(table), scores, ends=ends, warning=warning, said=said),
        Sheet("Scans", _names(table), counts, level=0, ends=ends, notes=notes(table)),
    ]


def click_sheet(table: ClickTable) -> Sheet:
    return Sheet(click_title(table), click_heads(table), click_cells(table), level=3, notes=click_notes(table))


def _text(table: Table, width: int) -> str:
    scores, counts = (text_parts(sheet, width) for sheet in table_sheets(table))
    clicks = [part for one in table.clicks for part in (Text(), *text_parts(click_sheet(one), width))]
    return printed([*scores, Text(), *counts, *chart(table, width), *clicks], width)


def _score_text(cell: Cell | Gap) -> str:
    return cell.text


DETAILS = ("organ", "status", "Dice", "IoU", "NSD", "HD95", "ASSD", "TP", "FP", "FN", "label mL", "prediction mL")


def render_case(rows: Sequence[Row], convention: Convention) -> str:
    """One case as text: a line an organ with scores, voxel counts and volumes; "-" where there is none."""
    width = output_width()
    drawn = fitted(DETAILS, [_details(row, convention) for row in rows], width, keys=1, left=2)
    said = warning(sum(row.synthetic for row in rows), len(rows))  # all are rows of one scan
    lines = [convention_line(convention), *surface_lines(convention)]
    return printed([*([Text(said)] if said else []), *drawn, *map(Text, lines)], width)


def _details(row: Row, convention: Convention) -> list[str]:
    scores = [row_score(row, convention, name) for name in ("dice", "iou", "nsd")]
    distances = [row_score(row, convention, name) for name in ("hd95", "assd")]
    volumes = [_volume(voxels, row.voxel_ml) for voxels in (row.label_voxels, row.prediction_voxels)]
    figures = [*(_number(value, ".4f") for value in scores), *(_number(value, ".2f") for value in distances)]
    counts = [_number(n, "d") for n in (row.tp, row.fp, row.fn)]
    return [plain(row.organ), plain(row.status), *figures, *counts, *(_number(value, ".2f") for value in volumes)]


def _volume(voxels: int | None, voxel_ml: float | None) -> float | None:
    return None if voxels is None or voxel_ml is None else volume(voxels, voxel_ml)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or math.isnan(value) else format(value, form)


def _marked_up(form: str, tables: Sequence[Table], failures: Sequence[Failure]) -> str:
    sheets = [sheet for table in tables for sheet in (*table_sheets(table), *map(click_sheet, table.clicks))]
    if failures:
        sheets.append(Sheet("Failures", (), (), notes=failure_lines(failures)))
    return rendered(sheets, form) or NOTHING


def _as_csv(tables: Sequence[Table], _: Sequence[Failure]) -> str:
    return tables_csv(tables)


def _as_json(tables: Sequence[Table], failures: Sequence[Failure]) -> str:
    shown = [_shown(table) for table in tables]
    document = {"tables": without_nan(shown), "failures": [asdict(failure) for failure in failures]}
    return json.dumps(document, indent=1, allow_nan=False)


def _shown(table: Table) -> dict[str, Any]:
    said = {"warning": "".join(table_warning(table)), "prompts": prompt_lines(table), "notes": notes(table)}
    clicks = [{**asdict(one), "notes": click_notes(one)} for one in table.clicks]
    return {**asdict(table), **said, "clicks": clicks}


FORMATS: dict[str, Callable[[Sequence[Table], Sequence[Failure]], str]] = {
    "text": _as_text,
    "markdown": partial(_marked_up, "markdown"),
    "latex": partial(_marked_up, "latex"),
    "csv": _as_csv,
    "json": _as_json,
}
ROWS = "rows"
FORMS = (*FORMATS, ROWS)
