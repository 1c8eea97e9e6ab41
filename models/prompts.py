"""What a prompted model is asked with, and who asks.

A program of a prompted model segments one organ. It takes its prompts one at a time from a source, each after
showing the mask so far, so that the next click can be put where that mask is wrong:

    mask = None
    while (prompt := source.next(mask)) is not None:
        logits = yield from call(decoder, embedding, ...)
        mask = on_the_scans_grid(logits)
    return mask

The source scores and stores every mask it is shown, so that a click's result is a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from umd_engine.data.volume import Grid
from umd_engine.models.mask import Mask, Triple

KINDS = ("text", "point", "box", "scribble", "lasso", "mask")
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Click:
    """A point in or beside an organ.

    Attributes:
        world: mm, RAS, where it is on every grid of the scan.
        positive: it lies in the organ; otherwise outside it.
    """

    world: Point
    positive: bool = True


@dataclass(frozen=True)
class Box:
    """Voxels low to high - 1 of the scan's grid, RAS+."""

    low: Triple
    high: Triple
    positive: bool = True


@dataclass(frozen=True, eq=False)
class Drawing:
    """Voxels marked by hand: a scribble, the inside of a lasso, or a mask to start from.

    Attributes:
        kind: "scribble", "lasso" or "mask".
    """

    kind: str
    mask: Mask
    positive: bool = True


@dataclass(frozen=True, eq=False)
class Prompt:
    """What is new in one step; all of it together.

    Attributes:
        text: the organ's name, in words.
    """

    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    text: str | None = None
    drawing: Drawing | None = None


@dataclass(frozen=True, eq=False)
class View:
    """The organ on a grid of the model's own, where some published rules draw their clicks.

    Attributes:
        label, prediction: uint8 [x, y, z], 0 or 1; without a prediction yet it is zeros.
        affine: (4, 4), voxel of this grid -> mm (RAS).
        ends: the model takes no click beyond this grid; the rules that draw on the scan's then draw within it.
    """

    label: torch.Tensor
    prediction: torch.Tensor
    affine: np.ndarray
    ends: bool = True

    def holds(self, world: Point) -> bool:
        """Whether a point in mm lies in a voxel of this grid."""
        return all(0 <= v < n for v, n in zip(voxel_of(world, self.affine), self.label.shape, strict=True))


class PromptSource(Protocol):
    """Prompts for one organ of one scan.

    Attributes:
        organ: its name in the label set.
        label: its reference on the scan's grid, for protocols that crop by it; None where there is none.
    """

    @property
    def organ(self) -> str: ...

    @property
    def label(self) -> Mask | None: ...

    def next(self, mask: Mask | None, view: Callable[[], View] | None = None, note: str = "") -> Prompt | None:
        """The next prompt, or None: it was the last.

        Args:
            mask: what the prompts so far gave, on the scan's grid; None before the first.
            view: makes the organ on the model's own grid, which may bound where it takes clicks; a model without one
                cannot be prompted by the rules that draw there.
            note: what a row should say about how this mask was made.

        Raises:
            OptionError: the rule needs a view and the model has none.
        """


def voxel_of(world: Point, affine: np.ndarray) -> Triple:
    """The voxel whose centre is nearest to a point in mm; of two the one with the even index."""
    x, y, z = np.linalg.solve(affine, [*world, 1.0])[:3]
    return int(np.round(x)), int(np.round(y)), int(np.round(z))


def world_of(voxel: Triple | Point, affine: np.ndarray) -> Point:
    """The centre of a voxel in mm (RAS)."""
    x, y, z = (np.asarray(affine) @ [*voxel, 1.0])[:3]
    return float(x), float(y), float(z)


def is_inside(voxel: Triple, grid: Grid) -> bool:
    return all(0 <= v < n for v, n in zip(voxel, grid.shape, strict=True))
