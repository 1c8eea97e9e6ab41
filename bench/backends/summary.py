"""The table of all ways, and how much of the gain is the allocator's, the rewritten network's and the backend's."""

from __future__ import annotations

from collections.abc import Sequence

from umd_engine.bench.backends.cases import CASES
from umd_engine.bench.backends.ways import ALLOCATOR, BASE, EAGER
from umd_engine.bench.command import Summary
from umd_engine.bench.floor.report import Row
from umd_engine.bench.floor.table import seconds

Times = dict[str, float]  # seconds a call, by the way's name
HEAD = f"{'':<28}{'p50':>10}{'p90':>10}{'windows/s':>11}{'of base':>9}{'MB':>7}  error"


def summarize(rows: Sequence[Row]) -> Summary:
    """A table a model and batch, best paths below; a target is missed where the best float32 path of every batch is
    slower than promised."""
    lines: list[str] = []
    below: list[str] = []
    for row in rows:
        if row.op not in CASES:  # its process died, or its arguments were refused
            lines.append(f"{row.op}: {row.status}: {row.reason}")
    for model in dict.fromkeys(row.op for row in rows if row.op in CASES):
        mine = [row for row in rows if row.op == model]
        gains = []
        for case in dict.fromkeys(row.case for row in mine):
            group = [row for row in mine if row.case == case]
            times = {row.implementation: row.timing.median for row in group if row.timing}
            lines += [f"{model}, {case}", HEAD, *(_line(row, times, _batch(case)) for row in group)]
            if (best := _best(times)) and BASE.name in times:
                gains.append(times[BASE.name] / times[best])
                lines.append(_split(times, best))
        target = CASES[model].target if all(row.device == "cpu" for row in mine) else 0.0
        if gains and max(gains) < target:
            below.append(f"{model}: the best fp32 path is {max(gains):.2f}x the baseline, target {target:g}x")
    return Summary(lines, below)


def _line(row: Row, times: Times, batch: int) -> str:
    if row.timing is None:
        return f"{row.implementation:<28}{row.status}: {row.reason}"
    time = row.timing
    ratio = f"{times[BASE.name] / time.median:.2f}x" if BASE.name in times else "-"
    memory = f"{row.memory / 1e6:.0f}" if row.memory is not None else "-"
    unstable = "" if time.stable else ", unstable"
    return (
        f"{row.implementation:<28}{seconds(time.median):>10}{seconds(time.p90 or time.high):>10}"
        f"{batch / time.median:>11.3g}{ratio:>9}{memory:>7}  {row.counted.removeprefix('error ')}{unstable}"
    )


def _split(times: Times, best: str) -> str:
    steps = [name for name in (BASE.name, ALLOCATOR.name, EAGER.name) if name in times]
    parts = {"allocator": _step(times, BASE.name, steps[1] if len(steps) > 1 else None)}
    if ALLOCATOR.name in times:
        parts["rewrite"] = _step(times, ALLOCATOR.name, EAGER.name)
    parts["backend"] = _step(times, EAGER.name, best)
    told = " x ".join(f"{name} {gain:.2f}" for name, gain in parts.items() if gain)
    return f"best in fp32: {best}, {times[BASE.name] / times[best]:.2f}x the baseline = {told}"


def _step(times: Times, before: str, after: str | None) -> float | None:
    return times[before] / times[after] if before in times and after in times else None


def _best(times: Times) -> str | None:
    """The fastest way in float32 that is not the baseline."""
    return min((name for name in times if name.endswith(" fp32")), key=times.__getitem__, default=None)


def _batch(case: str) -> int:
    return int(case.rsplit(" ", 1)[1])
