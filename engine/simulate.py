"""A run without tensors: the scheduler that decides a real one, driven by a virtual clock.

    scans -> readers -> programs -> batches -> programs -> ... -> store

An engine is made as `Executor` is: readers, one thread that feeds the device, one that resumes programs, and one
writer for all. What runs at the same time shares the host's cores. Several engines pull scans from one queue.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from umd_engine.engine.executor import AHEAD, LINGER
from umd_engine.engine.scheduler import Batch, Scheduler
from umd_engine.engine.trace import STAGES

Then = Callable[[], None]


@dataclass(frozen=True)
class Task:
    """Seconds that a stage takes alone, and how many of the host's cores it keeps busy; 0: it waits for a device."""

    seconds: float
    cores: float = 1.0


NOTHING = Task(0.0, 0.0)


@dataclass(frozen=True)
class Case:
    """One scan with one model.

    Attributes:
        nbytes: what it declares.
        read: of its scan, done once for neighbours of one scan.
        rounds: unit and items of each work, in order; at least one.
        resume: before every round. finish: after the last.
    """

    nbytes: int
    read: Task
    prepare: Task
    rounds: Sequence[tuple[int, int]]
    resume: Task = NOTHING
    finish: Task = NOTHING
    store: Task = NOTHING


@dataclass(frozen=True)
class Machine:
    """Attributes:
    engines: devices. cores: of the host, for all of them. budget, batch_size, max_live, readers: of each engine.
    forward: (unit, items) -> a network call. collect: (unit, items) -> what goes with it in the same thread.
    """

    engines: int
    cores: float
    budget: int
    batch_size: int
    max_live: int
    readers: int
    forward: Callable[[int, int], Task]
    collect: Callable[[int, int], Task]


@dataclass
class Simulated:
    """What came out.

    Attributes:
        seconds: until the last row is stored.
        busy: stage -> seconds of it, over all engines.
        share: stage -> of the time that its workers have.
        calls, items: network calls, and what went through them.
        peak: bytes declared at once by an engine's cases.
    """

    seconds: float = 0.0
    busy: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    share: dict[str, float] = field(default_factory=dict)
    calls: int = 0
    items: int = 0
    peak: int = 0

    @property
    def binding(self) -> str:
        """The stage whose workers have the least time left: others wait for it."""
        workers = {"read": ("read", "prepare"), "prepare": ("read", "prepare")}
        workers |= {"forward": ("forward", "collect"), "collect": ("forward", "collect")}
        full = {stage: sum(self.share[one] for one in workers.get(stage, (stage,))) for stage in STAGES}
        return max(STAGES, key=lambda stage: (round(full[stage], 6), self.share[stage]))


def simulate(scans: Iterable[Sequence[Case]], machine: Machine) -> Simulated:
    """Run all cases, those of a scan one after the other on one engine."""
    clock, found = _Clock(machine.cores), Simulated()
    writer = _Pool(clock, 1, found)
    queue = iter(scans)
    engines = [_Engine(clock, machine, queue, writer, found) for _ in range(machine.engines)]
    for engine in engines:
        engine.step()
    clock.run()
    found.seconds = clock.now
    readers = machine.readers * machine.engines
    workers = {"read": readers, "prepare": readers, "store": 1}
    for stage in STAGES:
        available = found.seconds * workers.get(stage, machine.engines)
        found.share[stage] = found.busy[stage] / available if available else 0.0
    return found


class _Clock:
    """Virtual time. Tasks that need more cores than there are all go slower by the same factor."""

    def __init__(self, cores: float):
        self.cores, self.now = cores, 0.0
        self._wanted = self._work = 0.0  # cores; seconds that a task with its cores has been given so far
        self._shared: list[tuple[float, int, float, float, Callable[[float], None]]] = []
        self._others: list[tuple[float, int, float, Callable[[float], None]]] = []
        self._number = itertools.count()

    def start(self, task: Task, then: Callable[[float], None]) -> None:
        """`then` is called with the seconds that it took."""
        if task.cores:
            entry = (self._work + task.seconds, next(self._number), task.cores, self.now, then)
            heapq.heappush(self._shared, entry)
            self._wanted += task.cores
        else:
            heapq.heappush(self._others, (self.now + task.seconds, next(self._number), self.now, then))

    def run(self) -> None:
        while self._shared or self._others:
            rate = min(1.0, self.cores / self._wanted) if self._shared else 1.0
            shared = self.now + max(0.0, self._shared[0][0] - self._work) / rate if self._shared else float("inf")
            other = self._others[0][0] if self._others else float("inf")
            moment = min(shared, other)
            self._work += (moment - self.now) * rate
            self.now = moment
            if shared <= other:
                self._work, _, cores, began, then = heapq.heappop(self._shared)
                self._wanted = self._wanted - cores if self._shared else 0.0
            else:
                _, _, began, then = heapq.heappop(self._others)
            then(self.now - began)


class _Pool:
    """So many workers; each does one job at a time, stage after stage."""

    def __init__(self, clock: _Clock, workers: int, found: Simulated):
        self.clock, self.free, self.found = clock, workers, found
        self.queue: deque[tuple[Iterator[tuple[str, Task]], Then]] = deque()

    def submit(self, stages: Iterable[tuple[str, Task]], then: Then) -> None:
        self.queue.append((iter(stages), then))
        self._begin()

    def _begin(self) -> None:
        while self.free and self.queue:
            self.free -= 1
            self._next(*self.queue.popleft())

    def _next(self, stages: Iterator[tuple[str, Task]], then: Then) -> None:
        stage = next(stages, None)
        if stage is None:
            self.free += 1
            self._begin()
            then()
            return
        name, task = stage

        def ended(seconds: float) -> None:
            self.found.busy[name] += seconds
            self._next(stages, then)

        self.clock.start(task, ended)


@dataclass(eq=False)
class _Live:
    case: Case
    rounds: Iterator[tuple[int, int]]


class _Engine:
    """`Executor`, with tasks in place of futures."""

    def __init__(
        self, clock: _Clock, machine: Machine, scans: Iterator[Sequence[Case]], writer: _Pool, found: Simulated
    ):
        self.clock, self.machine, self.scans, self.writer, self.found = clock, machine, scans, writer, found
        self.scheduler = Scheduler(machine.budget, machine.batch_size, machine.max_live)
        self.readers, self.device, self.resumer = (_Pool(clock, n, found) for n in (machine.readers, 1, 1))
        self.queue: deque[tuple[Case, bool]] = deque()  # and whether it reads its scan
        self.pending: dict[int, tuple[Case, bool]] = {}
        self.live: dict[int, _Live] = {}
        self.declared = self.batches = self.resuming = self.steps = 0

    def step(self, patient: bool = True) -> None:
        """What the executor's loop does each time that something ended."""
        self.steps += 1
        while (number := self._admit()) is not None:
            self._start(number)
        while self.batches < AHEAD:
            idle = self.batches == 0 and not (patient and self.resuming)
            batch = self.scheduler.next_batch(full=not idle)
            if batch is None:
                break
            self._run(batch)
        if patient and self.batches == 0 and self.scheduler.offered:
            seen = self.steps
            self.clock.start(Task(LINGER, 0.0), lambda _: self.step(patient=False) if self.steps == seen else None)

    def _admit(self) -> int | None:
        if self.scheduler.waiting == 0 and (case := self._next_case()) is not None:
            self.pending[self.scheduler.submit(case[0].nbytes)] = case
        return self.scheduler.admit()

    def _next_case(self) -> tuple[Case, bool] | None:
        if not self.queue:
            self.queue.extend((case, number == 0) for number, case in enumerate(next(self.scans, ())))
        return self.queue.popleft() if self.queue else None

    def _start(self, number: int) -> None:
        case, reads = self.pending.pop(number)
        self.live[number] = _Live(case, iter(case.rounds))
        self.declared += case.nbytes
        self.found.peak = max(self.found.peak, self.declared)
        stages = [("read", case.read)] if reads else []
        self.readers.submit([*stages, ("prepare", case.prepare)], lambda: self._advance(number))

    def _advance(self, number: int) -> None:
        """Resume a program: it asks for its next work, or ends."""
        live = self.live[number]
        work = next(live.rounds, None)
        self.resuming += 1
        task = live.case.finish if work is None else live.case.resume
        self.resumer.submit([("program", task)], lambda: self._resumed(number, work))
        self.step()

    def _resumed(self, number: int, work: tuple[int, int] | None) -> None:
        self.resuming -= 1
        if work is not None:
            self.scheduler.offer(number, *work)
        else:
            case = self.live.pop(number).case
            self.declared -= case.nbytes
            self.scheduler.finish(number)
            self.writer.submit([("store", case.store)], lambda: None)
        self.step()

    def _run(self, batch: Batch) -> None:
        self.batches += 1
        self.found.calls += 1
        self.found.items += batch.size
        forward = self.machine.forward(batch.unit, batch.size)
        collect = self.machine.collect(batch.unit, batch.size)
        self.device.submit([("forward", forward), ("collect", collect)], lambda: self._delivered(batch))

    def _delivered(self, batch: Batch) -> None:
        self.batches -= 1
        for number in self.scheduler.delivered(batch):
            self._advance(number)
        self.step()
