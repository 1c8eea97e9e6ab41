"""What all ways are given: a network and a prepared image, whose windows lie alike for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from umd_engine.engine.unit import Unit
from umd_engine.engine.windows import Triple, gaussian_weights
from umd_engine.engine.work import Program

HALF = 0.5  # nnU-Net's overlap of windows, and its step


@dataclass(frozen=True, eq=False)
class Case:
    """A network and an image. nnU-Net spreads its windows evenly, MONAI moves the last one to the end: on an image of
    whole steps both place them alike.

    Attributes:
        image: float32 [C, x, y, z], prepared.
        program: of the engine; uint8 labels [x, y, z].
        overlap: of neighbouring windows, as a share of the patch.
        gaussian: windows are weighted by nnU-Net's Gaussian; otherwise alike.
        threshold: class k is k + 1 where its logit is the largest and above 0, else 0; otherwise the largest wins.
        folder: of a trained nnU-Net.
    """

    title: str
    unit: Unit
    image: torch.Tensor
    program: Callable[[], Program[torch.Tensor]]
    overlap: float = HALF
    gaussian: bool = True
    threshold: bool = False
    folder: Path | None = None

    @property
    def patch(self) -> Triple:
        _, x, y, z = self.unit.inputs[0].shape
        return x, y, z

    @property
    def weights(self) -> torch.Tensor:
        """float32 [x, y, z] of a window."""
        found = gaussian_weights(self.patch, torch.float32) if self.gaussian else torch.ones(self.patch)
        return found.to(self.image.device)

    def labels(self, logits: torch.Tensor) -> torch.Tensor:
        """uint8 [x, y, z] of mean logits [heads, x, y, z]."""
        if not self.threshold:
            return logits.argmax(0).to(torch.uint8)
        best, which = logits.max(0)
        return torch.where(best > 0, which + 1, 0).to(torch.uint8)


def case_of(model: str, device: torch.device) -> Case:
    """A case by the name of its model."""
    return {"nnunet": _stand_in, "nnunet-demo": _demo, "vista3d": _vista3d}[model](device)


def _stand_in(device: torch.device) -> Case:
    from umd_engine.bench.backends.cases import CASES

    unit = CASES["nnunet"].make(False)
    image = torch.randn((1, 96, 64, 64), generator=torch.Generator().manual_seed(0)).to(device)
    return _nnunet("stand-in weights", unit, image)


def _demo(device: torch.device) -> Case:
    from umd_engine.bench.demo.study import CT
    from umd_engine.data.phantom import make_subject
    from umd_engine.models.nnunet.model import NnUNet
    from umd_engine.models.nnunet.protocol import Options, pad_to

    model = NnUNet("nnunet-demo", CT, Options())
    prepared = model.prepare([make_subject("petct", 1, 0, "small").scans[0].image], device).prepared
    patch = model.plans.patch
    padded, _ = pad_to(prepared.data, patch)
    return _nnunet("the demo's CT network on a phantom", model.units[0], whole_steps(padded, patch), CT)


def _nnunet(title: str, unit: Unit, image: torch.Tensor, folder: Path | None = None) -> Case:
    from umd_engine.kernels.windows import finish
    from umd_engine.models.nnunet.protocol import Options, logits_of

    _, *size = unit.inputs[0].shape
    patch: Triple = (size[0], size[1], size[2])
    heads = unit.module(unit.example(1)[0]).shape[1]

    def program() -> Program[torch.Tensor]:
        sums = yield from logits_of(image, [unit], patch, heads, (), Options(mirroring=False, step=HALF))
        return finish(sums.values, sums.values.shape[1:], total=sums.total, orders=(0, 0, 0))

    return Case(f"{title}, {_said(image, patch)}", unit, image, program, folder=folder)


def _vista3d(device: torch.device) -> Case:
    from umd_engine.bench.models.vista3d import PATCH, SIZE, ids, scan
    from umd_engine.models.stand_in import stand_in_units
    from umd_engine.models.vista3d.options import Options
    from umd_engine.models.vista3d.prepare import prepare_scan
    from umd_engine.models.vista3d.protocol import Pass, label_slabs, padded
    from umd_engine.models.vista3d.recipe import PADDINGS, VISTA3D

    options, unit = Options(patch=PATCH), stand_in_units("vista3d", reduced=True)[0]
    padding = PADDINGS[VISTA3D.padding_of(options)]
    prepared = prepare_scan(scan(), device, VISTA3D, options)
    image = padded(prepared.image, SIZE, padding)[None]
    walk = Pass(unit, None, len(ids()), SIZE, padding, options)
    title = f"{len(ids())} classes, reduced width, {_said(image, SIZE)}"

    def program() -> Program[torch.Tensor]:
        return label_slabs(replace(prepared, image=image[0]), walk)

    return Case(title, unit, image, program, options.overlap, gaussian=False, threshold=True)


def whole_steps(image: torch.Tensor, patch: Triple) -> torch.Tensor:
    """The first voxels of [C, x, y, z]: a patch, and as many steps as fit."""
    steps = [int(p * HALF) for p in patch]
    kept = [p + (n - p) // step * step for n, p, step in zip(image.shape[1:], patch, steps, strict=True)]
    return image[(slice(None), *map(slice, kept))].contiguous()


def _said(image: torch.Tensor, patch: Triple) -> str:
    return f"{'x'.join(map(str, image.shape[1:]))} voxels, patch {'x'.join(map(str, patch))}"
