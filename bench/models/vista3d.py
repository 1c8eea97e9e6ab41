"""VISTA3D's 13 organs on a part of a phantom CT at a reduced patch, against MONAI's own code.

The weights are stand-ins: how long the work takes does not depend on what they are. The first peer asks for all class
ids at once, as the bundle allows; the second for one organ after the other, as users run it. Stand-ins see organs in
air too, trained weights hardly: the Dice of the row that leaves windows of air out is the worst case of that option.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np
import torch

from umd_engine.bench import plain_vista3d
from umd_engine.bench.floor import Entry
from umd_engine.bench.models.counting import Counts, counting
from umd_engine.data.phantom import make_subject
from umd_engine.data.volume import Volume
from umd_engine.engine.executor import Session, run_program
from umd_engine.engine.unit import Unit
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


@dataclass(frozen=True)
class Found:
    """Attributes:
    labels: class ids [X, Y, Z] on the scan's grid.
    counts: of ours, what went through the network.
    """

    labels: np.ndarray
    counts: Counts = field(default_factory=Counts)


FIRST: dict[str, Found] = {}  # what the first implementation of this process found


@dataclass(frozen=True)
class Way:
    """A way to run the model; its label map may differ from the first's in `DIFFERING` of the voxels."""

    name: str
    options: Options
    batch: int
    backend: str = "torch"


WAYS = (
    Way("engine, batch 1", Options(patch=PATCH), 1),
    Way("engine, batch 2", Options(patch=PATCH), 2),
    Way("engine, batch 4", Options(patch=PATCH), 4),
    Way("engine, batch 4, torch-compile", Options(patch=PATCH), 4, "torch-compile"),
    Way("engine, batch 4, openvino", Options(patch=PATCH), 4, "openvino"),
    Way("engine, batch 4", Options(patch=PATCH, skip_air=True), 4),
)


def entries() -> list[Entry]:
    """Our ways and MONAI's; every label map is held against the first that was made."""
    rows = [_entry(way) for way in WAYS]
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


def _entry(way: Way) -> Entry:
    """With air left out it is other work, which no target is held against."""
    of = f"{case()}, windows of air left out" if way.options.skip_air else case()
    return Entry("vista3d", way.name, of, partial(_run, way), 0, _check(way.options), counted=_counted(way.options))


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


@cache
def _opened(unit: Unit, backend: str) -> Session:
    """Opened once: what a backend compiles at first is no part of what is measured."""
    return open_unit(unit, backend, torch.device("cpu"))


def _run(way: Way) -> Found:
    device, counts = torch.device("cpu"), Counts()
    prepared = prepare_scan(scan(), device, VISTA3D, way.options)
    program = counting(label_slabs(prepared, _pass(way.options)), counts)
    labels = run_program(program, partial(_opened, backend=way.backend), way.batch)
    numbers = torch.tensor([0, *ids()], dtype=torch.uint8)
    return Found(numbers[prepared.lattice.to_scan(labels).long()].numpy(), counts)


def _at_once() -> Found:
    return Found(plain_vista3d.segment(scan(), network(), ids(), SIZE))


def _organ_by_organ() -> Found:
    """The maps painted over one another."""
    labels = np.zeros(scan().shape, np.uint8)
    for numbers in CT.asked("").values():
        found = plain_vista3d.segment(scan(), network(), numbers, SIZE)
        labels[found > 0] = found[found > 0]
    return Found(labels)


def _counted(options: Options) -> Callable[[Found], str]:
    """The windows, and where some were left out how far that changes the labels of the whole part."""

    def counted(found: Found) -> str:
        windows = found.counts.calls.total()
        if not options.skip_air:
            return f"{windows} windows"
        first = FIRST["labels"]
        every = first.counts.calls.total()
        dice = [_dice(first.labels, found.labels, numbers) for numbers in CT.asked("").values()]
        scores = [score for score in dice if score is not None]
        return (
            f"{every - windows} of {every} windows left out; Dice with the labels of all windows over the whole part, "
            f"stand-in weights, {len(scores)} organs: mean {np.mean(scores):.4f}, least {min(scores):.4f}"
        )

    return counted


def _dice(first: np.ndarray, found: np.ndarray, numbers: Sequence[int]) -> float | None:
    """Of one organ; None where neither map has it."""
    a, b = np.isin(first, numbers), np.isin(found, numbers)
    return float(2 * (a & b).sum() / (a.sum() + b.sum())) if a.any() or b.any() else None


def _check(options: Options | None = None, union: bool = False) -> Callable[[Found], None]:
    """Where air is left out, stand-in weights, which see organs in it, are compared outside of it."""
    skips = options is not None and options.skip_air

    def check(found: Found) -> None:
        assert FIRST or not skips, "there are no labels of all windows to compare with"
        first, labels = FIRST.setdefault("labels", found).labels, found.labels
        assert first.any(), "the label map is empty"
        assert labels.shape == first.shape, f"shape {labels.shape} instead of {first.shape}"
        differs = (first > 0) != (labels > 0) if union else first != labels
        if skips:
            differs = differs[scan().voxels > AIR_HU]
        wrong = int(differs.sum())
        assert wrong <= DIFFERING * differs.size, f"{wrong} of {differs.size} voxels differ from the first label map"

    return check
