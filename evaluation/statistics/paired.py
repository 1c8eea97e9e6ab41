"""Tests of paired differences, their effect size, and Holm's correction."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from umd_engine.evaluation.statistics.bootstrap import ROUNDING

FEWEST = 6  # pairs: below, no two-sided signed-rank test can reach p < 0.05
FEW = 13  # pairs: up to here SciPy's test is exact whatever ties there are
SHADES = (0.01, 0.0001)  # the paper's

NO_PAIRS = "no pairs"
TOO_FEW = f"fewer than {FEWEST} pairs"
NO_VARIANCE = "zero variance"


@dataclass(frozen=True)
class Paired:
    """Tests of one set of differences against no difference, two-sided.

    `wilcoxon` is the p-value of the signed-rank test, zeros ranked and then left out (Pratt 1959); `t` that of the
    paired t-test; `*_holm` are adjusted over their family. All are NaN where `why` says so. `effect` is the
    matched-pairs rank-biserial correlation (Kerby 2014), (W+ - W-) / (W+ + W-) over the same ranks: 1 where every
    difference is positive; NaN where all are zero.
    """

    n: int
    wilcoxon: float = math.nan
    t: float = math.nan
    effect: float = math.nan
    why: str = ""
    wilcoxon_holm: float = math.nan
    t_holm: float = math.nan

    @property
    def shade(self) -> int:
        """How many of the paper's two levels the adjusted signed-rank p-value is below."""
        return sum(self.wilcoxon_holm < level for level in SHADES)


def paired(differences: np.ndarray) -> Paired:
    """The tests of differences [pair], none of them NaN; what is within rounding of 0 is 0."""
    differences = np.where(np.abs(differences) < ROUNDING, 0.0, differences)
    n = len(differences)
    effect = rank_biserial(differences)
    why = NO_PAIRS if n == 0 else TOO_FEW if n < FEWEST else NO_VARIANCE if np.ptp(differences) < ROUNDING else ""
    if why:
        return Paired(n, effect=effect, why=why)
    return Paired(n, _wilcoxon(differences), float(stats.ttest_1samp(differences, 0.0).pvalue), effect)


def _wilcoxon(differences: np.ndarray) -> float:
    """SciPy's p-value; of few pairs from the exact distribution, which takes SciPy a second where there are ties."""
    if len(differences) > FEW:
        return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)
    doubled = np.round(2 * stats.rankdata(np.abs(differences))).astype(int)  # tied ranks are halves
    ways = np.ones(1)  # [sum of positive ranks]: in how many of all sign flips
    for rank in doubled[differences != 0]:
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    above = doubled[differences > 0].sum()
    return float(min(1.0, 2 * min(ways[: above + 1].sum(), ways[above:].sum()) / ways.sum()))


def rank_biserial(differences: np.ndarray) -> float:
    ranks = stats.rankdata(np.abs(differences))
    above, below = ranks[differences > 0].sum(), ranks[differences < 0].sum()
    return float((above - below) / (above + below)) if above + below else math.nan


def adjusted(family: list[Paired]) -> list[Paired]:
    """The same tests with Holm's p-values over all of them that have one."""
    wilcoxon, t = (holm(np.array([getattr(test, name) for test in family])) for name in ("wilcoxon", "t"))
    return [
        replace(test, wilcoxon_holm=float(w), t_holm=float(p)) for test, w, p in zip(family, wilcoxon, t, strict=True)
    ]


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment (Holm 1979); NaN stays and is not counted."""
    found = np.full(len(p_values), np.nan)
    order = [i for i in np.argsort(p_values, kind="stable") if not math.isnan(p_values[i])]
    steps = p_values[order] * np.arange(len(order), 0, -1)
    found[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return found
