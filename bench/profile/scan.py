"""One model on one scan, from loading it to its row."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial

import torch

from umd_engine.bench.floor import memory
from umd_engine.bench.floor.clock import ToldClock
from umd_engine.bench.floor.repetition import Rule
from umd_engine.bench.profile.asked import Asked
from umd_engine.bench.profile.latency import ROUNDS, timed
from umd_engine.bench.profile.result import MEASURED, UNSTABLE, Energy, ScanRow
from umd_engine.bench.profile.scanned import Scanned
from umd_engine.bench.profile.sensors import Meter
from umd_engine.bench.profile.subject import name_of, request_of
from umd_engine.bench.profile.trial import Way, fault
from umd_engine.bench.profile.units import PATIENCE
from umd_engine.bench.profile.whole import Whole, weighed
from umd_engine.engine.tally import tally
from umd_engine.engine.unit import Unit
from umd_engine.evaluation.cases import Settings
from umd_engine.evaluation.forecast.scans import planned
from umd_engine.evaluation.forecast.works import planned_cases
from umd_engine.evaluation.verifying import verify_on
from umd_engine.models.model import Model, PromptedModel
from umd_engine.models.outline import outline
from umd_engine.models.ready import open_unit
from umd_engine.models.stand_in_model import stand_in_model

GLANCE = Rule(window=0.02, warm=0.05, most=4, budget=0.5)  # of `quick`
SLOW_SCAN, SLOW_GLANCE = 60.0, 0.3  # s of a unit's calls, beyond which they repeat an answer; with `quick`
AnyModel = Model | PromptedModel


def scan_row(text: str, scanned: Scanned, asked: Asked, rule: Rule, conv: float | None = None) -> ScanRow:
    """Run a model on a scan; what ends it is the row's status and reason.

    Args:
        text: the model, as of `--model`.
        conv: FLOP/s that no unit exceeds; None: unknown.
    """
    try:
        return _Profiled(text, scanned, asked, rule, conv).row()
    except Exception as error:
        return failed(text, scanned, asked, **fault(error, torch.device(asked.device)))


def failed(text: str, scanned: Scanned, asked: Asked, status: str, reason: str) -> ScanRow:
    """A row without a figure."""
    named = (name_of(text), scanned.title, asked.backend, asked.precision, asked.device, batch_of(asked))
    return ScanRow(*named, status, reason)


def batch_of(asked: Asked) -> int:
    """Of the scans: the largest; with `quick` at least that of `evaluate`, as one item alone is slow on a CPU."""
    return max(*asked.batches, Settings.batch_size if asked.quick else 1)


class _Profiled:
    """A model, loaded for one scan."""

    def __init__(self, text: str, scanned: Scanned, asked: Asked, rule: Rule, conv: float | None):
        self.asked, self.scanned, self.rule = asked, scanned, rule
        self.device = torch.device(asked.device)
        self.settings = Settings(
            backend=asked.backend,
            device=self.device,
            precision=asked.precision,
            batch_size=batch_of(asked),
            organs=scanned.organs,
        )
        self.empty = failed(text, scanned, asked, MEASURED, "")
        began = time.perf_counter()
        request = request_of(text)
        self.has_weights, self.scaled, self.reason = request is not None, 1.0, ""
        self.model = self._stand_in(text, conv) if request is None else request.load({})
        self.load = time.perf_counter() - began
        memory.settle()

    def _stand_in(self, name: str, conv: float | None) -> AnyModel:
        """The whole model, or the reduced one where it is asked for or a call of the whole cannot but take long."""
        whole, why = outline(name, name, {}), ""
        if not self.asked.quick:
            call = max(_flops(unit) for unit in whole.units) * self.settings.batch_size / conv if conv else 0.0
            if call < PATIENCE:
                return stand_in_model(name, name)
            why = f", as one call of the whole takes {call:.0f} s or more"
        self.reason = f"a reduced network{why}"
        reduced = stand_in_model(name, name, reduced=True)
        self.scaled = self._scan_flops(whole) / self._scan_flops(reduced)
        return reduced

    def _scan_flops(self, model: AnyModel) -> int:
        """Of the scan, as its geometry tells; those of a file's units are not known."""
        scans, faults = planned([self.scanned.row])
        if faults:
            raise faults[0][1]
        (case,) = planned_cases(scans, [model], self.settings)
        return sum(_flops(one.unit) * one.count for one in case.calls.works)

    def row(self) -> ScanRow:
        asked = self.asked
        whole = Whole(self.model, self.scanned.row, self.settings, SLOW_GLANCE if asked.quick else SLOW_SCAN)
        (opened, first), held, timeline = weighed(whole.cold, self.device)
        watched = whole.watched()
        warmed = watched.seconds if asked.quick else whole.warm()
        latency, energy = timed(whole.warm, ToldClock(float), self.rule, warmed, Meter(self.device))
        if not asked.quick:
            _, held, timeline = weighed(whole.anew, self.device)
        if whole.computed is not None:
            energy = Energy(None, "not measured: most of its calls were not computed")
        return replace(
            self.empty,
            status=MEASURED if latency.stable else UNSTABLE,
            reason=self.reason,
            emulated=Way(asked.backend, asked.precision, self.device, asked.batches, self.rule, PATIENCE).emulated,
            scaled=self.scaled,
            voxels=planned([self.scanned.row])[0][0].voxels,
            cold={"load": self.load, "open": opened, "first run": first},
            seconds=latency,
            stages=watched.stages,
            forward=watched.forward,
            windows=watched.items,
            calls=watched.calls,
            computed=whole.computed,
            memory=held,
            timeline=tuple(timeline.moments),
            energy=energy,
            cost=cost_of(asked, latency.p50, energy),
            dice=self._dice(whole) if self.has_weights and asked.precision not in ("fp32", "tf32") else {},
            overhead=_overhead(whole) if asked.overhead and whole.computed is None else None,
        )

    def _dice(self, whole: Whole) -> Mapping[str, float | None]:
        """Of this precision's answer to that of fp32."""
        assert whole.sessions is not None
        exact = cache(partial(open_unit, backend="torch", device=self.device))
        report = verify_on([self.scanned.row], self.model, whole.sessions, exact, self.settings)
        return {one.organ: one.dice for one in report.organs}


@cache
def _flops(unit: Unit) -> int:
    return tally(unit).flops


def _overhead(whole: Whole) -> float:
    """By which part runs take longer that are traced and looked at: both kinds in turns, the fastest of each."""
    bare, traced = [], []
    for _ in range(ROUNDS):
        bare.append(whole.warm())
        traced.append(whole.traced())
    return min(traced) / min(bare) - 1


def cost_of(asked: Asked, seconds: float, energy: Energy | None) -> float | None:
    """Of 1000 scans one after the other: hours, and kWh by the counter or else by the watts given; None: no prices."""
    joules = energy.joules if energy is not None and energy.joules is not None else None
    if joules is None and asked.watts is not None:
        joules = asked.watts * seconds
    if (asked.hour is None and asked.kwh is None) or (asked.kwh is not None and joules is None):
        return None
    return 1000 * ((asked.hour or 0.0) * seconds / 3600 + (asked.kwh or 0.0) * (joules or 0.0) / 3.6e6)
