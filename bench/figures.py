"""The figures of a report or a profile, in one form: what `bench compare` holds side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from umd_engine.bench.floor import report as reports
from umd_engine.bench.floor.report import Report, Row
from umd_engine.bench.interval import Interval, Spread, of_numbers, of_samples, of_spreads
from umd_engine.bench.profile import result as profiles
from umd_engine.bench.profile.result import Latency, Memory, Profile, ScanRow, UnitRow
from umd_engine.errors import CorruptFileError, MissingFileError

SAME_MACHINE = ("cpu", "cores", "threads", "device")  # what figures depend on; packages are flagged, not refused
SAME_ASKED = ("backend", "precision", "device", "batches", "scan", "quick")
KINDS = {reports.KIND: "a report", profiles.KIND: "a profile"}
Name = tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """One figure; of all of them less is better.

    Attributes:
        unit: "s", "B" or "J".
        value: None: there is none. status: of its row.
        samples, spread: of a figure that was taken several times, what was kept of that.
        stable: it can be taken at its word. shaky: why not, or what else is to be known of it.
        of: shapes that both sides must have in common.
    """

    unit: str
    value: float | None
    status: str
    samples: tuple[float, ...] = ()
    spread: Spread | None = None
    stable: bool = True
    shaky: str = ""
    of: tuple[tuple[int, ...], ...] = ()

    @property
    def red(self) -> bool:
        return self.status in profiles.RED

    def to(self, after: Figure) -> Interval | None:
        """The ratio of a later figure to this one; None where either is missing or this one is 0."""
        if not self.value or after.value is None:
            return None
        if self.samples and after.samples and self.stable and after.stable:
            return of_samples(self.samples, after.samples)
        if self.spread and after.spread:
            return of_spreads(self.spread, after.spread)
        return of_numbers(self.value, after.value)


@dataclass(frozen=True)
class Run:
    """A file: what it was measured on and how, and its figures.

    Attributes:
        protocol: how; other figures than of the same cannot be compared.
        code: what was measured; it is what one compares.
    """

    kind: str
    machine: Mapping[str, Any]
    protocol: Mapping[str, Any]
    code: Mapping[str, Any]
    figures: Mapping[Name, Figure]


def read(path: Path) -> Run:
    """The report or profile in a file.

    Raises:
        MissingFileError: no such file.
        CorruptFileError: neither of them, or a damaged one.
        DataError: another schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFileError("there is no such file", where=path, mend=reports.MAKES_ONE) from None
    except ValueError as error:
        raise CorruptFileError(f"not JSON: {error}", where=path) from error
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind not in KINDS:
        mend = f"{reports.MAKES_ONE}; {profiles.MAKES_ONE}"
        raise CorruptFileError("neither a report nor a profile", where=path, mend=mend)
    return of_profile(profiles.load(path)) if kind == profiles.KIND else of_report(reports.load(path))


def of_report(report: Report) -> Run:
    protocol = {**_rule(report), "baseline": report.baseline}
    figures = {name: figure for row in report.rows for name, figure in _of_row(row)}
    return Run(report.kind, report.machine, protocol, _code(report), figures)


def of_profile(profile: Profile) -> Run:
    asked = {name: profile.asked.get(name) for name in SAME_ASKED}
    hashes = {f"protocol of {model}": value for model, value in profile.protocol.items()}
    weights = {f"weights of {model}": value for model, value in profile.weights.items()}
    rows: list[UnitRow | ScanRow] = [*profile.units, *profile.scans]
    figures = {name: figure for row in rows for name, figure in _of_measured(row)}
    protocol = {**_rule(profile), **asked, **hashes}
    return Run(profile.kind, profile.machine, protocol, {**_code(profile), **weights}, figures)


def _rule(of: Report | Profile) -> dict[str, Any]:
    return {f"rule's {name}": value for name, value in asdict(of.rule).items()}


def _code(of: Report | Profile) -> dict[str, Any]:
    kept = {name: value for name, value in of.machine.items() if name not in (*SAME_MACHINE, "packages")}
    return {"version": of.version, "commit": of.commit, **kept, **of.machine.get("packages", {})}


def _of_row(row: Row) -> Iterator[tuple[Name, Figure]]:
    name, timing = (row.op, row.case, row.implementation), row.timing
    if timing is None:
        yield (*name, "time"), Figure("s", None, row.status)
        return
    spread = Spread(timing.median, timing.low, timing.high, timing.windows)
    shaky = "" if timing.stable else "unstable"
    yield (*name, "time"), Figure("s", timing.median, row.status, spread=spread, stable=timing.stable, shaky=shaky)
    if row.memory is not None:
        yield (*name, "memory"), Figure("B", row.memory, row.status)


def _of_measured(row: UnitRow | ScanRow) -> Iterator[tuple[Name, Figure]]:
    name: Name
    if isinstance(row, UnitRow):
        name, latency, shapes = (row.model, row.unit, f"batch {row.batch}"), row.latency, row.shapes
    else:
        name, latency, shapes = (row.model, row.scan), row.seconds, ()
    yield (*name, "time"), _of_latency(latency, row.status, shapes)
    for what, nbytes in _memory(row.memory):
        yield (*name, what), Figure("B", nbytes, row.status, of=shapes)
    if isinstance(row, UnitRow) and row.file is not None:
        yield (*name, "file"), Figure("B", row.file, row.status)
    if row.energy is not None and row.energy.joules is not None:
        yield (*name, "energy"), Figure("J", row.energy.joules, row.status, of=shapes)


def _of_latency(latency: Latency | None, status: str, shapes: tuple[tuple[int, ...], ...]) -> Figure:
    if latency is None:
        return Figure("s", None, status)
    samples = latency.samples
    shaky = ", ".join(word for word, so in (("unstable", not latency.stable), ("bimodal", latency.bimodal)) if so)
    spread = Spread.of(samples) if samples else None
    return Figure("s", latency.p50, status, samples, spread, latency.stable, shaky, shapes)


def _memory(memory: Memory) -> Iterator[tuple[str, int]]:
    for one in fields(memory):
        nbytes = getattr(memory, one.name)
        if nbytes is not None:
            yield f"memory, {one.name}", nbytes
