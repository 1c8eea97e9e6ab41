"""Tables 1, 2 and 3 of the paper with a run beside them, as a document."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from umd_engine.errors import UnknownNameError
from umd_engine.evaluation.columns import AVERAGE
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.figures import NO_FIGURE, decimals, signed, without_nan
from umd_engine.evaluation.metrics import COUNTS
from umd_engine.evaluation.paper.beside import Beside, OverviewLine, PaperTable, overview, paper_table
from umd_engine.evaluation.paper.published import SOURCE, STUDIES, Printed
from umd_engine.evaluation.paper.study_run import study_run
from umd_engine.evaluation.report import stored_rows
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.sheets import FORMS, Sheet, rendered
from umd_engine.evaluation.spreadsheet import csv_text
from umd_engine.evaluation.synthetic import warning
from umd_engine.evaluation.wording import convention_line, counts_text

MARKS = {True: "=", False: "≠", None: ""}
NO_GOAL = (
    "Agreement is no goal: the study's prompts are not published, and its VISTA3D columns (liver 0.92 on CT, every "
    "other organ 0.0002 or less) look like a fault of label ids. A correct engine may well differ "
    "(docs/umd-paper.md)."
)
FIGURES = ("mean", "sd", "n", "difference", "low", "high")
CSV_COLUMNS = (
    *("table", "study", "cohorts", "organ", "modality", "model", "published_mean", "published_sd"), *FIGURES, "agrees",
    *("scans", *COUNTS),
)  # fmt: skip


def report_paper(run: Path, convention: Convention, form: str) -> str:
    """The paper's tables beside a run, which is not written to.

    Args:
        form: "text", "markdown", "latex", "csv" or "json".

    Raises:
        UnknownNameError: no such format. MissingFileError, StoreError: no store.
    """
    if form not in FORMS:
        raise UnknownNameError("format of the paper's tables", form, FORMS)
    return told(stored_rows(run), convention, form)


def told(rows: Sequence[Row], convention: Convention, form: str) -> str:
    runs = [study_run(study, rows, convention) for study in STUDIES]
    tables, lines = [paper_table(run) for run in runs], overview(runs)
    if form == "csv":
        return csv_text(CSV_COLUMNS, _csv_lines(tables, lines)).rstrip("\n")
    if form == "json":
        records = [dict(zip(CSV_COLUMNS, line, strict=True)) for line in _csv_lines(tables, lines)]
        said = {"source": SOURCE, "convention": asdict(convention), "note": NO_GOAL, "cells": records}
        return json.dumps(without_nan(said), indent=1, allow_nan=False)
    return rendered([*(table_sheet(table, convention) for table in tables), overview_sheet(lines)], form)


def table_sheet(table: PaperTable, convention: Convention) -> Sheet:
    """Three lines a modality: this run, the paper, the difference."""
    rows = [cells for line in table.lines for cells in _three_lines(line.organ, line.modality, line.cells)]
    study, scans, synthetic = table.run.study, 0, 0
    if table.run.table is not None:
        scans, synthetic = table.run.table.scans, table.run.table.synthetic
    said = warning(synthetic, scans)
    cohorts = (
        f"cohort {', '.join(table.run.cohorts)}" if table.run.cohorts else f"no scans of {study.title} in this run"
    )
    return Sheet(
        f"Table {study.table}, {study.title}: Dice, mean(SD), of this run ({cohorts}) beside {SOURCE}",
        ["organ", "", *table.titles], rows, ends=range(5, len(rows) - 1, 6), warning=[said] if said else [],
        said=[convention_line(convention)], notes=_notes([cell for line in table.lines for cell in line.cells]),
    )  # fmt: skip


def _three_lines(organ: str, modality: str, cells: Sequence[Beside]) -> Iterator[list[str]]:
    first = organ if modality != "pet" else ""
    yield [first, modality, *(_ours(cell) for cell in cells)]
    yield ["", "paper", *(_pair(cell.printed.mean, cell.printed.sd, 4) for cell in cells)]
    yield ["", "difference", *map(difference_text, cells)]


def overview_sheet(lines: Sequence[OverviewLine]) -> Sheet:
    """Table 3: averages over the organs."""
    places = [(study, m) for study in STUDIES for m in study.modalities]
    names = [f"reported {m}" for m in ("ct", "mr", "pet")] + [f"{study.title} {m}" for study, m in places]
    rows = [cells for line in lines for cells in _overview_rows(line, [(study.name, m) for study, m in places])]
    return Sheet(
        f"Table 3: average Dice over the organs, of this run beside {SOURCE}", ["model", "", *names], rows,
        ends=range(2, len(rows) - 1, 3), notes=[
            "reported: what the models' authors report, as Table 3 lists it.",
            *_notes([cell for line in lines for cell in line.cells.values()]),
        ],
    )  # fmt: skip


def _overview_rows(line: OverviewLine, places: Sequence[tuple[str, str]]) -> Iterator[list[str]]:
    cells = [line.cells[place] for place in places]
    reported = [_pair(line.setting.reported[m], math.nan, 3) for m in ("ct", "mr", "pet")]
    none = [""] * len(reported)
    yield [line.title, "this run", *none, *(_pair(cell.mean, math.nan, 3) for cell in cells)]
    yield [line.setting.setting, "paper", *reported, *(_pair(cell.printed.mean, math.nan, 3) for cell in cells)]
    yield ["", "difference", *none, *map(difference_text, cells)]


def _ours(cell: Beside) -> str:
    return f"{_pair(cell.mean, cell.sd, 4)} {counts_text(cell.ours)}" if cell.ours and cell.ours.scans else NO_FIGURE


def _pair(mean: float, sd: float, digits: int) -> str:
    if math.isnan(mean):
        return NO_FIGURE
    return f"{mean:.{digits}f}" + ("" if math.isnan(sd) else f"({decimals(sd)})")


def difference_text(cell: Beside) -> str:
    """E.g. "-0.0027 = [-0.013,+0.007]"."""
    if not cell.n:
        return NO_FIGURE
    interval = "" if cell.agrees is None else f" [{signed(cell.low, 3)},{signed(cell.high, 3)}]"
    return f"{signed(cell.difference)} {MARKS[cell.agrees]}{interval}".rstrip()


def _notes(cells: Iterable[Beside]) -> list[str]:
    found = [cell.agrees if cell.n else "no score" if cell.ours and cell.ours.scans else "missing" for cell in cells]
    counts = [
        (True, "agree"),
        (False, "differ"),
        (None, "have one score, and no interval"),
        ("no score", "have no score that counts"),
        ("missing", "are not in this run"),
    ]
    listed = ", ".join(f"{found.count(kind)} {words}" for kind, words in counts if found.count(kind))
    return [
        f"Of {len(found)} cells {listed}. =: the 95 % interval of the difference (Welch, unpaired, plus the rounding "
        "of the printed figure) holds 0; ≠: it does not.",
        NO_GOAL,
    ]


def _csv_lines(tables: Sequence[PaperTable], lines: Sequence[OverviewLine]) -> Iterator[list[object]]:
    for table in tables:
        study, cohorts = table.run.study, " ".join(table.run.cohorts)
        for line in table.lines:
            for title, cell in zip(table.titles, line.cells, strict=True):
                yield [study.table, study.name, cohorts, line.organ, line.modality, title, *_figures(cell)]
    for row in lines:
        for (name, modality), cell in row.cells.items():
            yield [3, name, "", AVERAGE, modality, row.title, *_figures(cell)]


def _figures(cell: Beside) -> list[object]:
    printed: Printed = cell.printed
    agrees = {True: "yes", False: "no", None: ""}[cell.agrees]
    counts = [getattr(cell.ours, name, 0) for name in ("scans", *COUNTS)]
    return [printed.mean, printed.sd, *(getattr(cell, name) for name in FIGURES), agrees, *counts]
