"""One model on one scan, from the scan's files to its rows in a store, run again and again: watched or left alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from umd_engine.bench.floor.memory import peak_resident, resident
from umd_engine.bench.profile.result import Memory
from umd_engine.bench.profile.timeline import Timeline
from umd_engine.data.manifest import ScanRow
from umd_engine.engine.trace import Trace
from umd_engine.evaluation.cases import Settings
from umd_engine.evaluation.crew import Crew, Sessions
from umd_engine.evaluation.forecast.measure import Echoes
from umd_engine.evaluation.run import Evaluation
from umd_engine.models.model import Model, PromptedModel

Result = TypeVar("Result")
LEAST = 2  # calls of a unit with so many items that are computed in any case; the first does not count
# as rows call the stages of a trace; the others keep their names
NAMES = {"collect": "gather", "program": "finish"}


@dataclass(frozen=True)
class Watched:
    """What one run told of its stages.

    Attributes:
        seconds: of the run. stages, forward: as of a `ScanRow`. items: through the networks. calls: of them.
    """

    seconds: float
    stages: Mapping[str, float]
    forward: Mapping[str, float]
    items: int
    calls: int


class Whole:
    """Runs a scan from its file to its rows, into a folder that is thrown away.

    Args:
        patience: seconds of a unit's calls in a run, after which they repeat an answer.
    """

    def __init__(self, model: Model | PromptedModel, row: ScanRow, settings: Settings, patience: float):
        self.model, self.row, self.settings, self.patience = model, row, settings, patience
        self.sessions: Sessions | None = None
        self._echoes: Echoes | None = None
        self.computed: int | None = None

    def cold(self) -> tuple[float, float]:
        """Open the networks and run the scan for the first time; seconds of each.

        Raises:
            UmdEngineError: what ended the scan.
        """
        began = time.perf_counter()
        self.sessions = Sessions([self.model], self.settings)
        opened = time.perf_counter() - began
        echoes = Echoes(self.sessions, LEAST, self.patience)
        seconds = self._run(echoes)[0]
        repeated = sum(size * count for echo in echoes.made.values() for size, count in echo.repeated.items())
        if repeated:
            self._echoes = echoes
            self.computed = sum(echo.items for echo in echoes.made.values()) - repeated
        return opened, seconds

    def warm(self) -> float:
        """Seconds of one run; where the first one repeated answers, its calls are taken as long as those computed."""
        return self._run(self._echoes)[0]

    def traced(self) -> float:
        """Seconds of a run that keeps a trace and is looked at, as those that `watched` and `weighed` run."""
        with Timeline(self.settings.device).watching():
            return self._run(self._echoes, Trace(keep=True))[0]

    def watched(self) -> Watched:
        """Run it stage by stage; on a CUDA device every stage waits for its end there."""
        assert self.sessions is not None
        echoes = self._echoes or Echoes(self.sessions, most=float("inf"))
        device = self.settings.device
        settle = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
        trace = Trace(keep=True, settle=settle)
        before, items, spent = _by_unit(echoes), _items(echoes), _spent(echoes)
        seconds, calls = self._run(echoes, trace)
        forward = {name: total - before.get(name, 0.0) for name, total in _by_unit(echoes).items()}
        stages = {NAMES.get(stage, stage): own for stage, own in trace.seconds.items()}
        stages["forward"] += sum(forward.values()) - (_spent(echoes) - spent)
        return Watched(seconds, stages, forward, _items(echoes) - items, calls)

    def anew(self) -> float:
        """Seconds of a run in which every unit computes again, if only its first call."""
        assert self.sessions is not None
        return self._run(Echoes(self.sessions, 1, 0.0) if self._echoes else None)[0]

    def _run(self, echoes: Echoes | None = None, trace: Trace | None = None) -> tuple[float, int]:
        """Seconds, and calls of networks."""
        with tempfile.TemporaryDirectory() as folder:
            work = Evaluation([self.row], [self.model], Path(folder), self.settings, sessions=self.sessions)
            assert isinstance(work.crew, Crew)
            executor = work.crew.executor
            if echoes is not None:
                executor.open_unit = echoes
            if trace is not None:
                executor.trace = work.crew.trace = trace
            saved = _saved(echoes)
            began = time.perf_counter()
            errors = [ended.error for ended in work.run() if ended.error is not None]
            seconds = time.perf_counter() - began + _saved(echoes) - saved
        if errors:
            raise errors[0]
        return seconds, executor.calls


def weighed(run: Callable[[], Result], device: torch.device) -> tuple[Result, Memory, Timeline]:
    """What a run returns and what it holds, beyond what is held before it."""
    timeline, found = Timeline(device), list[Result]()

    def watched() -> None:
        with timeline.watching():
            found.append(run())

    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    before = resident()
    host = max(0, peak_resident(watched) - before)
    if device.type != "cuda":
        return found[0], Memory(host=host), timeline
    allocated, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    return found[0], Memory(allocated, reserved, timeline.process, host), timeline


def _by_unit(echoes: Echoes) -> dict[str, float]:
    return {unit.name: echo.seconds for unit, echo in echoes.made.items()}


def _items(echoes: Echoes) -> int:
    return sum(echo.items for echo in echoes.made.values())


def _spent(echoes: Echoes) -> float:
    return sum(echo.spent.seconds for echo in echoes.made.values())


def _saved(echoes: Echoes | None) -> float:
    """Seconds that computing every call would have added."""
    return 0.0 if echoes is None else sum(_by_unit(echoes).values()) - _spent(echoes)
