"""From planned cases and costs to a forecast: what each model asks for, and how long a run takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from umd_engine.data.manifest import ScanRow
from umd_engine.engine.simulate import Case, Machine, Simulated, simulate
from umd_engine.engine.unit import Unit
from umd_engine.errors import UmdEngineError
from umd_engine.evaluation.cases import Settings
from umd_engine.evaluation.forecast.costs import Costs, counted
from umd_engine.evaluation.forecast.needs import weights_of
from umd_engine.evaluation.forecast.works import PlannedCase
from umd_engine.models.unloaded import UnloadedModel

ROW = 400  # bytes of a row in the store
MASK = 0.02  # bytes a voxel of a label map, compressed
SIMULATED = 100  # scans at most; of a larger cohort every n-th in the order of their voxels


@dataclass(frozen=True)
class ModelForecast:
    """What a model asks for, over all scans.

    Attributes:
        calls: items of its units; least, most: where the voxels decide. flops, moved: of them; None: a unit is a file.
        device, host: bytes that its largest case declares, its weights beside it; bytes of its largest scan, read.
        disk: bytes of rows, and of masks where they are saved.
        seconds: of this model alone, on one device.
        assumed: what geometry does not tell. fails: why samples of it came to nothing.
    """

    model: str
    cases: int
    calls: int
    least: int
    most: int
    flops: int | None
    moved: int | None
    device: int
    host: int
    disk: int
    seconds: float
    units: Mapping[str, str]
    assumed: tuple[str, ...]
    fails: tuple[str, ...] = ()


@dataclass(frozen=True)
class Forecast:
    """Attributes:
    runs: devices -> the whole run on so many. every: of how many scans one was simulated.
    faults: scans and models that are left out, with the reason.
    """

    scans: int
    reads: int
    models: tuple[ModelForecast, ...]
    runs: Mapping[int, Simulated]
    every: int
    faults: tuple[tuple[str, UmdEngineError], ...] = ()


@dataclass(frozen=True)
class Setup:
    """How a run would run.

    Attributes:
        devices: how many, each an engine of its own. cores, readers: for one of them.
    """

    settings: Settings
    costs: Costs
    devices: Sequence[int] = (1,)
    cores: int = 1
    readers: int = Settings.readers
    max_live: int = Settings.max_live


def forecast(cases: Sequence[PlannedCase], setup: Setup, faults: Iterable[tuple[str, UmdEngineError]] = ()) -> Forecast:
    """Of all cases, in their order."""
    scans = [list(group) for _, group in groupby(cases, key=lambda one: one.scan)]
    every = -(-len(scans) // SIMULATED)
    runs = {devices: _run(scans, setup, devices, every) for devices in setup.devices}
    names = dict.fromkeys(planned.case.model.name for planned in cases)
    models = tuple(_model([one for one in cases if one.case.model.name == name], setup) for name in names)
    reads = sum(group[0].scan.disk for group in scans)
    return Forecast(len(scans), reads, models, runs, every, tuple(faults))


def faults_of(
    scans: Iterable[tuple[ScanRow, UmdEngineError]], models: Iterable[Any]
) -> list[tuple[str, UmdEngineError]]:
    """What is left out: scans whose headers cannot be read, and models that cannot be loaded."""
    found = [(f"{row.cohort}/{row.subject}/{row.scan_id}", error) for row, error in scans]
    return found + [(model.name, model.error) for model in models if isinstance(model, UnloadedModel)]


def _run(scans: Sequence[Sequence[PlannedCase]], setup: Setup, devices: int, every: int) -> Simulated:
    """Every n-th scan by size, in the manifest's order, and the time n times as long."""
    units = _Units()
    settings = setup.settings
    assert settings.memory is not None, "a plan knows its budget"
    by_size = sorted(range(len(scans)), key=lambda number: scans[number][0].scan.voxels)
    chosen = [scans[number] for number in sorted(by_size[every // 2 :: every])]
    found = simulate(
        [[_case(planned, setup.costs, units) for planned in group] for group in chosen],
        Machine(
            engines=devices,
            cores=setup.cores * devices,
            budget=settings.memory,
            batch_size=settings.batch_size,
            max_live=setup.max_live,
            readers=setup.readers,
            forward=cache(lambda unit, items: setup.costs.forward(units[unit], items)),
            collect=cache(lambda unit, items: setup.costs.collect(units[unit], items)),
        ),
    )
    found.seconds *= len(scans) / len(chosen) if chosen else 1
    return found


class _Units(list[Unit]):
    """Units by number; those that differ only in sizes of free axes are still told apart, as by the executor."""

    def number(self, unit: Unit) -> int:
        for number, known in enumerate(self):
            if known is unit:
                return number
        self.append(unit)
        return len(self) - 1


def _case(planned: PlannedCase, costs: Costs, units: _Units) -> Case:
    read, prepare, resume, finish, store = costs.host(planned)
    rounds = [(units.number(planned.calls.works[place].unit), count) for place, count in planned.rounds]
    return Case(planned.nbytes, read, prepare, rounds, resume, finish, store)


def _model(cases: Sequence[PlannedCase], setup: Setup) -> ModelForecast:
    scans = [[planned] for planned in cases]
    alone = _run(scans, setup, 1, -(-len(scans) // SIMULATED))
    items: dict[Unit, int] = {}
    for planned in cases:
        for place, count in planned.rounds:
            unit = planned.calls.works[place].unit
            items[unit] = items.get(unit, 0) + count
    try:
        flops: int | None = sum(count * counted(unit).flops for unit, count in items.items())
        moved: int | None = sum(count * counted(unit).nbytes for unit, count in items.items())
    except UmdEngineError:
        flops = moved = None
    ranges = [planned.calls.range for planned in cases]
    masks = MASK if setup.settings.save_masks else 0
    return ModelForecast(
        model=cases[0].case.model.name,
        cases=len(cases),
        calls=sum(items.values()),
        least=sum(least for least, _ in ranges),
        most=sum(most for _, most in ranges),
        flops=flops,
        moved=moved,
        device=max(planned.nbytes for planned in cases) + weights_of(list(items)),
        host=max(planned.scan.decoded for planned in cases),
        disk=sum(planned.rows * ROW + int(masks * planned.scan.voxels) for planned in cases),
        seconds=alone.seconds,
        units={unit.name: setup.costs.source.get(unit.name, "") for unit in items},
        assumed=tuple(dict.fromkeys(planned.calls.assumed for planned in cases if planned.calls.assumed)),
        fails=tuple(dict.fromkeys(planned.fails for planned in cases if planned.fails)),
    )
