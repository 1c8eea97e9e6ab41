"""TotalSegmentator: several nnU-Nets at one spacing, their organs merged (totalsegmentator 2.18.0).

scan -> cubic B-spline to 1.5 mm, whole HU -> each part's nnU-Net -> one label map, later parts over earlier ones
     -> nearest voxel on the scan's grid

ResEnc M, L and XL folders need nothing of this: they are nnU-Net folders.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from umd_engine.data.volume import Volume
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program
from umd_engine.errors import CheckpointError, MissingFileError, OptionError, UnsupportedModelError
from umd_engine.kernels.resample import zoom
from umd_engine.models.calls import Calls
from umd_engine.models.model import Segmentation, only_image
from umd_engine.models.nnunet.model import NnUNet
from umd_engine.models.nnunet.protocol import VARIANTS
from umd_engine.models.nnunet.protocol import Options as PartOptions

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Options:
    """What a user may choose.

    Attributes:
        variant: `official` resamples with SciPy and runs every part as nnunetv2 does; `engine` resamples with the
            house's kernel (equal but for the last bits) and sums in float32.
        spacing: mm that the parts see: 1.5, or 3 for the fast model, 6 for the fastest; 0: the scan's own.
        step: of windows, as a share of the patch: 0.8 for `total` since version 2.18, 0.5 before and for other tasks.
        parts: only these, by their number in the folder's name, e.g. "291,292"; empty: all.
        folds: of every part, as nnU-Net's option.
    """

    variant: str = "engine"
    spacing: float = 1.5
    step: float = 0.8
    parts: str = ""
    folds: str = "0"

    def __post_init__(self) -> None:
        where = "totalsegmentator"
        if self.variant not in VARIANTS:
            raise OptionError(f"variant '{self.variant}' is unknown", where=where, mend=f"use {' or '.join(VARIANTS)}")
        if not (self.spacing >= 0 and math.isfinite(self.spacing)):
            raise OptionError(
                f"spacing is {self.spacing} mm", where=where, mend="use 1.5, 3, 6, or 0 for the scan's own"
            )
        if not 0 < self.step <= 1:
            raise OptionError(f"step is {self.step}", where=where, mend="use a share of the patch in (0, 1]")


@dataclass(frozen=True, eq=False)
class Case:
    """A scan and what the parts see of it."""

    volume: Volume
    resampled: Volume
    device: torch.device


class TotalSegmentator:
    """The parts of a folder as one model without prompts.

    Args:
        folder: holds one folder a part, `Dataset291_.../TRAINER__PLANS__CONFIGURATION` with plans.json in it, as
            TotalSegmentator keeps them below `nnunet/results`.

    Raises:
        MissingFileError, CheckpointError, UnsupportedModelError: the folder or a part cannot be used.
    """

    def __init__(self, name: str, folder: Path, options: Options):
        self.name, self.options = name, options
        part = PartOptions(variant=options.variant, folds=options.folds, mirroring=False, step=options.step)
        places = find_parts(folder, options.parts)
        self.parts = [NnUNet(f"{name}.{number}", place, part) for number, place in places.items()]
        self.organs, self.luts = _merged(self.parts, folder)
        self.units: Sequence[Unit] = [unit for model in self.parts for unit in model.units]
        self.weights = hashlib.sha256("".join(model.weights for model in self.parts).encode()).hexdigest()
        self.protocol: Mapping[str, Any] = {
            "name": "totalsegmentator",
            **asdict(options),
            "parts": {number: dict(model.protocol) for number, model in zip(places, self.parts, strict=True)},
        }

    def nbytes(self, shape: Triple, spacing: tuple[float, float, float]) -> int:
        seen, step = self._seen(shape, spacing)
        here = math.prod(shape)
        most = max(part.nbytes(seen, step) for part in self.parts)
        return int(10 * here + 8 * math.prod(seen) + max(most, 24 * max(here, math.prod(seen))))

    def calls(self, shape: Triple, spacing: tuple[float, float, float]) -> Calls:
        parts = [part.calls(*self._seen(shape, spacing)) for part in self.parts]
        return Calls(tuple(work for part in parts for work in part.works), parts[0].assumed)

    def _seen(self, shape: Triple, spacing: tuple[float, float, float]) -> tuple[Triple, tuple[float, float, float]]:
        """Shape and spacing (mm) that the parts see."""
        wanted = self.options.spacing
        if not wanted:
            return shape, spacing
        x, y, z = (max(round(n * mm / wanted), 1) for n, mm in zip(shape, spacing, strict=True))
        return (x, y, z), (wanted, wanted, wanted)

    def prepare(self, images: Sequence[Volume], device: torch.device) -> Case:
        image = only_image(self.name, images)
        return Case(image, self._resampled(image), device)

    def segment(self, case: Case) -> Program[Segmentation]:
        """Part by part, so that one part's image and sums are held at a time."""
        merged = torch.zeros(case.resampled.shape, dtype=torch.uint8, device=case.device)
        for part, lut in zip(self.parts, self.luts, strict=True):
            found = yield from part.segment(part.prepare([case.resampled], case.device))
            mapped = lut.to(found.labels.device)[found.labels.long()]
            merged = torch.where(mapped != 0, mapped, merged)
            del found, mapped
        shape = case.volume.shape
        if merged.shape != shape:
            merged = zoom(merged[None], shape, (0, 0, 0), align_corners=True)[0]
        return Segmentation(merged, self.organs)

    def _resampled(self, volume: Volume) -> Volume:
        """The scan in whole HU at the parts' spacing; as it is where it has that spacing.

        The outer voxels' centres stay (grid_mode=False) while the affine is scaled by n / m, as in the official code.
        """
        wanted = self.options.spacing
        spacing = np.array(volume.spacing, dtype=np.float32)  # as a NIfTI header has it
        if not wanted or np.array_equal(spacing, np.full(3, wanted)):
            return volume
        factors = spacing / np.full(3, wanted)
        shape = tuple(max(round(n * float(factor)), 1) for n, factor in zip(volume.shape, factors, strict=True))
        if self.options.variant == "official":
            from scipy.ndimage import zoom as zoom_by_scipy

            voxels = zoom_by_scipy(volume.voxels.astype(np.float64), factors, mode="nearest", order=3)
        else:
            data = np.ascontiguousarray(volume.voxels, dtype=np.float32)[None]
            voxels = zoom(data, shape, (3, 3, 3), align_corners=True)[0]
        affine = np.array(volume.affine)
        affine[:3, :3] /= factors
        return Volume.from_array(voxels.astype(np.int32), affine)


def find_parts(folder: Path, chosen: str = "") -> dict[str, Path]:
    """Number -> trained-model folder, in the order of the numbers.

    Raises:
        MissingFileError: no part there, or not one that was asked for. CheckpointError: two models of one part.
    """
    if not folder.is_dir():
        raise MissingFileError("no such folder", where=folder, mend="give TotalSegmentator's nnunet/results")
    found: dict[str, Path] = {}
    for plans in sorted(folder.glob("Dataset*/*/plans.json")):
        number = plans.parent.parent.name.removeprefix("Dataset").partition("_")[0].lstrip("0")
        if number in found:
            raise CheckpointError(
                f"part {number} has two models", where=plans.parent.parent, mend="move one of them away"
            )
        found[number] = plans.parent
    wanted = [number.strip() for number in chosen.split(",") if number.strip()] or list(found)
    if missing := [number for number in wanted if number not in found]:
        raise MissingFileError(
            f"no Dataset{missing[0]}_*", where=folder, mend=f"parts there: {', '.join(found) or 'none'}"
        )
    if not wanted:
        raise MissingFileError(
            "no Dataset*/*/plans.json", where=folder, mend="give the folder that holds Dataset291_... and the others"
        )
    return {number: found[number] for number in sorted(wanted, key=lambda number: (len(number), number))}


def _merged(parts: Sequence[NnUNet], folder: Path) -> tuple[dict[str, tuple[int, ...]], list[torch.Tensor]]:
    """Organs -> ids of the merged map, and for each part its own id -> that id."""
    organs: dict[str, tuple[int, ...]] = {}
    luts: list[torch.Tensor] = []
    following = 1
    for part in parts:
        lut = torch.zeros(256, dtype=torch.uint8)
        for number in sorted({number for numbers in part.organs.values() for number in numbers}):
            if following > 255:
                raise UnsupportedModelError("more than 255 organs", where=folder, mend="choose parts with --set")
            lut[number] = following
            following += 1
        for organ, numbers in part.organs.items():
            if organ in organs:
                raise CheckpointError(
                    f"two parts have the organ '{organ}'", where=folder, mend="choose parts with --set NAME.parts=..."
                )
            organs[organ] = tuple(int(lut[number]) for number in numbers)
        luts.append(lut)
    return organs, luts
