"""What stages cost: derived from counts and a device's profile, or measured in a sample run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from umd_engine.engine.profiles import Profile
from umd_engine.engine.simulate import NOTHING, Task
from umd_engine.engine.tally import Tally, tally
from umd_engine.engine.unit import Unit
from umd_engine.evaluation.forecast.needs import spillable_of
from umd_engine.evaluation.forecast.works import PlannedCase

PASSES = 2  # times that preparing, and finishing, move what a case declares
MOVED = f"preparing and finishing each move the bytes that a case declares {PASSES} times"
DERIVED, MEASURED, BENCHED = "derived", "measured", "measured by bench"


class Costs(Protocol):
    """Attributes:
    source: unit name -> "derived", "measured" or "measured by bench".
    """

    source: dict[str, str]

    def forward(self, unit: Unit, items: int) -> Task:
        """A network call."""

    def collect(self, unit: Unit, items: int) -> Task:
        """Making its inputs, and handing out its outputs."""

    def host(self, planned: PlannedCase) -> tuple[Task, Task, Task, Task, Task]:
        """read, prepare, resume, finish, store."""


@cache
def counted(unit: Unit) -> Tally:
    return tally(unit)


@dataclass(eq=False)
class Derived:
    """Of FLOPs, bytes and a profile; nothing of it is measured.

    Raises:
        OptionError: the device has no such precision. BackendError: a unit is a file, which cannot be counted.
    """

    profile: Profile
    precision: str
    source: dict[str, str] = field(default_factory=dict)

    def forward(self, unit: Unit, items: int) -> Task:
        self.source[unit.name] = DERIVED
        return Task(self.profile.seconds(counted(unit), items, self.precision), self._on_host(self.profile.cores))

    def collect(self, unit: Unit, items: int) -> Task:
        """Inputs and outputs once written and twice read, outputs in float32."""
        return Task(items * 3 * _in_and_out(unit) / self._bandwidth, self._on_host(self.profile.cores))

    def host(self, planned: PlannedCase) -> tuple[Task, Task, Task, Task, Task]:
        profile, scan = self.profile, planned.scan
        read = scan.decoded / profile.decode
        image = 4 * scan.voxels
        prepare = image / profile.copy + PASSES * planned.nbytes / self._bandwidth
        if profile.link is not None:
            prepare += image / profile.link
        finish = PASSES * planned.nbytes / self._bandwidth + scan.voxels / (profile.link or profile.copy)
        launches = 20 * profile.launch
        return Task(read), Task(prepare), Task(launches, 1.0), Task(finish), Task(profile.store)

    @property
    def _bandwidth(self) -> float:
        return self.profile.bandwidth * self.profile.reached

    def _on_host(self, cores: float) -> float:
        """A device of its own keeps no core busy."""
        return cores if self.profile.link is None else 0.0


@dataclass(eq=False)
class Spilled(Derived):
    """The same with sums in the host's memory: outputs cross the link, and cores add them and make labels of them."""

    def collect(self, unit: Unit, items: int) -> Task:
        on_device, outputs = super().collect(unit, items), items * _out(unit)
        there = outputs / (self.profile.link or self.profile.copy) + 3 * outputs / self._host_copy
        return Task(on_device.seconds + there, self.profile.cores)

    def host(self, planned: PlannedCase) -> tuple[Task, Task, Task, Task, Task]:
        read, prepare, resume, finish, store = super().host(planned)
        seconds = finish.seconds + PASSES * spillable_of(planned) / self._host_copy
        return read, prepare, resume, Task(seconds, self.profile.cores), store

    @property
    def _host_copy(self) -> float:
        return self.profile.copy * self.profile.cores


def _in_and_out(unit: Unit) -> int:
    return sum(4 * _product(spec.shape) for spec in unit.inputs) + _out(unit)


def _out(unit: Unit) -> int:
    return sum(4 * _product(shape) for shape in counted(unit).outputs)


def _product(shape: Sequence[int]) -> int:
    result = 1
    for n in shape:
        result *= n
    return result


@dataclass(frozen=True)
class Rate:
    """Seconds of a stage, and of processors while it ran alone."""

    seconds: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.seconds + other.seconds, self.cpu + other.cpu)

    def task(self, times: float, cores: float) -> Task:
        """So many times it, on as many cores as it was seen to use, at least a tenth of one."""
        if not self.seconds:
            return NOTHING
        return Task(self.seconds * times, min(max(self.cpu / self.seconds, 0.1), cores))


@dataclass(frozen=True)
class UnitCost:
    """Calls of a unit in a sample run.

    Attributes:
        calls: items -> seconds and processor seconds of a call with so many.
        collect: of an item.
    """

    calls: Mapping[int, Rate]
    collect: Rate

    def call(self, items: int) -> Rate:
        """Between sizes that were seen linearly; beyond them in proportion to the items."""
        sizes = sorted(self.calls)
        if items in self.calls:
            return self.calls[items]
        near = min(sizes, key=lambda size: (abs(size - items), -size))
        rate = self.calls[near]
        return Rate(rate.seconds * items / near, rate.cpu * items / near)


@dataclass(frozen=True)
class Sample:
    """A model's sample run on one scan: every stage alone, the network called a few times only.

    Attributes:
        items: that went through the units, called or not; expected: how many geometry tells.
        voxels: of the scan; targets: of the case.
        host: read, prepare, program and store, of the whole case; resumed: how often the program was.
        error: of a case that came to no call.
    """

    items: int
    expected: int
    voxels: int
    decoded: int
    targets: int
    resumed: int
    host: Mapping[str, Rate]
    units: Mapping[str, UnitCost]
    error: str = ""


@dataclass(eq=False)
class Measured:
    """Of sample runs on this machine, a model and modality one. Scans of other sizes in proportion to their voxels."""

    samples: Mapping[tuple[str, str], Sample]
    cores: float
    source: dict[str, str] = field(default_factory=dict)
    derived: Derived | None = None  # for units that no sample called

    def forward(self, unit: Unit, items: int) -> Task:
        found = self._units().get(unit.name)
        if found is None:
            return self._else().forward(unit, items)
        self.source[unit.name] = MEASURED
        return found.call(items).task(1, self.cores)

    def collect(self, unit: Unit, items: int) -> Task:
        found = self._units().get(unit.name)
        if found is None:
            return self._else().collect(unit, items)
        return found.collect.task(items, self.cores)

    def host(self, planned: PlannedCase) -> tuple[Task, Task, Task, Task, Task]:
        sample = self.sample(planned)
        larger = planned.scan.voxels / sample.voxels
        wider = larger * len(planned.case.targets) / sample.targets
        # a program that is resumed once makes its answer then; one that is resumed often works each time
        often = sample.resumed > 2
        program = sample.host["program"].task(wider / (sample.resumed if often else 1), self.cores)
        return (
            sample.host["read"].task(planned.scan.decoded / sample.decoded, self.cores),
            sample.host["prepare"].task(larger, self.cores),
            program if often else NOTHING,
            program,
            sample.host["store"].task(len(planned.case.targets) / sample.targets, self.cores),
        )

    def sample(self, planned: PlannedCase) -> Sample:
        return self.samples[planned.case.model.name, planned.case.row.modality]

    def _units(self) -> dict[str, UnitCost]:
        return {name: cost for sample in self.samples.values() for name, cost in sample.units.items()}

    def _else(self) -> Derived:
        if self.derived is None:
            from umd_engine.engine.profiles import this_machine

            self.derived = Derived(this_machine(), "fp32", self.source)
        return self.derived


@dataclass(eq=False)
class Benched:
    """Network calls as a profile of `umd-engine bench` has them; all else, and other units, of other costs.

    Attributes:
        calls: unit name -> items -> seconds of a call. cores: that a call keeps busy.
    """

    calls: Mapping[str, Mapping[int, float]]
    cores: float
    rest: Costs
    source: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.source = self.rest.source

    def forward(self, unit: Unit, items: int) -> Task:
        found = self.calls.get(unit.name)
        if found is None:
            return self.rest.forward(unit, items)
        self.source[unit.name] = BENCHED
        rates = {size: Rate(seconds, seconds * self.cores) for size, seconds in found.items()}
        return UnitCost(rates, Rate()).call(items).task(1, max(self.cores, 0.1))

    def collect(self, unit: Unit, items: int) -> Task:
        return self.rest.collect(unit, items)

    def host(self, planned: PlannedCase) -> tuple[Task, Task, Task, Task, Task]:
        return self.rest.host(planned)
