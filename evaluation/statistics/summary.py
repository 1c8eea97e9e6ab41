"""A cohort's statistics: means with intervals, gaps with tests, and the same of its subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from umd_engine.evaluation.columns import AVERAGE, Column
from umd_engine.evaluation.conventions import Convention
from umd_engine.evaluation.figures import mean_of, sd_of
from umd_engine.evaluation.gaps import FUNCTIONAL
from umd_engine.evaluation.statistics.bootstrap import DRAWS, intervals
from umd_engine.evaluation.statistics.paired import Paired, adjusted, paired
from umd_engine.evaluation.statistics.scores import Scores


@dataclass(frozen=True)
class Sampling:
    """How intervals are drawn."""

    draws: int = DRAWS
    seed: int = 0


DEFAULT = Sampling()


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` subjects, its SD and 95 % interval; NaN where there is none.

    `counts`: how many "scans" stand behind it, and how many of them failed, have an empty mask ... (`metrics.COUNTS`).
    """

    mean: float
    sd: float
    low: float
    high: float
    n: int
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Means:
    """An organ on a modality, an estimate a column."""

    organ: str
    modality: str
    cells: tuple[Estimate, ...]


@dataclass(frozen=True)
class Tested:
    """Paired differences and their test; `unpaired` subjects have a score on one side alone and are out of both."""

    estimate: Estimate
    test: Paired
    unpaired: tuple[str, ...]


@dataclass(frozen=True)
class Gaps:
    """An organ, `modality` minus PET, a cell a column."""

    organ: str
    modality: str
    cells: tuple[Tested, ...]

    @property
    def name(self) -> str:
        return f"{self.modality}-{FUNCTIONAL}"


@dataclass(frozen=True)
class Statistics:
    """One cohort, or one subgroup of it.

    `group` names the subgroup, e.g. "sex F"; empty for all. The last organ is the average. `several` subjects have
    more than one scan of a modality; `alike` are scans of different subjects whose files held the same.
    """

    cohort: str
    group: str
    metric: str
    convention: Convention
    columns: tuple[Column, ...]
    sampling: Sampling
    means: tuple[Means, ...]
    gaps: tuple[Gaps, ...]
    subjects: int
    synthetic: int
    several: tuple[str, ...]
    alike: tuple[tuple[str, ...], ...]

    @property
    def compared(self) -> list[str]:
        """The modalities that have a gap."""
        return list(dict.fromkeys(line.modality for line in self.gaps))

    def family(self, modality: str) -> int:
        """How many tests of organs Holm's correction is over."""
        lines = [line for line in self.gaps if line.modality == modality and line.organ != AVERAGE]
        return sum(not cell.test.why for line in lines for cell in line.cells)


def summarize(scores: Scores, sampling: Sampling, group: str = "", average_only: bool = False) -> Statistics:
    """The statistics of all subjects of `scores`.

    Args:
        average_only: without the single organs.
    """
    kept = slice(-1, None) if average_only else slice(None)
    organs = (*scores.organs, AVERAGE)[kept]
    sides = {modality: scores.of(modality)[:, kept] for modality in scores.modalities}
    gaps = {modality: scores.gap(modality)[:, kept] for modality in scores.structural}
    found = iter(estimates([*sides.values(), *gaps.values()], scores.convention.ddof, sampling))
    means = {m: with_counts(next(found), counts_of(scores, m, kept)) for m in scores.modalities}
    tests = {m: tested(next(found), gaps[m], unpaired_of(scores, m)[:, kept], scores.subjects) for m in gaps}
    return Statistics(
        scores.cohort, group, scores.metric, scores.convention, scores.columns, sampling,
        means=tuple(Means(organ, m, means[m][i]) for i, organ in enumerate(organs) for m in means),
        gaps=tuple(Gaps(organ, m, tests[m][i]) for i, organ in enumerate(organs) for m in tests),
        subjects=len(scores.subjects),
        synthetic=int(scores.synthetic.sum()),
        several=tuple(np.array(scores.subjects)[(scores.scans > 1).any(1)].tolist()),
        alike=scores.alike,
    )  # fmt: skip


Lines = tuple[tuple[Estimate, ...], ...]  # [organ][column]


def estimates(found: Sequence[np.ndarray], ddof: int, sampling: Sampling) -> list[Lines]:
    """Of each array [subject, organ, column] its estimates; all have the same subjects, and share resamples."""
    flat = [one.reshape(len(one), -1) for one in found]
    ends = np.cumsum([one.shape[1] for one in flat])
    limits = np.hsplit(intervals(np.hstack(flat), sampling.draws, sampling.seed), ends[:-1])
    return [_lines(one, limit, ddof) for one, limit in zip(found, limits, strict=True)]


def _lines(found: np.ndarray, limits: np.ndarray, ddof: int) -> Lines:
    low, high = limits.reshape(2, *found.shape[1:])
    organs, columns = found.shape[1:]
    return tuple(
        tuple(_estimate(found[:, i, j], low[i, j], high[i, j], ddof) for j in range(columns)) for i in range(organs)
    )


def _estimate(values: np.ndarray, low: float, high: float, ddof: int) -> Estimate:
    counted = _counted(values).tolist()
    return Estimate(mean_of(counted), sd_of(counted, ddof), float(low), float(high), len(counted))


def counts_of(scores: Scores, modality: str, kept: slice = slice(None)) -> dict[str, np.ndarray]:
    """By name, [organ, column]: scans of all subjects."""
    place = scores.modalities.index(modality)
    return {name: found[:, place, kept].sum(0) for name, found in scores.counts.items()}


def with_counts(lines: Lines, counts: Mapping[str, np.ndarray]) -> Lines:
    """The estimates with the counts [organ, column] behind them."""
    return tuple(
        tuple(replace(cell, counts={name: int(n[i, j]) for name, n in counts.items()}) for j, cell in enumerate(line))
        for i, line in enumerate(lines)
    )


def unpaired_of(scores: Scores, modality: str) -> np.ndarray:
    """[subject, organ, column]: a score on one side alone."""
    return np.isnan(scores.of(modality)) ^ np.isnan(scores.of(FUNCTIONAL))


def tested(
    lines: Lines, gaps: np.ndarray, unpaired: np.ndarray, subjects: Sequence[str]
) -> tuple[tuple[Tested, ...], ...]:
    """[organ][column]; Holm's families are the organs of all columns, and the average, the last, of all columns.

    Args:
        lines: the estimates of `gaps`.
        gaps: [subject, organ, column]; unpaired: the same shape, bool.
    """
    organs, columns = gaps.shape[1:]
    tests = [[paired(_counted(gaps[:, i, j])) for j in range(columns)] for i in range(organs)]
    corrected = iter([*adjusted([test for line in tests[:-1] for test in line]), *adjusted(tests[-1])])

    def alone(organ: int, column: int) -> tuple[str, ...]:
        return tuple(name for name, out in zip(subjects, unpaired[:, organ, column], strict=True) if out)

    return tuple(
        tuple(Tested(cell, next(corrected), alone(i, j)) for j, cell in enumerate(line)) for i, line in enumerate(lines)
    )


def _counted(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]
