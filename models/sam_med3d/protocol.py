"""SAM-Med3D's protocol for one organ, as a program: crop, encode, then decode after every prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from umd_engine.engine.work import Program, Tensors, Work, call
from umd_engine.errors import PromptError
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.prompts import Click, Prompt, PromptSource, View, is_inside, voxel_of
from umd_engine.models.sam_med3d.crops import beyond, centred_on, covering, enlarged, image_crop, z_score
from umd_engine.models.sam_med3d.decoder import LOW
from umd_engine.models.sam_med3d.lattice import Lattice
from umd_engine.models.sam_med3d.network import Pieces
from umd_engine.models.sam_med3d.options import Options
from umd_engine.models.sam_med3d.prompt_encoder import CROP


@dataclass(frozen=True, eq=False)
class Case:
    """A scan on a device.

    Attributes:
        image: [file axes], in the order and direction of the file, of its dtype.
    """

    image: torch.Tensor
    lattice: Lattice


@dataclass(eq=False)
class Crop:
    """A crop of an organ and what is known of it so far.

    Attributes:
        begin: its first voxel on the lattice.
        low: raw logits [1, 32, 32, 32] of the last step, the next step's mask prompt.
        points, labels: of all clicks so far, in voxels of the crop; 1 or 0.
        mask: uint8 [128, 128, 128].
    """

    begin: Triple
    embedding: torch.Tensor | None = None
    low: torch.Tensor | None = None
    points: list[Triple] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    mask: torch.Tensor | None = None


class Organ:
    """One organ of one scan; `run` is its program."""

    def __init__(self, case: Case, source: PromptSource, pieces: Pieces, options: Options):
        self.case, self.source, self.pieces, self.options = case, source, pieces, options
        self.lattice, self.device = case.lattice, case.image.device
        self.label: Mask | None = None  # on the lattice
        self.crops: list[Crop] = []

    def run(self) -> Program[Mask]:
        """The mask after the last prompt; empty for a label that is empty at 1.5 mm, which no crop can be put on.

        Raises:
            PromptError: no label to centre the crop on, a prompt that is no point, a click outside scan or crop.
            VoxelError: the crop cannot be normalised.
        """
        self.label = self._label_on_lattice()
        if self.options.centre == "label":
            if self._label_for_the_crop().voxels.numel() == 0:
                return self._no_mask()
            self.crops = self._crops_on_label()
        mask: Mask | None = None
        prompt = self.source.next(None, self._view_or_none())
        while prompt is not None:
            touched = self._place(prompt)
            yield from self._encode([crop for crop in touched if crop.embedding is None])
            for crop in touched:
                yield from self._decode(crop)
            mask = self._union()
            prompt = self.source.next(mask, self._view_or_none(), self.note)
        return self._no_mask() if mask is None else mask

    @property
    def note(self) -> str:
        return f"cover: {len(self.crops)} crops" if self.options.cover and len(self.crops) > 1 else ""

    def _label_on_lattice(self) -> Mask | None:
        label = self.source.label
        if label is None:
            return None
        return self.lattice.label(Mask(label.voxels.to(self.device), label.low, label.shape))

    def _label_for_the_crop(self) -> Mask:
        if self.label is None:
            raise PromptError(
                "SAM-Med3D's crop is centred on the organ's label, and there is none",
                where=self.source.organ,
                mend="give a label, or --set NAME.centre=click",
            )
        return self.label

    def _crops_on_label(self) -> list[Crop]:
        assert self.label is not None
        begins = covering(self.label) if self.options.cover else [centred_on(self.label)]
        return [Crop(begin) for begin in begins]

    def _no_mask(self) -> Mask:
        return Mask.empty(self.lattice.grid.shape, self.device)

    def _place(self, prompt: Prompt) -> list[Crop]:
        """Adds a prompt's clicks to the crops that hold them; the crops that got any."""
        if prompt.box or prompt.text or prompt.drawing or not prompt.clicks:
            raise PromptError("SAM-Med3D takes points", where=self.source.organ, mend="prompt it with clicks alone")
        touched: list[Crop] = []
        for click in prompt.clicks:
            holding = self._holding(click)
            for crop, voxel in holding:
                crop.points.append(voxel)
                crop.labels.append(int(click.positive))
            touched += [crop for crop, _ in holding if crop not in touched]
        return touched

    def _holding(self, click: Click) -> list[tuple[Crop, Triple]]:
        """The crops that hold a click, and at which of their voxels; makes one where crops follow clicks."""
        grid, found = self.lattice.grid, self._at(click)
        in_padding = self.options.official and found  # the official rule may click on a wrong voxel there
        if not in_padding and not is_inside(voxel_of(click.world, grid.affine), grid):
            raise PromptError(
                f"the click at {_mm(click)} is outside the scan",
                where=self.source.organ,
                mend="click on the scan",
            )
        follows = self.options.cover or (self.options.centre == "click" and not self.crops)
        if follows and not found:
            x, y, z = (v - CROP // 2 for v in voxel_of(click.world, self.lattice.affine))
            self.crops.append(Crop((x, y, z)))
            found = self._at(click)
        if not found:
            raise PromptError(
                f"the click at {_mm(click)} is outside the crop of {CROP} voxels at 1.5 mm",
                where=self.source.organ,
                mend="use --set NAME.cover=true, or prompts drawn in the crop",
            )
        return found

    def _at(self, click: Click) -> list[tuple[Crop, Triple]]:
        voxels = [(crop, voxel_of(click.world, self.lattice.crop_affine(crop.begin))) for crop in self.crops]
        return [(crop, voxel) for crop, voxel in voxels if all(0 <= v < CROP for v in voxel)]

    def _encode(self, crops: Sequence[Crop]) -> Program[None]:
        official = self.options.official
        # made before they are asked for: an image that cannot be normalised ends this organ, not its batch
        images = [
            z_score(image_crop(self.case.image, self.lattice, crop.begin, official), official)[None] for crop in crops
        ]

        def sink(index: int, outputs: Tensors) -> None:
            crops[index].embedding = outputs[0].to(self.device)

        yield Work(self.pieces.encoder, ((image,) for image in images), len(images), sink)

    def _decode(self, crop: Crop) -> Program[None]:
        assert crop.embedding is not None
        points = torch.tensor(crop.points, dtype=torch.float32, device=self.device)
        labels = torch.tensor(crop.labels, dtype=torch.float32, device=self.device)
        low = torch.zeros((1, LOW, LOW, LOW), device=self.device) if crop.low is None else crop.low
        unit = self.pieces.decoder(len(crop.points))
        outputs = yield from call(unit, crop.embedding, points, labels, low)
        crop.low = outputs[0].to(self.device)
        crop.mask = enlarged(crop.low)

    def _union(self) -> Mask:
        masks = [self.lattice.paste(crop.mask, crop.begin) for crop in self.crops if crop.mask is not None]
        return _union(masks)

    def _view_or_none(self) -> Callable[[], View] | None:
        return self._view if self.label is not None and self.crops else None

    def _view(self) -> View:
        """The box of all crops on the lattice: with one crop, the crop.

        What the network finds in the zeros around a scan is no error but in the official code.
        """
        assert self.label is not None
        low = _triple(np.min([crop.begin for crop in self.crops], axis=0))
        high = _triple(np.max([beyond(crop.begin) for crop in self.crops], axis=0))
        label = self.label.crop(low, high)
        prediction = torch.zeros_like(label)
        for crop in self.crops:
            if crop.mask is not None:
                box = tuple(slice(b - lo, b - lo + CROP) for b, lo in zip(crop.begin, low, strict=True))
                prediction[box] |= crop.mask
        if not self.options.official:
            inner = [slice(max(0, -lo), max(0, n - lo)) for lo, n in zip(low, self.lattice.shape, strict=True)]
            found = prediction[tuple(inner)].clone()
            prediction.zero_()[tuple(inner)] = found
        return View(label, prediction, self.lattice.crop_affine(low), ends=not self.options.cover)


def _union(masks: Sequence[Mask]) -> Mask:
    filled = [mask for mask in masks if mask.voxels.numel()]
    if len(filled) < 2:
        return filled[0] if filled else masks[0]
    masks = filled
    low = _triple(np.min([mask.low for mask in masks], axis=0))
    high = _triple(np.max([mask.high for mask in masks], axis=0))
    voxels = masks[0].crop(low, high)
    for mask in masks[1:]:
        voxels |= mask.crop(low, high)
    return Mask(voxels, low, masks[0].shape)


def _mm(click: Click) -> str:
    return f"({', '.join(f'{value:.1f}' for value in click.world)}) mm"


def _triple(values: np.ndarray) -> Triple:
    x, y, z = (int(value) for value in values)
    return x, y, z
