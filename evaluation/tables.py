"""Rows and a convention to tables in the paper's layout: organ rows, model columns, one line a modality.

A table is plain data; `report` renders it. Everything is computed from stored voxel counts.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from umd_engine.data.labelset import load_label_set
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.metrics import emptiness, metric, row_score
from umd_engine.evaluation.rows import NO_REFERENCE, OK, Row

MODALITIES = ("ct", "mr", "pet")
AVERAGE = "Avg"


@dataclass(frozen=True)
class Cell:
    """Mean and SD of a score over scans, and how many scans stand behind it.

    `mean` is NaN where n is 0, `sd` where n does not exceed the convention's ddof. `scans` were run; `n` have a
    score that counts. All further figures are scans with at least one such result: `failed`, `no_reference`,
    `not_counted` (counts exist but the convention leaves them out), `both_empty`, `label_empty` (the prediction
    is not) and `prediction_empty` (the label is not).
    """

    mean: float
    sd: float
    n: int
    scans: int
    failed: int
    no_reference: int
    not_counted: int
    both_empty: int
    label_empty: int
    prediction_empty: int

    @property
    def text(self) -> str:
        """As the paper prints it, e.g. 0.7039(0.1155); "-" where there is no figure."""
        if not self.scans:
            return ""
        return f"{_decimals(self.mean)}({_decimals(self.sd)})" if self.n else "-"


@dataclass(frozen=True)
class Line:
    """One modality of an organ: a cell for each column of the table."""

    modality: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class OrganRow:
    organ: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Column:
    """A model under one plan. `title` is the model's name, with the plan hash where a model has several plans."""

    title: str
    model: str
    plan: str


@dataclass(frozen=True)
class Table:
    """One cohort.

    `average` is the mean over scans of a scan's mean over its counted organs; where all scans count in all
    organs it equals the mean of the organ rows. `statuses` counts rows by status.
    """

    cohort: str
    metric: str
    convention: Convention
    columns: tuple[Column, ...]
    organs: tuple[OrganRow, ...]
    average: OrganRow
    statuses: dict[str, int]

    @property
    def rows(self) -> tuple[OrganRow, ...]:
        """The organ rows and, last, the average."""
        return (*self.organs, self.average)


Scans = dict[tuple[str, str], list[Row]]  # (subject, scan_id) -> its rows in a cell
Place = tuple[str | None, str, Column]  # organ (None: the average over organs), modality, column


def build_tables(rows: Iterable[Row], convention: Convention, metric_name: str = "dice") -> tuple[Table, ...]:
    """One table a cohort, in the cohorts' alphabetical order.

    Of several steps (clicks) the last counts; the score of a scan is the mean of its repeats.

    Raises:
        UnknownNameError: no metric of that name.
    """
    metric(metric_name)
    cohorts: dict[str, list[Row]] = defaultdict(list)
    for row in last_steps(rows):
        cohorts[row.cohort].append(row)
    return tuple(_table(cohort, cohorts[cohort], convention, metric_name) for cohort in sorted(cohorts))


def last_steps(rows: Iterable[Row]) -> list[Row]:
    """The rows without those that a later step of the same case replaces."""
    last: dict[object, Row] = {}
    for row in rows:
        case = replace(row.key, step=0)
        if case not in last or row.step > last[case].step:
            last[case] = row
    return list(last.values())


def organ_order(organs: Iterable[str]) -> list[str]:
    """The 13 UMD organs in the paper's order, then all others by name."""
    return _ordered(organs, tuple(load_label_set("umd13").ids))


def _ordered(names: Iterable[str], first: Sequence[str]) -> list[str]:
    known = {name: place for place, name in enumerate(first)}
    return sorted(set(names), key=lambda name: (known.get(name, len(known)), name))


def _columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    pairs = sorted({(row.model, row.plan) for row in rows})
    plans = Counter(model for model, _ in pairs)
    titles = [model if plans[model] == 1 else f"{model} [{plan[:8]}]" for model, plan in pairs]
    return tuple(Column(title, model, plan) for title, (model, plan) in zip(titles, pairs, strict=True))


def _table(cohort: str, rows: Sequence[Row], convention: Convention, metric_name: str) -> Table:
    columns = _columns(rows)
    by_pair = {(column.model, column.plan): column for column in columns}
    places: dict[Place, Scans] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        column = by_pair[row.model, row.plan]
        for organ in (row.organ, None):
            places[organ, row.modality, column][row.subject, row.scan_id].append(row)
    modalities = _ordered((row.modality for row in rows), MODALITIES)
    score = metric(metric_name)

    def organ_row(organ: str | None) -> OrganRow:
        lines = tuple(Line(m, tuple(cell(organ, m, c) for c in columns)) for m in modalities)
        return OrganRow(AVERAGE if organ is None else organ, lines)

    def cell(organ: str | None, modality: str, column: Column) -> Cell:
        scans = places.get((organ, modality, column), {})
        return make_cell(list(scans.values()), convention, lambda row: row_score(row, convention, score))

    return Table(
        cohort=cohort,
        metric=metric_name,
        convention=convention,
        columns=columns,
        organs=tuple(organ_row(organ) for organ in organ_order(row.organ for row in rows)),
        average=organ_row(None),
        statuses=dict(sorted(Counter(row.status for row in rows).items())),
    )


def make_cell(scans: Sequence[Sequence[Row]], convention: Convention, score: Callable[[Row], float]) -> Cell:
    """Mean and SD over `scans`, each the rows of one scan: an organ's repeats, or all organs for the average."""
    scores = [value for value in (_scan_score(rows, score) for rows in scans) if not math.isnan(value)]
    kinds = Counter(kind for rows in scans for kind in {k for row in rows for k in _kinds(row, score)})
    return Cell(
        mean=fmean(scores) if scores else math.nan,
        sd=_sd(scores, convention.ddof),
        n=len(scores),
        scans=len(scans),
        failed=kinds["failed"],
        no_reference=kinds[NO_REFERENCE],
        not_counted=kinds["not-counted"],
        both_empty=kinds["both-empty"],
        label_empty=kinds["label-empty"],
        prediction_empty=kinds["prediction-empty"],
    )


def _scan_score(rows: Sequence[Row], score: Callable[[Row], float]) -> float:
    """The mean over organs of the mean over repeats; NaN where nothing counts."""
    organs: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if not math.isnan(value := score(row)):
            organs[row.organ].append(value)
    return fmean(fmean(values) for values in organs.values()) if organs else math.nan


def _kinds(row: Row, score: Callable[[Row], float]) -> tuple[str, ...]:
    if row.status == NO_REFERENCE:
        return (NO_REFERENCE,)
    if row.status != OK:
        return ("failed",)
    assert row.tp is not None and row.fp is not None and row.fn is not None, row
    left_out = ("not-counted",) if math.isnan(score(row)) else ()
    return (emptiness(row.tp, row.fp, row.fn), *left_out)


def _sd(values: Sequence[float], ddof: int) -> float:
    if len(values) <= ddof:
        return math.nan
    mean = fmean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - ddof))


def _decimals(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
