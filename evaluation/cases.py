"""The cases of a run: one scan with one model, what is asked of it, and which of it is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from umd_engine.data.labelset import load_label_set
from umd_engine.data.manifest import ScanRow
from umd_engine.data.remote import found_below
from umd_engine.errors import OptionError, UmdEngineError
from umd_engine.evaluation.prompts.asking import Asking, PromptSettings
from umd_engine.evaluation.rows import MEASURES, Key
from umd_engine.evaluation.store import Settled
from umd_engine.models.model import Model, PromptedModel, is_prompted

Target = tuple[str, int]  # organ, repeat
MASKS = "masks"


@dataclass(frozen=True)
class Settings:
    """How a run runs. None of it but backend, precision, seed and prompts changes a result beyond rounding.

    Attributes:
        memory: bytes that cases in flight may declare together; None: what is free when they start, less a margin.
        organs: only these; empty: all that the model segments, or that a prompted model's scan has in its label set.
        metrics: "dice" counts voxels, "surface" also measures the distances between surfaces.
        save_masks: also write each mask under RUN/masks.
        read_timeout: seconds that a file may take to be read; 0: any.
        trace: a file for the spans of the run's stages.
    """

    backend: str = "torch"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "fp32"
    batch_size: int = 2
    memory: int | None = None
    max_live: int = 3  # one computes, one is finished, one is prepared
    readers: int = 1
    seed: int = 0
    organs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = MEASURES
    save_masks: bool = False
    read_timeout: float = 600
    trace: Path | None = None
    prompts: PromptSettings = field(default_factory=PromptSettings)

    @property
    def surfaces(self) -> bool:
        return "surface" in self.metrics


@dataclass(frozen=True, eq=False)
class Case:
    """One scan with one model.

    Attributes:
        targets: organ and repeat of each mask that is wanted; models without prompts have the repeat 0 alone.
        asking: how a prompted model is asked; None for the others.
    """

    row: ScanRow
    model: Model | PromptedModel
    plan: str
    targets: tuple[Target, ...]
    asking: Asking | None = None

    def __str__(self) -> str:
        """What a trace calls it: ids alone, nothing else of the row."""
        return f"{self.row.subject} {self.row.scan_id} {self.model.name}"

    @property
    def organs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(organ for organ, _ in self.targets))

    @property
    def prompt_columns(self) -> Mapping[str, Any]:
        """What every row of the case says of its prompts."""
        if self.asking is None:
            return {}
        protocol = self.asking.protocol
        return {"prompt": protocol.name, "prompt_hash": protocol.hash, "uses_label": self.asking.uses_label}


def key_of(case: Case, organ: str, repeat: int = 0) -> Key:
    row = case.row
    return Key(case.plan, row.cohort, row.subject, row.scan_id, row.modality, case.model.name, organ, 0, repeat)


def mask_path(case: Case, run: Path, target: Target | None = None) -> Path:
    """Where a case's mask is; a prompted model's has a target."""
    key = key_of(case, *target) if target else key_of(case, "")
    return stored_mask(key, run, own_file=target is not None)


def stored_mask(key: Key, run: Path, own_file: bool) -> Path:
    """RUN/masks/MODEL/PLAN/COHORT/SUBJECT/SCAN_ID.nii.gz: a mask of another plan is another mask.

    A prompted model's masks may overlap: each has a file of its own, SCAN_ID/ORGAN.nii.gz, with .rN before the
    ending for repeat N from 1 on.
    """
    folder = run / MASKS / key.model / key.plan / key.cohort / key.subject
    if not own_file:
        return folder / f"{key.scan_id}.nii.gz"
    return folder / key.scan_id / f"{quote(key.organ, safe=' ')}{f'.r{key.repeat}' if key.repeat else ''}.nii.gz"


def mask_paths(case: Case, run: Path) -> list[Path]:
    """Every mask that the case makes."""
    return [mask_path(case, run)] if case.asking is None else [mask_path(case, run, t) for t in case.targets]


def all_cases(
    rows: Sequence[ScanRow],
    models: Sequence[Model | PromptedModel],
    plans: Mapping[str, str],
    settings: Settings,
    with_label: bool = True,
) -> list[Case]:
    """Every scan with every model that segments one of the organs asked for; a scan's models side by side.

    Args:
        plans: a model's name -> the hash of its plan.
        with_label: labels are read.

    Raises:
        OptionError: an organ that no model segments and no label set has, or a prompt that a model does not take.
    """
    askings = {model.name: settings.prompts.asking(model) for model in models if is_prompted(model)}
    settings.prompts.check(models)
    chooser = _Organs(settings, with_label)
    _check_organs(rows, models, settings, chooser)
    cases = []
    for row in rows:
        for model in models:
            if is_prompted(model):
                targets = chooser.prompted(row, askings[model.name])
            else:
                targets = chooser.plain(model)
            if targets:
                cases.append(Case(row, model, plans[model.name], tuple(targets), askings.get(model.name)))
    return cases


def missing_cases(
    cases: Sequence[Case],
    settled: Mapping[Key, Settled],
    outdated: Callable[[Case, str], bool],
    written: Callable[[Case, Target], bool] | None,
) -> list[Case]:
    """What is not settled, or of inputs that are outdated, or whose mask is asked for and not `written`.

    A model without prompts does its scan whole; of a prompted one only what is missing is asked, except where the
    chance of one organ depends on those before it.
    """

    def missing(case: Case, target: Target) -> bool:
        found = settled.get(key_of(case, *target))
        if found is None or outdated(case, found.inputs):
            return True
        return written is not None and found.made and not written(case, target)

    return narrowed(cases, missing)


def masks_written(run: Path, outdated: Callable[[ScanRow, Path], bool]) -> Callable[[Case, Target], bool]:
    """Tells whether a target's mask exists and is not outdated."""
    present = found_below(run / MASKS)

    def written(case: Case, target: Target) -> bool:
        path = mask_path(case, run, target if case.asking else None)
        return present(path) and not outdated(case.row, path)

    return written


def narrowed(cases: Sequence[Case], missing: Callable[[Case, Target], bool]) -> list[Case]:
    """The cases with the targets that are missing; whole where chance runs on from organ to organ."""
    left = []
    for case in cases:
        targets = tuple(target for target in case.targets if missing(case, target))
        if case.asking is None or case.asking.one_stream:
            targets = case.targets if targets else ()
        if targets:
            left.append(replace(case, targets=targets))
    return left


class _Organs:
    """Which organs a case is about."""

    def __init__(self, settings: Settings, with_label: bool):
        self.settings, self.with_label = settings, with_label
        self._in_set = cache(_organs_by_id)

    def plain(self, model: Model) -> list[Target]:
        return [(organ, 0) for organ in model.organs if not self.settings.organs or organ in self.settings.organs]

    def prompted(self, row: ScanRow, asking: Asking) -> list[Target]:
        """Those asked for, or all of the row's label set, by ascending id; without a label those of the replay."""
        known = self.of_row(row)
        names: Sequence[str] = self.settings.organs or known
        if asking.replay is not None and not (self.with_label and row.label):
            stored = asking.replay.of(row)
            if stored:
                found = dict.fromkeys(organ for organ, _ in stored)
                names = [organ for organ in found if not self.settings.organs or organ in self.settings.organs]
        places = {organ: place for place, organ in enumerate(known)}
        ordered = sorted(names, key=lambda organ: places.get(organ, len(places)))
        return [(organ, repeat) for repeat in range(asking.repeats) for organ in ordered]

    def of_row(self, row: ScanRow) -> Sequence[str]:
        return self._in_set(row.label_set or "umd13")


def plain_models(models: Iterable[Model | PromptedModel]) -> list[Model]:
    """Those without prompts."""
    return [model for model in models if not is_prompted(model)]


def _organs_by_id(label_set: str) -> Sequence[str]:
    try:
        ids = load_label_set(label_set).ids
    except UmdEngineError:
        ids = load_label_set("umd13").ids  # the scans with this label set will say what is wrong with it
    return sorted(ids, key=lambda organ: min(ids[organ]))


def _check_organs(
    rows: Sequence[ScanRow], models: Sequence[Model | PromptedModel], settings: Settings, chooser: _Organs
) -> None:
    known: set[str] = set()
    if any(is_prompted(model) for model in models):
        known.update(*map(chooser.of_row, rows))
    for plain in plain_models(models):
        known.update(plain.organs)
    if settings.prompts.replay is not None:
        known |= settings.prompts.replay.organs
    if unknown := sorted(set(settings.organs) - known):
        raise OptionError(
            f"no model segments {', '.join(unknown)}", where="--organs", mend=f"known: {', '.join(sorted(known))}"
        )
