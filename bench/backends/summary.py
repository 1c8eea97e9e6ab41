"""The table of all ways, and how much of the gain is the allocator's, the rewritten network's and the backend's."""

from __future__ import annotations

from collections.abc import Sequence

from umd_engine.bench.backends.cases import CASES, Case
from umd_engine.bench.backends.ways import ALLOCATOR, BASE, EAGER, base_of
from umd_engine.bench.command import Summary
from umd_engine.bench.floor.report import Row
from umd_engine.bench.floor.table import seconds

Times = dict[str, float]  # seconds a call, by the way's name
HEAD = f"{'':<28}{'p50':>10}{'p90':>10}{'windows/s':>11}{'of base':>9}{'MB':>7}  error"


def summarize(rows: Sequence[Row]) -> Summary:
    """A table a model and batch, the best path below; a target is missed where the best path of every batch is slower
    than promised, and then said with the gain at each."""
    lines: list[str] = []
    below: list[str] = []
    for row in rows:
        if row.op not in CASES:  # its process died, or its arguments were refused
            lines.append(f"{row.op}: {row.status}: {row.reason}")
    for model in dict.fromkeys(row.op for row in rows if row.op in CASES):
        mine, case = [row for row in rows if row.op == model], CASES[model]
        base = base_of(case).name
        gains: dict[int, float] = {}
        for title in dict.fromkeys(row.case for row in mine):
            group, batch = [row for row in mine if row.case == title], _batch(title)
            times = {row.implementation: row.timing.median for row in group if row.timing}
            lines += [f"{model}, {title}", HEAD, *(_line(row, times.get(base), batch) for row in group)]
            if (best := _best(times, case)) and base in times:
                gains[batch] = times[base] / times[best]
                lines.append(_told(times, best, case, batch))
        target = case.target if all(row.device == case.on for row in mine) else 0.0
        if gains and max(gains.values()) < target:
            each = ", ".join(f"{gain:.2f}x at batch {batch}" for batch, gain in gains.items())
            below.append(f"{model}: the best {case.precision} path against {base} is {each}, target {target:g}x at one")
    return Summary(lines, below)


def _line(row: Row, base: float | None, batch: int) -> str:
    if row.timing is None:
        return f"{row.implementation:<28}{row.status}: {row.reason}"
    time = row.timing
    ratio = f"{base / time.median:.2f}x" if base else "-"
    memory = f"{row.memory / 1e6:.0f}" if row.memory is not None else "-"
    unstable = "" if time.stable else ", unstable"
    return (
        f"{row.implementation:<28}{seconds(time.median):>10}{seconds(time.p90 or time.high):>10}"
        f"{batch / time.median:>11.3g}{ratio:>9}{memory:>7}  {row.counted.removeprefix('error ')}{unstable}"
    )


def _told(times: Times, best: str, case: Case, batch: int) -> str:
    """The best path, what parts its gain has or, in fp16, how long it takes a window next to what others say."""
    if case.precision == "fp32":
        return _split(times, best)
    gain, window = times[base_of(case).name] / times[best], seconds(times[best] / batch)
    return f"best in {case.precision}: {best}, {gain:.2f}x {base_of(case).name}, {window} a window; {case.beside}"


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


def _best(times: Times, case: Case) -> str | None:
    """The fastest way in the case's precision that is not the baseline."""
    ours = (name for name in times if name.endswith(f" {case.precision}") and name != base_of(case).name)
    return min(ours, key=times.__getitem__, default=None)


def _batch(case: str) -> int:
    return int(case.rsplit(" ", 1)[1])
