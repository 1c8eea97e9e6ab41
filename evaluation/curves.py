"""The score of one organ, scan and draw from click to click, and the figures made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from umd_engine.evaluation.rows import ABSENT, Row

THRESHOLDS = (80, 90)  # percent


@dataclass(frozen=True)
class Curve:
    """Scores of the steps of one organ, scan and repeat.

    Attributes:
        rows: in the order of their steps; the last one may be a failure.
        scores: one a step of the protocol; NaN where the convention does not count it. A sequence that ended early,
            as no error was left, keeps its last score. A failure anywhere is a failure everywhere.
        first_click: which step has the first click: 1 where a box alone came before it, else 0.
    """

    rows: tuple[Row, ...]
    scores: tuple[float, ...]
    first_click: int

    @property
    def failed(self) -> bool:
        return self.rows[-1].failed

    @property
    def absent(self) -> bool:
        return self.rows[-1].status == ABSENT

    @property
    def clicks(self) -> int:
        """The largest number of clicks of the protocol."""
        return len(self.scores) - self.first_click


def make_curve(rows: Sequence[Row], steps: int, first_click: int, score: Callable[[Row], float]) -> Curve:
    """The curve of the rows of one organ, scan and repeat; `steps` of the protocol."""
    ordered = tuple(sorted(rows, key=lambda row: row.step))
    if ordered[-1].failed:
        scores = [score(ordered[-1])] * steps
    else:
        scores = [score(row) for row in ordered]
        scores += [scores[-1]] * (steps - len(scores))
    return Curve(ordered, tuple(scores), first_click)


def auc(curve: Curve) -> float:
    """Area under the score over clicks 1 to k by the trapezoid rule, divided by k - 1, so that it lies in 0..1.

    CVPR 2025's DSC_AUC is the area itself, 0 to k - 1 (5 clicks, the box before them left out as it is here). Of one
    click it is its score.
    """
    scores = curve.scores[curve.first_click :]
    if len(scores) == 1:
        return scores[0]
    return math.fsum((a + b) / 2 for a, b in pairwise(scores)) / (len(scores) - 1)


def number_of_clicks(curve: Curve, percent: int) -> float:
    """NoC: the clicks it took until the score first reached `percent`, 0 for a box alone; the maximum where it never
    did; NaN where a score does not count or no click was given."""
    if curve.absent or any(map(math.isnan, curve.scores)):
        return math.nan
    reached = (step for step, score in enumerate(curve.scores) if score >= percent / 100)
    step = next(reached, None)
    return float(curve.clicks if step is None else step + 1 - curve.first_click)


def never(curve: Curve, percent: int) -> float:
    """1 where the score never reached `percent`, else 0; NaN as for `number_of_clicks`."""
    if math.isnan(number_of_clicks(curve, percent)):
        return math.nan
    return float(all(score < percent / 100 for score in curve.scores))


def figures_of(curve: Curve, bounded: bool = True) -> dict[str, float]:
    """Every figure of a clicks table, by its column; @0 is the score of a box alone.

    Only a score that lies in 0 to 1 (`bounded`) has thresholds.
    """
    at = {f"@{step + 1 - curve.first_click}": score for step, score in enumerate(curve.scores)}
    thresholds = THRESHOLDS if bounded else ()
    return {
        **at,
        "final": curve.scores[-1],
        "AUC": auc(curve),
        **{f"NoC@{percent}": number_of_clicks(curve, percent) for percent in thresholds},
        **{f"never@{percent}": never(curve, percent) for percent in thresholds},
    }
