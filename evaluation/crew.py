"""The crew of a run: reads scans, asks the models, and hands on what they answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from umd_engine.data.content import Content
from umd_engine.data.manifest import ScanRow
from umd_engine.data.scan import Scan, read_scan
from umd_engine.engine.executor import Executor, Job, Outcome, Session
from umd_engine.engine.memory import budget
from umd_engine.engine.trace import Trace
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program
from umd_engine.errors import OptionError, UmdEngineError
from umd_engine.evaluation.cases import Case, Settings
from umd_engine.evaluation.click_rows import ClickRow
from umd_engine.evaluation.declared import Declared
from umd_engine.evaluation.prompts.asked_case import AskedCase, ask
from umd_engine.evaluation.prompts.subject_points import SubjectPoints, Wanted
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.shared_scans import Shared, SharedScans
from umd_engine.models.mask import Mask
from umd_engine.models.model import Model, PromptedModel, Segmentation, is_prompted, preparation
from umd_engine.models.ready import open_unit
from umd_engine.models.unloaded import UnloadedModel


@dataclass(frozen=True, eq=False)
class Done:
    """What a case gave; `errors` ended single organs of it, `contents` is what its scan's files held."""

    rows: Sequence[Row] = ()
    clicks: Sequence[ClickRow] = ()
    errors: Sequence[UmdEngineError] = ()
    contents: Mapping[Path, Content] = field(default_factory=dict)


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


class Answers(Protocol):
    """What becomes of a model's answer; pickled where the cases run in other processes."""

    def plain(self, case: Case, scan: Scan, segmentation: Segmentation, seconds: float) -> Done: ...

    def prompted(self, asked: AskedCase, masks: Sequence[Mask | UmdEngineError]) -> Done: ...


class Crew:
    """Runs cases.

    Args:
        answers: an error of theirs is the case's.

    Attributes:
        trace: what the run does now, and its spans where the settings ask for them.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        sessions: Sessions,
        settings: Settings,
        manifest: Sequence[ScanRow],
        answers: Answers,
    ):
        self.cases, self.sessions, self.settings, self.answers = cases, sessions, settings, answers
        self.points = _subject_points(cases, settings, manifest)
        self.trace = Trace(keep=settings.trace is not None)
        memory = settings.memory or budget(settings.device)  # asked now that the networks are on the device
        self.executor = Executor(sessions, settings.batch_size, memory, settings.max_live, settings.readers, self.trace)

    def stop(self) -> None:
        """Start no more cases: `run` ends when those in flight have ended."""
        self.executor.stop()

    def now(self) -> dict[str, int]:
        """How many of the cases in flight are at which stage; `queued` ones have no memory yet.

        Those that no thread reads, prepares or finishes are computing while a batch is, else they wait.
        """
        doing = self.trace.open
        held = {"reading": doing["read"], "preparing": doing["prepare"], "finishing": doing["program"]}
        others = max(0, self.executor.scheduler.live - sum(held.values()))
        at_device = "computing" if doing["forward"] or doing["collect"] else "waiting"
        queued, storing = self.executor.scheduler.waiting, doing["store"]
        counts = {**held, at_device: others, "storing": storing, "queued": queued}
        return {stage: count for stage, count in counts.items() if count}

    def run(self, with_label: bool, cases: Iterable[Case] | None = None) -> Generator[Outcome]:
        """Yields each case's Done or error as soon as it ends.

        Args:
            cases: those to run, asked for one at a time, each at most once; of a scan side by side. None: all.

        Raises:
            OptionError: the trace cannot be written.
        """
        readable = [case for case in self.cases if not isinstance(case.model, UnloadedModel)]
        scans = SharedScans([case.row for case in readable], partial(self._read, with_label))
        prepared: Shared[Any] = Shared(_prepared_key(case) for case in readable)
        declared = Declared(self.settings.device, self.settings.read_timeout)
        jobs = (
            Job(case, partial(declared.needs, case), partial(self._start, case, scans, prepared))
            for case in (side_by_side(self.cases) if cases is None else cases)
        )
        self._write_trace()  # a path that cannot be written says so before any work
        try:
            yield from self.executor.run(jobs)
        finally:
            self._write_trace()

    def _write_trace(self) -> None:
        if self.settings.trace is not None:
            try:
                self.trace.write(self.settings.trace)
            except OSError as error:
                fault = f"cannot be written: {error.strerror}"
                raise OptionError(fault, where=self.settings.trace, mend="name another file for --trace") from None

    def _read(self, with_label: bool, row: ScanRow) -> Scan:
        with self.trace.span("read", row.scan_id):
            return read_scan(row, with_label, self.settings.read_timeout, hashed=True)

    def _start(self, case: Case, scans: SharedScans, prepared: Shared[Any]) -> Program[Done]:
        if isinstance(case.model, UnloadedModel):
            raise case.model.error
        with prepared.turn(_prepared_key(case)) as prepare:
            return self._begin(case, scans, prepare)

    def _begin(self, case: Case, scans: SharedScans, prepare: Callable[[Callable[[], Any]], Any]) -> Program[Done]:
        began = time.perf_counter()
        scan = scans.take(case.row)
        model, device = case.model, self.settings.device
        if is_prompted(model):
            points = self.points.of(scan) if case.asking and case.asking.shares_first_click else {}
            with self.trace.span("prepare", case.row.scan_id):
                asked = ask(case, scan, points, self.settings.seed, device, began, self.settings.surfaces)
                found = prepare(partial(model.prepare, scan.images, device)) if asked.sources else None
            return self._ask(model, asked, found)
        with self.trace.span("prepare", case.row.scan_id):
            found = prepare(partial(model.prepare, scan.images, device))
        return self._whole(case, scan, model.segment(found), began)

    def _whole(self, case: Case, scan: Scan, program: Program[Segmentation], began: float) -> Program[Done]:
        segmentation = yield from program
        return _told(self.answers.plain(case, scan, segmentation, time.perf_counter() - began), scan)

    def _ask(self, model: PromptedModel, asked: AskedCase, prepared: Any) -> Program[Done]:
        masks = (yield from model.segment(prepared, asked.sources)) if asked.sources else []
        return _told(self.answers.prompted(asked, masks), asked.scan)


def _told(done: Done, scan: Scan) -> Done:
    volumes = (*scan.images, *([scan.label] if scan.label is not None else []))
    return replace(done, contents={v.path: v.content for v in volumes if v.path is not None and v.content is not None})


def side_by_side(cases: Sequence[Case]) -> list[Case]:
    """The cases of a scan that share its prepared image one after the other; else in their order."""
    places: dict[Hashable, int] = {}
    for place, case in enumerate(cases):
        places.setdefault(_prepared_key(case), place)
    first = {case.row.key: place for place, case in reversed(list(enumerate(cases)))}
    return sorted(cases, key=lambda case: (first[case.row.key], places[_prepared_key(case)]))


def _prepared_key(case: Case) -> Hashable:
    return case.row.key, preparation(case.model)


def _subject_points(cases: Sequence[Case], settings: Settings, manifest: Sequence[ScanRow]) -> SubjectPoints:
    asked = [case for case in cases if case.asking is not None and case.asking.shares_first_click]
    rules = frozenset(case.asking.protocol.asks[0].rule for case in asked if case.asking is not None)
    wanted = Wanted(rules, settings.prompts.repeats, settings.organs, settings.seed, settings.read_timeout)
    return SubjectPoints(manifest, [case.row for case in asked], wanted, settings.device)
