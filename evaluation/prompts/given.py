"""A prompt as it was given: what the store keeps and a replay gives again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from umd_engine.data.volume import Grid
from umd_engine.models.mask import Triple
from umd_engine.models.prompts import Box, Click, Point, Prompt, voxel_of, world_of

SHARED, OWN, REPLAYED = "shared", "own", "replayed"
ORIGINS = (SHARED, OWN, REPLAYED)
POINT, BOX, TEXT = "point", "box", "text"
ROUNDING = 1e-6  # of a voxel: what float64 affines lose on the way to mm and back


@dataclass(frozen=True)
class Given:
    """A point, a box or a text.

    Attributes:
        kind: "point", "box" or "text".
        origin: "shared": the subject's point, the same in every scan of the subject; "own": from this scan; or
            "replayed".
        voxel: on the scan's RAS+ grid; of a box its first voxel.
        world: mm (RAS); of a box the outer corner of its first voxel.
        high: of a box the voxel after its last one, on each axis.
        world_high: of a box the outer corner of its last voxel.
    """

    kind: str
    origin: str
    positive: bool = True
    voxel: Triple | None = None
    world: Point | None = None
    high: Triple | None = None
    world_high: Point | None = None
    text: str = ""


def point_at(world: Point, affine: np.ndarray, origin: str, positive: bool = True) -> Given:
    """A click at a point in mm; `affine` is the scan's."""
    return Given(POINT, origin, positive, voxel_of(world, affine), world)


def box_of(low: Triple, high: Triple, affine: np.ndarray, origin: str) -> Given:
    """The box of voxels low to high - 1 of the scan's grid."""
    first, last = (_shift(corner, affine) for corner in (low, high))
    return Given(BOX, origin, voxel=low, world=first, high=high, world_high=last)


def box_between(corner: Point, opposite: Point, grid: Grid, origin: str) -> Given:
    """The voxels of `grid` that a box in mm touches, cut to the scan.

    Two opposite corners are the box on any grid whose axes have the directions of the box's own.
    """
    ends = np.stack([np.linalg.solve(grid.affine, [*point, 1.0])[:3] + 0.5 for point in (corner, opposite)])
    low, high = np.floor(ends.min(0) + ROUNDING), np.ceil(ends.max(0) - ROUNDING)
    low, high = np.clip(low, 0, grid.shape), np.clip(high, 0, grid.shape)
    return box_of(_triple(low), _triple(high), grid.affine, origin)


def words_of(organ: str) -> str:
    """An organ's name in words: "kidney_left" is "left kidney"."""
    stem, _, side = organ.rpartition("_")
    name = f"{side} {stem}" if stem and side in ("left", "right") else organ
    return name.replace("_", " ")


def as_prompt(given: Sequence[Given]) -> Prompt:
    """What a step gives, as a model takes it."""
    clicks = tuple(Click(one.world, one.positive) for one in given if one.kind == POINT and one.world is not None)
    box = next((Box(one.voxel, one.high, one.positive) for one in given if one.voxel and one.high), None)
    text = next((one.text for one in given if one.kind == TEXT), None)
    return Prompt(clicks, box, text)


def _shift(corner: Triple, affine: np.ndarray) -> Point:
    x, y, z = corner
    return world_of((x - 0.5, y - 0.5, z - 0.5), affine)


def _triple(values: np.ndarray) -> Triple:
    x, y, z = (int(value) for value in values)
    return x, y, z
