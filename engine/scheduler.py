"""Decides what runs next. It handles integers, never tensors, so it is tested without a device.

Programs are numbered in the order they are submitted; a smaller number is older. Two decisions:

- `admit`: the oldest waiting program starts when its declared bytes fit beside those already live; what several
  programs hold together, as the models of a scan hold its voxels, counts once;
- `next_batch`: the oldest live work names the unit, and the batch is filled from every live work on that
  unit, oldest first, so that old scans finish and free their memory early.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Slice:
    """`count` items of a program's current work, from item `first` on."""

    program: int
    first: int
    count: int


@dataclass(frozen=True)
class Batch:
    unit: int
    slices: tuple[Slice, ...]

    @property
    def size(self) -> int:
        return sum(part.count for part in self.slices)


@dataclass(frozen=True)
class _Declared:
    """A program's own bytes, and those of what it shares with others, by key."""

    own: int
    shared: Mapping[Hashable, int] = field(default_factory=dict)


@dataclass
class _Offer:
    unit: int
    count: int
    taken: int = 0
    delivered: int = 0


class Scheduler:
    """First come, first served, over programs whose work mixes in one batch.

    Args:
        budget: bytes that live programs may declare together; one program alone is always let in, as what it
            declares is the most it can need.
        batch_size: items a batch, for every unit until `limit` lowers it.
        max_live: how many programs may be live at once.
    """

    def __init__(self, budget: int, batch_size: int = 1, max_live: int = 8):
        assert batch_size >= 1 and max_live >= 1
        self.budget, self.batch_size, self.max_live = budget, batch_size, max_live
        self._waiting: deque[tuple[int, _Declared]] = deque()
        self._live: dict[int, _Declared] = {}
        self._offers: dict[int, _Offer] = {}
        self._limits: dict[int, int] = {}
        self._submitted = 0

    @property
    def live(self) -> int:
        return len(self._live)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def submit(self, nbytes: int, shared: Mapping[Hashable, int] | None = None) -> int:
        """Queue a program that will hold `nbytes`; returns its number.

        Args:
            shared: bytes that it holds besides, by what they are of; of live programs with a key each counts once.
                Programs that share one follow one another, so that it is never held for one that is not the next.
        """
        number = self._submitted
        self._submitted += 1
        self._waiting.append((number, _Declared(nbytes, shared or {})))
        return number

    @property
    def declared(self) -> int:
        """Bytes that live programs have declared."""
        return _together(self._live.values())

    def admit(self) -> int | None:
        """The oldest waiting program if it may start now. Younger ones never overtake it."""
        if not self._waiting or len(self._live) >= self.max_live:
            return None
        number, declared = self._waiting[0]
        if self._live and _together([*self._live.values(), declared]) > self.budget:
            return None
        self._waiting.popleft()
        self._live[number] = declared
        return number

    def offer(self, program: int, unit: int, count: int) -> None:
        """A live program's current work: `count` items on `unit`."""
        assert program in self._live and program not in self._offers and count >= 1
        self._offers[program] = _Offer(unit, count)

    @property
    def offered(self) -> bool:
        """Whether items wait for a batch."""
        return any(offer.taken < offer.count for offer in self._offers.values())

    def next_batch(self, full: bool = False) -> Batch | None:
        """The next items to run, or None while nothing is offered.

        Args:
            full: also None where what is offered does not fill a batch.
        """
        ready = [p for p in sorted(self._offers) if self._offers[p].taken < self._offers[p].count]
        if not ready:
            return None
        unit = self._offers[ready[0]].unit
        room = self._limits.get(unit, self.batch_size)
        if full and sum(o.count - o.taken for o in self._offers.values() if o.unit == unit) < room:
            return None
        slices = []
        for program in ready:
            offer = self._offers[program]
            if offer.unit != unit or room == 0:
                continue
            count = min(room, offer.count - offer.taken)
            slices.append(Slice(program, offer.taken, count))
            offer.taken += count
            room -= count
        return Batch(unit, tuple(slices))

    def delivered(self, batch: Batch) -> list[int]:
        """Note a batch's outputs as delivered; returns the programs whose work is now whole."""
        whole = []
        for part in batch.slices:
            offer = self._offers.get(part.program)
            if offer is None:  # the program failed in the meantime
                continue
            offer.delivered += part.count
            if offer.delivered == offer.count:
                del self._offers[part.program]
                whole.append(part.program)
        return whole

    def finish(self, program: int) -> None:
        """A program ended, well or not: its bytes are free again."""
        self._offers.pop(program, None)
        del self._live[program]

    def limit(self, unit: int, batch_size: int) -> None:
        """No batch of this unit is larger from now on: what an out-of-memory taught."""
        self._limits[unit] = max(1, min(batch_size, self._limits.get(unit, batch_size)))


def _together(programs: Collection[_Declared]) -> int:
    shared = {key: nbytes for program in programs for key, nbytes in program.shared.items()}
    return sum(program.own for program in programs) + sum(shared.values())
