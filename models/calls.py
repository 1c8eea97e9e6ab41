"""What a model will ask of its units for one scan, known from the scan's shape and spacing alone.

Every model has a method that says it, made of the functions that its protocol itself uses. What only the voxels
decide is assumed, and said: a foreground that models cut to is taken for the whole scan, an organ for `ORGAN` mm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from umd_engine.engine.unit import Unit

ORGAN = 150.0  # mm: the side of the box that an organ of unknown place is taken for
CUT = "nothing is cut off"


@dataclass(frozen=True)
class Works:
    """Items that are asked for at once, as an `engine.work.Work`."""

    unit: Unit
    count: int


@dataclass(frozen=True)
class Calls:
    """A program's works, in their order; each waits for the one before.

    Attributes:
        assumed: what is not known from shape and spacing, in words; empty: all is.
        least, most: items, where the voxels decide; None: as in `works`.
    """

    works: tuple[Works, ...]
    assumed: str = ""
    least: int | None = None
    most: int | None = None

    @property
    def items(self) -> int:
        return sum(work.count for work in self.works)

    @property
    def range(self) -> tuple[int, int]:
        return (
            self.items if self.least is None else self.least,
            self.items if self.most is None else self.most,
        )


@dataclass(frozen=True)
class Step:
    """What one step gives to every organ."""

    points: int = 0
    box: bool = False
    text: bool = False


@dataclass(frozen=True)
class Asked:
    """What a prompted model is asked.

    Attributes:
        organs: masks that are wanted, every repeat one of them.
        steps: of each of them.
    """

    organs: int
    steps: Sequence[Step] = (Step(points=1),)

    def points(self, step: int) -> int:
        """All points up to a step."""
        return sum(one.points for one in self.steps[: step + 1])


def side_by_side(organ: Iterable[Works], organs: int, in_turn: bool) -> list[Works]:
    """The works of one organ for all: in common rounds, or one organ after the other."""
    if in_turn:
        return [*organ] * organs
    return [Works(work.unit, work.count * organs) for work in organ]


def organ_voxels(spacing: Iterable[float]) -> list[int]:
    """Voxels of `ORGAN` along each axis, at least one."""
    return [max(1, math.ceil(ORGAN / mm)) for mm in spacing]
