"""One entry becomes one row: the check first, then the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from umd_engine.bench.floor.clock import Clock, clock_of
from umd_engine.bench.floor.entry import Entry
from umd_engine.bench.floor.repetition import Rule, once, repeat
from umd_engine.bench.floor.report import Ratio, Row
from umd_engine.errors import BackendError, UmdEngineError


def measure(
    entry: Entry,
    rule: Rule,
    copy_gb_s: Mapping[str, float | None],
    clock: Callable[[Entry], Clock] = clock_of,
) -> Row:
    """Call an entry once, check what it returns, then time it by the rule.

    A check that fails, a backend or peer library that is missing and a typed error of ours give a row without a
    figure; anything else is a bug and is raised.

    Args:
        copy_gb_s: GB/s of a copy, of "cpu" and of "cuda"; None where there is no such device.
    """
    row = _row(entry)
    if copy_gb_s[entry.runs_on] is None:
        return replace(row, status="not measured", reason="no CUDA device")
    results: list[Any] = []

    def run() -> Any:
        results.append(entry.run())
        return results[-1]

    try:
        first = clock(entry).seconds(run, 1)
        result = results.pop()
        entry.check(result)
    except AssertionError as error:
        return replace(row, status="check failed", reason=_one_line(error))
    except BackendError as error:
        return replace(row, status="not measured", reason=_one_line(error))
    except UmdEngineError as error:
        return replace(row, status="failed", reason=_one_line(error))
    except ModuleNotFoundError as error:
        if not entry.peer:
            raise
        return replace(row, status="not measured", reason=f"no module {error.name}")
    if entry.counted is not None:
        row = replace(row, counted=entry.counted(result))
    del result
    timing = repeat(entry.run, clock(entry), rule, first) if first < rule.budget else once(first)
    status = "measured" if timing.stable else "unstable"
    return replace(row, status=status, timing=timing, copy_gb_s=copy_gb_s[entry.runs_on])


def _row(entry: Entry) -> Row:
    return Row(
        op=entry.op,
        implementation=entry.implementation,
        case=entry.case,
        status="failed",
        peer=entry.peer,
        call=entry.call,
        device=entry.runs_on,
        bytes_moved=entry.bytes_moved,
        target=entry.target,
        memory_target=entry.memory_target,
        promise=entry.promise,
    )


def _one_line(error: Exception) -> str:
    """What a check said; the dump of arrays that NumPy's has after it is left out."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:3])[:300] or type(error).__name__


def with_ratios(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows, ours with a ratio to every peer that was timed on the same op and case."""
    kept = list(rows)
    timed_peers: dict[tuple[str, str], list[Row]] = {}
    for row in kept:
        if row.peer and row.timing:
            timed_peers.setdefault((row.op, row.case), []).append(row)
    return tuple(
        replace(row, ratios=tuple(_ratio(row, peer) for peer in timed_peers.get((row.op, row.case), ())))
        if row.timing and not row.peer
        else row
        for row in kept
    )


def _ratio(ours: Row, peer: Row) -> Ratio:
    mine, theirs = ours.timing, peer.timing
    assert mine is not None and theirs is not None
    same = peer.device == ours.device  # promises are made for one kind of device
    return Ratio(
        peer=peer.implementation,
        value=theirs.median / mine.median,
        low=theirs.low / mine.high,
        high=theirs.high / mine.low,
        stable=mine.stable and theirs.stable,
        memory=ours.memory / peer.memory if ours.memory and peer.memory else None,
        target=peer.target if same else 0.0,
        memory_target=peer.memory_target if same else 0.0,
    )


def missed(rows: Iterable[Row], device: str = "") -> list[str]:
    """A line for every target that our fastest implementation on the peer's kind of device does not reach.

    A target of memory is missed by any of ours that needs more, a promise by the row that gave it.

    Args:
        device: the CUDA device's name, empty without one.
    """
    kept = tuple(rows)
    best: dict[tuple[str, str, str], Ratio] = {}
    for row in kept:
        for ratio in row.ratios:
            key = (row.op, row.case, ratio.peer)
            if ratio.target and (key not in best or best[key].value < ratio.value):
                best[key] = ratio
    slow = [
        f"{op}, {case}: {ratio.value:.2f}x the speed of {peer.removeprefix('peer:')}, target {ratio.target:g}x"
        for (op, case, peer), ratio in best.items()
        if ratio.value < ratio.target
    ]
    large = [
        f"{row.op}, {row.case}: {row.implementation} needs {ratio.memory:.2f} of the memory of "
        f"{ratio.peer.removeprefix('peer:')}, target {ratio.memory_target:.2g}"
        for row in kept
        for ratio in row.ratios
        if ratio.memory is not None and 0 < ratio.memory_target < ratio.memory
    ]
    return slow + large + [line for row in kept for line in _broken(row, device)]


def _broken(row: Row, device: str) -> Iterator[str]:
    promise, timing = row.promise, row.timing
    if promise is None or timing is None or promise.device not in device:
        return
    name = f"{row.op}, {row.case}: {row.implementation}"
    if promise.seconds and timing.median > promise.seconds:
        yield f"{name} takes {timing.median * 1e3:.3g} ms, promised {promise.seconds * 1e3:.3g} ms"
    if promise.share and row.share is not None and row.share < promise.share:
        yield f"{name} reaches {row.share:.0%} of a copy, promised {promise.share:.0%}"
