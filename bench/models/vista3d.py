"""VISTA3D's 13 organs on a part of a phantom CT at a reduced patch, against MONAI's own code.

The weights are stand-ins: how long the work takes does not depend on what they are. The first peer asks for all class
ids at once, as the bundle allows; the second for one organ after the other, as users run it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch

from umd_engine.bench import plain_vista3d
from umd_engine.bench.floor import Entry
from umd_engine.data.phantom import make_subject
from umd_engine.data.volume import Volume
from umd_engine.engine.executor import run_program
from umd_engine.models.mask import Triple
from umd_engine.models.parity.recipe import fill
from umd_engine.models.ready import open_unit
from umd_engine.models.vista3d.classes import CT, unique
from umd_engine.models.vista3d.model import class_pass
from umd_engine.models.vista3d.network import build_network
from umd_engine.models.vista3d.options import Options
from umd_engine.models.vista3d.prepare import prepare_scan
from umd_engine.models.vista3d.protocol import Pass, label_slabs
from umd_engine.models.vista3d.recipe import VISTA3D

SIZE: Triple = (32, 32, 32)
PATCH = "32x32x32"
SUBJECT, SEED = 1, 0
PART = (slice(70, 105), slice(37, 61), slice(163, 177))  # beside the head: 16 windows, 5 of them air
TARGET_AT_ONCE, TARGET_BY_ORGAN = 1.3, 8.0
AIR_HU = -863
DIFFERING = 2e-3  # of the voxels: `engine` interpolates in float32
FIRST: dict[str, np.ndarray] = {}  # what the first implementation of this process found


@dataclass(frozen=True)
class Way:
    """A way to run the model; its label map may differ from the first's in `DIFFERING` of the voxels."""

    name: str
    options: Options
    batch: int


WAYS = (
    Way("engine, batch 1", Options(patch=PATCH), 1),
    Way("engine, batch 2", Options(patch=PATCH), 2),
    Way("engine, batch 4", Options(patch=PATCH), 4),
    Way("engine, batch 4, windows of air left out", Options(patch=PATCH, skip_air=True), 4),
)


def entries() -> list[Entry]:
    """Our ways and MONAI's; every label map is held against the first that was made."""
    rows = [Entry("vista3d", way.name, case(), partial(_run, way), 0, _check(way.options)) for way in WAYS]
    at_once = Entry(
        "vista3d", "peer:monai, all ids at once", case(), _at_once, 0, _check(), True,
        "SlidingWindowInfererAdapt(roi_size, sw_batch_size=1), 17 ids in one call a window", target=TARGET_AT_ONCE,
    )  # fmt: skip
    # maps of one organ know no other: where several claim a voxel, the last painted one has it, so that only the union
    # of all organs can be compared
    by_organ = Entry(
        "vista3d", "peer:monai, organ by organ", case(), _organ_by_organ, 0, _check(union=True), True,
        "the same, 13 runs of everything, the lung's with 5 ids", target=TARGET_BY_ORGAN,
    )  # fmt: skip
    return [*rows, at_once, by_organ]


def case() -> str:
    return f"13 organs, {'x'.join(str(box.stop - box.start) for box in PART)} voxels of a phantom CT, patch {PATCH}"


@cache
def scan() -> Volume:
    """A part of a CT, its spacing 3.9 x 3.9 x 5 mm."""
    ct = make_subject("petct", SUBJECT, SEED, "small").scans[0].image
    affine = ct.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [box.start for box in PART]
    return Volume.from_array(np.ascontiguousarray(ct.voxels[PART]), affine)


@cache
def ids() -> tuple[int, ...]:
    return unique(CT.asked(""))


@cache
def network() -> torch.nn.Module:
    found = build_network()
    state = fill(found.state_dict(), 7)
    found.to_empty(device="cpu")
    found.load_state_dict(state)
    return found.eval().requires_grad_(False)


@cache
def _pass(options: Options) -> Pass:
    return class_pass("vista3d", network(), ids(), VISTA3D, options)


def _run(way: Way) -> np.ndarray:
    device = torch.device("cpu")
    found = prepare_scan(scan(), device, VISTA3D, way.options)
    program = label_slabs(found, _pass(way.options))
    labels = run_program(program, partial(open_unit, backend="torch", device=device), way.batch)
    numbers = torch.tensor([0, *ids()], dtype=torch.uint8)
    return numbers[found.lattice.to_scan(labels).long()].numpy()


def _at_once() -> np.ndarray:
    return plain_vista3d.segment(scan(), network(), ids(), SIZE)


def _organ_by_organ() -> np.ndarray:
    """The maps painted over one another."""
    labels = np.zeros(scan().shape, np.uint8)
    for numbers in CT.asked("").values():
        found = plain_vista3d.segment(scan(), network(), numbers, SIZE)
        labels[found > 0] = found[found > 0]
    return labels


def _check(options: Options | None = None, union: bool = False) -> Callable[[np.ndarray], None]:
    """Where air is left out, stand-in weights, which see organs in it, are compared outside of it."""

    def check(found: np.ndarray) -> None:
        first = FIRST.setdefault("labels", found)
        assert first.any(), "the label map is empty"
        assert found.shape == first.shape, f"shape {found.shape} instead of {first.shape}"
        differs = (first > 0) != (found > 0) if union else first != found
        if options is not None and options.skip_air:
            differs = differs[scan().voxels > AIR_HU]
        wrong = int(differs.sum())
        assert wrong <= DIFFERING * differs.size, f"{wrong} of {differs.size} voxels differ from the first label map"

    return check
