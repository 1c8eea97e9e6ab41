"""The statistics of a run's store as a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from umd_engine.errors import UnknownNameError
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.sheets import FORMS, Sheet, rendered
from umd_engine.evaluation.statistics.groups import Groups, subgroups
from umd_engine.evaluation.statistics.scores import Scores, collect
from umd_engine.evaluation.statistics.summary import DEFAULT, Sampling, Statistics, summarize
from umd_engine.evaluation.statistics.told import sheets, statistics_csv, statistics_json, subgroups_sheet
from umd_engine.evaluation.store import Store


@dataclass(frozen=True)
class Cohort:
    """`whole` and, by name of the subgroup, the statistics of each of its values."""

    whole: Statistics
    parts: dict[str, list[Statistics]]

    @property
    def every(self) -> list[Statistics]:
        return [self.whole, *(part for parts in self.parts.values() for part in parts)]


def report_statistics(
    run: Path, convention: Convention, form: str, metric: str = "dice", sampling: Sampling = DEFAULT, by: str = ""
) -> str:
    """The statistics of a run, which is not written to.

    Args:
        form: "text", "markdown", "latex", "csv" or "json".
        by: name of a subgroup whose values get tables of their own; by default there is one table of averages for
            each subgroup that is known.

    Raises:
        UnknownNameError: no such format, metric or subgroup. MissingFileError, StoreError: no store.
    """
    if form not in FORMS:
        raise UnknownNameError("format of statistics", form, FORMS)
    with Store(run / "store.sqlite", read_only=True) as store:
        rows, groups = list(store.rows()), store.groups()
    return told(list(cohorts(rows, groups, convention, metric, sampling, by)), form, by)


def cohorts(
    rows: Sequence[Row], groups: Groups, convention: Convention, metric: str, sampling: Sampling, by: str = ""
) -> Iterator[Cohort]:
    """Each cohort's statistics; the averages of its subgroups or, organ by organ, those of the one named `by`.

    Raises:
        UnknownNameError: no cohort has a subgroup of that name, or no metric is called so.
    """
    every = [
        (scores, subgroups(groups, scores.cohort, scores.subjects)) for scores in collect(rows, metric, convention)
    ]
    known = {name for _, found in every for name in found}
    if by and by not in known:
        raise UnknownNameError("subgroup", by, known, where="--by")
    for scores, found in every:
        wanted = {name: values for name, values in found.items() if by in ("", name)}
        parts = {name: _parts(scores, sampling, name, values, not by) for name, values in wanted.items()}
        yield Cohort(summarize(scores, sampling), parts)


def _parts(
    scores: Scores, sampling: Sampling, name: str, values: Mapping[str, Sequence[str]], average_only: bool
) -> list[Statistics]:
    return [
        summarize(scores.part(np.isin(scores.subjects, subjects)), sampling, f"{name} {value}", average_only)
        for value, subjects in values.items()
    ]


def told(found: Sequence[Cohort], form: str, by: str = "") -> str:
    every = [one for cohort in found for one in cohort.every]
    if form == "csv":
        return statistics_csv(every).rstrip("\n")
    if form == "json":
        return statistics_json(every)
    return rendered([sheet for cohort in found for sheet in _sheets(cohort, by)], form) or "no results"


def _sheets(cohort: Cohort, by: str) -> list[Sheet]:
    shown = sheets(cohort.whole)
    shown += [subgroups_sheet(name, parts) for name, parts in cohort.parts.items()]
    return shown + [sheet for part in cohort.parts.get(by, []) for sheet in sheets(part)]
