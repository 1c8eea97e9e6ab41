"""The crew of a run: reads scans, asks the models, and hands on what they answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from umd_engine.data.manifest import ScanRow
from umd_engine.data.scan import Scan, read_scan, scan_geometry
from umd_engine.engine.executor import Executor, Job, Outcome, Session
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program
from umd_engine.errors import UmdEngineError
from umd_engine.evaluation.cases import Case, Settings
from umd_engine.evaluation.click_rows import ClickRow
from umd_engine.evaluation.prompts.asked_case import AskedCase, ask
from umd_engine.evaluation.prompts.subject_points import SubjectPoints, Wanted
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.shared_scans import SharedScans
from umd_engine.models.mask import Mask
from umd_engine.models.model import Model, PromptedModel, Segmentation, is_prompted
from umd_engine.models.ready import open_unit
from umd_engine.models.unloaded import UnloadedModel


@dataclass(frozen=True, eq=False)
class Done:
    """What a case gave; `errors` ended single organs of it."""

    rows: Sequence[Row] = ()
    clicks: Sequence[ClickRow] = ()
    errors: Sequence[UmdEngineError] = ()


class Sessions:
    """Every unit that the models have from the start, opened, and exported where the backend needs it: what cannot
    run says so before any work. Units that a model makes later are opened when they are first called."""

    def __init__(self, models: Sequence[Model | PromptedModel], settings: Settings):
        self._settings = settings
        self._opened: dict[Hashable, Session] = {}
        for model in models:
            for unit in model.units:
                self(unit)

    def __call__(self, unit: Unit) -> Session:
        key = (unit.module, unit.interface, unit.outputs)  # units that differ only in sizes of free axes share one
        if key not in self._opened:
            settings = self._settings
            self._opened[key] = open_unit(unit, settings.backend, settings.device, settings.precision)
        return self._opened[key]


Plain = Callable[[Case, Scan, Segmentation, float], Done]
Prompted = Callable[[AskedCase, Sequence[Mask | UmdEngineError]], Done]


class Answers(Protocol):
    """What becomes of a model's answer; pickled."""

    with_label: bool

    def plain(self, case: Case, scan: Scan, segmentation: Segmentation, seconds: float) -> Done: ...

    def prompted(self, asked: AskedCase, masks: Sequence[Mask | UmdEngineError]) -> Done: ...


class Crew:
    """Runs cases.

    Args:
        plain, prompted: what becomes of a model's answer; an error of theirs is the case's.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        sessions: Sessions,
        settings: Settings,
        manifest: Sequence[ScanRow],
        plain: Plain,
        prompted: Prompted,
    ):
        self.cases, self.sessions, self.settings = cases, sessions, settings
        self.plain, self.prompted = plain, prompted
        self.points = _subject_points(cases, settings, manifest)

    def run(self, with_label: bool, cases: Iterable[Case] | None = None) -> Iterator[Outcome]:
        """Runs all cases, or those of them that `cases` yields."""
        readable = [case.row for case in self.cases if not isinstance(case.model, UnloadedModel)]
        scans = SharedScans(readable, partial(read_scan, with_label=with_label))
        jobs = (
            Job(case, _nbytes(case), partial(self._start, case, scans))
            for case in (self.cases if cases is None else cases)
        )
        settings = self.settings
        executor = Executor(self.sessions, settings.batch_size, settings.memory, settings.max_live, settings.readers)
        return executor.run(jobs)

    def _start(self, case: Case, scans: SharedScans) -> Program[Done]:
        began = time.perf_counter()
        if isinstance(case.model, UnloadedModel):
            raise case.model.error
        scan = scans.take(case.row)
        if is_prompted(case.model):
            points = self.points.of(scan) if case.asking and case.asking.shares_first_click else {}
            asked = ask(case, scan, points, self.settings.seed, self.settings.device, began)
            prepared = case.model.prepare(scan.images, self.settings.device) if asked.sources else None
            return self._ask(case.model, asked, prepared)
        model = case.model
        prepared = model.prepare(scan.images, self.settings.device)
        return self._whole(case, scan, model.segment(prepared), began)

    def _whole(self, case: Case, scan: Scan, program: Program[Segmentation], began: float) -> Program[Done]:
        segmentation = yield from program
        return self.plain(case, scan, segmentation, time.perf_counter() - began)

    def _ask(self, model: PromptedModel, asked: AskedCase, prepared: Any) -> Program[Done]:
        masks = (yield from model.segment(prepared, asked.sources)) if asked.sources else []
        return self.prompted(asked, masks)


def _subject_points(cases: Sequence[Case], settings: Settings, manifest: Sequence[ScanRow]) -> SubjectPoints:
    asked = [case for case in cases if case.asking is not None and case.asking.shares_first_click]
    rules = frozenset(case.asking.protocol.asks[0].rule for case in asked if case.asking is not None)
    wanted = Wanted(rules, settings.prompts.repeats, settings.organs, settings.seed)
    return SubjectPoints(manifest, [case.row for case in asked], wanted, settings.device)


def _nbytes(case: Case) -> int:
    """A file that cannot be read declares nothing: reading it will say what is wrong with it."""
    try:
        shape, spacing = scan_geometry(case.row)
    except UmdEngineError:
        return 0
    if is_prompted(case.model):
        x, y, z = shape
        return case.model.nbytes(shape, spacing, len(case.targets)) + 2 * x * y * z  # the label, here and there
    return case.model.nbytes(shape, spacing)
