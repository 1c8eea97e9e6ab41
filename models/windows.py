"""What a model's own program gives its units: the windows that int8 ranges are measured on."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from umd_engine.engine.executor import Session, run_program
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program, Tensors
from umd_engine.models.agreement import Open

LIMIT = 64  # windows of a unit
ROOM = 1 << 30  # bytes of windows of a unit

Start = Callable[[], Program[object]]
Window = dict[str, np.ndarray]


def windows_of(
    programs: Sequence[Start], opened: Open, limit: int = LIMIT, room: int = ROOM
) -> dict[str, list[Window]]:
    """Inputs of every unit that the programs call, by the unit's identity, each with a batch axis of 1.

    Every program has an equal share of at most `limit` windows and `room` bytes of a unit, and of what it gives a
    seeded random choice is kept. Windows whose first input, the image, is constant are left out: they tell nothing of
    a range.

    Args:
        programs: start a program each, e.g. `lambda: model.segment(model.prepare(scan.images, device))`. Of more
            than `limit` only so many are run, evenly chosen.
    """
    chosen = [programs[i * len(programs) // limit] for i in range(limit)] if len(programs) > limit else programs
    kept: dict[str, list[Window]] = {}
    for number, start in enumerate(chosen):
        share = _Share(number, len(chosen), limit, room, opened)
        run_program(start(), share)
        for identity, draw in share.draws.items():
            kept.setdefault(identity, []).extend(draw.kept)
    return kept


def _nbytes(unit: Unit) -> int:
    return sum(int(np.prod(spec.shape)) * spec.dtype.itemsize for spec in unit.inputs)


@dataclass(eq=False)
class _Draw:
    """A random choice of `quota` of all windows seen, each as likely as any other."""

    quota: int
    random: random.Random
    kept: list[Window] = field(default_factory=list)
    seen: int = 0

    def add(self, make: Callable[[], Window]) -> None:
        self.seen += 1
        place = len(self.kept) if self.seen <= self.quota else self.random.randrange(self.seen)
        if place < self.quota:
            self.kept[place : place + 1] = [make()]


@dataclass(frozen=True, eq=False)
class _Share:
    """What program `number` of `count` may keep; opens sessions that note their inputs."""

    number: int
    count: int
    limit: int
    room: int
    opened: Open
    draws: dict[str, _Draw] = field(default_factory=dict)

    def __call__(self, unit: Unit) -> Session:
        most = min(self.limit, max(1, self.room // _nbytes(unit)))
        quota = (self.number + 1) * most // self.count - self.number * most // self.count
        draw = self.draws.setdefault(unit.identity, _Draw(quota, random.Random(self.number)))
        return _Noting(unit, self.opened(unit), draw)


@dataclass(frozen=True, eq=False)
class _Noting:
    unit: Unit
    session: Session
    draw: _Draw = field(repr=False)

    def run(self, inputs: Tensors) -> Tensors:
        for item, image in enumerate(inputs[0]):
            if image.min() < image.max() or image.numel() == 1:
                self.draw.add(partial(self._window, inputs, item))
        return self.session.run(inputs)

    def _window(self, inputs: Tensors, item: int) -> Window:
        values = (x[item : item + 1].cpu().numpy().copy() for x in inputs)
        return {spec.name: x for spec, x in zip(self.unit.inputs, values, strict=True)}
