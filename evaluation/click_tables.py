"""What each further click gains: a table a cohort and model that was prompted in several steps."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from umd_engine.errors import UnknownNameError
from umd_engine.evaluation.columns import AVERAGE, Column, modality_order, organ_order
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.curves import Curve, figures_of, make_curve
from umd_engine.evaluation.figures import mean_of, sd_of
from umd_engine.evaluation.metrics import Metric
from umd_engine.evaluation.prompts.protocols import find_protocol
from umd_engine.evaluation.rows import NO_REFERENCE, Row


@dataclass(frozen=True)
class Figure:
    """Mean and SD over the `n` scans in which it counts; NaN where there is none."""

    mean: float
    sd: float
    n: int


@dataclass(frozen=True)
class ClickLine:
    """An organ of a modality: a figure for each name of the table.

    Of a scan counts the mean over organs of the mean over repeats. `failed` and `absent` are scans with such a draw.
    """

    organ: str
    modality: str
    figures: tuple[Figure, ...]
    scans: int
    failed: int
    absent: int


@dataclass(frozen=True)
class ClickTable:
    """One model of a cohort. `names`: Dice@1.. by number of clicks, final, AUC, and of a metric that lies in 0 to 1
    NoC@80.., never@80.."""

    cohort: str
    metric: str
    column: Column
    names: tuple[str, ...]
    lines: tuple[ClickLine, ...]


Scans = dict[tuple[str, str], list[Curve]]  # (subject, scan_id) -> the curves of its organs and repeats


def click_tables(
    cohort: str,
    rows: Iterable[Row],
    columns: Sequence[Column],
    convention: Convention,
    wanted: Metric,
    score: Callable[[Row], float],
) -> tuple[ClickTable, ...]:
    """A table for each column with more than one step.

    Args:
        rows: of the cohort, every step.
        score: of a row.
    """
    by_column: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_column[row.model, row.plan].append(row)
    tables = []
    for column in columns:
        own = by_column[column.model, column.plan]
        steps, first_click = _steps(column, own)
        if steps > 1:
            curves = _curves(own, steps, first_click, score)
            tables.append(_table(cohort, column, curves, convention, wanted))
    return tuple(tables)


def _steps(column: Column, rows: Sequence[Row]) -> tuple[int, int]:
    """How many steps, and which has the first click; of prompts that were replayed as many as there are."""
    seen = 1 + max(row.step for row in rows)
    try:
        protocol = find_protocol(column.prompt)
    except UnknownNameError:
        return seen, 0
    return len(protocol.asks), int(protocol.starts_with_box)


def _curves(rows: Sequence[Row], steps: int, first_click: int, score: Callable[[Row], float]) -> list[Curve]:
    draws: dict[object, list[Row]] = defaultdict(list)
    for row in rows:
        if row.status != NO_REFERENCE:
            draws[replace(row.key, step=0)].append(row)
    return [make_curve(draw, steps, first_click, score) for draw in draws.values()]


def _table(cohort: str, column: Column, curves: Sequence[Curve], convention: Convention, wanted: Metric) -> ClickTable:
    figures = {id(curve): figures_of(curve, wanted.bounded) for curve in curves}
    places: dict[tuple[str, str], Scans] = defaultdict(lambda: defaultdict(list))
    for curve in curves:
        row = curve.rows[0]
        for organ in (row.organ, AVERAGE):
            places[organ, row.modality][row.subject, row.scan_id].append(curve)
    names = list(next(iter(figures.values()), {}))

    def value(name: str, curve: Curve) -> float:
        return figures[id(curve)][name]

    def line(organ: str, modality: str) -> ClickLine:
        scans = list(places[organ, modality].values())
        return ClickLine(
            organ,
            modality,
            tuple(_figure(scans, partial(value, name), convention.ddof) for name in names),
            len(scans),
            sum(any(curve.failed for curve in draws) for draws in scans),
            sum(any(curve.absent for curve in draws) for draws in scans),
        )

    organs = organ_order(curve.rows[0].organ for curve in curves)
    modalities = modality_order(curve.rows[0].modality for curve in curves)
    lines = [line(o, m) for o in (*organs, AVERAGE) for m in modalities if (o, m) in places]
    titled = tuple(f"{wanted.title}{name}" if name.startswith("@") else name for name in names)
    return ClickTable(cohort, wanted.name, column, titled, tuple(lines))


def _figure(scans: Sequence[Sequence[Curve]], value: Callable[[Curve], float], ddof: int) -> Figure:
    scores = [score for score in (_of_scan(curves, value) for curves in scans) if not math.isnan(score)]
    return Figure(mean_of(scores), sd_of(scores, ddof), len(scores))


def _of_scan(curves: Sequence[Curve], value: Callable[[Curve], float]) -> float:
    """The mean over organs of the mean over repeats."""
    organs: dict[str, list[float]] = defaultdict(list)
    for curve in curves:
        if not math.isnan(found := value(curve)):
            organs[curve.rows[0].organ].append(found)
    return mean_of([mean_of(values) for values in organs.values()])
