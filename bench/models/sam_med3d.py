"""SAM-Med3D on 13 organs of one full-size phantom CT, against its official protocol organ by organ.

The weights are stand-ins: how long the work takes does not depend on what they are. The rows part the gain: the
preparation (13 resamplings of the whole scan become 13 crops), the encoder's exact short form, and the batch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from umd_engine.bench import plain_sam_med3d
from umd_engine.bench.floor import Entry
from umd_engine.bench.models.fixed import FixedClick, as_array, organ_masks
from umd_engine.data.labelset import load_label_set
from umd_engine.data.phantom import make_subject
from umd_engine.data.volume import Volume
from umd_engine.engine.executor import run_program
from umd_engine.models.parity.recipe import fill
from umd_engine.models.prompts import Point, world_of
from umd_engine.models.ready import open_unit
from umd_engine.models.sam_med3d.model import SamMed3D
from umd_engine.models.sam_med3d.network import Network
from umd_engine.models.sam_med3d.options import Options

CASE = "13 organs of a phantom CT, 1 click"
SUBJECT, SEED = 1, 0  # all 13 organs are there
TARGET = 3.0
CALL = "organ by organ: SimpleITK resamples scan and label, literal encoder at batch 1, mask resampled onto the scan"
Masks = dict[str, np.ndarray]
FIRST: Masks = {}  # what the first implementation of this process found


@dataclass(frozen=True)
class Way:
    """A way to run the model; `differing`: the share of the masks' voxels that may differ from the script's."""

    name: str
    options: Options
    batch: int
    differing: float


# `engine` sums in float64 where the official code sums in float32, which moves a voxel here and there
WAYS = (
    Way("official variant", Options(variant="official"), 1, 1e-4),
    Way("official variant, literal encoder", Options(variant="official", encoder="literal"), 1, 1e-4),
    Way("engine, batch 1", Options(), 1, 1e-4),
    Way("engine, batch 2", Options(), 2, 1e-4),
)


def entries() -> list[Entry]:
    """Four ways of ours and the script; every mask is held against the first that was made."""
    rows = [Entry("sam-med3d-turbo", way.name, CASE, partial(_run, way), 0, _check(way.differing)) for way in WAYS]
    script = Entry(
        "sam-med3d-turbo", "peer:official protocol", CASE, _script, 0, _check(1e-4), True, CALL, target=TARGET
    )
    return [*rows, script]


@cache
def scan() -> tuple[Volume, Volume]:
    """CT and label, 512 x 512 x 353."""
    ct = make_subject("petct", SUBJECT, SEED, "full").scans[0]
    return ct.image, ct.label


@cache
def ids() -> dict[str, int]:
    return {organ: numbers[0] for organ, numbers in load_label_set("umd13").ids.items()}


@cache
def clicks() -> dict[str, Point]:
    """A point in the voxel of each organ that is nearest to the middle of its box, in mm: it lies in the crop.

    Off the voxel's centre: that may lie half-way between voxels of the model's grid, where rounding decides.
    """
    found = {}
    for organ, mask in organ_masks(scan()[1], ids()).items():
        where = torch.nonzero(mask.voxels)
        middle = torch.tensor(mask.voxels.shape) / 2
        nearest = where[((where - middle) ** 2).sum(1).argmin()] + torch.tensor(mask.low)
        x, y, z = (int(v) for v in nearest)
        found[organ] = world_of((x + 0.1, y + 0.1, z + 0.1), scan()[1].affine)
    return found


@cache
def checkpoint() -> Path:
    folder = Path(tempfile.mkdtemp())
    torch.save({"model_state_dict": fill(Network().state_dict(), 7)}, folder / "sam_med3d_turbo.pth")
    return folder / "sam_med3d_turbo.pth"


@cache
def _model(options: Options) -> SamMed3D:
    return SamMed3D("sam-med3d-turbo", checkpoint(), options)


@cache
def literal() -> Network:
    network = Network(reduced=False)
    network.load_state_dict(fill(network.state_dict(), 7))
    return network.eval()


def _run(way: Way) -> Masks:
    return segment_with(way, ids())


def segment_with(way: Way, organs: Iterable[str]) -> Masks:
    """Masks of some organs."""
    image, label = scan()
    device, model, masks = torch.device("cpu"), _model(way.options), organ_masks(label, ids())
    sources = [FixedClick(organ, masks[organ], clicks()[organ]) for organ in organs]
    program = model.segment(model.prepare([image], device), sources)
    found = run_program(program, partial(open_unit, backend="torch", device=device), way.batch)
    return {source.organ: as_array(mask) for source, mask in zip(sources, found, strict=True)}


def _script() -> Masks:
    return plain_sam_med3d.segment(*scan(), ids(), clicks(), literal())


def _check(differing: float) -> Callable[[Mapping[str, np.ndarray]], None]:
    def check(found: Mapping[str, np.ndarray]) -> None:
        FIRST.update({organ: mask for organ, mask in found.items() if organ not in FIRST})
        wrong = sum(int((FIRST[organ] != mask).sum()) for organ, mask in found.items())
        filled = sum(int(mask.sum()) for mask in FIRST.values())
        assert filled > 0, "every mask is empty"
        assert wrong <= differing * filled, f"{wrong} of {filled} voxels differ from the official variant's masks"

    return check
