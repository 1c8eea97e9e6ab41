"""Prompts that are the same for every implementation that is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from umd_engine.data.volume import Volume
from umd_engine.errors import UmdEngineError
from umd_engine.kernels.bounds import bounds
from umd_engine.models.mask import Mask
from umd_engine.models.prompts import Click, Point, Prompt, View


class FixedClick:
    """One positive click."""

    def __init__(self, organ: str, label: Mask, click: Point):
        self.organ, self.label, self._click = organ, label, click

    def next(self, mask: Mask | None, view: Callable[[], View] | None = None, note: str = "") -> Prompt | None:
        return Prompt(clicks=(Click(self._click),)) if mask is None else None


def organ_masks(label: Volume, ids: Mapping[str, int]) -> dict[str, Mask]:
    """Every organ's mask in its box; one pass finds the boxes."""
    boxes = bounds(label.voxels, max(ids.values()) + 1).boxes
    found = {}
    for organ, number in ids.items():
        low, high = boxes[number].T.tolist()
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        voxels = torch.from_numpy((label.voxels[box] == number).astype("uint8"))
        found[organ] = Mask(voxels.contiguous(), (low[0], low[1], low[2]), label.shape)
    return found


def as_array(mask: Mask | UmdEngineError) -> np.ndarray:
    """uint8 [X, Y, Z] of what a program found; raises the error that ended it."""
    if isinstance(mask, UmdEngineError):
        raise mask
    return mask.full().numpy()
