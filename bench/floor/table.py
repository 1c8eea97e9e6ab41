"""A report as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from umd_engine.bench.floor.repetition import Timing
from umd_engine.bench.floor.report import KernelUse, Ratio, Report, Row


def lines_of(rows: Iterable[Row]) -> Iterator[str]:
    """A heading an op and case, below it a line an entry and under ours a line a peer."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.op, row.case), []).append(row)
    for (op, case), group in groups.items():
        yield f"{op}, {case}{_copy(group)}"
        for row in group:
            yield f"  {row.implementation:<28} {_figures(row)}".rstrip()
            yield from (f"    {_ratio(ratio)}" for ratio in row.ratios)
            if row.call:
                yield f"    {row.call}"


def heading(report: Report) -> str:
    """What the figures were measured with and on."""
    return (
        f"version {report.version}, commit {report.commit or 'unknown'}, {machine(report.machine)}; {report.baseline}"
    )


def machine(described: Mapping[str, Any]) -> str:
    """One line."""
    device = described.get("device") or "no CUDA device"
    return f"{described['cpu']}, {described['threads']} threads, {device}"


def kernels_of(kernels: Iterable[KernelUse]) -> Iterator[str]:
    """A line a GPU kernel."""
    for kernel in kernels:
        stack = "" if kernel.stack is None else f", {kernel.stack} B of stack"
        yield (
            f"{kernel.op}: {kernel.kernel}, {kernel.target}: {kernel.registers} registers, "
            f"{kernel.spills} B spilled{stack}"
        )


def seconds(value: float) -> str:
    """Three figures and a unit; from 1000 s on whole seconds."""
    if value >= 1000:
        return f"{value:.0f} s"
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"


def spread(timing: Timing) -> str:
    """The fastest and the slowest window."""
    return f"{seconds(timing.low)} to {seconds(timing.high)}"


def _copy(rows: list[Row]) -> str:
    rates = {row.device: row.copy_gb_s for row in rows if row.copy_gb_s is not None}
    told = ", ".join(f"{rate:.3g} GB/s on {device}" for device, rate in rates.items())
    return f" (a copy: {told})" if told else ""


def _figures(row: Row) -> str:
    if row.timing is None:
        return f"{row.status}: {row.reason}{_promise(row)}"
    parts = [f"{seconds(row.timing.median)} ({spread(row.timing)})"]
    if row.status == "unstable":
        parts.append("unstable")
    if row.gb_s is not None:
        parts.append(f"{row.gb_s:.3g} GB/s")
    if row.share is not None:
        parts.append(f"{row.share:.0%} of copy")
    if row.memory is not None:
        parts.append(f"{row.memory / 1e6:.0f} MB at its peak")
    if row.counted:
        parts.append(row.counted)
    return ", ".join(parts) + _promise(row)


def _promise(row: Row) -> str:
    promise = row.promise
    if promise is None:
        return ""
    most = [f"at most {seconds(promise.seconds)}"] if promise.seconds else []
    least = [f"at least {promise.share:.0%} of copy"] if promise.share else []
    return f" (promised on {promise.device}: {', '.join(most + least)})"


def _ratio(ratio: Ratio) -> str:
    target = f", target {ratio.target:g}x" if ratio.target else ""
    most = f" (target {ratio.memory_target:.2g})" if ratio.memory_target else ""
    memory = f", {ratio.memory:.2f} of its memory{most}" if ratio.memory is not None else ""
    name = ratio.peer.removeprefix("peer:")
    unstable = "" if ratio.stable else ", unstable"
    return f"{ratio.value:.3g}x the speed of {name} ({ratio.low:.3g} to {ratio.high:.3g}{unstable}{target}){memory}"
