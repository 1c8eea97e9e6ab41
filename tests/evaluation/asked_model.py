"""A prompted model with simple, known answers, and a cohort of PET/CT pairs to ask it about."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

from umd_engine.data.manifest import read_manifest
from umd_engine.engine.together import in_turn, together
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.engine.work import call
from umd_engine.errors import PromptError
from umd_engine.evaluation.prompts.asking import PromptSettings, parse_prompts
from umd_engine.evaluation.run import Evaluation, Prediction, Settings
from umd_engine.evaluation.store import Store
from umd_engine.models.mask import Mask
from umd_engine.models.prompts import View, voxel_of

ORGANS = {"liver": 1, "spleen": 2, "kidney_left": 3, "lung": [4, 5], "brain": 6, "halves": [1, 2]}
COLUMNS = "cohort,subject,scan_id,modality,image,unit,label,label_set"
REACH = 2  # voxels


class Twice(torch.nn.Module):
    def forward(self, x):
        return 2 * x


@dataclass(eq=False)
class CubeModel:
    """Its mask is a cube around each positive click less one around each negative click; a box is itself.

    Attributes:
        name: what results call it.
        growth: by how many voxels a cube is larger than `REACH`.
        stride: of its own grid on the scan's; 0: it has none.
        perfect_after: the number of clicks after which it answers with the label; 0: never.
        fails_on: an organ it fails on at its second step.
        silent_on: an organ it answers for without asking.
        stops_after: the number of clicks after which it answers without showing its mask; 0: never.
    """

    name: str = "cube"
    growth: int = 0
    stride: int = 0
    perfect_after: int = 0
    fails_on: str = ""
    silent_on: str = ""
    stops_after: int = 0
    turns: bool = False
    lazy: bool = False
    crops_by_label: bool = False
    weights: str = "none"
    prompts: frozenset[str] = frozenset({"point", "box", "text"})
    asked: list[Any] = field(default_factory=list)

    def __post_init__(self):
        self.made = {}
        self.units = [] if self.lazy else [self.unit(1)]

    def unit(self, clicks):
        if clicks not in self.made:
            self.made[clicks] = Unit(f"{self.name}.{clicks}", Twice(), (TensorSpec("x", (clicks,)),))
        return self.made[clicks]

    @property
    def protocol(self):
        return {"growth": self.growth, "stride": self.stride}

    def nbytes(self, shape, spacing, organs):
        return int(np.prod(shape)) * organs

    def prepare(self, images, device):
        return images[0].grid

    def segment(self, grid, sources):
        company = in_turn if self.turns else together
        return (yield from company([self.organ(grid, source) for source in sources]))

    def organ(self, grid, source):
        full = torch.zeros(grid.shape, dtype=torch.uint8)
        mask, clicks = None, 0
        if source.organ == self.silent_on:
            return Mask.empty(grid.shape)
        while (prompt := source.next(mask, self.view(grid, source, mask), f"{clicks} clicks")) is not None:
            self.asked.append((source.organ, prompt))
            width = len(prompt.clicks) if self.lazy else 1
            (two,) = yield from call(self.unit(width), torch.ones(width))
            reach = REACH + self.growth + int(two[0].item()) - 2
            for click in prompt.clicks:
                clicks += 1
                low = [max(0, v - reach) for v in voxel_of(click.world, grid.affine)]
                high = [v + reach + 1 for v in voxel_of(click.world, grid.affine)]
                full[tuple(slice(*ends) for ends in zip(low, high, strict=True))] = int(click.positive)
            if prompt.box is not None:
                full[tuple(slice(*ends) for ends in zip(prompt.box.low, prompt.box.high, strict=True))] = 1
            if prompt.text:
                full[tuple(slice(n // 3, 2 * n // 3) for n in grid.shape)] = 1
            mask = Mask.of(full)
            if self.perfect_after and clicks >= self.perfect_after:
                mask = source.label
            if source.organ == self.fails_on and clicks == 2:
                raise PromptError("too much of it", mend="ask less")
            if self.stops_after and clicks >= self.stops_after:
                break
        return Mask.empty(grid.shape) if mask is None else mask

    def view(self, grid, source, mask):
        if not self.stride:
            return None
        return partial(self.shown, grid, source, mask)

    def shown(self, grid, source, mask):
        thin = (slice(None, None, self.stride),) * 3
        affine = grid.affine @ np.diag([self.stride] * 3 + [1.0])
        prediction = Mask.empty(grid.shape) if mask is None else mask
        return View(source.label.full()[thin].contiguous(), prediction.full()[thin].contiguous(), affine)


class CubeRequest:
    """What a worker loads a `CubeModel` from."""

    title = "cube"

    def load(self, settings) -> CubeModel:
        return CubeModel(**settings)


def place(spacing=(1.5, 1.5, 2.0), flips=(1, 1, 1), shift=0.0):
    affine = np.diag([*(s * f for s, f in zip(spacing, flips, strict=True)), 1.0])
    affine[:3, 3] = np.array((-20.0, -30.0, 40.0)) + shift
    return affine


def label_of(shape=(36, 30, 24)):
    """Liver, spleen, both halves of the lung, a kidney of one voxel; no brain."""
    label = np.zeros(shape, np.uint8)
    label[4:16, 5:14, 3:10] = 1
    label[20:30, 4:12, 12:20] = 2
    label[32, 24, 20] = 3
    label[2:8, 18:26, 3:20] = 4
    label[14:20, 18:26, 3:20] = 5
    return label


def save(path, voxels, affine):
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def write_pair(folder, subject, pet_label=None, affine=None):
    """A CT, and a PET of half the resolution that shows the same places; returns their manifest rows.

    Args:
        pet_label: instead of the aligned one.
    """
    ct = label_of()
    ct_affine = place() if affine is None else affine
    pet_affine = ct_affine @ np.array([[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1.0]])
    aligned = ct[::2, ::2, ::2]
    pet = aligned if pet_label is None else pet_label
    rows = []
    for modality, unit, label, where in (("ct", "HU", ct, ct_affine), ("pet", "SUV", pet, pet_affine)):
        name = f"{subject}_{modality}"
        save(folder / f"{name}.nii.gz", label.astype(np.int16), where)
        save(folder / f"{name}_label.nii.gz", label, where)
        rows.append(f"petct,{subject},{name},{modality},{name}.nii.gz,{unit},{name}_label.nii.gz,labels.json")
    return rows


def write_scans(folder: Path, rows) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.json").write_text(json.dumps({"name": "cohort", "labels": ORGANS}))
    path = folder / "scans.csv"
    path.write_text("\n".join([COLUMNS, *rows]) + "\n")
    return path


def make_pairs(folder: Path, subjects=2, **more) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return write_scans(folder, [row for i in range(subjects) for row in write_pair(folder, f"s{i:03d}", **more)])


def prompts(*names, titles=("cube",), **more) -> PromptSettings:
    return parse_prompts(names, titles, **more)


def evaluate(manifest, run, models, *, modality=None, asked=None, **settings):
    """Run to the end; the errors of cases."""
    everything = read_manifest(manifest)
    rows = [row for row in everything if modality in (None, row.modality)]
    how = Settings(prompts=asked or PromptSettings(), **settings)
    return [e.error for e in Evaluation(rows, models, run, how, everything).run() if e.error]


def predict(manifest, run, models, *, asked, **settings):
    work = Prediction(read_manifest(manifest), models, run, Settings(prompts=asked, **settings))
    return [e.error for e in work.run() if e.error], work.masks()


def rows_of(run):
    with Store(run / "store.sqlite", create=False) as store:
        return list(store.rows())


def clicks_of(run):
    with Store(run / "store.sqlite", create=False) as store:
        return list(store.clicks())


def counts_of(run):
    """Everything but model, plan, prompt and time."""
    return {(r.scan_id, r.organ, r.step, r.repeat): (r.status, r.tp, r.fp, r.fn, r.voxel_ml) for r in rows_of(run)}
