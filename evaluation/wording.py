"""What a report says in words around its figures, alike in every format."""

from __future__ import annotations

import math

from umd_engine.evaluation.click_tables import ClickTable
from umd_engine.evaluation.columns import Column
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.figures import decimals
from umd_engine.evaluation.gaps import Gap
from umd_engine.evaluation.metrics import COUNTS, DISTANCE, METRICS, NSD, VOLUME, Metric, edges_of
from umd_engine.evaluation.rows import ABSENT, NO_REFERENCE, OK
from umd_engine.evaluation.synthetic import warning
from umd_engine.evaluation.tables import Cell, OrganRow, Table


def plain(text: str) -> str:
    """Text from data without line breaks, control and direction characters."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def metric_title(name: str) -> str:
    """With its unit."""
    metric = METRICS[name]
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title


def title(table: Table) -> str:
    return f"{metric_title(table.metric)}, cohort {plain(table.cohort)}: mean(SD) over scans"


DIVISORS = {0: "n", 1: "n - 1"}  # of an SD, by its ddof


def convention_line(convention: Convention, metric_name: str = "dice") -> str:
    """What a metric is under a convention."""
    metric = METRICS[metric_name]
    mark = " (inferred)" if convention.inferred else ""
    ours = metric.family != VOLUME and metric_name not in convention.states
    stated = f", which states no {metric.title}: that is ours" if ours else ""
    parts = [*_edges(metric, convention), *definitions(metric, convention)]
    said = f"Convention {convention.name}{mark}: {', '.join(parts)}; the SD divides by {DIVISORS[convention.ddof]}."
    return f"{said} Source: {convention.source}{stated}."


def _edges(metric: Metric, convention: Convention) -> list[str]:
    if metric.family == VOLUME:
        return [
            "a volume is known whichever mask is empty",
            "an absent organ of a prompted model and a failed scan not counted",
        ]
    edges = edges_of(metric, convention)
    return [
        f"both masks empty {shown_score(edges.both_empty)}",
        f"only the label empty {shown_score(edges.label_empty)}",
        f"only the prediction empty {shown_score(edges.prediction_empty)}",
        f"an absent organ of a prompted model {shown_score(edges.absent)}",
        f"a failed scan {shown_score(edges.failed)}",
    ]


def surface_lines(convention: Convention) -> list[str]:
    """Which of several definitions the surface metrics of a case have."""
    return [f"{METRICS[name].title}: {', '.join(definitions(METRICS[name], convention))}." for name in ("nsd", "hd95")]


HD95 = {
    "max": "the larger of both directed 95th percentiles",
    "mean": "the mean of both directed 95th percentiles",
    "pooled": "the 95th percentile of both directions together",
}
ELEMENTS = {"surfels": "surface elements weighted by area", "voxels": "border voxels"}


def definitions(metric: Metric, convention: Convention) -> list[str]:
    """Which of several definitions of a surface metric it is; nothing of other metrics."""
    if not metric.of_surfaces:
        return []
    parts = [f"of {ELEMENTS[convention.elements]}"]
    if metric.family == NSD:
        organs = sorted((mm, organ) for organ, mm in convention.tolerances.items())
        shown = "; ".join(f"{organ} {mm:g}" for mm, organ in organs)
        others = f" ({shown}; others {convention.tolerance:g} mm)" if organs else f" {convention.tolerance:g} mm"
        parts.append(f"tolerance{others}")
    if metric.name == "hd95":
        parts.append(HD95[convention.hd95])
    return parts


def plan_lines(table: Table) -> list[str]:
    return [f"Plan of {plain(column.title)}: {plain(column.plan)}" for column in table.columns]


USES = {
    "none": "nothing",
    "click": "a click drawn from it",
    "box": "its box",
    "crop": "a crop around it",
}


def prompt_line(column: Column) -> str:
    """How the model was asked, and what of the label it was told."""
    asked = f"{plain(column.prompt)} ({plain(column.prompt_hash)})" if column.prompt else "none"
    told = f"{column.uses_label} ({USES[column.uses_label]})" if column.uses_label != "none" else "none"
    return f"Prompt of {plain(column.title)}: {asked}; uses of the label: {told}"


def prompt_lines(table: Table) -> list[str]:
    return [prompt_line(column) for column in table.columns]


def header(table: Table) -> list[str]:
    return [convention_line(table.convention, table.metric), *plan_lines(table), *prompt_lines(table)]


def click_title(table: ClickTable) -> str:
    return f"Clicks of {plain(table.column.title)}, cohort {plain(table.cohort)}: mean over scans"


def click_heads(table: ClickTable) -> list[str]:
    return ["organ", "modality", *table.names, "n", "failed", "absent"]


def click_cells(table: ClickTable) -> list[list[str]]:
    """A line an organ and modality; `n` is that of the last step's score."""
    final = table.names.index("final")
    return [
        [
            *(plain(line.organ), plain(line.modality)),
            *(decimals(figure.mean) for figure in line.figures),
            *(str(count) for count in (line.figures[final].n, line.failed, line.absent)),
        ]
        for line in table.lines
    ]


def click_notes(table: ClickTable) -> list[str]:
    name = METRICS[table.metric].title
    thresholds = (
        f" NoC@p: clicks until {name} first reached p %, else the maximum. never@p: share of draws that never did."
        if METRICS[table.metric].bounded
        else ""
    )
    return [
        prompt_line(table.column),
        f"{name}@i: {name} after i clicks ({name}@0: after a box alone); a draw that ended early, as no error was "
        "left, keeps its last one.",
        f"AUC: trapezoid over the scores of clicks 1 to k, divided by k - 1.{thresholds} failed, absent: scans "
        "with such an organ.",
    ]


def table_warning(table: Table) -> list[str]:
    """That its scans, or some of them, are no patients; no line otherwise."""
    said = warning(table.synthetic, table.scans)
    return [said] if said else []


def gap_names(row: OrganRow) -> list[str]:
    """What the gap lines of an organ are called where the modalities of the others stand."""
    return ["gap"] if len(row.gaps) == 1 else [f"gap {plain(line.modality)}" for line in row.gaps]


def counts_text(cell: Cell | Gap) -> str:
    """n and every other count that is not 0, e.g. "n=478 failed=2 label-empty=10"; of a gap its n.

    With repeats also the SD between draws: "n=478 between draws=0.0123".
    """
    if isinstance(cell, Gap):
        return f"n={cell.n}"
    if not cell.scans:
        return ""
    shown = [f"{name.replace('_', '-')}={getattr(cell, name)}" for name in COUNTS if getattr(cell, name)]
    spread = [] if math.isnan(cell.between_draws) else [f"between draws={decimals(cell.between_draws)}"]
    return " ".join([f"n={cell.n}", *spread, *shown])


def loss_on_pet(metric_name: str) -> str:
    """Which sign of a gap is bad news; of a volume neither is."""
    sign = {"": "above", "mm": "below"}.get(METRICS[metric_name].unit)
    return f"; a gap {sign} 0 is a loss on PET" if sign else ""


NOT_COMPUTED = (
    "not-computed: the surfaces were not measured when the scan was scored; out of mean, SD and n. "
    "`umd-engine score RUN MANIFEST` measures those of saved masks."
)


def _missed(table: Table) -> str:
    """That organs which are missed do not count against a model."""
    missed = any(cell.prediction_empty for row in table.rows for line in row.lines for cell in line.cells)
    if METRICS[table.metric].family != DISTANCE or not missed:
        return ""
    return " A missed organ has no distance and does not count against a model here: read the NSD or Dice beside it."


def notes(table: Table) -> list[str]:
    """Footnotes: only those that this table needs."""
    metric = METRICS[table.metric]
    cells = [cell for row in table.rows for line in row.lines for cell in line.cells]
    said = [
        "n: scans whose score counts; other counts are scans with such a result, those not shown are 0.",
        "Avg: mean over scans of a scan's mean over its counted organs; its counts are scans with at least one "
        "such organ.",
    ]
    if table.average.gaps:
        differences = ", ".join(f"{line.modality} minus {line.minus}" for line in table.average.gaps)
        said.append(
            f"gap: {plain(differences)}, mean(SD) over subjects with both scored (n, pairs)"
            f"{loss_on_pet(table.metric)}. In the Avg row: of a subject's mean over the organs counted on both sides."
        )
    if any(cell.not_counted for cell in cells):
        said.append(f"not-counted: empty masks that this convention leaves out of mean, SD and n.{_missed(table)}")
    if any(cell.not_computed for cell in cells):
        said.append(NOT_COMPUTED)
    if any(not math.isnan(cell.between_draws) for cell in cells):
        said.append("between draws: mean over scans of the SD of a scan's score between its repeats.")
    if absent := table.statuses.get(ABSENT):
        effect = "not counted" if metric.family == VOLUME else shown_score(edges_of(metric, table.convention).absent)
        scans = max(cell.absent for cell in cells)
        said.append(
            f"absent: the label does not hold the organ, so a prompted model could not be asked; {effect}. "
            f"{absent} rows, in up to {scans} scans of a line."
        )
    if table.statuses.get(NO_REFERENCE):
        said.append("no-reference: the scan has no label or its label set lacks the organ; out of mean, SD and n.")
    failed = {status: n for status, n in table.statuses.items() if status not in (OK, NO_REFERENCE, ABSENT)}
    if failed:
        counts_as = math.nan if metric.family == VOLUME else edges_of(metric, table.convention).failed
        effect = "out of mean, SD and n" if math.isnan(counts_as) else f"they count as {counts_as:g}"
        listed = ", ".join(f"{plain(status)} {n}" for status, n in failed.items())
        said.append(f"failed: scans that ended with an error; {effect}. Rows by status: {listed}.")
    gaps = [gap for row in table.rows for line in row.gaps for gap in line.cells]
    if any(n and math.isnan(sd) for n, sd in [*((c.n, c.sd) for c in cells), *((g.n, g.sd) for g in gaps)]):
        said.append("0.0000(-): too few scans for an SD.")
    return said


def shown_score(value: float) -> str:
    return "not counted" if math.isnan(value) else f"{value:g}"
