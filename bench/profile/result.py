"""What a profile found, and the file that it is kept in.

Units are network calls alone; scans are whole runs of the engine on one scan. A figure that is not there is None, and a
row says in `reason` why it has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from umd_engine.bench.floor.repetition import Rule
from umd_engine.data.atomic import atomic_file
from umd_engine.errors import CorruptFileError, DataError, MissingFileError

KIND = "umd-engine profile"
SCHEMA = 1
HISTORY = {1: "units, scans, ceilings"}  # schema -> what it brought
MEASURED, UNSTABLE, CHECK_FAILED = "measured", "unstable", "check failed"
RED = (CHECK_FAILED, "failed")  # the command exits with 1
STATUSES = (MEASURED, UNSTABLE, "not measured", "does not fit", *RED)
MAKES_ONE = "umd-engine bench --json makes one"
SURE_OF_P99 = 100  # samples; with fewer there is no p99


@dataclass(frozen=True)
class Latency:
    """Seconds of single calls, on the device's clock.

    Attributes:
        samples: in the order they were taken, warm-up left out.
        p50, p90: of the samples. p99: None below 100 samples.
        stable: three windows in a row agreed within 5 % (`bench/floor/repetition.py`); otherwise the row is "unstable".
        bimodal: the samples lie in two groups.
    """

    samples: tuple[float, ...]
    p50: float
    p90: float
    p99: float | None
    stable: bool
    bimodal: bool


@dataclass(frozen=True)
class Memory:
    """Peak bytes while it ran.

    Attributes:
        allocated, reserved: of torch's allocator on a device. process: of this process on the device, as NVML tells.
        host: growth of the resident set of the process.
    """

    allocated: int | None = None
    reserved: int | None = None
    process: int | None = None
    host: int | None = None


@dataclass(frozen=True)
class Energy:
    """Joules, of the counter's whole device or package.

    Attributes:
        joules: of one call or one scan; None where there is no counter.
        source: "NVML", "RAPL", or why there is none.
    """

    joules: float | None
    source: str


@dataclass(frozen=True)
class UnitRow:
    """One unit at one batch size.

    Attributes:
        model, unit: names. backend, precision, device: as asked for.
        status: one of STATUSES. reason: why there is no figure.
        emulated: the device computes this precision by casts. scaled: FLOPs of the unit over those of the patch that
            was run instead, 1 for the unit itself.
        shapes: of its inputs as run, without the batch axis.
        cold: seconds of "load", "export", "build" and "first call", those that it has.
        flops: of one item, 2 a multiplication and addition. nbytes: that its operators read and write, of one item.
        file: bytes of its artifact or weights. error: largest difference to eager fp32 over the output's range.
        overhead: part by which a call takes longer because it is sampled, where that was asked for.
    """

    model: str
    unit: str
    backend: str
    precision: str
    device: str
    batch: int
    status: str
    reason: str = ""
    emulated: bool = False
    scaled: float = 1.0
    shapes: tuple[tuple[int, ...], ...] = ()
    cold: Mapping[str, float] = field(default_factory=dict)
    latency: Latency | None = None
    flops: int | None = None
    nbytes: int | None = None
    memory: Memory = Memory()
    energy: Energy | None = None
    file: int | None = None
    error: float | None = None
    overhead: float | None = None

    @property
    def windows_s(self) -> float | None:
        """Items a second."""
        return self.batch / self.latency.p50 if self.latency else None

    @property
    def flop_s(self) -> float | None:
        """FLOP/s that it reached."""
        return self.flops * self.batch / self.latency.p50 if self.latency and self.flops else None

    @property
    def gb_s(self) -> float | None:
        """1e9 bytes a second that its operators moved, caches not seen."""
        return self.nbytes * self.batch / self.latency.p50 / 1e9 if self.latency and self.nbytes else None

    @property
    def intensity(self) -> float | None:
        """FLOPs a byte."""
        return self.flops / self.nbytes if self.flops and self.nbytes else None


@dataclass(frozen=True)
class Moment:
    """Bytes in use, so many seconds after the scan began; device: None on a host."""

    seconds: float
    host: int
    device: int | None = None


@dataclass(frozen=True)
class ScanRow:
    """One scan, from its file to its rows in the store.

    Attributes:
        scan: what it was, e.g. "phantom CT 256x256x176". voxels: of it.
        cold: seconds of "load" (weights), "open" (networks on the device, exports, engines) and "first run".
        stages: seconds in each of "read", "decode", "transfer", "prepare", "gather" (windows cut out), "forward",
            "accumulate", "finish", "resample", "metrics" and "store", those that were seen apart: one that lies within
            another counts once. Stages overlap, so they may add up to more than the whole. forward: of each unit.
        seconds: wall time of the warm runs. windows: items through the networks; calls: of them.
        computed: items, where a scan takes too long: the others repeat an answer, and count in every figure of time as
            long as those.
        emulated, scaled: as in a unit's row; a scaled scan ran a reduced network.
        cost: of 1000 such scans, by the prices the user gave; None without.
        dice: organ -> Dice of this precision's answer to that of fp32, with a checkpoint only; None: neither has it.
        overhead: part by which the profiler made the run longer, where a run without it was made.
    """

    model: str
    scan: str
    backend: str
    precision: str
    device: str
    batch: int
    status: str
    reason: str = ""
    emulated: bool = False
    scaled: float = 1.0
    voxels: int = 0
    cold: Mapping[str, float] = field(default_factory=dict)
    seconds: Latency | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    forward: Mapping[str, float] = field(default_factory=dict)
    windows: int = 0
    calls: int = 0
    computed: int | None = None
    memory: Memory = Memory()
    timeline: tuple[Moment, ...] = ()
    energy: Energy | None = None
    cost: float | None = None
    dice: Mapping[str, float | None] = field(default_factory=dict)
    overhead: float | None = None

    @property
    def scans_h(self) -> float | None:
        """Scans an hour, one after the other."""
        return 3600 / self.seconds.p50 if self.seconds else None


@dataclass(frozen=True)
class Ceilings:
    """What this machine reaches, measured in the same run.

    Attributes:
        copy: GB/s (1e9 bytes, read and written) of a copy on the device.
        product: precision -> FLOP/s of a matrix product; conv: of a 3D convolution.
    """

    copy: float | None = None
    product: Mapping[str, float] = field(default_factory=dict)
    conv: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """The device as the run found it and left it.

    Attributes:
        clock: MHz. temperature: degrees Celsius. power: watts. others: processes of others on the device, by count;
            of a host the load of the last minute is `load`. None: not told.
    """

    clock: tuple[float, float] | None = None
    temperature: tuple[float, float] | None = None
    power: tuple[float, float] | None = None
    others: int | None = None
    load: float | None = None


@dataclass(frozen=True)
class Profile:
    """A run of the profiler.

    Attributes:
        machine: as `bench.machine.describe` tells it. asked: the options of the command.
        protocol: model -> hash of its protocol. weights: model -> "stand-in", or the hash of its weights.
        complete: False while it was interrupted; what was measured is there.
    """

    version: str
    commit: str | None
    made: str
    machine: Mapping[str, Any]
    rule: Rule
    asked: Mapping[str, Any]
    units: tuple[UnitRow, ...] = ()
    scans: tuple[ScanRow, ...] = ()
    ceilings: Mapping[str, Ceilings] = field(default_factory=dict)  # device -> its own
    state: State = State()
    protocol: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True
    schema: int = SCHEMA
    kind: str = KIND

    @property
    def red(self) -> bool:
        """Whether a check or a run failed."""
        return any(status in RED for status in (*(u.status for u in self.units), *(s.status for s in self.scans)))

    def save(self, path: Path) -> None:
        """Write JSON, whole or not at all."""
        with atomic_file(path) as file:
            file.write((json.dumps(asdict(self), indent=1) + "\n").encode())


def load(path: Path) -> Profile:
    """Read what `save` wrote.

    Raises:
        MissingFileError: no such file.
        CorruptFileError: not a profile.
        DataError: a profile of another schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFileError("there is no such file", where=path, mend=MAKES_ONE) from None
    except ValueError as error:
        raise CorruptFileError(f"not JSON: {error}", where=path) from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise CorruptFileError("not a profile", where=path, mend=MAKES_ONE)
    if content.get("schema") != SCHEMA:
        raise DataError(
            f"schema {content.get('schema')}, this version reads {SCHEMA}", where=path, mend="measure again"
        )
    try:
        return TypeAdapter(Profile).validate_python(content)
    except ValidationError as error:
        raise CorruptFileError(f"not a profile of schema {SCHEMA}: {error}", where=path) from error
