"""Samples of the one rule, their quantiles, and whether they lie in two groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umd_engine.bench.floor.clock import HostClock
from umd_engine.bench.floor.modes import ENOUGH, in_two_groups
from umd_engine.bench.floor.repetition import FULL, Rule, repeat, sample
from umd_engine.bench.profile.latency import latency_of, timed
from umd_engine.bench.profile.sensors import Meter

SEEDS = st.integers(0, 2**32 - 1)
MANY = st.integers(ENOUGH, 400)


class Scripted:
    """Tells the seconds of each call from a list; the last one stays."""

    def __init__(self, *calls: float):
        self.told = list(calls)

    def each(self, run: Callable[[], Any], calls: int) -> list[float]:
        return [self.told.pop(0) if len(self.told) > 1 else self.told[0] for _ in range(calls)]

    def seconds(self, run: Callable[[], Any], calls: int) -> float:
        return sum(self.each(run, calls))


def nothing() -> None:
    pass


@given(st.lists(st.floats(0.05, 3.0), min_size=3, max_size=60), st.floats(0, 1))
def test_sampling_changes_nothing_of_the_rule(calls: list[float], warmed: float) -> None:
    timing, taken = sample(nothing, Scripted(*calls), FULL, warmed)
    assert timing == repeat(nothing, Scripted(*calls), FULL, warmed)
    assert len(taken) == timing.windows * timing.calls
    assert min(taken) * (1 - 1e-12) <= timing.median <= max(taken) * (1 + 1e-12)


def test_warm_up_is_no_sample_and_a_slow_call_is_a_window() -> None:
    timing, taken = sample(nothing, Scripted(5.0, 0.3, 0.305, 0.31), FULL)
    assert taken == [0.3, 0.305, 0.31] and timing.calls == 1


def test_the_host_clock_loses_nothing_between_calls() -> None:
    import time

    each = HostClock().each(lambda: time.sleep(0.002), 5)
    assert len(each) == 5 and all(0.002 <= seconds < 0.1 for seconds in each)


def test_quantiles_are_calls_that_were_made_and_p99_needs_a_hundred() -> None:
    hundred = [float(n) for n in range(1, 101)]
    found = latency_of(hundred[::-1], stable=True)
    assert (found.p50, found.p90, found.p99) == (50.5, 90.0, 99.0) and found.samples == tuple(hundred[::-1])
    assert latency_of(hundred[:99], stable=True).p99 is None
    one = latency_of([2.0], stable=False)
    assert (one.p50, one.p90, one.p99, one.bimodal) == (2.0, 2.0, None, False)


def test_a_first_call_that_takes_the_budget_is_all_there_is(tmp_path) -> None:
    import torch

    meter = Meter(torch.device("cpu"), tmp_path)
    latency, energy = timed(nothing, Scripted(1.0), Rule(budget=5.0), 6.0, meter)
    assert latency.samples == (6.0,) and not latency.stable and energy.joules is None and "one call" in energy.source


@given(SEEDS, MANY, st.floats(0.001, 1.0))
def test_two_modes_are_told(seed: int, count: int, scale: float) -> None:
    """Ten of their standard deviations apart, each with a third of the calls or more."""
    rng = np.random.default_rng(seed)
    upper = max(count // 3, 11)
    modes = np.where(np.arange(count) < upper, 1.5, 1.0)
    assert in_two_groups(list(scale * rng.permutation(modes + rng.normal(0, 0.05, count).clip(-0.1, 0.1))))


@pytest.mark.parametrize("name", ["normal", "uniform", "exponential", "lognormal", "gamma"])
@pytest.mark.parametrize("count", [ENOUGH, 100, 1000])
def test_one_mode_is_seldom_told_for_two(name: str, count: int) -> None:
    draw = {
        "normal": lambda rng: rng.normal(1, 0.1, count),
        "uniform": lambda rng: rng.uniform(1, 2, count),
        "exponential": lambda rng: 1 + rng.exponential(0.3, count),
        "lognormal": lambda rng: rng.lognormal(0, 0.5, count),
        "gamma": lambda rng: 1 + rng.gamma(2, 0.2, count),
    }[name]
    told = sum(in_two_groups(draw(np.random.default_rng(seed))) for seed in range(400))
    assert told <= (20 if count == ENOUGH else 4)


@given(SEEDS, st.integers(ENOUGH, 200))
def test_a_few_slow_calls_or_a_small_step_are_no_second_mode(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    calls = rng.normal(1, 0.01, count)
    few = np.arange(count) < count // 20
    assert not in_two_groups(np.where(few, 5.0, calls))
    assert not in_two_groups(np.where(np.arange(count) < count // 2, 1.0, 1.03))


@given(st.lists(st.floats(1e-6, 1e3), max_size=ENOUGH - 1))
def test_of_few_samples_nothing_is_said(few: list[float]) -> None:
    assert not in_two_groups(few)
