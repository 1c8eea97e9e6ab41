"""A profile as tables of text, the same for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from umd_engine.bench.floor.table import seconds
from umd_engine.bench.profile.result import Energy, Memory, Profile, ScanRow, UnitRow
from umd_engine.bench.profile.told import (
    NONE,
    compute_share,
    copy_share,
    latency_of,
    marks,
    percent,
    shares,
    three,
    unit_of,
    way,
)
from umd_engine.data.words import short


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        caption: one line that says what it tells.
        keys: how many of the first columns name a row; they are set to the left, figures to the right.
        unknown: columns that would hold nothing but "-", left out, with the reason where there is one.
    """

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: int = 1
    unknown: tuple[str, ...] = ()


def units(profile: Profile, rows: Sequence[UnitRow]) -> Iterator[Grid]:
    """One a way of running them; the model is a column where there are several."""
    several = len({row.model for row in rows}) > 1
    for how in dict.fromkeys(way(row) for row in rows):
        group = [row for row in rows if way(row) == how]
        cells = [{**({"model": row.model} if several else {}), **dict(_unit(profile, row))} for row in group]
        caption = "One call of a network on a batch; shares are of the best rates measured on this device."
        yield _grid(f"Units ({how})", caption, cells, 2 + several, _sources(row.energy for row in group))


def scans(profile: Profile) -> Iterator[Grid]:
    """All scans, if there are any."""
    if profile.scans:
        yield _grid(
            "Scans",
            "One whole scan, from its file to its rows in the store.",
            [dict(_whole(row)) for row in profile.scans],
            2,
            _sources(row.energy for row in profile.scans),
        )


def stages(row: ScanRow) -> Grid:
    """Where the time of a scan goes, the forward stage by unit."""
    rows = []
    for stage, share in shares(row.stages).items():
        rows.append((stage, seconds(row.stages[stage]), f"{share:.0%}"))
        if stage == "forward":
            rows += [
                (f"  of it {unit.removeprefix(row.model + '.')}", seconds(took), "")
                for unit, took in row.forward.items()
            ]
    caption = "Seconds of each stage. Stages overlap, so they may add up to more than the scan takes."
    return Grid(f"{row.model}, {row.scan}: stages ({way(row)})", caption, ("stage", "time", "share"), tuple(rows))


def ceilings(profile: Profile) -> Iterator[Grid]:
    """What each device reaches, a line a precision."""
    rows = []
    for device, found in profile.ceilings.items():
        for precision in dict.fromkeys((*found.product, *found.conv)) or (NONE,):
            rates = (found.product.get(precision), found.conv.get(precision))
            rows.append((device, precision, *(_rate(rate) for rate in rates), _gb_s(found.copy)))
    if rows:
        yield Grid(
            "Ceilings",
            "The best rates of this machine, measured in the same run: what shares are of.",
            ("device", "precision", "matrix product", "convolution", "copy"),
            tuple(rows),
            keys=2,
        )


def _grid(title: str, caption: str, cells: Sequence[dict[str, str]], keys: int, why: dict[str, str]) -> Grid:
    columns = list(dict.fromkeys(name for row in cells for name in row))
    empty = [name for name in columns[keys:] if all(row.get(name, NONE) in (NONE, "") for row in cells)]
    kept = tuple(name for name in columns if name not in empty)
    rows = tuple(tuple(row.get(name, NONE) for name in kept) for row in cells)
    unknown = [f"{name} ({why[name]})" if name in why else name for name in empty if name != "marks"]
    return Grid(title, caption, kept, rows, keys, tuple(unknown))


def _unit(profile: Profile, row: UnitRow) -> Iterator[tuple[str, str]]:
    yield from (("unit", unit_of(row)), ("batch", str(row.batch)))
    yield from _latency(row)
    yield "windows/s", three(row.windows_s)
    yield "marks", ", ".join(marks(row))
    yield "GFLOP/s", three(row.flop_s / 1e9 if row.flop_s else None)
    yield "of ceiling", percent(compute_share(profile, row))
    yield "GB/s", three(row.gb_s)
    yield "of copy", percent(copy_share(profile, row))
    yield "FLOP/B", three(row.intensity)
    yield from _memory(row.memory)
    yield "error", _error(row.error)
    yield "cold", seconds(sum(row.cold.values())) if row.cold else NONE
    yield "energy", _joules(row.energy)
    yield "file", _bytes(row.file)
    yield "overhead", percent(row.overhead)


def _whole(row: ScanRow) -> Iterator[tuple[str, str]]:
    yield from (("model", row.model), ("scan", row.scan))
    yield from _latency(row)
    yield "scans/h", three(row.scans_h)
    yield "marks", ", ".join(marks(row))
    yield from (("windows", f"{row.windows:,}"), ("calls", f"{row.calls:,}")) if row.calls else ()
    yield from _memory(row.memory)
    yield "energy", _joules(row.energy)
    yield "cost of 1000", NONE if row.cost is None else f"{row.cost:,.2f}"
    known = [dice for dice in row.dice.values() if dice is not None]
    yield "least Dice", f"{min(known):.4f}" if known else NONE
    yield "overhead", percent(row.overhead)


def _latency(row: UnitRow | ScanRow) -> Iterator[tuple[str, str]]:
    latency = latency_of(row)
    if latency is None:
        yield from (("p50", row.status), ("p90", NONE), ("p99", NONE))
        return
    figures = {"p50": latency.p50, "p90": latency.p90, "p99": latency.p99}
    yield from ((name, NONE if figure is None else seconds(figure)) for name, figure in figures.items())


def _memory(memory: Memory) -> Iterator[tuple[str, str]]:
    yield "memory", _bytes(memory.allocated if memory.allocated is not None else memory.host)
    yield "reserved", _bytes(memory.reserved)
    yield "process", _bytes(memory.process)
    yield "host", _bytes(memory.host if memory.allocated is not None else None)


def _sources(found: Iterable[Energy | None]) -> dict[str, str]:
    """Why no energy is known."""
    told = {energy.source for energy in found if energy is not None and energy.joules is None}
    return {"energy": "; ".join(sorted(told))} if told else {}


def _error(value: float | None) -> str:
    return NONE if value is None else f"{value:.1e}" if value else "0"


def _bytes(value: int | None) -> str:
    return NONE if value is None else f"{short(value)}B"


def _joules(energy: Energy | None) -> str:
    return NONE if energy is None or energy.joules is None else f"{short(energy.joules)}J"


def _rate(value: float | None) -> str:
    return NONE if value is None else f"{short(value)}FLOP/s"


def _gb_s(value: float | None) -> str:
    return NONE if value is None else f"{three(value)} GB/s"
