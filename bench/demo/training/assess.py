"""Dice on subjects that were not trained on, through the engine's own inference."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from umd_engine.bench.demo.training.cases import Labelled
from umd_engine.engine.executor import Executor, Job
from umd_engine.engine.work import Program
from umd_engine.evaluation.conventions import convention
from umd_engine.evaluation.metrics import counts_from_confusion, dice
from umd_engine.kernels.confusion import confusion
from umd_engine.models.model import Segmentation
from umd_engine.models.nnunet.model import NnUNet
from umd_engine.models.nnunet.protocol import Options
from umd_engine.models.ready import open_unit

Scores = dict[str, list[float]]
CPU = torch.device("cpu")


CONVENTION = convention("nnunet")  # an organ found where there is none scores 0; absent from both is not counted


@dataclass(frozen=True)
class OrganScore:
    """Dice of one organ: mean, sample SD (None of one subject) and the number of subjects counted."""

    mean: float | None
    sd: float | None
    n: int


def load(folder: Path, name: str, z_scored: bool = False) -> NnUNet:
    """The trained folder as a model; `z_scored` normalises each image by its own mean and SD in the plans' stead."""
    return NnUNet(name, folder, Options(normalization="zscore" if z_scored else "plans"))


def score(model: NnUNet, scans: Sequence[Labelled]) -> Scores:
    """Dice of each organ in each scan, on the scan's own grid, as nnU-Net counts."""
    executor = Executor(lambda unit: open_unit(unit, "torch", CPU), max_live=2)
    jobs = [
        Job(number, model.nbytes(scan.image.shape, scan.image.spacing), partial(_program, model, scan))
        for number, scan in enumerate(scans)
    ]
    scores: Scores = {organ: [] for organ in model.organs}
    for outcome in executor.run(jobs):
        if outcome.error is not None:
            raise outcome.error
        for organ, counts in _counts(model, scans[outcome.key], outcome.result.labels).items():
            value = dice(*counts, CONVENTION)
            if not math.isnan(value):
                scores[organ].append(value)
    return scores


def _program(model: NnUNet, scan: Labelled) -> Program[Segmentation]:
    return model.segment(model.prepare([scan.image], CPU))


def _counts(model: NnUNet, scan: Labelled, found: torch.Tensor) -> dict[str, tuple[int, int, int]]:
    classes = model.plans.labels.heads
    label = np.ascontiguousarray(scan.label.voxels.astype(np.uint8))
    matrix = confusion(label, np.ascontiguousarray(found.numpy()), classes, classes, backend="cpu")
    return counts_from_confusion(matrix, model.organs, model.organs)


def summarise(scores: Scores) -> dict[str, OrganScore]:
    """Mean, SD and n an organ."""
    return {organ: _summary(values) for organ, values in scores.items()}


def _summary(values: Sequence[float]) -> OrganScore:
    mean = round(statistics.fmean(values), 4) if values else None
    return OrganScore(mean, round(statistics.stdev(values), 4) if len(values) > 1 else None, len(values))


def overall(scores: Scores) -> float:
    """The mean over the organs of their means."""
    return statistics.fmean(statistics.fmean(values) for values in scores.values() if values)
