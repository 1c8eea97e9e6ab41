"""From calls to what a row says of their time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from umd_engine.bench.floor.clock import SamplingClock
from umd_engine.bench.floor.modes import in_two_groups
from umd_engine.bench.floor.repetition import Rule, sample
from umd_engine.bench.profile.result import SURE_OF_P99, Energy, Latency
from umd_engine.bench.profile.sensors import Meter

ROUNDS = 10  # pairs of windows, one with and one without


def timed(
    run: Callable[[], Any], clock: SamplingClock, rule: Rule, first: float, meter: Meter
) -> tuple[Latency, Energy]:
    """Time `run` by the rule of every bench, each call for itself, and weigh a call.

    Args:
        first: seconds of a call just made, which is all there is where it took the rule's budget.
    """
    if first >= rule.budget:
        return latency_of([first], stable=False), Energy(None, "not measured: there was time for one call")
    counting, since = _Counting(clock), meter.joules()
    timing, samples = sample(run, counting, rule, first)
    return latency_of(samples, timing.stable), meter.spent(since, counting.calls)


class _Counting:
    """A clock that knows how many calls it timed."""

    def __init__(self, clock: SamplingClock):
        self.clock, self.calls = clock, 0

    def seconds(self, run: Callable[[], Any], calls: int) -> float:
        return sum(self.each(run, calls))

    def each(self, run: Callable[[], Any], calls: int) -> list[float]:
        self.calls += calls
        return self.clock.each(run, calls)


def latency_of(samples: Sequence[float], stable: bool) -> Latency:
    """Quantiles by nearest rank: each is a call that was made. The p50 of an even number is between two."""
    p99 = _rank(samples, 0.99) if len(samples) >= SURE_OF_P99 else None
    p50 = statistics.median(samples)
    return Latency(tuple(samples), p50, _rank(samples, 0.9), p99, stable, in_two_groups(samples))


def _rank(samples: Sequence[float], part: float) -> float:
    return sorted(samples)[math.ceil(part * len(samples)) - 1]


def overhead_of(run: Callable[[], Any], clock: SamplingClock, calls: int) -> float:
    """By which part a call takes longer where each is sampled: windows of both kinds in turns, the fastest of each, as
    what else a machine does only adds."""
    bare, sampled = [], []
    for _ in range(ROUNDS):
        bare.append(clock.seconds(run, calls))
        sampled.append(sum(clock.each(run, calls)))
    return min(sampled) / min(bare) - 1
