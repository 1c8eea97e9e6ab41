"""How voxel counts become scores and scores become a mean and an SD: one named convention each.

A score of NaN means "not counted": tables leave it out of mean, SD and n, and count it as left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from umd_engine.errors import UnknownNameError

NOT_COUNTED = math.nan


@dataclass(frozen=True)
class Convention:
    """What the edge cases of an overlap score (Dice, IoU) count as.

    `absent` is the score of an organ that a prompted model could not be asked for, as the label does not hold it.
    `failed` is the score of a case that ended with an error; where it is NaN, failures are left out and shown.
    `ddof` is the SD's: 0 divides by n (population), 1 by n - 1 (sample).
    `inferred` marks a convention that its source does not state and that was derived from its numbers.
    """

    name: str
    both_empty: float
    label_empty: float
    prediction_empty: float
    absent: float
    failed: float
    ddof: int
    inferred: bool
    source: str


CONVENTIONS: dict[str, Convention] = {
    "umd": Convention(
        name="umd",
        both_empty=1.0,
        label_empty=0.0,
        prediction_empty=0.0,
        absent=NOT_COUNTED,
        failed=NOT_COUNTED,
        ddof=0,
        inferred=True,
        source="tables of arXiv 2602.07643: an organ absent from label and prediction scores 1, all cases count",
    ),
    "umd-prompted": Convention(
        name="umd-prompted",
        both_empty=NOT_COUNTED,
        label_empty=NOT_COUNTED,
        prediction_empty=0.0,
        absent=NOT_COUNTED,
        failed=NOT_COUNTED,
        ddof=0,
        inferred=True,
        source="as umd, for point-prompted models: no prompt can be drawn in an absent organ, so it is skipped",
    ),
    "nnunet": Convention(
        name="nnunet",
        both_empty=NOT_COUNTED,
        label_empty=0.0,
        prediction_empty=0.0,
        absent=NOT_COUNTED,
        failed=NOT_COUNTED,
        ddof=1,
        inferred=False,
        source="nnU-Net v2, evaluation/evaluate_predictions.py",
    ),
    "metrics-reloaded": Convention(
        name="metrics-reloaded",
        both_empty=1.0,
        label_empty=0.0,
        prediction_empty=0.0,
        absent=1.0,
        failed=0.0,
        ddof=1,
        inferred=False,
        source="Metrics Reloaded (Maier-Hein et al. 2024): a missing result counts as the worst value",
    ),
    "flare": Convention(
        name="flare",
        both_empty=1.0,
        label_empty=0.0,
        prediction_empty=0.0,
        absent=1.0,
        failed=0.0,
        ddof=1,
        inferred=False,
        source="FLARE22-24 evaluation code",
    ),
    "monai": Convention(
        name="monai",
        both_empty=NOT_COUNTED,
        label_empty=NOT_COUNTED,
        prediction_empty=0.0,
        absent=NOT_COUNTED,
        failed=NOT_COUNTED,
        ddof=1,
        inferred=False,
        source="MONAI DiceMetric, ignore_empty=True",
    ),
    "autopet": Convention(
        name="autopet",
        both_empty=NOT_COUNTED,
        label_empty=NOT_COUNTED,
        prediction_empty=0.0,
        absent=NOT_COUNTED,
        failed=NOT_COUNTED,
        ddof=1,
        inferred=False,
        source="autoPET evaluation code: Dice over the cases with a lesion",
    ),
}


def convention(name: str) -> Convention:
    """The convention of that name.

    Raises:
        UnknownNameError: with the nearest names.
    """
    if name not in CONVENTIONS:
        raise UnknownNameError("convention", name, CONVENTIONS)
    return CONVENTIONS[name]
