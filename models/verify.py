"""Whether a model in another precision gives the answers of its reference: its own program, scan by scan, both ways."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch

from umd_engine.data.scan import Scan
from umd_engine.engine.executor import run_program
from umd_engine.errors import AccuracyError, UnknownNameError
from umd_engine.models.agreement import (
    Answers,
    Beside,
    Open,
    OrganAgreement,
    OutputError,
    compare_labels,
    compare_masks,
)
from umd_engine.models.model import Model, PromptedModel, is_prompted
from umd_engine.models.prompts import PromptSource

MEAN_DICE = {"fp32": 0.999, "tf32": 0.999, "fp16": 0.999, "bf16": 0.999, "int8": 0.99}
ORGAN_DICE = 0.98

Sources = Callable[[Scan], Mapping[str, PromptSource]]


@dataclass(frozen=True)
class Report:
    """What a verification found.

    Attributes:
        voxels: of all answers together.
        flipped: of them, those in which the answers differ.
    """

    organs: tuple[OrganAgreement, ...]
    outputs: tuple[OutputError, ...]
    voxels: int
    flipped: int

    @property
    def counted(self) -> dict[OrganAgreement, float]:
        """Dice of every organ and scan where at least one of the answers holds the organ."""
        return {one: one.dice for one in self.organs if one.dice is not None}

    @property
    def mean_dice(self) -> float:
        """Over all counted organs and scans; NaN of none."""
        return statistics.fmean(self.counted.values()) if self.counted else math.nan


def verify(
    model: Model | PromptedModel,
    scans: Iterable[Scan],
    opened: Open,
    reference: Open,
    sources: Sources | None = None,
    device: torch.device | None = None,
) -> Report:
    """Segment every scan twice, through `opened` and through `reference`, and compare the answers and every output.

    Args:
        sources: new sources of prompts for a scan, organ by organ, the same at every call; for prompted models.
        device: where images are prepared; None: the CPU.

    Raises:
        UmdEngineError: what ended a scan, or an organ of it, either way.
    """
    beside, found = Beside(opened, reference), []
    for scan in scans:
        found.append(_compare(model, scan, (reference, beside), sources, device or torch.device("cpu")))
    organs = tuple(one for answers in found for one in answers.organs)
    return Report(organs, beside.errors(), sum(a.voxels for a in found), sum(a.flipped for a in found))


def refuse(report: Report, precision: str) -> None:
    """Raise unless the answers are near enough.

    Raises:
        AccuracyError: neither answer holds an organ, the mean Dice is below MEAN_DICE, or an organ of a scan is
            below ORGAN_DICE.
        UnknownNameError: a precision without a limit.
    """
    if precision not in MEAN_DICE:
        raise UnknownNameError("precision", precision, MEAN_DICE)
    if not report.counted:
        raise AccuracyError(
            "neither answer holds an organ, which shows nothing",
            where=precision,
            mend="verify on scans that the model is made for",
        )
    mend = "use a higher precision" if precision != "int8" else "use a higher precision or other calibration scans"
    if report.mean_dice < MEAN_DICE[precision]:
        fault = f"mean Dice with fp32 is {report.mean_dice:.5f}, below {MEAN_DICE[precision]}"
        raise AccuracyError(fault, where=precision, mend=mend)
    worst, dice = min(report.counted.items(), key=lambda item: item[1])
    if dice < ORGAN_DICE:
        raise AccuracyError(
            f"Dice of {worst.organ} with fp32 is {dice:.5f}, below {ORGAN_DICE}: {worst.flipped} voxels differ, the "
            f"organ has {worst.voxels}",
            where=f"{precision}, scan {worst.scan}",
            mend=mend,
        )


def _compare(
    model: Model | PromptedModel,
    scan: Scan,
    ways: tuple[Open, Open],
    sources: Sources | None,
    device: torch.device,
) -> Answers:
    case = model.prepare(scan.images, device)
    if not is_prompted(model):
        exact, tested = (run_program(model.segment(case), way) for way in ways)
        return compare_labels(scan.row.scan_id, exact, tested)
    assert sources is not None, "a prompted model waits for prompts"
    asked = [sources(scan) for _ in ways]
    masks = [run_program(model.segment(case, [*a.values()]), way) for a, way in zip(asked, ways, strict=True)]
    exact_masks, tested_masks = (dict(zip(asked[0], found, strict=True)) for found in masks)
    return compare_masks(scan.row.scan_id, exact_masks, tested_masks)
