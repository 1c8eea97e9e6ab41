"""How what a row holds becomes scores, and scores a mean and an SD: one named convention each.

A score of NaN means "not counted": tables leave it out of mean, SD and n, and count it as left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from umd_engine.errors import UnknownNameError

NOT_COUNTED = math.nan
# mm, of the NSD: FLARE22-24, by the names of our label sets
FLARE_TOLERANCES: Mapping[str, float] = {
    "liver": 5, "kidney_left": 3, "kidney_right": 3, "spleen": 3, "pancreas": 5, "aorta": 2, "inferior_vena_cava": 2,
    "adrenal_gland_left": 2, "adrenal_gland_right": 2, "gallbladder": 2, "esophagus": 3, "stomach": 5, "duodenum": 7,
}  # fmt: skip
OTHER_ORGANS = 3.0  # mm, of organs that FLARE has no tolerance for: TotalSegmentator's


@dataclass(frozen=True)
class Edges:
    """What a score is where there is nothing to measure.

    `absent` is that of an organ that a prompted model could not be asked for, as the label does not hold it; `failed`
    that of a case that ended with an error. Where one is NaN, such scans are left out and shown.
    """

    both_empty: float = NOT_COUNTED
    label_empty: float = NOT_COUNTED
    prediction_empty: float = NOT_COUNTED
    absent: float = NOT_COUNTED
    failed: float = NOT_COUNTED


@dataclass(frozen=True)
class Convention:
    """What the edge cases of each kind of score count as, and which of several definitions a score has.

    Attributes:
        overlap: edge cases of Dice and IoU.
        nsd: those of the NSD.
        ddof: the SD's: 0 divides by n (population), 1 by n - 1 (sample).
        source: where it is from.
        states: the metrics that the source defines; how the others are taken is ours.
        distance: edge cases of HD, HD95, ASSD and MASD.
        elements: what a surface is made of, "surfels" or "voxels" (`kernels.surface`).
        hd95: "max", "pooled" or "mean" of the directed percentiles (`kernels.surface`).
        tolerance: of the NSD, mm, of all organs that `tolerances` lacks.
        tolerances: organ -> mm.
        inferred: its source does not state it; it was derived from the source's numbers.
    """

    name: str
    overlap: Edges
    nsd: Edges
    ddof: int
    source: str
    states: tuple[str, ...]
    distance: Edges = Edges()
    elements: str = "surfels"
    hd95: str = "max"
    tolerance: float = OTHER_ORGANS
    tolerances: Mapping[str, float] = field(default_factory=lambda: FLARE_TOLERANCES, hash=False)
    inferred: bool = False

    def tolerance_of(self, organ: str) -> float:
        """Of the NSD, mm."""
        return float(self.tolerances.get(organ, self.tolerance))


LABELLED = Edges(prediction_empty=0.0)  # only scans whose label holds the organ count
WORST = Edges(both_empty=1.0, label_empty=0.0, prediction_empty=0.0, absent=1.0, failed=0.0)
UMD = Edges(both_empty=1.0, label_empty=0.0, prediction_empty=0.0)
NNUNET = Edges(label_empty=0.0, prediction_empty=0.0)
SAT = Edges(both_empty=1.0, label_empty=0.0, prediction_empty=0.0, absent=1.0)

ALL = (
    Convention(
        name="umd",
        overlap=UMD,
        nsd=UMD,
        ddof=0,
        source="tables of arXiv 2602.07643: an organ absent from label and prediction scores 1, all cases count",
        states=("dice",),
        inferred=True,
    ),
    Convention(
        name="umd-prompted",
        overlap=LABELLED,
        nsd=LABELLED,
        ddof=0,
        source="as umd, for point-prompted models: no prompt can be drawn in an absent organ, so it is skipped",
        states=("dice",),
        inferred=True,
    ),
    Convention(
        name="nnunet",
        overlap=NNUNET,
        nsd=NNUNET,
        ddof=1,
        source="nnU-Net v2, evaluation/evaluate_predictions.py",
        states=("dice", "iou"),
    ),
    Convention(
        name="metrics-reloaded",
        overlap=WORST,
        nsd=WORST,
        ddof=1,
        source="Metrics Reloaded (Maier-Hein et al. 2024): a missing result counts as the worst value",
        states=("dice", "iou", "nsd", "hd", "hd95", "assd", "masd"),
        distance=Edges(both_empty=0.0, absent=0.0),
        elements="voxels",
    ),
    Convention(
        name="flare", overlap=WORST, nsd=WORST, ddof=1, source="FLARE22-24 evaluation code", states=("dice", "nsd")
    ),
    Convention(
        name="cvpr25",
        overlap=LABELLED,
        nsd=LABELLED,
        ddof=1,
        source="CVPR 2025 interactive segmentation challenge: the classes that the label holds",
        states=("dice", "nsd"),
        tolerance=2.0,
        tolerances={},
    ),
    Convention(
        name="monai",
        overlap=LABELLED,
        nsd=NNUNET,
        ddof=1,
        source="MONAI DiceMetric with ignore_empty=True, SurfaceDiceMetric, HausdorffDistanceMetric",
        states=("dice", "iou", "nsd", "hd", "hd95", "assd"),
        elements="voxels",
    ),
    Convention(
        name="autopet",
        overlap=LABELLED,
        nsd=LABELLED,
        ddof=1,
        source="autoPET evaluation code: Dice over the cases with a lesion",
        states=("dice",),
    ),
    Convention(
        name="totalsegmentator",
        overlap=LABELLED,
        nsd=LABELLED,
        ddof=1,
        source="TotalSegmentator evaluation code",
        states=("dice", "nsd"),
        tolerance=3.0,
        tolerances={},
    ),
    Convention(
        name="sat",
        overlap=SAT,
        nsd=SAT,
        ddof=1,
        source="SAT, evaluate/metric.py",
        states=("dice", "nsd"),
        tolerance=1.0,
        tolerances={},
    ),
)
CONVENTIONS: dict[str, Convention] = {one.name: one for one in ALL}


def convention(name: str) -> Convention:
    """The convention of that name.

    Raises:
        UnknownNameError: with the nearest names.
    """
    if name not in CONVENTIONS:
        raise UnknownNameError("convention", name, CONVENTIONS)
    return CONVENTIONS[name]
