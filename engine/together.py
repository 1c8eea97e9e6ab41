"""Several programs of one scan as one: the organs of a scan share every batch.

Each keeps its own pace: after every round of work those that are done with theirs go on, so the number of rounds is
that of the longest program.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Generic, TypeVar

from umd_engine.engine.executor import typed
from umd_engine.engine.work import Program, Tensors, Work
from umd_engine.errors import UmdEngineError

Result = TypeVar("Result")


def together(programs: Sequence[Program[Result]]) -> Program[list[Result | UmdEngineError]]:
    """The programs' results in their order; an error ends the program that raised it and no other."""
    company = _Company(programs)
    while company.waiting:
        unit = company.waiting[min(company.waiting)].unit
        yield from company.round([i for i, work in sorted(company.waiting.items()) if work.unit is unit])
    return company.results


def in_turn(programs: Sequence[Program[Result]]) -> Program[list[Result | UmdEngineError]]:
    """The same, one after the other: for official code whose random stream runs on from organ to organ."""
    results: list[Result | UmdEngineError] = []
    for program in programs:
        results += yield from together([program])
    return results


class _Company(Generic[Result]):
    def __init__(self, programs: Sequence[Program[Result]]):
        self.programs = programs
        self.results: list[Result | UmdEngineError] = [UmdEngineError("not run")] * len(programs)
        self.waiting: dict[int, Work] = {}
        for number in range(len(programs)):
            self._advance(number)

    def round(self, numbers: Sequence[int]) -> Program[None]:
        """One work of all these programs' works, which are on one unit; then each goes on."""
        works = [self.waiting.pop(number) for number in numbers]
        owners = [(place, item) for place, work in enumerate(works) for item in range(work.count)]
        failed: dict[int, Exception] = {}

        def sink(index: int, outputs: Tensors) -> None:
            place, item = owners[index]
            if place in failed:
                return
            try:
                works[place].sink(item, outputs)
            except Exception as error:
                failed[place] = error

        def spill() -> int:
            return sum(work.spill() for work in [*works, *list(self.waiting.values())])

        items = chain.from_iterable(work.items for work in works)
        yield Work(works[0].unit, items, len(owners), sink, spill)
        for place, number in enumerate(numbers):
            if place in failed:
                self.programs[number].close()
                self.results[number] = typed(failed[place])
            else:
                self._advance(number)

    def _advance(self, number: int) -> None:
        try:
            work = next(self.programs[number])
            while work.count == 0:
                work = next(self.programs[number])
        except StopIteration as end:
            self.results[number] = end.value
        except Exception as error:
            self.results[number] = typed(error)
        else:
            self.waiting[number] = work
