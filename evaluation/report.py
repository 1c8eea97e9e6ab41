"""Tables as text, Markdown, CSV or JSON. Text that comes from data is escaped in each."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from umd_engine.errors import UnknownNameError
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.metrics import dice, iou, row_score, volume
from umd_engine.evaluation.store import Row, Store
from umd_engine.evaluation.tables import Cell, OrganRow, Table, build_tables
from umd_engine.evaluation.wording import convention_line, counts_text, header, notes, plain, title

NOTHING = "no results"
Shown = Callable[[Cell], str]


def render(tables: Sequence[Table], form: str) -> str:
    """The tables as one document without a final line break.

    Args:
        form: "text" (as wide as it needs to be), "markdown", "csv" (one line a cohort, organ, modality and
            model, unrounded) or "json" (unrounded, NaN as null).

    Raises:
        UnknownNameError: no such format.
    """
    if form not in FORMATS:
        raise UnknownNameError("report format", form, FORMATS)
    return FORMATS[form](tables).rstrip("\n")


def report_run(run: Path, convention: Convention, form: str, metric: str = "dice") -> str:
    """The report of a run's store.

    Raises:
        MissingFileError: the run has no store. StoreError, UnknownNameError.
    """
    with Store(run / "store.sqlite", read_only=True) as store:
        return render(build_tables(store.rows(), convention, metric), form)


def _lines(rows: Sequence[OrganRow], shown: Shown) -> Iterator[list[str]]:
    """The cells of a printed table; the organ stands in the first of its lines."""
    for row in rows:
        for i, line in enumerate(row.lines):
            yield [plain(row.organ) if i == 0 else "", plain(line.modality), *(shown(cell) for cell in line.cells)]


def _as_text(tables: Sequence[Table]) -> str:
    return "\n\n".join(_text(table) for table in tables) or NOTHING


def _text(table: Table) -> str:
    scores, counts = _rich(table, lambda cell: cell.text, title(table)), _rich(table, counts_text, "Scans")
    said = [Text(line) for line in header(table)], [Text(line) for line in notes(table)]
    return _printed(scores, *said[0], Text(), counts, *said[1])


def _printed(*parts: RichTable | Text) -> str:
    """Uncoloured, as wide as the widest table but at least 100 columns: no cell is cut, text wraps."""
    wide = Console(width=10_000)
    width = max(100, *(wide.measure(part).maximum for part in parts if isinstance(part, RichTable)))
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, force_terminal=False).print(Group(*parts))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


DETAILS = ("organ", "status", "Dice", "IoU", "TP", "FP", "FN", "label mL", "prediction mL")


def render_case(rows: Sequence[Row], convention: Convention) -> str:
    """One case as text: a line an organ with scores, voxel counts and volumes; "-" where there is none."""
    drawn = RichTable()
    for name in DETAILS:
        drawn.add_column(Text(name), justify="left" if name in ("organ", "status") else "right", no_wrap=True)
    for row in rows:
        scores = [row_score(row, convention, score) for score in (dice, iou)]
        volumes = [_volume(voxels, row.voxel_ml) for voxels in (row.label_voxels, row.prediction_voxels)]
        shown = [*(_number(value, ".4f") for value in scores), *(_number(n, "d") for n in (row.tp, row.fp, row.fn))]
        cells = [plain(row.organ), plain(row.status), *shown, *(_number(value, ".2f") for value in volumes)]
        drawn.add_row(*(Text(cell) for cell in cells))
    return _printed(drawn, Text(convention_line(convention)))


def _volume(voxels: int | None, voxel_ml: float | None) -> float | None:
    return None if voxels is None or voxel_ml is None else volume(voxels, voxel_ml)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or math.isnan(value) else format(value, form)


def _rich(table: Table, shown: Shown, caption: str) -> RichTable:
    drawn = RichTable(title=Text(caption), title_justify="left")
    drawn.add_column(Text("organ"), no_wrap=True)
    drawn.add_column(Text("modality"), no_wrap=True)
    for column in table.columns:
        drawn.add_column(Text(plain(column.title)), justify="right", no_wrap=True)
    per_organ, organs = len(table.average.lines), len(table.organs)
    for i, cells in enumerate(_lines(table.rows, shown), start=1):
        ends_organ = per_organ > 1 and i % per_organ == 0
        drawn.add_row(*(Text(cell) for cell in cells), end_section=ends_organ or i == organs * per_organ)
    return drawn


def _as_markdown(tables: Sequence[Table]) -> str:
    return "\n\n".join(_markdown(table) for table in tables) or NOTHING


def _markdown(table: Table) -> str:
    blocks = [
        f"## {_escape(title(table))}",
        "\n".join(f"- {_escape(line)}" for line in header(table)),
        _pipes(table, lambda cell: cell.text),
        "Scans:",
        _pipes(table, counts_text),
        "\n".join(f"- {_escape(line)}" for line in notes(table)),
    ]
    return "\n\n".join(blocks)


def _pipes(table: Table, shown: Shown) -> str:
    names = ["organ", "modality", *(plain(column.title) for column in table.columns)]
    rule = ["---", "---", *("---:" for _ in table.columns)]
    rows = [names, *_lines(table.rows, shown)]
    lines = [f"| {' | '.join(_escape(cell) for cell in row)} |" for row in rows]
    return "\n".join([lines[0], f"| {' | '.join(rule)} |", *lines[1:]])


def _escape(text: str) -> str:
    return re.sub(r"([\\|`*<>\[\]&])", r"\\\1", text)


CELL_FIELDS = tuple(field.name for field in fields(Cell))
CSV_COLUMNS = ("cohort", "organ", "modality", "model", "plan", "metric", "convention", *CELL_FIELDS)


def _as_csv(tables: Sequence[Table]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for table in tables:
        writer.writerows(_csv_lines(table))
    return out.getvalue()


def _csv_lines(table: Table) -> Iterator[list[object]]:
    about = [table.metric, table.convention.name]
    for row in table.rows:
        for line in row.lines:
            for column, cell in zip(table.columns, line.cells, strict=True):
                names = [table.cohort, row.organ, line.modality, column.model, column.plan]
                yield [*(_inert(name) for name in (*names, *about)), *(_figure(cell, name) for name in CELL_FIELDS)]


def _inert(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def _figure(cell: Cell, name: str) -> object:
    value = getattr(cell, name)
    return "" if isinstance(value, float) and math.isnan(value) else value


def _as_json(tables: Sequence[Table]) -> str:
    shown = [{**asdict(table), "notes": notes(table)} for table in tables]
    return json.dumps({"tables": _without_nan(shown)}, indent=1, allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "text": _as_text,
    "markdown": _as_markdown,
    "csv": _as_csv,
    "json": _as_json,
}
