"""A run's figures beside the published ones: the difference, its interval, and whether they agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from umd_engine.data.labelset import load_label_set
from umd_engine.evaluation.columns import AVERAGE, Column
from umd_engine.evaluation.paper.published import MODELS, Printed, Setting, dice, settings
from umd_engine.evaluation.paper.study_run import StudyRun
from umd_engine.evaluation.statistics.bootstrap import LEVEL
from umd_engine.evaluation.tables import Cell

NOT_RUN: Sequence[Column | None] = (None,)
ORGANS = (*load_label_set("umd13").ids, AVERAGE)


@dataclass(frozen=True)
class Beside:
    """A cell of this run and of the paper.

    `low` to `high` is the 95 % interval of `difference`, ours minus theirs (Welch, both as samples of their own, plus
    half a unit of the last printed digit), NaN where the run has fewer than two scores. `ours` is None where the run
    has no such scan.
    """

    printed: Printed
    ours: Cell | None = None
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @property
    def mean(self) -> float:
        return self.ours.mean if self.ours else math.nan

    @property
    def sd(self) -> float:
        return self.ours.sd if self.ours else math.nan

    @property
    def n(self) -> int:
        return self.ours.n if self.ours else 0

    @property
    def agrees(self) -> bool | None:
        """The interval holds 0; None without an interval."""
        return None if math.isnan(self.low) else self.low <= 0 <= self.high


@dataclass(frozen=True)
class BesideLine:
    """An organ on a modality, a cell a column."""

    organ: str
    modality: str
    cells: tuple[Beside, ...]


@dataclass(frozen=True)
class PaperTable:
    """Table 1 or 2; a model of the paper that the run lacks has a column without figures of ours."""

    run: StudyRun
    titles: tuple[str, ...]
    lines: tuple[BesideLine, ...]


@dataclass(frozen=True)
class OverviewLine:
    """A row of Table 3: averages by (study, modality); `title` is that of the column here, or the model's name."""

    title: str
    setting: Setting
    cells: dict[tuple[str, str], Beside]


def paper_table(run: StudyRun) -> PaperTable:
    columns = [(model, column) for model in MODELS for column in run.columns(model) or NOT_RUN]
    lines = [
        BesideLine(
            organ, m, tuple(beside(run, organ, m, c, dice()[run.study.name, m, organ, model]) for model, c in columns)
        )
        for organ in ORGANS
        for m in run.study.modalities
    ]
    return PaperTable(run, tuple(column.title if column else model for model, column in columns), tuple(lines))


def overview(runs: Sequence[StudyRun]) -> list[OverviewLine]:
    """Table 3, a line for each column of a model."""
    return [line for setting in settings() for line in _overview_lines(runs, setting)]


def _overview_lines(runs: Sequence[StudyRun], setting: Setting) -> list[OverviewLine]:
    titles = dict.fromkeys(column.title for run in runs for column in run.columns(setting.model))
    return [
        OverviewLine(
            title,
            setting,
            {
                (run.study.name, m): beside(
                    run, AVERAGE, m, _titled(run, setting, title), setting.umd[run.study.name, m]
                )
                for run in runs
                for m in run.study.modalities
            },
        )
        for title in titles or [setting.model]
    ]


def _titled(run: StudyRun, setting: Setting, title: str) -> Column | None:
    return next((column for column in run.columns(setting.model) if column.title == title), None)


def beside(run: StudyRun, organ: str, modality: str, column: Column | None, printed: Printed) -> Beside:
    cell = run.cell(organ, modality, column) if column else None
    if cell is None or not cell.n:
        return Beside(printed, cell)
    difference, half = cell.mean - printed.mean, _half_width(run, cell, printed)
    return Beside(printed, cell, difference, difference - half, difference + half)


def _half_width(run: StudyRun, cell: Cell, printed: Printed) -> float:
    """Welch's; where the paper prints no SD its mean is taken as exact."""
    assert run.table is not None
    if cell.n < 2:
        return math.nan
    rounding = 0.5 * 10**-printed.digits
    ddof, theirs = run.table.convention.ddof, run.study.examinations
    parts = [(cell.sd**2 * (cell.n - ddof) / (cell.n - 1) / cell.n, cell.n)]  # squared standard error, n
    if not math.isnan(printed.sd):
        parts.append((printed.sd**2 / (theirs - 1), theirs))  # their SD divides by n
    total = sum(square for square, _ in parts)
    if not total:
        return rounding
    freedom = total**2 / sum(square**2 / (n - 1) for square, n in parts)
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(total) + rounding
