"""Clicks drawn on the device: on the scan's grid within the error's box, or on a grid of the model's own."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import torch

from umd_engine.evaluation.prompts.reference import OrganLabel
from umd_engine.kernels.clicks import ClickKey, Clicks, draw_clicks
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.prompts import View

MARGIN = 1  # voxel around the error: some rules look at its neighbours
ORGAN = 1  # the organ's id in a crop
AGAIN = "again"
MM = "deepest"  # the one rule that compares depths in mm
EDGE = 1e-6  # of a voxel: centres as near to a grid's end as this count as beyond it, since mm may round to either side


@dataclass(frozen=True)
class Drawn:
    """A voxel of the grid that it was drawn on; `positive`: it lies in the organ."""

    voxel: Triple
    positive: bool


def click_key(seed: int, names: tuple[str, ...], click: int, repeat: int) -> ClickKey:
    """The key of an organ's click.

    Args:
        names: (cohort, subject, scan_id, organ), with `AGAIN` behind them of a click drawn again; (cohort, subject,
            organ) of a subject's shared point.
    """
    return ClickKey(seed, json.dumps(names), click, repeat)


@dataclass(frozen=True, eq=False)
class Within:
    """The voxels of a scan whose centres lie on a grid of the model's.

    Attributes:
        to_view: (4, 4), voxel of the scan -> voxel of that grid.
        shape: of that grid.
    """

    to_view: np.ndarray
    shape: Triple

    @classmethod
    def of(cls, view: View, affine: np.ndarray) -> Within:
        """`affine`: of the scan."""
        return cls(np.linalg.solve(view.affine, affine), _triple(list(view.label.shape)))

    def voxels(self, low: Triple, high: Triple, device: torch.device) -> torch.Tensor:
        """uint8 of the scan's voxels low to high - 1."""
        lines = [torch.arange(a, b, device=device, dtype=torch.float64) for a, b in zip(low, high, strict=True)]
        x, y, z = lines[0][:, None, None], lines[1][:, None], lines[2]
        inside = torch.ones([len(line) for line in lines], dtype=torch.bool, device=device)
        for (by_x, by_y, by_z, first), size in zip(self.to_view[:3].tolist(), self.shape, strict=True):
            at = x * by_x + y * by_y + z * by_z + first
            inside &= (at > EDGE - 0.5) & (at < size - 0.5 - EDGE)
        return inside.to(torch.uint8)


def draw_on_scan(
    label: OrganLabel,
    mask: Mask | None,
    rule: str,
    key: ClickKey,
    spacing: tuple[float, float, float],
    within: Within | None = None,
) -> Drawn | None:
    """The next click of an organ given its mask so far; None where nothing is left to click on.

    Args:
        spacing: of the scan's grid in mm.
        within: only there; the rule does not see beyond it.
    """
    boxes = [one for one in (label.mask, mask) if one is not None and one.voxels.numel()]
    if not boxes:
        return None
    low = _triple([max(0, min(one.low[axis] for one in boxes) - MARGIN) for axis in range(3)])
    high = _triple([min(boxes[0].shape[a], max(one.high[a] for one in boxes) + MARGIN) for a in range(3)])
    truth, prediction = label.mask.crop(low, high), None if mask is None else mask.crop(low, high)
    if within is not None:
        inside = within.voxels(low, high, truth.device)
        truth, prediction = truth & inside, None if prediction is None else prediction & inside
    sizes = spacing if rule == MM else (1.0, 1.0, 1.0)
    drawn = _as_drawn(draw_clicks(truth, [ORGAN], key, rule, prediction, sizes))
    if drawn is None:
        return None
    return Drawn(_triple([v + lo for v, lo in zip(drawn.voxel, low, strict=True)]), drawn.positive)


def draw_on_view(view: View, rule: str, key: ClickKey) -> Drawn | None:
    """The next click on the model's grid; None where nothing is left to click on."""
    return _as_drawn(draw_clicks(view.label, [ORGAN], key, rule, view.prediction))


def _as_drawn(clicks: Clicks) -> Drawn | None:
    row = torch.cat([clicks.voxels[0], clicks.positive.to(torch.int64), clicks.drawn.to(torch.int64)])  # [5]
    x, y, z, positive, drawn = row.tolist()  # the one transfer
    return Drawn((x, y, z), bool(positive)) if drawn else None


def _triple(values: list[int]) -> Triple:
    x, y, z = values
    return x, y, z
