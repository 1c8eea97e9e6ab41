"""A run: a manifest of scans and a list of models in, rows in the store out.

    row -> read_scan -> prepare -> program -> label map -> counts -> rows -> store

A case is one scan with one model. Whatever goes wrong in a case becomes its rows' status; the other cases
go on. A case is stored in one transaction, so the same command again does only what is missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from umd_engine.data.manifest import ScanRow
from umd_engine.data.nifti import SYNTHETIC, write_labels
from umd_engine.data.scan import Scan, read_scan, scan_geometry
from umd_engine.engine.executor import Executor, Job, Outcome, Session
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program
from umd_engine.errors import OptionError, StoreError, UmdEngineError
from umd_engine.evaluation.counting import joint_counts, voxel_ml
from umd_engine.evaluation.plan import Plan
from umd_engine.evaluation.shared_scans import SharedScans
from umd_engine.evaluation.store import Key, Row, Store
from umd_engine.models.model import Model, Segmentation
from umd_engine.models.ready import open_unit
from umd_engine.models.unloaded import UnloadedModel


@dataclass(frozen=True)
class Settings:
    """How a run runs. None of it but backend, precision and seed changes a result beyond rounding.

    Attributes:
        memory: bytes that cases in flight may declare together.
        organs: only these; empty: all that the model segments.
        save_masks: also write each label map under RUN/masks.
    """

    backend: str = "torch"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "fp32"
    batch_size: int = 2
    memory: int = 8_000_000_000
    max_live: int = 2
    readers: int = 1
    seed: int = 0
    organs: tuple[str, ...] = ()
    save_masks: bool = False


@dataclass(frozen=True, eq=False)
class Case:
    """One scan with one model."""

    row: ScanRow
    model: Model
    plan: str
    organs: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """A case that ended, for progress and for the list of failures."""

    case: Case
    error: UmdEngineError | None


class Evaluation:
    """Scores every missing case into RUN/store.sqlite.

    Attributes:
        wanted: every case asked for.
        cases: those that are missing.

    Raises:
        BackendError: the backend cannot run a model here. OptionError: an organ that no model segments.
        StoreError: the run's store cannot be used. All before any work.
    """

    def __init__(self, rows: Sequence[ScanRow], models: Sequence[Model], run: Path, settings: Settings):
        self.out, self.settings = run, settings
        plans = {model.name: _plan(model, settings) for model in models}
        self.wanted = all_cases(rows, models, plans, settings)
        self.sessions = _open_all(models, settings)
        freeze_plans(plans.values(), run)
        with Store(run / "store.sqlite") as store:
            for name, plan in plans.items():
                unloaded = _plan(UnloadedModel(name, UmdEngineError("not loaded"), ()), settings)
                store.forget(unloaded.hash)  # it is tried again now
                store.add_plan(plan.hash, plan.json)
            store.mark_synthetic(row.key for row in rows if row.synthetic)  # also what was scored before the mark
            self.cases = missing_cases(self.wanted, store, run, settings)

    def run(self) -> Iterator[Ended]:
        """Yields each case when its rows are stored."""
        with Store(self.out / "store.sqlite") as store:
            for outcome in _outcomes(self.cases, self.sessions, self.settings, self._finish, with_label=True):
                store.add(outcome.result or _failed_rows(outcome.key, outcome.error))
                yield Ended(outcome.key, outcome.error)

    def _finish(self, case: Case, scan: Scan, segmentation: Segmentation, seconds: float) -> list[Row]:
        if self.settings.save_masks:
            save_mask(case, scan, segmentation, self.out)
        return scored_rows(case, scan, segmentation, seconds)


class Prediction:
    """Writes every missing label map under RUN/masks; labels are not read.

    Attributes:
        wanted: every case asked for.
        cases: those whose label map is missing.
    """

    def __init__(self, rows: Sequence[ScanRow], models: Sequence[Model], run: Path, settings: Settings):
        self.out, self.settings = run, settings
        plans = {model.name: _plan(model, settings) for model in models}
        self.wanted = all_cases(rows, models, plans, settings)
        self.sessions = _open_all(models, settings)
        freeze_plans(plans.values(), run)
        self.cases = [case for case in self.wanted if not mask_path(case, run).exists()]

    def run(self) -> Iterator[Ended]:
        """Yields each case when its mask is written."""
        for outcome in _outcomes(self.cases, self.sessions, self.settings, self._finish, with_label=False):
            yield Ended(outcome.key, outcome.error)

    def _finish(self, case: Case, scan: Scan, segmentation: Segmentation, seconds: float) -> None:
        save_mask(case, scan, segmentation, self.out)

    def masks(self) -> list[str]:
        """The label maps asked for that exist."""
        return [str(path) for case in self.wanted if (path := mask_path(case, self.out)).exists()]


def mask_path(case: Case, run: Path) -> Path:
    """RUN/masks/MODEL/PLAN/COHORT/SUBJECT/SCAN_ID.nii.gz: a mask of another plan is another mask."""
    row = case.row
    return run / "masks" / case.model.name / case.plan / row.cohort / row.subject / f"{row.scan_id}.nii.gz"


def freeze_plans(plans: Iterable[Plan], run: Path) -> None:
    """Write each plan whole to RUN/plans/HASH.json, before work starts."""
    for plan in plans:
        path = run / "plans" / f"{plan.hash}.json"
        draft = path.with_suffix(f".{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(plan.json + "\n", encoding="utf-8")
            draft.replace(path)
        except OSError as error:
            raise StoreError(
                f"the run folder cannot be written: {error.strerror}", where=run, mend="name a folder you may write"
            ) from None


def _plan(model: Model, settings: Settings) -> Plan:
    return Plan.of(model, settings.precision, settings.backend, settings.seed)


def all_cases(
    rows: Sequence[ScanRow], models: Sequence[Model], plans: Mapping[str, Plan], settings: Settings
) -> list[Case]:
    """Every scan with every model that segments one of the organs asked for; a scan's models side by side."""
    known = {organ for model in models for organ in model.organs}
    if unknown := sorted(set(settings.organs) - known):
        raise OptionError(
            f"no model segments {', '.join(unknown)}",
            where="--organs",
            mend=f"known: {', '.join(sorted(known))}",
        )
    cases = []
    for row in rows:
        for model in models:
            organs = tuple(o for o in model.organs if not settings.organs or o in settings.organs)
            if organs:
                cases.append(Case(row, model, plans[model.name].hash, organs))
    return cases


def missing_cases(cases: Sequence[Case], store: Store, run: Path, settings: Settings) -> list[Case]:
    """The cases with an organ that the store does not hold finished, or whose mask is asked for and absent."""
    finished = store.keys()

    def missing(case: Case) -> bool:
        unscored = any(_key(case, organ) not in finished for organ in case.organs)
        return unscored or (settings.save_masks and not mask_path(case, run).exists())

    return [case for case in cases if missing(case)]


def _open_all(models: Sequence[Model], settings: Settings) -> dict[Unit, Session]:
    """Every unit opened, and exported where the backend needs it: what cannot run says so before any work."""
    return {
        unit: open_unit(unit, settings.backend, settings.device, settings.precision)
        for model in models
        for unit in model.units
    }


Finish = Callable[[Case, Scan, Segmentation, float], Any]


def _outcomes(
    cases: Sequence[Case], sessions: Mapping[Unit, Session], settings: Settings, finish: Finish, with_label: bool
) -> Iterator[Outcome]:
    """Run cases; what `finish` makes of a segmentation is the outcome's result, its error the case's error."""
    readable = [case.row for case in cases if not isinstance(case.model, UnloadedModel)]
    scans = SharedScans(readable, partial(read_scan, with_label=with_label))

    def start(case: Case) -> Program[Any]:
        began = time.perf_counter()
        if isinstance(case.model, UnloadedModel):
            raise case.model.error
        scan = scans.take(case.row)
        prepared = case.model.prepare(scan.images, settings.device)
        return whole(case, scan, case.model.segment(prepared), began)

    def whole(case: Case, scan: Scan, program: Program[Segmentation], began: float) -> Program[Any]:
        segmentation = yield from program
        return finish(case, scan, segmentation, time.perf_counter() - began)

    jobs = (Job(case, _nbytes(case), partial(start, case)) for case in cases)
    executor = Executor(sessions.__getitem__, settings.batch_size, settings.memory, settings.max_live, settings.readers)
    return executor.run(jobs)


def _nbytes(case: Case) -> int:
    """A file that cannot be read declares nothing: reading it will say what is wrong with it."""
    try:
        return case.model.nbytes(*scan_geometry(case.row))
    except UmdEngineError:
        return 0


def save_mask(case: Case, scan: Scan, segmentation: Segmentation, run: Path) -> None:
    """The label map on the scan's own grid, under `mask_path`."""
    path = mask_path(case, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    description = SYNTHETIC if case.row.synthetic else ""
    write_labels(path, segmentation.labels.cpu().numpy(), like=scan.images[0], description=description)


def _key(case: Case, organ: str) -> Key:
    row = case.row
    return Key(case.plan, row.cohort, row.subject, row.scan_id, row.modality, case.model.name, organ)


def _failed_rows(case: Case, error: UmdEngineError | None) -> list[Row]:
    assert error is not None
    phantom, said = case.row.synthetic, str(error)
    return [Row(**asdict(_key(case, o)), status=error.status, message=said, synthetic=phantom) for o in case.organs]


def scored_rows(case: Case, scan: Scan, segmentation: Segmentation, seconds: float) -> list[Row]:
    """A row an organ, with its voxel counts against the scan's label."""
    joint = joint_counts(None if scan.label is None else scan.label.voxels, segmentation.labels)
    reference = None if scan.label_set is None else scan.label_set.ids
    counts = joint.counts(case.organs, segmentation.organs, reference)
    volume = voxel_ml(scan.images[0].grid)
    return [
        Row(**asdict(_key(case, o)), **asdict(count), voxel_ml=volume, seconds=seconds, synthetic=case.row.synthetic)
        for o, count in counts.items()
    ]
