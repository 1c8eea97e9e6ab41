"""What a report says in words around its figures, alike in every format."""

from __future__ import annotations

import math

from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.gaps import Gap
from umd_engine.evaluation.rows import NO_REFERENCE, OK
from umd_engine.evaluation.synthetic import warning
from umd_engine.evaluation.tables import Cell, OrganRow, Table

METRIC_TITLES = {"dice": "Dice", "iou": "IoU"}
COUNTS = ("failed", "no_reference", "not_counted", "both_empty", "label_empty", "prediction_empty")


def plain(text: str) -> str:
    """Text from data without line breaks, control and direction characters."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def title(table: Table) -> str:
    return f"{METRIC_TITLES[table.metric]}, cohort {plain(table.cohort)}: mean(SD) over scans"


def convention_line(convention: Convention) -> str:
    mark = " (inferred)" if convention.inferred else ""
    divisor = {0: "n", 1: "n - 1"}[convention.ddof]
    return (
        f"Convention {convention.name}{mark}: both masks empty {_score(convention.both_empty)}, "
        f"only the label empty {_score(convention.label_empty)}, "
        f"only the prediction empty {_score(convention.prediction_empty)}, "
        f"a failed scan {_score(convention.failed)}; the SD divides by {divisor}. Source: {convention.source}."
    )


def plan_lines(table: Table) -> list[str]:
    return [f"Plan of {plain(column.title)}: {plain(column.plan)}" for column in table.columns]


def header(table: Table) -> list[str]:
    return [convention_line(table.convention), *plan_lines(table)]


def table_warning(table: Table) -> list[str]:
    """That its scans, or some of them, are no patients; no line otherwise."""
    said = warning(table.synthetic, table.scans)
    return [said] if said else []


def gap_names(row: OrganRow) -> list[str]:
    """What the gap lines of an organ are called where the modalities of the others stand."""
    return ["gap"] if len(row.gaps) == 1 else [f"gap {plain(line.modality)}" for line in row.gaps]


def counts_text(cell: Cell | Gap) -> str:
    """n and every other count that is not 0, e.g. "n=478 failed=2 label-empty=10"; of a gap its n."""
    if isinstance(cell, Gap):
        return f"n={cell.n}"
    if not cell.scans:
        return ""
    shown = [f"{name.replace('_', '-')}={getattr(cell, name)}" for name in COUNTS if getattr(cell, name)]
    return " ".join([f"n={cell.n}", *shown])


def notes(table: Table) -> list[str]:
    """Footnotes: only those that this table needs."""
    cells = [cell for row in table.rows for line in row.lines for cell in line.cells]
    said = [
        "n: scans whose score counts; other counts are scans with such a result, those not shown are 0.",
        "Avg: mean over scans of a scan's mean over its counted organs; its counts are scans with at least one "
        "such organ.",
    ]
    if table.average.gaps:
        differences = ", ".join(f"{line.modality} minus {line.minus}" for line in table.average.gaps)
        said.append(
            f"gap: {plain(differences)}, mean(SD) over subjects with both scored (n, pairs); a positive gap is a loss "
            "on PET. In the Avg row: of a subject's mean over the organs counted on both sides."
        )
    if any(cell.not_counted for cell in cells):
        said.append("not-counted: empty masks that this convention leaves out of mean, SD and n.")
    if table.statuses.get(NO_REFERENCE):
        said.append("no-reference: the scan has no label or its label set lacks the organ; out of mean, SD and n.")
    failed = {status: n for status, n in table.statuses.items() if status not in (OK, NO_REFERENCE)}
    if failed:
        left_out = math.isnan(table.convention.failed)
        effect = "out of mean, SD and n" if left_out else f"they count as {table.convention.failed:g}"
        listed = ", ".join(f"{plain(status)} {n}" for status, n in failed.items())
        said.append(f"failed: scans that ended with an error; {effect}. Rows by status: {listed}.")
    gaps = [gap for row in table.rows for line in row.gaps for gap in line.cells]
    if any(n and math.isnan(sd) for n, sd in [*((c.n, c.sd) for c in cells), *((g.n, g.sd) for g in gaps)]):
        said.append("0.0000(-): too few scans for an SD.")
    return said


def _score(value: float) -> str:
    return "not counted" if math.isnan(value) else f"{value:g}"
