"""One unit, opened and called: its cold times, the check against eager float32, and its figures at each batch."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from umd_engine.bench.backends.entries import ALLOWED, COMPARED, open_int8
from umd_engine.bench.floor import memory
from umd_engine.bench.floor.clock import DeviceClock, HostClock, SamplingClock
from umd_engine.bench.floor.repetition import Rule
from umd_engine.bench.profile.latency import overhead_of, timed
from umd_engine.bench.profile.result import CHECK_FAILED, MEASURED, UNSTABLE, Memory, UnitRow
from umd_engine.bench.profile.sensors import Meter, nvml
from umd_engine.bench.profile.subject import STAND_IN, Subject
from umd_engine.engine.backends.eager import EagerSession, computes_bf16
from umd_engine.engine.executor import Session, typed
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Tensors
from umd_engine.errors import BackendError, OutOfMemoryError
from umd_engine.exporters.artifact import Artifact
from umd_engine.exporters.measure import INPUTS, error_of
from umd_engine.models.ready import Make, open_unit


@dataclass(frozen=True)
class Way:
    """How units run.

    Attributes:
        patience: s of a first call, beyond which a unit runs at a smaller patch.
        conv: FLOP/s that no unit exceeds; with it a unit that cannot but take longer is not even called. None: unknown.
        overhead: also time what sampling adds.
    """

    backend: str
    precision: str
    device: torch.device
    batches: tuple[int, ...]
    rule: Rule
    patience: float
    conv: float | None = None
    overhead: bool = False

    @property
    def emulated(self) -> bool:
        """Whether a CPU computes the precision in float32, rounding where the graph or the type would."""
        if self.device.type != "cpu" or self.precision not in ("fp16", "bf16"):
            return False
        return self.backend == "onnxruntime" or not computes_bf16()

    @property
    def clock(self) -> SamplingClock:
        return DeviceClock() if self.device.type == "cuda" else HostClock()

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class Trial:
    """A unit that is open and was called once, at the smallest batch.

    Attributes:
        cold: seconds of "load", "export" and "build", those that it has. file: bytes of its artifact or weights.
        first: outputs and seconds of the first call.
    """

    def __init__(self, subject: Subject, unit: Unit, batches: list[int], way: Way):
        self.unit, self.way, self.batches = unit, way, batches
        self.meter = Meter(way.device)
        self.items = tuple(x.to(way.device) for x in unit.example(min(COMPARED, max(batches))))
        self._exact = list[Tensors]()
        made, start = _Made(), time.perf_counter()
        if (way.backend, way.precision, subject.weights) == ("onnxruntime", "int8", STAND_IN):
            self.session: Session = open_int8(unit, way.device)
        else:
            self.session = open_unit(unit, way.backend, way.device, way.precision, batches, made)
        opening = time.perf_counter() - start - sum(made.seconds.values())
        self.cold = {"load": opening + (subject.load or 0.0), **made.seconds}
        tensors = {x.data_ptr(): x.nbytes for x in unit.module.state_dict().values()}  # some have two names
        self.file = made.file or sum(tensors.values())
        self.before = memory.resident()
        self.first = self._call(self._given(batches[0]))

    def close(self) -> None:
        """Give back what the unit held of the device: eager sessions move the module itself."""
        if self.way.device.type == "cuda":
            del self.session, self.items
            self.first = ((), 0.0)
            self.unit.module.to("cpu")
            torch.cuda.empty_cache()

    def row(self, row: UnitRow) -> UnitRow:
        """The row with its figures, or why it has none."""
        try:
            return self._row(row)
        except Exception as error:
            return replace(row, **fault(error, self.way.device))

    def _row(self, row: UnitRow) -> UnitRow:
        given, way = self._given(row.batch), self.way
        outputs, seconds = self.first if row.batch == self.batches[0] else self._call(given)
        error, allowed = (
            _worst(outputs, self._expected(min(row.batch, COMPARED))),
            ALLOWED.get(way.precision, sys.float_info.max),
        )
        if error > allowed:
            return replace(row, status=CHECK_FAILED, reason=f"{error:.1e} of the range off eager, allowed {allowed:g}")
        del outputs
        self.first = ((), seconds)

        def run() -> Tensors:
            return self.session.run(given)

        latency, energy = timed(run, way.clock, way.rule, seconds, self.meter)
        return replace(
            row,
            status=MEASURED if latency.stable else UNSTABLE,
            cold={**self.cold, "first call": seconds},
            latency=latency,
            memory=self._memory(run, given),
            energy=energy,
            error=error,
            overhead=overhead_of(run, way.clock, math.ceil(way.rule.window / latency.p50)) if way.overhead else None,
        )

    def _given(self, batch: int) -> Tensors:
        """Of as many items as are compared, in turns: a batch that does not fit keeps no other from being timed."""
        return tuple(x[torch.arange(batch, device=x.device) % len(x)] for x in self.items)

    def _call(self, given: Tensors) -> tuple[Tensors, float]:
        self.way.wait()
        start = time.perf_counter()
        outputs = self.session.run(given)
        self.way.wait()
        return outputs, time.perf_counter() - start

    def _expected(self, count: int) -> list[Tensors]:
        """On the host, item by item."""
        eager = EagerSession(self.unit, self.way.device)
        for item in range(len(self._exact), count):
            self._exact.append(tuple(x.cpu() for x in eager.run(tuple(x[item : item + 1] for x in self.items))))
        return self._exact[:count]

    def _memory(self, run: Callable[[], Tensors], given: Tensors) -> Memory:
        """Of one more call; on a host beyond what the open unit held, so that a library's arena counts."""
        device = self.way.device
        if device.type == "cuda":
            torch.cuda.empty_cache()  # what the check took
            torch.cuda.reset_peak_memory_stats(device)
            run()
            self.way.wait()
            gpu = nvml(device.index or 0)
            held = None if isinstance(gpu, str) else gpu.held()
            return Memory(torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device), held)
        try:
            beyond = self.before + sum(x.nbytes for held in (given, *self._exact) for x in held)
            return Memory(host=max(0, memory.peak_resident(run) - beyond))
        except OSError:  # a system that keeps no peak, or resets none
            return Memory()


class _Made:
    """A stopwatch for what a backend needs; `file` is the size of the last."""

    def __init__(self) -> None:
        self.seconds, self.file = dict[str, float](), 0

    def __call__(self, stage: str, make: Make) -> Artifact:
        start = time.perf_counter()
        artifact = make()
        self.seconds[stage] = time.perf_counter() - start
        self.file = sum((artifact.folder / name).stat().st_size for name in artifact.about["files"] if name != INPUTS)
        return artifact


def _worst(found: Tensors, exact: Sequence[Tensors]) -> float:
    """The largest difference of any output over its range, of the items that `exact` has."""
    pairs = [(a[i : i + 1], b) for i, item in enumerate(exact) for a, b in zip(found, item, strict=True)]
    return max(error_of(a, b)["of_range"] for a, b in pairs)


def fault(error: Exception, device: torch.device) -> dict[str, Any]:
    """Status and reason of a row."""
    known = typed(error)
    if isinstance(known, OutOfMemoryError):
        return {"status": "does not fit", "reason": f"it needs more memory than is free on {device}"}
    return {"status": "not measured" if isinstance(known, BackendError) else "failed", "reason": str(known)}
