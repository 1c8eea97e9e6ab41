"""What the rows say together: CPU seconds against nnunetv2's, all metrics against its Dice, the share in flight."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from umd_engine.bench.command import Summary
from umd_engine.bench.floor.report import Row
from umd_engine.bench.pipeline.entries import DICE, STUDY, SURFACES

IN_FLIGHT = 0.9
SURFACES_TARGET = 1.0


def summarize(rows: Sequence[Row]) -> Summary:
    """A line a figure that was measured; a target is missed where one is below it."""
    lines, below = [], []
    for said, value, target in _figures(rows):
        line = f"{said}: {value:.3g}, target {target:g}"
        lines.append(line)
        if value < target:
            below.append(line)
    return Summary(lines, below)


def _figures(rows: Sequence[Row]) -> Iterator[tuple[str, float, float]]:
    ours, theirs = _seconds(rows, SURFACES, peer=False), _seconds(rows, DICE, peer=True)
    if ours and theirs:
        yield "Dice, NSD and HD95 in the time of nnUNetv2_evaluate_folder's Dice", theirs / ours, SURFACES_TARGET
    for row in rows:
        if row.op == STUDY and (found := re.search(r"in flight ([\d.]+)%", row.counted)):
            yield "share of the time with a batch in flight", float(found[1]) / 100, IN_FLIGHT


def _seconds(rows: Sequence[Row], op: str, peer: bool) -> float | None:
    return next((row.timing.median for row in rows if row.op == op and row.peer == peer and row.timing), None)
