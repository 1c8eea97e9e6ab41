"""The crew of a run: reads scans, asks the models, and hands on what they answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from umd_engine.data.content import Content
from umd_engine.data.manifest import ScanRow
from umd_engine.data.scan import Scan, read_scan, scan_geometry
from umd_engine.engine.executor import Executor, Job, Outcome, Session
from umd_engine.engine.trace import Trace
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program
from umd_engine.errors import OptionError, ReadTimeoutError, UmdEngineError
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


Plain = Callable[[Case, Scan, Segmentation, float], Done]
Prompted = Callable[[AskedCase, Sequence[Mask | UmdEngineError]], Done]


class Crew:
    """Runs cases.

    Args:
        plain, prompted: what becomes of a model's answer; an error of theirs is the case's.

    Attributes:
        trace: what the run does now, and its spans where the settings ask for them.
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
        self.trace = Trace(keep=settings.trace is not None)
        self.executor = Executor(
            sessions, settings.batch_size, settings.memory, settings.max_live, settings.readers, self.trace
        )
        self._stalled: dict[tuple[str, str, str], ReadTimeoutError] = {}

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

    def run(self, with_label: bool) -> Generator[Outcome]:
        """Yields each case's Done or error as soon as it ends.

        Raises:
            OptionError: the trace cannot be written.
        """
        readable = [case.row for case in self.cases if not isinstance(case.model, UnloadedModel)]
        scans = SharedScans(readable, partial(self._read, with_label))
        jobs = (Job(case, partial(self._nbytes, case), partial(self._start, case, scans)) for case in self.cases)
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
            # what reads no label stores no rows, and needs no hash
            return read_scan(row, with_label, self.settings.read_timeout, hashed=with_label)

    def _start(self, case: Case, scans: SharedScans) -> Program[Done]:
        began = time.perf_counter()
        if isinstance(case.model, UnloadedModel):
            raise case.model.error
        row = case.row
        scan = scans.take(row)
        if is_prompted(case.model):
            points = self.points.of(scan) if case.asking and case.asking.shares_first_click else {}
            with self.trace.span("prepare", row.scan_id):
                asked = ask(case, scan, points, self.settings.seed, self.settings.device, began)
                prepared = case.model.prepare(scan.images, self.settings.device) if asked.sources else None
            return self._ask(case.model, asked, prepared)
        model = case.model
        with self.trace.span("prepare", row.scan_id):
            prepared = model.prepare(scan.images, self.settings.device)
        return self._whole(case, scan, model.segment(prepared), began)

    def _whole(self, case: Case, scan: Scan, program: Program[Segmentation], began: float) -> Program[Done]:
        segmentation = yield from program
        return _told(self.plain(case, scan, segmentation, time.perf_counter() - began), scan)

    def _ask(self, model: PromptedModel, asked: AskedCase, prepared: Any) -> Program[Done]:
        masks = (yield from model.segment(prepared, asked.sources)) if asked.sources else []
        return _told(self.prompted(asked, masks), asked.scan)

    def _nbytes(self, case: Case) -> int:
        """A file that cannot be read declares nothing: reading it will say what is wrong with it.

        One that stalls is waited for once, whatever the number of models.
        """
        row = case.row
        if isinstance(case.model, UnloadedModel):
            return 0
        if row.key in self._stalled:
            raise self._stalled[row.key]
        try:
            shape, spacing = scan_geometry(row, self.settings.read_timeout)
        except ReadTimeoutError as error:
            self._stalled[row.key] = error
            raise
        except UmdEngineError:
            return 0
        if is_prompted(case.model):
            x, y, z = shape
            return case.model.nbytes(shape, spacing, len(case.targets)) + 2 * x * y * z  # the label, here and there
        return case.model.nbytes(shape, spacing)


def _told(done: Done, scan: Scan) -> Done:
    volumes = (*scan.images, *([scan.label] if scan.label is not None else []))
    return replace(done, contents={v.path: v.content for v in volumes if v.path is not None and v.content is not None})


def _subject_points(cases: Sequence[Case], settings: Settings, manifest: Sequence[ScanRow]) -> SubjectPoints:
    asked = [case for case in cases if case.asking is not None and case.asking.shares_first_click]
    rules = frozenset(case.asking.protocol.asks[0].rule for case in asked if case.asking is not None)
    wanted = Wanted(rules, settings.prompts.repeats, settings.organs, settings.seed, settings.read_timeout)
    return SubjectPoints(manifest, [case.row for case in asked], wanted, settings.device)
