"""Of all rows: nnunetv2 without its workers' start, all metrics against its Dice, the share in flight."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from umd_engine.bench.command import Summary
from umd_engine.bench.floor.report import Row
from umd_engine.bench.pipeline.entries import DICE, ONE_WORKER, STUDY, SURFACES, TWO_WORKERS

IN_FLIGHT = 0.9
SURFACES_TARGET = 1.0


def summarize(rows: Sequence[Row]) -> Summary:
    """A line a figure that was measured; a target is missed where one is below it."""
    lines, below = [], []
    for said, value, target in _figures(rows):
        line = f"{said}: {value:.3g}" + (f", target {target:g}" if target else "")
        lines.append(line)
        if value < target:
            below.append(line)
    return Summary(lines, below)


def _figures(rows: Sequence[Row]) -> Iterator[tuple[str, float, float]]:
    """What it is, its value, its target (0 for none)."""
    for row in rows:
        start = _number(row, r"([\d.]+) s of it start its workers")
        if row.timing and start is not None:
            name, alone = row.implementation.removeprefix("peer:"), row.timing.median - start
            if ours := _fastest(rows, row.op):
                yield f"{row.op}: the speed of {name} without the start of its workers", alone / ours, 0.0
            if row.op == DICE and (ours := _fastest(rows, SURFACES)):
                yield f"{SURFACES}: the speed of {name}'s Dice", row.timing.median / ours, SURFACES_TARGET
        if row.op == STUDY and row.implementation == TWO_WORKERS and row.timing:
            yield from _of_workers(rows, row, row.timing.median)
        share = _number(row, r"in flight ([\d.]+)%")
        if share is not None:
            yield "share of the time with a batch in flight", share / 100, IN_FLIGHT


def _of_workers(rows: Sequence[Row], two: Row, seconds: float) -> Iterator[tuple[str, float, float]]:
    for one in rows:
        if one.op == STUDY and one.implementation == ONE_WORKER and one.timing:
            yield f"{STUDY}: the speed of 2 Ray workers against 1", one.timing.median / seconds, 0.0
            cpu = [_number(row, r"CPU ([\d.]+) s") for row in (two, one)]
            if cpu[0] and cpu[1]:
                yield f"{STUDY}: CPU seconds of 2 Ray workers over those of 1", cpu[0] / cpu[1], 0.0


def _number(row: Row, pattern: str) -> float | None:
    found = re.search(pattern, row.counted)
    return float(found[1]) if found else None


def _fastest(rows: Sequence[Row], op: str) -> float | None:
    return min((row.timing.median for row in rows if row.op == op and not row.peer and row.timing), default=None)
