"""What a run has of one of the paper's studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from umd_engine.evaluation.columns import AVERAGE, Column
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.gaps import STRUCTURAL
from umd_engine.evaluation.paper.published import Study
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.tables import Cell, Table, build_tables


@dataclass(frozen=True)
class StudyRun:
    """The run's scans of a study as one table; None where it has none. Several cohorts are pooled."""

    study: Study
    cohorts: tuple[str, ...]
    table: Table | None

    def columns(self, model: str) -> list[Column]:
        """Those of a model of the paper: "nnunet@ct" is one of nnunet's."""
        return [column for column in self.table.columns if column.model.split("@")[0] == model] if self.table else []

    def cell(self, organ: str, modality: str, column: Column) -> Cell | None:
        """None where the run has no such organ or modality."""
        assert self.table is not None
        rows = [self.table.average] if organ == AVERAGE else [row for row in self.table.organs if row.organ == organ]
        lines = [line for row in rows for line in row.lines if line.modality == modality]
        return lines[0].cells[self.table.columns.index(column)] if lines else None


def study_run(study: Study, rows: Sequence[Row], convention: Convention) -> StudyRun:
    own = rows_of(study, rows)
    cohorts = sorted({row.cohort for row in own})
    if len(cohorts) > 1:
        own = [replace(row, cohort=study.name, subject=f"{row.cohort}/{row.subject}") for row in own]
    return StudyRun(study, tuple(cohorts), next(iter(build_tables(own, convention, "dice")), None))


def rows_of(study: Study, rows: Sequence[Row]) -> list[Row]:
    """Of subjects with the study's structural modality, and of those with PET alone in a cohort with no other one."""
    seen = {(row.cohort, row.subject, row.modality) for row in rows}
    of_cohort = {(cohort, modality) for cohort, _, modality in seen}
    others = [m for m in STRUCTURAL if m != study.structural]

    def belongs(row: Row) -> bool:
        if (row.cohort, study.structural) not in of_cohort or row.modality not in study.modalities:
            return False
        alone = not any((row.cohort, other) in of_cohort for other in others)
        return alone or (row.cohort, row.subject, study.structural) in seen

    return [row for row in rows if belongs(row)]
