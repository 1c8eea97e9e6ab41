"""Rows and a convention to tables in the paper's layout: organ rows, model columns, one line a modality.

A table is plain data; `report` renders it. Everything is computed from stored voxel counts.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from umd_engine.evaluation.click_tables import ClickTable, click_tables
from umd_engine.evaluation.columns import AVERAGE, Column, columns_of, last_steps, modality_order, organ_order
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.figures import between_draws, decimals, mean_of, scan_score, sd_of
from umd_engine.evaluation.gaps import FUNCTIONAL, Gap, GapLine, differences, make_gap, over_organs, structural_of
from umd_engine.evaluation.metrics import COUNTS, Metric, kinds, metric, scorer
from umd_engine.evaluation.rows import Row

__all__ = [
    "AVERAGE",
    "Cell",
    "Column",
    "Line",
    "OrganRow",
    "Table",
    "build_tables",
    "last_steps",
    "make_cell",
    "organ_order",
]


@dataclass(frozen=True)
class Cell:
    """Mean and SD of a score over scans, and how many scans stand behind it.

    `mean` is NaN where n is 0, `sd` where n does not exceed the convention's ddof. `scans` were run; `n` have a
    score that counts. All further figures are scans with at least one such result: `failed`, `no_reference`,
    `not_counted` (counts exist but the convention leaves them out), `both_empty`, `label_empty` (the prediction
    is not) and `prediction_empty` (the label is not), `absent` (a prompted model could not be asked for an organ that
    the label does not hold), `not_computed` (the surfaces were not measured). `synthetic` of the scans are
    computer-made phantoms. `between_draws` is the mean over scans of the SD of a scan's score between repeats, NaN
    without repeats.
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
    synthetic: int
    absent: int
    not_computed: int
    between_draws: float

    @property
    def text(self) -> str:
        """As the paper prints it, e.g. 0.7039(0.1155); "-" where there is no figure."""
        if not self.scans:
            return ""
        return f"{decimals(self.mean)}({decimals(self.sd)})" if self.n else "-"


@dataclass(frozen=True)
class Line:
    """One modality of an organ: a cell for each column of the table."""

    modality: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class OrganRow:
    """`gaps` has a line a structural modality where the cohort also has PET; see gaps.py."""

    organ: str
    lines: tuple[Line, ...]
    gaps: tuple[GapLine, ...] = ()


@dataclass(frozen=True)
class Table:
    """One cohort.

    `average` is the mean over scans of a scan's mean over its counted organs; where all scans count in all
    organs it equals the mean of the organ rows. Its gap is the mean over subjects of a subject's mean difference over
    the organs counted on both sides. `statuses` counts rows by status. `synthetic` of the cohort's `scans` are
    computer-made phantoms. `clicks` has a table for each column whose model was prompted in several steps.
    """

    cohort: str
    metric: str
    convention: Convention
    columns: tuple[Column, ...]
    organs: tuple[OrganRow, ...]
    average: OrganRow
    statuses: dict[str, int]
    scans: int
    synthetic: int
    clicks: tuple[ClickTable, ...] = ()

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
        UnknownNameError: no metric of that name. OptionError: a tolerance that rows hold no NSD at.
    """
    name = metric(metric_name).name
    cohorts: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        cohorts[row.cohort].append(row)
    return tuple(_table(cohort, cohorts[cohort], convention, name) for cohort in sorted(cohorts))


def _table(cohort: str, every: Sequence[Row], convention: Convention, metric_name: str) -> Table:
    rows, columns = last_steps(every), columns_of(every)
    by_pair = {(column.model, column.plan): column for column in columns}
    places: dict[Place, Scans] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        column = by_pair[row.model, row.plan]
        for organ in (row.organ, None):
            places[organ, row.modality, column][row.subject, row.scan_id].append(row)
    organs = organ_order(row.organ for row in rows)
    modalities = modality_order(row.modality for row in rows)
    wanted, rate = metric(metric_name), scorer(every, metric_name, convention)

    def cell(organ: str | None, modality: str, column: Column) -> Cell:
        return make_cell(list(places.get((organ, modality, column), {}).values()), convention, rate, wanted)

    def gap(organ: str | None, modality: str, column: Column) -> Gap:
        pairs = [
            differences(places.get((o, modality, column), {}), places.get((o, FUNCTIONAL, column), {}), rate)
            for o in (organs if organ is None else [organ])
        ]
        return make_gap(over_organs(pairs), convention.ddof)

    def organ_row(organ: str | None) -> OrganRow:
        lines = (Line(m, tuple(cell(organ, m, c) for c in columns)) for m in modalities)
        gaps = (GapLine(m, FUNCTIONAL, tuple(gap(organ, m, c) for c in columns)) for m in structural_of(modalities))
        return OrganRow(AVERAGE if organ is None else organ, tuple(lines), tuple(gaps))

    return Table(
        cohort=cohort,
        metric=metric_name,
        convention=convention,
        columns=columns,
        organs=tuple(organ_row(organ) for organ in organs),
        average=organ_row(None),
        statuses=dict(sorted(Counter(row.status for row in rows).items())),
        scans=len({(row.subject, row.scan_id) for row in rows}),
        synthetic=len({(row.subject, row.scan_id) for row in rows if row.synthetic}),
        clicks=click_tables(cohort, every, columns, convention, wanted, rate),
    )


def make_cell(
    scans: Sequence[Sequence[Row]], convention: Convention, score: Callable[[Row], float], wanted: Metric
) -> Cell:
    """Mean and SD over `scans`, each the rows of one scan: an organ's repeats, or all organs for the average."""
    scores = [value for value in (scan_score(rows, score) for rows in scans) if not math.isnan(value)]
    spread = [between_draws(rows, score, convention.ddof) for rows in scans]
    held = Counter(kind for rows in scans for kind in {k for row in rows for k in kinds(row, score(row), wanted)})
    return Cell(
        mean=mean_of(scores),
        sd=sd_of(scores, convention.ddof),
        n=len(scores),
        scans=len(scans),
        synthetic=sum(any(row.synthetic for row in rows) for rows in scans),
        between_draws=mean_of([sd for sd in spread if not math.isnan(sd)]),
        **{name: held[name] for name in COUNTS},
    )
