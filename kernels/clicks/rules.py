"""The rules that clicks are drawn by, as steps that every implementation reads."""

from __future__ import annotations

from dataclasses import dataclass

ANY_DEPTH, DEEPEST, HALF_DEPTH = range(3)


@dataclass(frozen=True)
class Rule:
    """Steps on the error region of an organ, in this order.

    Attributes:
        split: missed voxels (FN) and wrong ones (FP) are two regions, of which one is chosen; otherwise one region.
        erode: regions lose what has a voxel of another kind among its 26 neighbours; beyond the volume lies none.
        largest: only the largest 26-connected component of each region is left, of equals the first in C order.
        depth: which voxels of a region may be clicked, by their distance to the nearest voxel outside it (beyond the
            volume is outside): any, those of the largest distance, or those above half of it.
        first: the first of them in C order; otherwise one by chance, all alike.
        ties_positive: with `split`, FN is chosen where both are as deep (as large, without depth); otherwise FP.
        fallback: without any error a voxel of the organ by chance.
    """

    split: bool = False
    erode: bool = False
    largest: bool = False
    depth: int = ANY_DEPTH
    first: bool = False
    ties_positive: bool = False
    fallback: bool = False


RULES = {
    "random": Rule(),
    "deepest": Rule(depth=DEEPEST, first=True),
    # CVPR 2025 Foundation Models for Interactive 3D Biomedical Image Segmentation, evaluator
    "cvpr25": Rule(largest=True, depth=DEEPEST),
    # Sofiiuk et al., Reviving iterative training with mask guidance (RITM), Clicker
    "ritm": Rule(split=True, depth=DEEPEST, first=True),
    # SAM-Med3D, get_next_click3D_torch_2 and get_next_click3D_torch_ritm
    "sam_med3d": Rule(fallback=True),
    "sam_med3d_ritm": Rule(split=True, depth=HALF_DEPTH, fallback=True),
    # VISTA3D, get_next_points_val
    "vista3d": Rule(split=True, erode=True, largest=True, ties_positive=True),
}
