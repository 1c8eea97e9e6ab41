"""A profile as tables of text, the same for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from umd_engine.bench.floor.table import seconds
from umd_engine.bench.profile.result import SURE_OF_P99, Energy, Memory, Profile, ScanRow, UnitRow
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
        unknown: columns left out, as they would hold nothing but "-", with the reason where there is one.
    """

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: int = 1
    unknown: tuple[str, ...] = ()


def units(profile: Profile, rows: Sequence[UnitRow]) -> Iterator[Grid]:
    """One a way of running them; model and batch are columns where there are several."""
    models, batches = ({getattr(row, name) for row in rows} for name in ("model", "batch"))
    for how in dict.fromkeys(way(row) for row in rows):
        group = [row for row in rows if way(row) == how]
        cells = [dict(_unit(profile, row, len(models) > 1, len(batches) > 1)) for row in group]
        title = f"Units ({how}{'' if len(batches) > 1 else f', batch {group[0].batch}'})"
        caption = "One call of a network on a batch; shares are of the best rates measured on this device."
        yield _grid(title, caption, cells, 1 + (len(models) > 1) + (len(batches) > 1), _sources(group))


def scans(profile: Profile) -> Iterator[Grid]:
    """All scans, if there are any; which one a row is of is a column where there are several."""
    numbers = {scan: str(number) for number, scan in enumerate(dict.fromkeys(row.scan for row in profile.scans), 1)}
    several = len(numbers) > 1
    if numbers:
        named = "; ".join(f"{number}: {scan}" if several else scan for scan, number in numbers.items())
        cells = [dict(_whole(row, numbers[row.scan] if several else "")) for row in profile.scans]
        caption = f"One whole scan, from its file to its rows in the store. {named[:1].upper()}{named[1:]}."
        yield _grid(f"Scans ({way(profile.scans[0])})", caption, cells, 1 + several, _sources(profile.scans))


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


def _unit(profile: Profile, row: UnitRow, model: bool, batch: bool) -> Iterator[tuple[str, str]]:
    yield from [("model", row.model)] if model else []
    yield "unit", unit_of(row)
    yield from [("batch", str(row.batch))] if batch else []
    yield from _latency(row)
    yield "windows/s", three(row.windows_s)
    yield "of ceiling", percent(compute_share(profile, row))
    yield "of copy", percent(copy_share(profile, row))
    yield "marks", ", ".join(marks(row))
    yield "GFLOP/s", three(row.flop_s / 1e9 if row.flop_s else None)
    yield "GB/s", three(row.gb_s)
    yield "FLOP/B", three(row.intensity)
    yield from _memory(row.memory)
    yield from _cold(row)
    yield "file", _bytes(row.file)
    yield "error", _error(row.error)
    yield "energy", _joules(row.energy)
    yield from [("overhead", percent(row.overhead))] if row.overhead is not None else []


def _whole(row: ScanRow, number: str) -> Iterator[tuple[str, str]]:
    yield "model", row.model
    yield from [("scan", number)] if number else []
    yield from _latency(row)
    yield "scans/h", three(row.scans_h)
    yield "marks", ", ".join(marks(row))
    yield from (("windows", f"{row.windows:,}"), ("calls", f"{row.calls:,}")) if row.calls else ()
    yield from [("computed", f"{row.computed:,}")] if row.computed is not None else []
    yield from _memory(row.memory)
    yield from _cold(row)
    yield "energy", _joules(row.energy)
    yield from [("cost of 1000", f"{row.cost:,.2f}")] if row.cost is not None else []
    known = [dice for dice in row.dice.values() if dice is not None]
    yield from [("least Dice", f"{min(known):.4f}")] if known else []
    yield from [("overhead", percent(row.overhead))] if row.overhead is not None else []


def _latency(row: UnitRow | ScanRow) -> Iterator[tuple[str, str]]:
    latency = latency_of(row)
    if latency is None:
        yield from (("p50", row.status), ("p90", NONE), ("p99", NONE))
        return
    figures = {"p50": latency.p50, "p90": latency.p90, "p99": latency.p99}
    yield from ((name, NONE if figure is None else seconds(figure)) for name, figure in figures.items())


def _memory(memory: Memory) -> Iterator[tuple[str, str]]:
    """Of a device and the host beside it, or of the host alone."""
    if memory.allocated is None:
        yield "memory", _bytes(memory.host)
        return
    yield "memory", _bytes(memory.allocated)
    yield "reserved", _bytes(memory.reserved)
    yield "process", _bytes(memory.process)
    yield "host", _bytes(memory.host)


def _cold(row: UnitRow | ScanRow) -> Iterator[tuple[str, str]]:
    """What comes before the first warm call, step by step."""
    yield from ((name, seconds(took)) for name, took in row.cold.items())


def _sources(rows: Sequence[UnitRow] | Sequence[ScanRow]) -> dict[str, str]:
    """Why figures are not known."""
    told = {row.energy.source for row in rows if row.energy is not None and row.energy.joules is None}
    return {"p99": f"from {SURE_OF_P99} calls on"} | ({"energy": "; ".join(sorted(told))} if told else {})


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
