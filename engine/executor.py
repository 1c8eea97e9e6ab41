"""Runs programs: readers prepare, the scheduler batches, a session computes, sinks receive.

The loop is `Executor.run`: admit, schedule, run, deliver. It owns tensors, threads and recovery; every
decision about order is the scheduler's, and no thread but the one that iterates touches it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol, cast

import torch

from umd_engine.engine.scheduler import Batch, Scheduler
from umd_engine.engine.trace import Trace
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program, Tensors, Work
from umd_engine.errors import DataError, OutOfMemoryError, UmdEngineError
from umd_engine.kernels.parts import doing

log = logging.getLogger(__name__)
AHEAD = 2  # batches that are computed or wait for the device
LINGER = 0.005  # s that an idle device waits for a batch to fill up


class Session(Protocol):
    """An opened unit: batched inputs on any device in, batched outputs out."""

    def run(self, inputs: Tensors) -> Tensors: ...


Needs = tuple[int, Mapping[Hashable, int]]  # bytes of its own, and those it holds with others: see `Scheduler.submit`


@dataclass(frozen=True, eq=False)
class Job:
    """One case.

    Attributes:
        key: handed back with the outcome.
        nbytes: what the case holds while it is live, in bytes: a number, or a function that a reader thread calls and
            that also says what it shares.
        start: reads and prepares, in a reader thread, and returns the program.
    """

    key: Any
    nbytes: int | Callable[[], Needs]
    start: Callable[[], Program[Any]]


@dataclass(frozen=True, eq=False)
class Outcome:
    """A case's end: its result, or the typed error that ended it."""

    key: Any
    result: Any = None
    error: UmdEngineError | None = None


@dataclass(eq=False)
class _Live:
    job: Job
    program: Program[Any]
    work: Work | None = None


class Executor:
    """Runs jobs in batches that mix them.

    Readers start jobs, one thread feeds the device, others resume programs; the thread that iterates `run` decides
    what runs next and hands out outcomes. While a batch computes, the next one is made and older ones are finished.

    Args:
        open_unit: returns the session of a unit; called once a unit.
        batch_size: items a network call. From 2 on: torch gives a convolution of one item with few channels or
            a small grid to its fallback on a CPU, at a fifth of the speed (aten's use_mkldnn).
        memory: bytes that live jobs may declare together.
        max_live: jobs in flight; their windows mix in a batch.
        readers: threads that read and prepare ahead.
        trace: told of every stage.
    """

    def __init__(
        self,
        open_unit: Callable[[Unit], Session],
        batch_size: int = 2,
        memory: int = 8 << 30,
        max_live: int = 4,
        readers: int = 2,
        trace: Trace | None = None,
    ):
        self.open_unit = open_unit
        self.scheduler = Scheduler(memory, batch_size, max_live)
        self.readers = readers
        self.trace = trace or Trace()
        self.calls = 0
        self._sessions: dict[int, Session] = {}
        self._units: list[Unit] = []
        self._live: dict[int, _Live] = {}
        self._running: dict[Future[Any], Callable[[Future[Any]], Iterator[Outcome]]] = {}
        self._batches = self._resuming = self._measuring = 0
        self._limits: dict[int, int] = {}  # what out-of-memory taught, a unit
        self._stopped = False

    def stop(self) -> None:
        """Start no more jobs: `run` ends when those in flight have ended."""
        self._stopped = True

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Yields each job's outcome as soon as it ends; the order is by age, not by the manifest."""
        queue = iter(jobs)
        pending: dict[int, Job] = {}
        self._read = ThreadPoolExecutor(self.readers, "reader")
        self._compute, self._resume = ThreadPoolExecutor(1, "device"), ThreadPoolExecutor(1, "program")
        patient = True
        try:
            while True:
                while (number := self._admit(queue, pending)) is not None:
                    job = pending.pop(number)
                    self._running[self._read.submit(job.start)] = partial(self._begin, number, job)
                self._fill_device(patient)
                if not self._running:
                    return
                lingering = patient and self._batches == 0 and self.scheduler.offered
                done = wait(self._running, LINGER if lingering else None, FIRST_COMPLETED).done
                patient = bool(done)
                for future in done:
                    yield from self._running.pop(future)(future)
        finally:
            for pool in (self._read, self._compute, self._resume):
                pool.shutdown(cancel_futures=True)

    def _fill_device(self, patient: bool) -> None:
        """Hand the device batches: one that is not full only when it is idle, and no program that is being resumed may
        fill it in a moment."""
        while self._batches < AHEAD:
            idle = self._batches == 0 and not (patient and self._resuming)
            batch = self.scheduler.next_batch(full=not idle)
            if batch is None:
                return
            works = [cast(Work, self._live[part.program].work) for part in batch.slices]
            self._batches += 1
            self._running[self._compute.submit(self._run_batch, batch, works)] = partial(self._deliver, batch)

    def _admit(self, queue: Iterator[Job], pending: dict[int, Job]) -> int | None:
        """The next job that may start; one job at most waits, so a manifest of any length is read lazily."""
        if self._stopped:
            return None
        if self.scheduler.waiting == self._measuring == 0 and (job := next(queue, None)) is not None:
            if callable(job.nbytes):
                self._measuring += 1
                self._running[self._read.submit(job.nbytes)] = partial(self._submit, job, pending)
            else:
                pending[self.scheduler.submit(job.nbytes)] = job
        return self.scheduler.admit()

    def _submit(self, job: Job, pending: dict[int, Job], found: Future[Needs]) -> Iterator[Outcome]:
        self._measuring -= 1
        if error := found.exception():
            yield Outcome(job.key, error=typed(error))
        else:
            pending[self.scheduler.submit(*found.result())] = job

    def _begin(self, number: int, job: Job, started: Future[Program[Any]]) -> Iterator[Outcome]:
        if error := started.exception():
            self.scheduler.finish(number)
            yield Outcome(job.key, error=typed(error))
            return
        self._live[number] = _Live(job, started.result())
        self._advance(number)

    def _advance(self, number: int) -> None:
        """Resume a program until it asks for work, ends or fails."""
        live = self._live[number]
        live.work = None  # its sink holds the accumulator
        self._resuming += 1
        self._running[self._resume.submit(self._next_work, live)] = partial(self._resumed, number)

    def _next_work(self, live: _Live) -> Work | Outcome:
        with self.trace.span("program", str(live.job.key)):
            try:
                work = next(live.program)
                while work.count == 0:
                    work = next(live.program)
            except StopIteration as end:
                return Outcome(live.job.key, result=end.value)
            except Exception as error:
                return Outcome(live.job.key, error=typed(error))
            return work

    def _resumed(self, number: int, found: Future[Work | Outcome]) -> Iterator[Outcome]:
        self._resuming -= 1
        work = found.result()
        if isinstance(work, Outcome):
            yield self._end(number, work)
            return
        self._live[number].work = work
        self.scheduler.offer(number, self._unit_number(work.unit), work.count)

    def _end(self, number: int, outcome: Outcome) -> Outcome:
        del self._live[number]
        self.scheduler.finish(number)
        return outcome

    def _run_batch(self, batch: Batch, works: Sequence[Work]) -> dict[int, Exception]:
        """Compute a batch and hand its outputs to the sinks; returns the programs that failed."""
        owners: list[tuple[int, int]] = []
        inputs: list[Tensors] = []
        failed: dict[int, Exception] = {}
        sinks = {part.program: work.sink for part, work in zip(batch.slices, works, strict=True)}
        with self.trace.span("collect"):
            for part, work in zip(batch.slices, works, strict=True):
                try:
                    inputs += list(islice(work.items, part.count))
                    owners += [(part.program, part.first + i) for i in range(part.count)]
                except Exception as error:
                    failed[part.program] = error
        with self.trace.span("forward", f"{self._units[batch.unit].name} x{len(inputs)}"):
            outputs = self._forward(batch.unit, inputs)
        with self.trace.span("collect"), doing("accumulate"):
            for (program, item), found in zip(owners, outputs, strict=True):
                if program in failed:
                    continue
                try:
                    if isinstance(found, UmdEngineError):
                        raise found
                    sinks[program](item, found)
                except Exception as error:
                    failed[program] = error
        return failed

    def _deliver(self, batch: Batch, done: Future[dict[int, Exception]]) -> Iterator[Outcome]:
        self._batches -= 1
        for unit, size in list(self._limits.items()):  # a copy: the next batch may teach another meanwhile
            self.scheduler.limit(unit, size)
        for program, cause in done.result().items():
            if program in self._live:
                self._live[program].program.close()
                yield self._end(program, Outcome(self._live[program].job.key, error=typed(cause)))
        for program in self.scheduler.delivered(batch):
            self._advance(program)

    def _forward(self, unit: int, items: list[Tensors]) -> list[Tensors | UmdEngineError]:
        """Outputs an item. What fails as a batch is halved until the items that fail alone are known.

        Where one alone does not fit in memory, the sums of live programs make room and it is tried once more.
        """
        if not items:
            return []
        if len(items) > (room := self._limits.get(unit, len(items))):  # batched before the limit was known
            return self._forward(unit, items[:room]) + self._forward(unit, items[room:])
        outputs = self._attempt(unit, items)
        if isinstance(outputs, OutOfMemoryError):
            self._limits[unit] = max(1, len(items) // 2)
            _release_cache()
            if len(items) == 1 and self._spill():
                outputs = self._attempt(unit, items)
        if not isinstance(outputs, UmdEngineError):
            return [*outputs]
        if len(items) == 1:
            return [outputs]
        half = len(items) // 2
        return self._forward(unit, items[:half]) + self._forward(unit, items[half:])

    def _spill(self) -> int:
        """Bytes that live programs' sums gave free."""
        works = [live.work for live in list(self._live.values())]  # a copy: another thread admits and ends programs
        try:
            freed = sum(work.spill() for work in works if work is not None)
        except (MemoryError, RuntimeError) as error:  # nor does the host have room
            log.warning("sums could not be moved to the host's memory: %s", error)
            return 0
        if freed:
            log.warning("the device is full: %.1f GB of sums moved to the host's memory", freed / 1e9)
            _release_cache()
        return freed

    def _attempt(self, unit: int, items: list[Tensors]) -> list[Tensors] | UmdEngineError:
        try:
            self.calls += 1
            inputs = tuple(torch.stack(column) for column in zip(*items, strict=True))
            outputs = self._session(unit).run(inputs)
            return [tuple(out[i] for out in outputs) for i in range(len(items))]
        except Exception as error:
            return typed(error)

    def _unit_number(self, unit: Unit) -> int:
        for number, known in enumerate(self._units):
            if known is unit:
                return number
        self._units.append(unit)
        return len(self._units) - 1

    def _session(self, unit: int) -> Session:
        if unit not in self._sessions:
            self._sessions[unit] = self.open_unit(self._units[unit])
        return self._sessions[unit]


def _release_cache() -> None:
    """Give back what torch keeps of the device's memory for its next tensors: other libraries need it now."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "failed to allocate memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a library says so, by type or by words that no path holds by chance."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in text for words in _OUT_OF_MEMORY)


def typed(error: BaseException) -> UmdEngineError:
    """A case never stops the others: an error we did not foresee becomes a status too, and is logged whole.

    The traceback is dropped: its frames hold the case's voxels.
    """
    known = _as_ours(error)
    known.__cause__ = known.__context__ = None
    return known.with_traceback(None)


def _as_ours(error: BaseException) -> UmdEngineError:
    if isinstance(error, UmdEngineError):
        return error
    if is_out_of_memory(error):
        return OutOfMemoryError(
            "it does not fit in memory, even alone", mend="free memory on the device, or use a device with more"
        )
    if isinstance(error, OSError):
        return DataError(f"{error.strerror or error}", where=error.filename, mend="check the disk and the permissions")
    log.error("unforeseen error in a case", exc_info=error)
    return UmdEngineError(f"{type(error).__name__}: {error}", mend="this is a bug of umd-engine; please report it")


def run_program(program: Program[Any], open_unit: Callable[[Unit], Session], batch_size: int = 2) -> Any:
    """Run one program alone and return its result, or raise what ended it."""
    executor = Executor(open_unit, batch_size=batch_size, readers=1)
    (outcome,) = executor.run([Job(None, 0, lambda: program)])
    if outcome.error is not None:
        raise outcome.error
    return outcome.result
