"""A run whose cases are spread over a cluster: each worker is a whole crew, made where it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from umd_engine.data.manifest import ScanRow
from umd_engine.engine.backends.device import resolve_device
from umd_engine.engine.cluster import Cluster, Engine, Item, Result
from umd_engine.engine.executor import Outcome
from umd_engine.errors import CheckpointError, UmdEngineError
from umd_engine.evaluation.cases import Case, Settings, Target
from umd_engine.evaluation.crew import Answers, Crew, Sessions
from umd_engine.evaluation.loading import load_models
from umd_engine.models.catalog import Request
from umd_engine.models.model import is_prompted


@dataclass(frozen=True)
class Spread:
    """Runs cases on a cluster.

    Args:
        requests: the models, which every worker loads from their paths.
    """

    cluster: Cluster
    requests: Mapping[Request, Mapping[str, str]]

    def run(
        self, cases: Sequence[Case], settings: Settings, manifest: Sequence[ScanRow], answers: Answers
    ) -> Iterator[Outcome]:
        """Yields each case's outcome; the cases of a scan go to one worker, which reads it once."""
        recipe = _Recipe(
            self.requests,
            [(case.row, case.model.name, case.plan, case.targets) for case in cases],
            {case.model.name: case.model.weights for case in cases},
            manifest,
            settings,
            answers,
            Path.cwd(),
        )
        by_scan = groupby(range(len(cases)), key=lambda number: cases[number].row.key)
        for number, found in self.cluster.run(recipe, (list(group) for _, group in by_scan)):
            error = found if isinstance(found, UmdEngineError) else None
            yield Outcome(cases[number], found if error is None else None, error)


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
    folder: Path

    def __call__(self, device: str) -> Engine:
        if self.folder.is_dir():
            os.chdir(self.folder)
        settings = replace(self.settings, device=resolve_device(device))
        loaded = load_models(self.requests, [row for row, *_ in self.cases], settings.organs)
        models = {model.name: model for model in loaded}
        for name, weights in self.weights.items():
            if models[name].weights != weights:
                raise CheckpointError(
                    f"{name} has other weights on {os.uname().nodename}", mend="give every machine the same files"
                )
        askings = {name: settings.prompts.asking(model) for name, model in models.items() if is_prompted(model)}
        cases = [Case(row, models[name], plan, targets, askings.get(name)) for row, name, plan, targets in self.cases]
        numbers = {case: number for number, case in enumerate(cases)}
        crew = Crew(
            cases, Sessions(loaded, settings), settings, self.manifest, self.answers.plain, self.answers.prompted
        )

        def engine(items: Iterator[Item]) -> Iterator[Result]:
            for outcome in crew.run(self.answers.with_label, (cases[item] for item in items)):
                yield numbers[outcome.key], outcome.result if outcome.error is None else outcome.error

        return engine
