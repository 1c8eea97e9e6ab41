"""One run of a model on one scan, to see whether its description is right: the phantom, or images of the user's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from umd_engine.data.phantom.cohort import make_subject
from umd_engine.data.volume import Volume
from umd_engine.engine.executor import Session, run_program
from umd_engine.engine.unit import Unit
from umd_engine.kernels.resample import affine
from umd_engine.models.custom.described import Described
from umd_engine.models.model import Model, Segmentation
from umd_engine.models.ready import open_unit, runtime_of


@dataclass(frozen=True, eq=False)
class Trial:
    """What came out.

    Attributes:
        synthetic: the scan is the phantom.
        millilitres: organ -> volume of its mask.
        seconds: of preparing and segmenting.
    """

    images: tuple[Volume, ...]
    segmentation: Segmentation
    synthetic: bool
    millilitres: dict[str, float]
    seconds: float


def try_model(model: Model, images: Sequence[Volume], synthetic: bool, device: torch.device) -> Trial:
    """Segment one scan, with the backend that the model's files are for."""
    began = time.perf_counter()
    case = model.prepare(images, device)
    found: Segmentation = run_program(model.segment(case), opening(device))
    voxel = float(abs(np.linalg.det(images[0].affine[:3, :3]))) / 1000
    counts = torch.bincount(found.labels.flatten().long(), minlength=256).tolist()
    volumes = {organ: voxel * sum(counts[number] for number in ids) for organ, ids in found.organs.items()}
    return Trial(tuple(images), found, synthetic, volumes, time.perf_counter() - began)


def opening(device: torch.device) -> Callable[[Unit], Session]:
    """Opens a unit with the backend that its file is for, once."""
    return cache(lambda unit: open_unit(unit, runtime_of(unit) or "torch", device))


def count_windows(model: object, image: Volume) -> int | None:
    """Windows of one scan, to say how long it may take; None where a localiser decides, or nothing is described."""
    if not isinstance(model, Described) or model.description.localiser is not None:
        return None
    return model.count_windows(model.description, image.grid)


def phantom_images(channels: Sequence[str], seed: int = 0) -> list[Volume]:
    """A made-up scan for a model's channels: a name with mr, t1, t2 or flair is shown MR, one with pet PET, else CT.

    Channels of another grid are resampled onto the first one's, trilinear.
    """
    wanted = [modality_of(channel) for channel in channels]
    cohort = "petmri" if "mr" in wanted else "petct"
    scans = {scan.modality: scan.image for scan in make_subject(cohort, 0, seed).scans}
    chosen = [scans.get(modality) or scans["mr"] for modality in wanted]  # type: ignore[call-overload]
    return [chosen[0], *(_onto(image, chosen[0]) for image in chosen[1:])]


def modality_of(channel: str) -> str:
    """mr, pet or ct, by what a channel is called."""
    name = channel.lower()
    if any(word in name for word in ("mr", "t1", "t2", "flair")):
        return "mr"
    return "pet" if "pet" in name else "ct"


def _onto(image: Volume, target: Volume) -> Volume:
    if image.grid == target.grid:
        return image
    matrix = np.linalg.inv(image.affine) @ target.affine
    voxels = np.ascontiguousarray(image.voxels, dtype=np.float32)[None]
    return target.with_voxels(affine(voxels, matrix, target.shape, order=1, precision="float32")[0])
