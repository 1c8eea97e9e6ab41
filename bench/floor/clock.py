"""Whose seconds count: the host's, a CUDA device's, or those that a call tells itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol

from umd_engine.bench.floor.entry import Entry


class Clock(Protocol):
    """Times a window of calls."""

    def seconds(self, run: Callable[[], Any], calls: int) -> float:
        """Seconds that `calls` calls of `run`, one after another, take together."""


class SamplingClock(Clock, Protocol):
    """Also tells the calls of a window apart."""

    def each(self, run: Callable[[], Any], calls: int) -> list[float]:
        """Seconds of each call, from the end of the one before; their sum is the window."""


class HostClock:
    """The wall clock of this process."""

    def seconds(self, run: Callable[[], Any], calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        return time.perf_counter() - start

    def each(self, run: Callable[[], Any], calls: int) -> list[float]:
        marks = [time.perf_counter()]
        for _ in range(calls):
            run()
            marks.append(time.perf_counter())
        return [later - earlier for earlier, later in pairwise(marks)]


class DeviceClock:
    """CUDA events around the window or each call, on the current stream: launches may run ahead of the device."""

    def seconds(self, run: Callable[[], Any], calls: int) -> float:
        import torch

        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        first.record()
        for _ in range(calls):
            run()
        last.record()
        last.synchronize()
        return float(first.elapsed_time(last)) / 1e3

    def each(self, run: Callable[[], Any], calls: int) -> list[float]:
        import torch

        marks = [torch.cuda.Event(enable_timing=True) for _ in range(calls + 1)]
        torch.cuda.synchronize()
        marks[0].record()
        for mark in marks[1:]:
            run()
            mark.record()
        marks[-1].synchronize()
        return [float(earlier.elapsed_time(later)) / 1e3 for earlier, later in pairwise(marks)]


class ToldClock:
    """The seconds that each call's result tells: a call that starts a process and leaves its imports out.

    Args:
        told: seconds of one result.
    """

    def __init__(self, told: Callable[[Any], float]):
        self.told = told

    def seconds(self, run: Callable[[], Any], calls: int) -> float:
        return sum(self.each(run, calls))

    def each(self, run: Callable[[], Any], calls: int) -> list[float]:
        return [self.told(run()) for _ in range(calls)]


def clock_of(entry: Entry) -> Clock:
    """The clock that counts for an entry."""
    if entry.seconds is not None:
        return ToldClock(entry.seconds)
    return DeviceClock() if entry.runs_on == "cuda" else HostClock()
