"""What a model's own program gives its units: the windows that int8 ranges are measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from umd_engine.engine.executor import Session
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program, Tensors
from umd_engine.models.agreement import Open
from umd_engine.models.verify import run_program

LIMIT = 64  # windows of a unit


def windows_of(
    programs: Iterable[Callable[[], Program[object]]], opened: Open, limit: int = LIMIT
) -> dict[str, list[dict[str, np.ndarray]]]:
    """Inputs of every unit that the programs call, by the unit's name, each with a batch axis of 1.

    Constant windows are left out: they tell nothing of a range. Of more than `limit` the first are kept.

    Args:
        programs: start a program each, e.g. `lambda: model.segment(model.prepare(scan.images, device))`.
    """
    seen: dict[str, list[dict[str, np.ndarray]]] = {}
    for start in programs:
        run_program(start(), lambda unit: _Noting(unit, opened(unit), seen, limit))
    return seen


@dataclass(frozen=True, eq=False)
class _Noting:
    unit: Unit
    session: Session
    seen: dict[str, list[dict[str, np.ndarray]]] = field(repr=False)
    limit: int

    def run(self, inputs: Tensors) -> Tensors:
        kept = self.seen.setdefault(self.unit.name, [])
        for item in range(len(inputs[0])):
            values = [x[item : item + 1].cpu().numpy().copy() for x in inputs]
            if len(kept) < self.limit and not any(v.size > 1 and v.min() == v.max() for v in values):
                kept.append({spec.name: v for spec, v in zip(self.unit.inputs, values, strict=True)})
        return self.session.run(inputs)
