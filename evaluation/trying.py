"""A prompted model on the phantom: asked as `evaluate` asks, its prompts drawn from the phantom's label."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from umd_engine.data.labelset import load_label_set
from umd_engine.data.manifest import ScanRow
from umd_engine.data.phantom.cohort import make_subject
from umd_engine.data.scan import Scan
from umd_engine.engine.executor import run_program
from umd_engine.errors import UmdEngineError
from umd_engine.evaluation.cases import Settings, all_cases
from umd_engine.evaluation.counting import voxel_ml
from umd_engine.evaluation.prompts.asked_case import ask
from umd_engine.models.custom.trial import Trial, modality_of, opening
from umd_engine.models.mask import Mask
from umd_engine.models.model import PromptedModel, Segmentation

LABEL_SET = "umd13"
NO_FILE = Path("phantom")  # which is made, not read


def try_prompted(
    model: PromptedModel, channels: Sequence[str], device: torch.device
) -> tuple[Trial, Mapping[str, str]]:
    """Ask a model for every organ of a made-up scan, by its default prompt.

    Args:
        channels: of the model's input; the first decides the modality.

    Returns:
        What was found, an organ with a mask of its own in the volumes, later ones over earlier ones in the label map;
        and organ -> why there is no mask of it.
    """
    scan = phantom_scan(channels[0])
    settings = Settings(device=device)
    began = time.perf_counter()
    (case,) = all_cases([scan.row], [model], {model.name: ""}, settings)
    asked = ask(case, scan, {}, settings.seed, device, began)
    prepared = model.prepare(scan.images, device)
    answers: list[Mask | UmdEngineError] = run_program(model.segment(prepared, asked.sources), opening(device))
    names = [source.place.organ for source in asked.sources]
    masks = {name: answer for name, answer in zip(names, answers, strict=True) if isinstance(answer, Mask)}
    failed = {row.organ: row.message for row in asked.settled}
    failed |= {name: str(error) for name, error in zip(names, answers, strict=True) if not isinstance(error, Mask)}
    millilitres = {organ: int(mask.voxels.sum()) * voxel_ml(scan.images[0].grid) for organ, mask in masks.items()}
    seconds = time.perf_counter() - began
    return Trial(scan.images, painted(masks, scan.images[0].shape), True, millilitres, seconds), failed


def phantom_scan(channel: str, seed: int = 0) -> Scan:
    """A made-up scan with its label, of the modality that a channel's name says."""
    modality = modality_of(channel)
    subject = make_subject("petmri" if modality == "mr" else "petct", 0, seed)
    made = next(scan for scan in subject.scans if scan.modality == modality)
    row = ScanRow(
        cohort="phantom", subject=subject.name, scan_id=made.modality, modality=made.modality, images=(NO_FILE,),
        unit=made.unit, label=NO_FILE, label_set=LABEL_SET, synthetic=True,
    )  # fmt: skip
    return Scan(row, (made.image,), made.label, load_label_set(LABEL_SET))


def painted(masks: Mapping[str, Mask], shape: tuple[int, int, int]) -> Segmentation:
    """One label map of masks that may overlap, ids from 1 in their order; a later mask covers an earlier one."""
    labels = torch.zeros(shape, dtype=torch.uint8)
    for number, mask in enumerate(masks.values(), 1):
        labels[mask.box][mask.voxels.cpu() != 0] = number
    return Segmentation(labels, {organ: (number,) for number, organ in enumerate(masks, 1)})
