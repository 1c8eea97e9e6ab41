"""What a program asks for: network calls by unit, and rounds, of which each waits for the one before."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from umd_engine.engine.work import Program, Result


@dataclass
class Counts:
    """Attributes:
    calls: items that went through each unit, by its name.
    rounds: works, one after the other: the critical path.
    """

    calls: Counter[str] = field(default_factory=Counter)
    rounds: int = 0

    def __str__(self) -> str:
        by_unit = ", ".join(f"{count} of {name}" for name, count in sorted(self.calls.items()))
        return f"{self.calls.total()} network calls ({by_unit}) in {self.rounds} rounds"


def counting(program: Program[Result], counts: Counts) -> Program[Result]:
    """The same program; its works are counted."""
    while True:
        try:
            work = next(program)
        except StopIteration as end:
            result: Result = end.value
            return result
        counts.rounds += 1
        counts.calls[work.unit.name] += work.count
        yield work
