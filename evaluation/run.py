"""A run: a manifest of scans and a list of models in, rows in the store out.

    row -> read_scan -> prepare -> program -> masks -> counts -> rows -> store

A case is one scan with one model. Whatever goes wrong in a case becomes its rows' status; the other cases
go on. A case is stored in one transaction, so the same command again does only what is missing, or was computed from
other files. Two processes that write to one run do the same work twice: hold `lock.only_writer` meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from umd_engine.data.manifest import ScanRow
from umd_engine.data.remote import absolute, found_below
from umd_engine.data.scan import Scan
from umd_engine.engine.executor import Outcome
from umd_engine.errors import OptionError, StoreError, UmdEngineError, shown
from umd_engine.evaluation.cases import (
    MASKS,
    Case,
    Settings,
    all_cases,
    key_of,
    mask_paths,
    masks_written,
    missing_cases,
    narrowed,
)  # fmt: skip
from umd_engine.evaluation.contents import UNKNOWN, Contents
from umd_engine.evaluation.counting import joint_counts, reference_of, voxel_ml
from umd_engine.evaluation.crew import Answers, Crew, Done, Sessions
from umd_engine.evaluation.measuring import measured
from umd_engine.evaluation.plan import Plan
from umd_engine.evaluation.prompts.asked_case import AskedCase, asked_rows, failed_row
from umd_engine.evaluation.run_folder import STORE, home
from umd_engine.evaluation.saving import save_labels, save_organs
from umd_engine.evaluation.spread import Spread, SpreadCrew
from umd_engine.evaluation.store import Row, Store
from umd_engine.kernels.parts import does
from umd_engine.models.mask import Mask
from umd_engine.models.model import Model, PromptedModel, Segmentation, is_prompted
from umd_engine.models.ready import precision_in_full
from umd_engine.models.unloaded import UnloadedModel, UnloadedPromptedModel

__all__ = ["Case", "Ended", "Evaluation", "Prediction", "Settings"]

Models = Sequence[Model | PromptedModel]


@dataclass(frozen=True)
class Scoring:
    """Counts every mask against the scan's label."""

    run: Path
    settings: Settings

    def plain(self, case: Case, scan: Scan, segmentation: Segmentation, seconds: float) -> Done:
        if self.settings.save_masks:
            save_labels(case, scan, segmentation, self.run)
        return Done(scored_rows(case, scan, segmentation, seconds, self.settings.surfaces))

    def prompted(self, asked: AskedCase, masks: Sequence[Mask | UmdEngineError]) -> Done:
        if self.settings.save_masks:
            save_organs(asked, masks, self.run)
        return Done(*asked_rows(asked, masks))


@dataclass(frozen=True)
class Writing:
    """Writes every mask; labels are not read."""

    run: Path

    def plain(self, case: Case, scan: Scan, segmentation: Segmentation, seconds: float) -> Done:
        save_labels(case, scan, segmentation, self.run)
        return Done()

    def prompted(self, asked: AskedCase, masks: Sequence[Mask | UmdEngineError]) -> Done:
        save_organs(asked, masks, self.run)
        return Done(errors=asked_rows(asked, masks)[2])


@dataclass(frozen=True)
class Ended:
    """A case that ended, for progress and for the list of failures; `error` may be of one organ alone."""

    case: Case
    error: UmdEngineError | None


class Evaluation:
    """Scores every missing case into RUN/store.sqlite.

    Args:
        manifest: every scan, `rows` among them: shared first clicks are drawn in a subject's structural scan, also
            where it is not evaluated itself. By default `rows`.
        spread: where the cases run instead of in this process.
        sessions: of the models' units, where they are open already.

    Attributes:
        wanted: every case asked for.
        cases: those that are missing.
        contents: what the files of the scans hold.
        crew: runs the cases.

    Raises:
        BackendError: the backend cannot run a model here. OptionError: an organ that no model segments, or prompts
            that a model does not take. StoreError: the run's store cannot be used. All before any work.
    """

    def __init__(
        self,
        rows: Sequence[ScanRow],
        models: Models,
        run: Path,
        settings: Settings,
        manifest: Sequence[ScanRow] = (),
        spread: Spread | None = None,
        sessions: Sessions | None = None,
    ):
        self.out, self.settings, self.manifest = run, settings, manifest or rows
        plans = {model.name: _plan(model, settings) for model in models}
        self.wanted = all_cases(rows, models, {name: plan.hash for name, plan in plans.items()}, settings)
        self.sessions = sessions or _sessions(models, settings, spread)
        freeze_plans(plans.values(), home(run))
        with Store(home(run) / STORE) as store:
            for model in models:
                store.forget(_plan(_unloaded(model), settings).hash)  # it is tried again now
                store.add_plan(plans[model.name].hash, plans[model.name].json)
            store.mark_synthetic(row.key for row in rows if row.synthetic)  # also what was scored before the mark
            store.group({row.key: row.groups for row in rows})
            self.cases = self._missing(store)
        self.crew = _crew(self.cases, self.sessions, settings, self.manifest, Scoring(absolute(run), settings), spread)

    def _missing(self, store: Store) -> list[Case]:
        self.contents = Contents(store.files(), self.manifest, self.settings.read_timeout)
        written = masks_written(self.out, self.contents.outdated_mask) if self.settings.save_masks else None
        missing = missing_cases(self.wanted, store.settled(), self.contents.outdated, written)
        store.learn(self.contents.learnt, self.contents.seen)
        return missing

    def run(self) -> Iterator[Ended]:
        """Yields each case when its rows are stored."""
        with Store(home(self.out) / STORE) as store, closing(self.crew.run(with_label=True)) as outcomes:
            for outcome in outcomes:
                done = outcome.result or Done(_failed_rows(outcome.key, outcome.error))
                self._keep(outcome.key, done, store)
                yield _ended(outcome)

    def _keep(self, case: Case, done: Done, store: Store) -> None:
        self.contents.seen.update(done.contents)
        inputs = self.contents.inputs(case) if done.contents else UNKNOWN
        with self.crew.trace.span("store", case.row.scan_id):
            store.replace([replace(row, inputs=inputs) for row in done.rows], done.clicks, done.contents)


class Prediction:
    """Writes every mask under RUN/masks that is missing, or of other images; labels are not read.

    Attributes:
        wanted: every case asked for.
        cases: those with such a mask.
        contents: what the files of the scans hold; RUN/store.sqlite remembers it.
        crew: runs the cases.

    Raises:
        OptionError: a prompted model whose prompts are drawn from a label. And what `Evaluation` raises.
    """

    def __init__(
        self, rows: Sequence[ScanRow], models: Models, run: Path, settings: Settings, spread: Spread | None = None
    ):
        self.out, self.settings = run, settings
        plans = {model.name: _plan(model, settings) for model in models}
        hashes = {name: plan.hash for name, plan in plans.items()}
        self.wanted = all_cases(rows, models, hashes, settings, with_label=False)
        for case in self.wanted:
            if case.asking is not None and case.asking.needs_label:
                raise OptionError(
                    f"{case.model.name} is asked by '{case.asking.protocol.name}' and would need labels",
                    where="predict",
                    mend="give --replay clicks.json, or --prompt text for a model that takes it",
                )
        self.sessions = _sessions(models, settings, spread)
        freeze_plans(plans.values(), home(run))
        with Store(home(run) / STORE) as store:
            self.contents = Contents(store.files(), rows, settings.read_timeout)
            written = masks_written(run, self.contents.outdated_mask)
            self.cases = narrowed(self.wanted, lambda case, target: not written(case, target))
            store.learn({}, self.contents.seen)
        self.crew = _crew(self.cases, self.sessions, settings, rows, Writing(absolute(run)), spread)

    def run(self) -> Iterator[Ended]:
        """Yields each case when its masks are written."""
        with Store(home(self.out) / STORE) as store, closing(self.crew.run(with_label=False)) as outcomes:
            for outcome in outcomes:
                if outcome.result is not None:
                    store.learn({}, outcome.result.contents)
                yield _ended(outcome)

    def masks(self) -> list[str]:
        """The masks asked for that exist."""
        present = found_below(self.out / MASKS)
        return [shown(path) for case in self.wanted for path in mask_paths(case, self.out) if present(path)]


def _sessions(models: Models, settings: Settings, spread: Spread | None) -> Sessions:
    """Those of this process; a worker opens its own."""
    if spread is None:
        return Sessions(models, settings)
    spread.check(settings)
    return Sessions((), settings)


def _crew(
    cases: Sequence[Case],
    sessions: Sessions,
    settings: Settings,
    manifest: Sequence[ScanRow],
    answers: Answers,
    spread: Spread | None,
) -> Crew | SpreadCrew:
    if spread is not None:
        return SpreadCrew(spread, cases, settings, manifest, answers)
    return Crew(cases, sessions, settings, manifest, answers)


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


def _plan(model: Model | PromptedModel, settings: Settings) -> Plan:
    prompt = None
    if is_prompted(model) and not isinstance(model, UnloadedModel):  # whose rows are found again however it is asked
        asking = settings.prompts.asking(model)
        prompt = dict(asking.plan)
        if asking.one_stream and settings.organs:
            prompt["organs"] = sorted(settings.organs)  # what one gets depends on the others
    precision = precision_in_full(model.units, settings.precision)
    return Plan.of(model, precision, settings.backend, settings.seed, prompt)


def _unloaded(model: Model | PromptedModel) -> UnloadedModel:
    """What stood in its place where an earlier command could not load it."""
    error = UmdEngineError("not loaded")
    if is_prompted(model):
        return UnloadedPromptedModel(model.name, error, (), sorted(model.prompts))
    return UnloadedModel(model.name, error, ())


def _ended(outcome: Outcome) -> Ended:
    errors = outcome.result.errors if outcome.result is not None else [outcome.error]
    return Ended(outcome.key, errors[0] if errors else None)


def _failed_rows(case: Case, error: UmdEngineError | None) -> list[Row]:
    assert error is not None
    return [failed_row(case, organ, repeat, error) for organ, repeat in case.targets]


@does("metrics")
def scored_rows(
    case: Case, scan: Scan, segmentation: Segmentation, seconds: float, surfaces: bool = False
) -> list[Row]:
    """A row an organ, with its voxel counts against the scan's label, and what is measured of its surfaces."""
    joint = joint_counts(reference_of(scan, segmentation.labels.device), segmentation.labels)
    reference = None if scan.label_set is None else scan.label_set.ids
    counts = joint.counts(case.organs, segmentation.organs, reference)
    grid = scan.images[0].grid
    known = {organ: segmentation.organs[organ] for organ in case.organs}
    found = measured(joint, known, reference, grid.spacing, scan.once) if surfaces and reference is not None else {}
    more: dict[str, Any] = {"voxel_ml": voxel_ml(grid), "seconds": seconds, "synthetic": case.row.synthetic}
    return [Row(**asdict(key_of(case, o)), **asdict(c), **more, surfaces=found.get(o)) for o, c in counts.items()]
