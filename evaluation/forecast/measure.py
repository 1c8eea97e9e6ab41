"""A sample run: one scan with one model, every stage alone, each unit computed a few times and then echoed."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from umd_engine.data.manifest import ScanRow
from umd_engine.engine.executor import Session
from umd_engine.engine.trace import STAGES, Trace
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Tensors
from umd_engine.evaluation.cases import Settings
from umd_engine.evaluation.crew import Crew
from umd_engine.evaluation.forecast.costs import Rate, Sample, UnitCost
from umd_engine.evaluation.forecast.works import PlannedCase
from umd_engine.evaluation.run import Evaluation
from umd_engine.exporters.artifact import cache_folder, key_of

COMPUTED, LONG_ENOUGH = 4, 2.0  # calls of a unit with so many items, and s of them; the first does not count


def sampled(
    cases: Iterable[PlannedCase], settings: Settings, manifest: Sequence[ScanRow], home: Path | None = None
) -> dict[tuple[str, str], Sample]:
    """A sample a model and modality, of the scan of median size; from the cache where it is there.

    Args:
        home: the cache's folder; None: `plan` in the engine's.
    """
    groups: dict[tuple[str, str], list[PlannedCase]] = defaultdict(list)
    for planned in cases:
        groups[planned.case.model.name, planned.case.row.modality].append(planned)
    chosen = {key: sorted(group, key=lambda one: one.scan.voxels)[len(group) // 2] for key, group in groups.items()}
    return {key: _cached(planned, settings, manifest, home) for key, planned in chosen.items()}


def _cached(planned: PlannedCase, settings: Settings, manifest: Sequence[ScanRow], home: Path | None) -> Sample:
    path = (home or cache_folder() / "plan") / f"{key_of(_identity(planned, settings))}.json"
    if path.exists():
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    sample = measure(planned, settings, manifest)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(asdict(sample), indent=1), encoding="utf-8")
    draft.replace(path)
    return sample


def _identity(planned: PlannedCase, settings: Settings) -> dict[str, Any]:
    """All that a sample depends on: units, protocol, what is asked, how it runs, and the machine."""
    model, asking = planned.case.model, planned.case.asking
    return {
        "units": [unit.content_hash for unit in model.units],
        "code": [unit.code_hash for unit in model.units],
        "protocol": dict(model.protocol),
        "asked": [list(planned.case.targets), None if asking is None else asking.protocol.hash],
        "scan": [planned.scan.shape, planned.scan.spacing, planned.case.row.modality],
        "how": [settings.backend, str(settings.device), settings.precision, settings.batch_size],
        "machine": [platform.machine(), torch.backends.cpu.get_cpu_capability(), len(os.sched_getaffinity(0))],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": [torch.__version__, platform.python_version()],
        "allocator": {key: value for key, value in os.environ.items() if key.startswith("MALLOC_")},
    }


def measure(planned: PlannedCase, settings: Settings, manifest: Sequence[ScanRow]) -> Sample:
    """Run a case into a folder that is thrown away."""
    alone = replace(settings, max_live=1, readers=1, save_masks=False)
    with tempfile.TemporaryDirectory() as folder:
        work = Evaluation([planned.case.row], [planned.case.model], Path(folder), alone, manifest)
        assert isinstance(work.crew, Crew)
        executor, echoes, trace = work.crew.executor, Echoes(work.sessions), Trace(keep=True)
        executor.open_unit, executor.trace, work.crew.trace = echoes, trace, trace
        for ended in work.run():
            error = ended.error
    return _sample(planned, echoes, trace, "" if error is None else str(error))


def _sample(planned: PlannedCase, echoes: Echoes, trace: Trace, error: str) -> Sample:
    host = {stage: Rate() for stage in STAGES}
    for span in trace.spans:
        host[span.stage] += Rate(span.end - span.start, span.cpu)
    items = sum(echo.items for echo in echoes.made.values())
    called = sum((echo.spent for echo in echoes.made.values()), Rate())
    around = host["collect"] + host["forward"] + Rate(-called.seconds, -called.cpu)  # of a call
    collect = Rate(max(around.seconds, 0) / max(items, 1), max(around.cpu, 0) / max(items, 1))
    return Sample(
        items,
        planned.calls.items,
        planned.scan.voxels,
        planned.scan.decoded,
        len(planned.case.targets),
        sum(span.stage == "program" for span in trace.spans),
        {stage: host[stage] for stage in ("read", "prepare", "program", "store")},
        {unit.name: UnitCost(echo.rates, collect) for unit, echo in echoes.made.items()},
        error if not items else "",
    )


@dataclass(eq=False)
class Echoes:
    """Sessions that compute their first calls, are timed, and then give the last outputs again.

    Attributes:
        least, most: calls of a unit with so many items that are computed in any case, and seconds of them after which
            no other is.
    """

    open_unit: Callable[[Unit], Session]
    least: int = COMPUTED
    most: float = LONG_ENOUGH
    made: dict[Unit, Echo] = field(default_factory=dict)

    def __call__(self, unit: Unit) -> Session:
        if unit not in self.made:
            self.made[unit] = Echo(self.open_unit(unit), self.least, self.most)
        return self.made[unit]


@dataclass(eq=False)
class Echo:
    """One of them.

    Attributes:
        calls: of so many items, those that were computed, and `computed`: their seconds. repeated: how many were not.
        items: of all calls. spent: in all calls.
    """

    session: Session
    least: int
    most: float
    calls: dict[int, list[Rate]] = field(default_factory=lambda: defaultdict(list))
    computed: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    repeated: Counter[int] = field(default_factory=Counter)
    last: dict[int, Tensors] = field(default_factory=dict)
    items: int = 0
    spent: Rate = field(default_factory=Rate)

    def run(self, inputs: Tensors) -> Tensors:
        size = len(inputs[0])
        self.items += size
        began, worked = time.perf_counter(), time.process_time()
        if self._computes(size):
            outputs = self.session.run(inputs)
            if outputs[0].is_cuda:
                torch.cuda.synchronize()
            rate = Rate(time.perf_counter() - began, time.process_time() - worked)
            self.calls[size].append(rate)
            self.computed[size] += rate.seconds
            if not self._computes(size):
                self.last[size] = tuple(output.clone() for output in outputs)  # sinks work in place
        else:
            self.repeated[size] += 1
            outputs = tuple(output.clone() for output in self.last[size])
        self.spent += Rate(time.perf_counter() - began, time.process_time() - worked)
        return outputs

    def _computes(self, size: int) -> bool:
        return len(self.calls[size]) < self.least or self.computed[size] < self.most

    @property
    def rates(self) -> dict[int, Rate]:
        return {size: _mean(rates[1:] or rates) for size, rates in self.calls.items()}

    @property
    def seconds(self) -> float:
        """Of all calls, had every one been computed."""
        repeated = sum(count * self.rates[size].seconds for size, count in self.repeated.items())
        return sum(self.computed.values()) + repeated


def _mean(rates: Sequence[Rate]) -> Rate:
    total = sum(rates, Rate())
    return Rate(total.seconds / len(rates), total.cpu / len(rates))


def _from_json(found: Mapping[str, Any]) -> Sample:
    units = {
        name: UnitCost({int(size): Rate(**rate) for size, rate in cost["calls"].items()}, Rate(**cost["collect"]))
        for name, cost in found["units"].items()
    }
    host = {stage: Rate(**rate) for stage, rate in found["host"].items()}
    return Sample(**{**found, "host": host, "units": units})
