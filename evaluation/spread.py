"""A run whose cases are spread over a cluster: each worker is a whole crew, made where it runs."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from umd_engine.data.manifest import ScanRow
from umd_engine.engine.backends.device import resolve_device
from umd_engine.engine.cluster import Cluster, Engine, Item, Result
from umd_engine.engine.executor import Outcome
from umd_engine.engine.memory import budget
from umd_engine.engine.trace import Trace
from umd_engine.errors import CheckpointError, OptionError, UmdEngineError
from umd_engine.evaluation.cases import Case, Settings, Target
from umd_engine.evaluation.crew import Answers, Crew, Sessions, side_by_side
from umd_engine.evaluation.loading import load_models
from umd_engine.models.catalog import Request
from umd_engine.models.model import is_prompted


@dataclass(frozen=True)
class Spread:
    """Where the cases of a run go instead.

    Args:
        requests: the models, which every worker loads from their paths.
    """

    cluster: Cluster
    requests: Mapping[Request, Mapping[str, str]]

    def check(self, settings: Settings) -> None:
        """Raise OptionError for what only a run in one process does."""
        if settings.trace is not None:
            raise OptionError("workers write no trace", where="--trace", mend="leave out --trace or --cluster")


@dataclass(eq=False)
class SpreadCrew:
    """Runs cases on a cluster, and is followed like a `Crew`.

    Attributes:
        trace: what this process does; workers have their own.
    """

    spread: Spread
    cases: Sequence[Case]
    settings: Settings
    manifest: Sequence[ScanRow]
    answers: Answers
    trace: Trace = field(default_factory=Trace)
    _in_flight: int = 0

    def __post_init__(self) -> None:
        self.cases = side_by_side(self.cases)

    def stop(self) -> None:
        """Hand out no more cases: `run` ends when those in flight have ended."""
        self.spread.cluster.stop()

    def now(self) -> dict[str, int]:
        """How many cases workers have, and how many are being stored."""
        counts = {"computing": self._in_flight, "storing": self.trace.open["store"]}
        return {stage: count for stage, count in counts.items() if count}

    def run(self, with_label: bool) -> Generator[Outcome]:
        """Yields each case's Done or error as soon as it is here; the cases of a scan go to one worker together."""
        cases = [(case.row, case.model.name, case.plan, case.targets) for case in self.cases]
        weights = {case.model.name: case.model.weights for case in self.cases}
        how = (self.manifest, self.settings, self.answers, with_label, Path.cwd())
        recipe = _Recipe(self.spread.requests, cases, weights, *how)
        with closing(self.spread.cluster.run(recipe, self._groups())) as results:
            for number, found in results:
                self._in_flight -= 1
                error = found if isinstance(found, UmdEngineError) else None
                yield Outcome(self.cases[number], found if error is None else None, error)

    def _groups(self) -> Iterator[list[Item]]:
        for _, group in groupby(range(len(self.cases)), key=lambda number: self.cases[number].row.key):
            numbers = list(group)
            self._in_flight += len(numbers)
            yield numbers


@dataclass(frozen=True)
class _Recipe:
    """What a worker makes its engine of; an item is the number of a case.

    Attributes:
        weights: a model's name -> the hash that its plan was made with.
        folder: relative paths of models start here.
    """

    requests: Mapping[Request, Mapping[str, str]]
    cases: Sequence[tuple[ScanRow, str, str, tuple[Target, ...]]]
    weights: Mapping[str, str]
    manifest: Sequence[ScanRow]
    settings: Settings
    answers: Answers
    with_label: bool
    folder: Path

    def __call__(self, device: str, sharers: int) -> Engine:
        if self.folder.is_dir():
            os.chdir(self.folder)
        settings = replace(self.settings, device=resolve_device(device))
        loaded = load_models(self.requests, [row for row, *_ in self.cases], settings.organs)
        models = {model.name: model for model in loaded}
        for name, weights in self.weights.items():
            if models[name].weights != weights:
                mend = "give every machine the same files"
                raise CheckpointError(f"{name} has other weights on {os.uname().nodename}", mend=mend)
        askings = {name: settings.prompts.asking(model) for name, model in models.items() if is_prompted(model)}
        cases = [Case(row, models[name], plan, targets, askings.get(name)) for row, name, plan, targets in self.cases]
        numbers = {case: number for number, case in enumerate(cases)}
        sessions = Sessions(loaded, settings)
        settings = replace(settings, memory=settings.memory or budget(settings.device) // sharers)
        crew = Crew(cases, sessions, settings, self.manifest, self.answers)

        def engine(items: Iterator[Item]) -> Iterator[Result]:
            for outcome in crew.run(self.with_label, (cases[item] for item in items)):
                yield numbers[outcome.key], outcome.result if outcome.error is None else outcome.error

        return engine
