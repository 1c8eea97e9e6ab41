"""What every command of the bench does with its benches: measure, print, keep, and say what is red."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from umd_engine.bench.floor.measure import missed
from umd_engine.bench.floor.repetition import FULL, QUICK, Rule
from umd_engine.bench.floor.report import BASELINE, RED, Row
from umd_engine.bench.floor.run import Bench, run
from umd_engine.bench.floor.table import heading, kernels_of, lines_of


@dataclass(frozen=True)
class Summary:
    """What a bench says of all its rows together.

    Attributes:
        lines: what is printed. below: a line for every target that is missed.
    """

    lines: Sequence[str]
    below: Sequence[str]


def perform(
    benches: Iterable[Bench],
    quick: bool,
    out: Path | None,
    summary: Callable[[Sequence[Row]], Summary] | None = None,
    baseline: str = BASELINE,
    rule: Rule | None = None,
) -> int:
    """Measure, print each bench when it ended, write the report. The exit status: 1 where something is red.

    Args:
        quick: short windows and a small budget: a look, whose slow calls are timed once and called unstable.
        out: where the report goes as JSON; None for nowhere.
        baseline: what the report says that it was measured under.
        rule: in place of that of `quick`.
    """
    report = replace(run(benches, rule or (QUICK if quick else FULL), _show), baseline=baseline)
    if out is not None:
        report.save(out)
    for line in kernels_of(report.kernels):
        print(line)
    print(heading(report))
    below = missed(report.rows, str(report.machine.get("device") or ""))
    if summary is not None:
        said = summary(report.rows)
        print("\n".join(said.lines))
        below += said.below
    red = [f"{row.op}, {row.case}, {row.implementation}: {row.reason}" for row in report.rows if row.status in RED]
    for line in (*below, *red):
        print(f"RED {line}", file=sys.stderr)
    return int(bool(below or red))


def _show(rows: tuple[Row, ...]) -> None:
    for line in lines_of(rows):
        print(line, flush=True)
