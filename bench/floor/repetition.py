"""The rule of warm-up and repetition: the only one, for every bench.

A window is so many calls that they last a while together. Windows are timed until three in a row agree within 5 %; if
that does not happen the figure is "unstable". Several calls a window average out what one call meets; agreement in a
row says that warm-up is over and the machine is quiet.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from umd_engine.bench.floor.clock import Clock, SamplingClock


@dataclass(frozen=True)
class Rule:
    """How long and how often.

    Attributes:
        window: least seconds of a window; a call that lasts longer is a window.
        warm: least seconds of calls before the first window that counts.
        agree: largest part by which the slowest of the windows in a row may exceed the fastest.
        in_a_row: windows that have to agree.
        most: windows after which it gives up.
        budget: seconds of windows after which it gives up.
    """

    window: float = 0.2
    warm: float = 0.5
    agree: float = 0.05
    in_a_row: int = 3
    most: int = 40
    budget: float = 120.0


FULL = Rule()
QUICK = Rule(window=0.02, warm=0.05, most=10, budget=5.0)  # a look: of a slow call the first may be all there is


@dataclass(frozen=True)
class Timing:
    """Seconds of a call.

    Attributes:
        median: of the windows in a row that agreed; unstable, of all windows.
        low: the fastest window; with `high` the spread of all windows after the warm-up.
        high: the slowest window.
        windows: how many were timed.
        calls: calls a window.
        stable: whether the rule was met.
        p90: nine in ten windows were no slower; None in a report of before it was kept.
    """

    median: float
    low: float
    high: float
    windows: int
    calls: int
    stable: bool
    p90: float | None = None


def repeat(run: Callable[[], Any], clock: Clock, rule: Rule = FULL, warmed: float = 0.0) -> Timing:
    """Time `run` by the rule.

    Args:
        warmed: seconds of calls of `run` that were just made; they count as warm-up.
    """
    calls, first = _warm_up(run, clock, rule, warmed)
    windows = [first]
    while not _agree(windows, rule) and len(windows) < rule.most and sum(windows) * calls < rule.budget:
        windows.append(clock.seconds(run, calls) / calls)
    stable = _agree(windows, rule)
    counted = windows[-rule.in_a_row :] if stable else windows
    p90 = sorted(windows)[math.ceil(0.9 * len(windows)) - 1]
    return Timing(statistics.median(counted), min(windows), max(windows), len(windows), calls, stable, p90)


def sample(
    run: Callable[[], Any], clock: SamplingClock, rule: Rule = FULL, warmed: float = 0.0
) -> tuple[Timing, list[float]]:
    """Time `run` by the rule and keep every call: what `repeat` says, and seconds of the single calls of its windows in
    their order, warm-up left out."""
    told = _Told(clock)
    timing = repeat(run, told, rule, warmed)
    return timing, told.each[-timing.windows * timing.calls :]


class _Told:
    """A clock whose windows are sums of calls that it keeps."""

    def __init__(self, clock: SamplingClock):
        self.clock, self.each = clock, list[float]()

    def seconds(self, run: Callable[[], Any], calls: int) -> float:
        window = self.clock.each(run, calls)
        self.each += window
        return sum(window)


def once(seconds: float) -> Timing:
    """Of a first call that took the whole budget: one figure, unstable."""
    return Timing(seconds, seconds, seconds, 1, 1, False, seconds)


def _warm_up(run: Callable[[], Any], clock: Clock, rule: Rule, warmed: float) -> tuple[int, float]:
    """Calls a window, and seconds a call of the first window that counts."""
    calls = 1
    while True:
        seconds = clock.seconds(run, calls)
        if seconds >= rule.window and warmed >= rule.warm:
            return calls, seconds / calls
        warmed += seconds
        if seconds < rule.window:
            calls = _more(calls, seconds, rule.window)


def _more(calls: int, seconds: float, window: float) -> int:
    """Calls that should last a window: at most ten times as many as before, as a short window tells little."""
    needed = math.ceil(1.1 * calls * window / seconds) if seconds > 0 else 10 * calls
    return max(calls + 1, min(needed, 10 * calls))


def _agree(windows: list[float], rule: Rule) -> bool:
    last = windows[-rule.in_a_row :]
    return len(last) == rule.in_a_row and max(last) <= (1 + rule.agree) * min(last)
