"""Rows to scores by subject: one array a cohort, which all statistics are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from umd_engine.evaluation.columns import Column, columns_of, last_steps, modality_order, organ_order
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.gaps import FUNCTIONAL, structural_of
from umd_engine.evaluation.metrics import COUNTS, Metric, kinds, metric, values
from umd_engine.evaluation.rows import Row


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of a cohort.

    Attributes:
        scores: [subject, modality, organ, column]: of a subject's scans the mean, of a scan's repeats the mean. Behind
            the organs stands the average over those that count in a scan. NaN: nothing counts.
        counts: by name of `COUNTS` and "scans", [subject, modality, organ, column]: how many scans have such a row,
            behind the organs in any of them.
        scans: [subject, modality]: how many scans there are.
        synthetic: [subject]: one of its scans is a computer-made phantom.
        alike: scans of different subjects whose files held the same, as "subject/scan_id".
    """

    cohort: str
    metric: str
    convention: Convention
    columns: tuple[Column, ...]
    modalities: tuple[str, ...]
    organs: tuple[str, ...]
    subjects: tuple[str, ...]
    scores: np.ndarray
    counts: dict[str, np.ndarray]
    scans: np.ndarray
    synthetic: np.ndarray
    alike: tuple[tuple[str, ...], ...]

    @property
    def structural(self) -> list[str]:
        """The modalities that PET is compared with."""
        return structural_of(self.modalities)

    def of(self, modality: str) -> np.ndarray:
        """[subject, organ, column]"""
        return self.scores[:, self.modalities.index(modality)]

    def gap(self, structural: str) -> np.ndarray:
        """Structural minus PET, [subject, organ, column]: the average is over organs that count on both sides."""
        gaps = (self.of(structural) - self.of(FUNCTIONAL))[:, :-1]
        return np.concatenate([gaps, mean(gaps, 1)[:, None]], 1)

    def part(self, chosen: np.ndarray) -> Scores:
        """The scores of some subjects: [subject], bool."""
        subjects = tuple(name for name, one in zip(self.subjects, chosen, strict=True) if one)
        arrays = {name: getattr(self, name)[chosen] for name in ("scores", "scans", "synthetic")}
        counts = {name: found[chosen] for name, found in self.counts.items()}
        alike = tuple(scans for scans in self.alike if sum(scan.split("/")[0] in subjects for scan in scans) > 1)
        return replace(self, subjects=subjects, alike=alike, counts=counts, **arrays)


def mean(found: np.ndarray, axis: int) -> np.ndarray:
    """`nanmean` that is silent and NaN where nothing counts."""
    counted = ~np.isnan(found)
    with np.errstate(invalid="ignore"):
        return np.where(counted, found, 0.0).sum(axis) / counted.sum(axis)


def collect(rows: Sequence[Row], metric_name: str, convention: Convention, complete: bool = False) -> list[Scores]:
    """One a cohort, in their alphabetical order.

    Args:
        complete: count an organ of a scan only where it counts in every column.

    Raises:
        UnknownNameError: no metric of that name.
    """
    wanted = metric(metric_name)
    cohorts: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        cohorts[row.cohort].append(row)
    return [_of_cohort(cohort, cohorts[cohort], wanted, convention, complete) for cohort in sorted(cohorts)]


def _of_cohort(cohort: str, every: Sequence[Row], wanted: Metric, convention: Convention, complete: bool) -> Scores:
    rows, columns = last_steps(every), columns_of(every)
    organs = organ_order(row.organ for row in rows)
    modalities = modality_order(row.modality for row in rows)
    subjects = sorted({row.subject for row in rows})
    scans = sorted({(row.subject, row.modality, row.scan_id) for row in rows})
    place = (
        _places([(r.subject, r.modality, r.scan_id) for r in rows], scans),
        _places([r.organ for r in rows], organs),
        _places([(r.model, r.plan) for r in rows], [(c.model, c.plan) for c in columns]),
    )
    shape = len(scans), len(organs), len(columns)
    of_rows = values(rows, wanted.name, convention)
    found = _means(of_rows, place, shape)  # [scan, organ, column]
    if complete:
        found[np.isnan(found).any(2)] = np.nan
    owner = _places([s for s, _, _ in scans], subjects), _places([m for _, m, _ in scans], modalities)
    by_subject = len(subjects), len(modalities)
    wide = len(organs) + 1, len(columns)

    def counted(flags: np.ndarray) -> np.ndarray:
        held = np.greater(_sums(flags, place, shape), 0)
        return _sums(np.concatenate([held, held.any(1)[:, None]], 1), owner, (*by_subject, *wide))

    return Scores(
        cohort, wanted.name, convention, columns, tuple(modalities), tuple(organs), tuple(subjects),
        scores=_means(np.concatenate([found, mean(found, 1)[:, None]], 1), owner, (*by_subject, *wide)),
        counts={name: counted(flags) for name, flags in _flags(rows, of_rows, wanted).items()},
        scans=_sums(np.ones(len(scans), int), owner, by_subject),
        synthetic=np.isin(subjects, [row.subject for row in rows if row.synthetic]),
        alike=_alike(rows),
    )  # fmt: skip


def _flags(rows: Sequence[Row], scores: np.ndarray, wanted: Metric) -> dict[str, np.ndarray]:
    """By name, of each row whether it is of that kind; without the names that no row has."""
    every = [kinds(row, score, wanted) for row, score in zip(rows, scores.tolist(), strict=True)]
    seen = set(chain.from_iterable(every))
    found = {name: np.array([name in one for one in every]) for name in COUNTS if name in seen}
    return {"scans": np.ones(len(rows), bool), **found}


def _places(names: Sequence[object], order: Sequence[object]) -> np.ndarray:
    known = {name: i for i, name in enumerate(order)}
    return np.array([known[name] for name in names], np.intp)


def _sums(found: np.ndarray, place: tuple[np.ndarray, ...], shape: tuple[int, ...]) -> np.ndarray:
    sums = np.zeros(shape, int if found.dtype == bool else found.dtype)
    np.add.at(sums, place, found)
    return sums


def _means(found: np.ndarray, place: tuple[np.ndarray, ...], shape: tuple[int, ...]) -> np.ndarray:
    """The mean of what counts at each place."""
    counted = ~np.isnan(found)
    with np.errstate(invalid="ignore"):
        return _sums(np.where(counted, found, 0.0), place, shape) / _sums(counted, place, shape)


def _alike(rows: Sequence[Row]) -> tuple[tuple[str, ...], ...]:
    held: dict[tuple[str, str, str], set[tuple[str, str]]] = defaultdict(set)
    for row in rows:
        if row.inputs:
            held[row.model, row.plan, row.inputs].add((row.subject, row.scan_id))
    twice = {tuple(sorted(scans)) for scans in held.values() if len({subject for subject, _ in scans}) > 1}
    return tuple(tuple("/".join(scan) for scan in scans) for scans in sorted(twice))
