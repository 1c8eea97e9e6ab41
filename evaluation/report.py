"""Tables as text, Markdown, CSV or JSON. Text that comes from data is escaped in each."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table as RichTable
from rich.text import Text

from umd_engine.errors import UnknownNameError
from umd_engine.evaluation.chart import chart
from umd_engine.evaluation.click_tables import ClickTable
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.failures import Failure, failure_lines, find_failures
from umd_engine.evaluation.gaps import Gap
from umd_engine.evaluation.metrics import row_score, volume
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
        form: "text" (as wide as the terminal), "markdown", "csv" (one line a cohort, organ, modality and model,
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


def _text(table: Table, width: int) -> str:
    per_organ, organs = len(table.average.lines) + len(table.average.gaps), len(table.organs)
    step = per_organ if per_organ > 1 else organs
    ends = range(step - 1, organs * per_organ, step)
    scores, counts = (
        fitted(_names(table), list(_lines(table.rows, shown)), width, keys=2, left=2, ends=ends)
        for shown in (_score_text, counts_text)
    )
    said = [*map(Text, header(table)), Text()], [*map(Text, notes(table))]
    top = [*map(Text, table_warning(table)), Text(title(table))]
    clicks = [part for one in table.clicks for part in _click_text(one, width)]
    return printed([*top, *scores, *said[0], Text("Scans"), *counts, *said[1], *chart(table, width), *clicks], width)


def _click_text(table: ClickTable, width: int) -> list[RichTable | Text]:
    drawn = fitted(click_heads(table), click_cells(table), width, keys=2, left=2)
    return [Text(), Text(click_title(table)), *drawn, *map(Text, click_notes(table))]


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


def _as_markdown(tables: Sequence[Table], failures: Sequence[Failure]) -> str:
    parts = [_markdown(table) for table in tables]
    if failures:
        parts.append(f"## Failures\n\n{_bullets(failure_lines(failures))}")
    return "\n\n".join(parts) or NOTHING


def _markdown(table: Table) -> str:
    blocks = [
        f"## {_escape(title(table))}",
        *(f"**{_escape(line)}**" for line in table_warning(table)),
        _bullets(header(table)),
        _pipes(table, _score_text),
        "Scans:",
        _pipes(table, counts_text),
        _bullets(notes(table)),
        *(_click_markdown(one) for one in table.clicks),
    ]
    return "\n\n".join(blocks)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_escape(line)}" for line in lines)


def _click_markdown(table: ClickTable) -> str:
    shown = _piped([click_heads(table), *click_cells(table)])
    return "\n\n".join([f"### {_escape(click_title(table))}", shown, _bullets(click_notes(table))])


def _pipes(table: Table, shown: Shown) -> str:
    return _piped([_names(table), *_lines(table.rows, shown)])


def _piped(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first two columns are names."""
    rule = ["---", "---", *("---:" for _ in rows[0][2:])]
    lines = [f"| {' | '.join(_escape(cell) for cell in row)} |" for row in rows]
    return "\n".join([lines[0], f"| {' | '.join(rule)} |", *lines[1:]])


def _escape(text: str) -> str:
    return re.sub(r"([\\|`*<>\[\]&])", r"\\\1", text)


def _as_csv(tables: Sequence[Table], _: Sequence[Failure]) -> str:
    return tables_csv(tables)


def _as_json(tables: Sequence[Table], failures: Sequence[Failure]) -> str:
    shown = [_shown(table) for table in tables]
    document = {"tables": _without_nan(shown), "failures": [asdict(failure) for failure in failures]}
    return json.dumps(document, indent=1, allow_nan=False)


def _shown(table: Table) -> dict[str, Any]:
    said = {"warning": "".join(table_warning(table)), "prompts": prompt_lines(table), "notes": notes(table)}
    clicks = [{**asdict(one), "notes": click_notes(one)} for one in table.clicks]
    return {**asdict(table), **said, "clicks": clicks}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


FORMATS: dict[str, Callable[[Sequence[Table], Sequence[Failure]], str]] = {
    "text": _as_text,
    "markdown": _as_markdown,
    "csv": _as_csv,
    "json": _as_json,
}
ROWS = "rows"
FORMS = (*FORMATS, ROWS)
