"""Clicks drawn on the device: on the scan's grid within the error's box, or on a grid of the model's own."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch

from umd_engine.evaluation.prompts.reference import OrganLabel
from umd_engine.kernels.clicks import ClickKey, Clicks, draw_clicks
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.prompts import View

MARGIN = 1  # voxel around the error: some rules look at its neighbours
ORGAN = 1  # the organ's id in a crop
MM = "deepest"  # the one rule that compares depths in mm


@dataclass(frozen=True)
class Drawn:
    """A voxel of the grid that it was drawn on; `positive`: it lies in the organ."""

    voxel: Triple
    positive: bool


def click_key(seed: int, names: tuple[str, ...], click: int, repeat: int) -> ClickKey:
    """The key of an organ's click.

    Args:
        names: (cohort, subject, scan_id, organ), or (cohort, subject, organ) of a subject's shared point.
    """
    return ClickKey(seed, json.dumps(names), click, repeat)


def draw_on_scan(
    label: OrganLabel, mask: Mask | None, rule: str, key: ClickKey, spacing: tuple[float, float, float]
) -> Drawn | None:
    """The next click of an organ given its mask so far; None where nothing is left to click on.

    Args:
        spacing: of the scan's grid in mm.
    """
    boxes = [one for one in (label.mask, mask) if one is not None and one.voxels.numel()]
    if not boxes:
        return None
    low = _triple([max(0, min(one.low[axis] for one in boxes) - MARGIN) for axis in range(3)])
    high = _triple([min(boxes[0].shape[a], max(one.high[a] for one in boxes) + MARGIN) for a in range(3)])
    prediction = None if mask is None else mask.crop(low, high)
    sizes = spacing if rule == MM else (1.0, 1.0, 1.0)
    drawn = _as_drawn(draw_clicks(label.mask.crop(low, high), [ORGAN], key, rule, prediction, sizes))
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
