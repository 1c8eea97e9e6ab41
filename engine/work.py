"""What a program asks for: a lazy stream of inputs for one unit, and where each output goes.

A model's protocol is plain sequential code for one scan, a generator that yields `Work` and is resumed
when all of it has been delivered:

    def segment(image):
        sums = Accumulator(...)
        yield Work(unit, items=(window(image, i) for i in range(n)), count=n, sink=sums.add)
        return sums.mean().argmax(0)

It never sees a batch: the scheduler fills batches from every live program.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch

from umd_engine.engine.unit import Unit

Result = TypeVar("Result")
Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True, eq=False)
class Work:
    """Inputs for one unit.

    Attributes:
        items: yields one tuple of inputs without the batch axis a time, made when a batch needs it.
        count: how many items there are.
        sink: called with (item index, outputs without the batch axis), once an item, in order.
        spill: moves what the program sums up on the device to the host's memory, and returns the bytes that are free
            on the device now; called by another thread while one item of anybody's does not fit.
    """

    unit: Unit
    items: Iterator[Tensors]
    count: int
    sink: Callable[[int, Tensors], None]
    spill: Callable[[], int] = lambda: 0


Program = Generator[Work, None, Result]


def call(unit: Unit, *inputs: torch.Tensor) -> Generator[Work, None, Tensors]:
    """One item as a call: `outputs = yield from call(unit, x)`."""
    outputs: list[Tensors] = []
    yield Work(unit, iter([inputs]), 1, lambda _, out: outputs.append(out))
    return outputs[0]
