"""One organ of one scan: prompts in, masks out, as nnInteractive's own session does it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate

from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program, Tensors, Work
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.nninteractive.answer import foreground
from umd_engine.models.nninteractive.channels import Channels
from umd_engine.models.nninteractive.coarse import Crop, changes_at_border, network_input, seen_before
from umd_engine.models.nninteractive.draws import Draws
from umd_engine.models.nninteractive.folder import Settings
from umd_engine.models.nninteractive.refine import canvas_of, pasted, plan, refined
from umd_engine.models.nninteractive.region import Region, hull, tight, triple

LARGEST, GROWTH = 4, 1.5  # zoom


def further(zoom: float) -> float:
    """The zoom of the next look."""
    return min(LARGEST, zoom * GROWTH)


def looks_until(wanted: float) -> int:
    """Looks from zoom 1 on until one shows so many patches along an axis, or there is no further."""
    zoom, looks = 1.0, 1
    while zoom < min(wanted, LARGEST):
        zoom, looks = further(zoom), looks + 1
    return looks


@dataclass(frozen=True)
class Rules:
    """How a session runs.

    Attributes:
        autozoom: look at more of the scan while the organ changes at the crop's border.
        official: float16 channels, one patch a network call; otherwise float32, and patches that do not meet
            share a call.
    """

    autozoom: bool = True
    official: bool = False


class Session:
    """Takes prompts in voxels of the file's order; `predict` answers all since the last time.

    Args:
        image: float32 [X, Y, Z], normalised, in the file's order.
    """

    def __init__(self, unit: Unit, settings: Settings, image: torch.Tensor, rules: Rules, draws: Draws):
        self.unit, self.settings, self.image, self.rules, self.draws = unit, settings, image, rules, draws
        self.patch = triple(unit.inputs[0].shape[1:])
        dtype = torch.float16 if rules.official else torch.float32
        self.channels = Channels(settings, triple(image.shape), dtype, image.device)
        self.mask = Mask.empty(triple(image.shape), image.device)
        self.predictions = 0
        self._crop: Crop | None = None  # of the last prompt: it alone decides where to look
        self._whole = False

    def add_point(self, voxel: Triple, positive: bool) -> None:
        self.channels.add_point(voxel, positive)
        self._look_at(Crop(voxel, 1, self.patch))

    def add_box(self, box: Region, positive: bool) -> None:
        """A box; of one voxel along an axis it is a 2D box."""
        flat = 1 in box.size and self.settings.supported["bbox2d"]
        self.channels.add_box(box, "bbox2d" if flat else "bbox3d", positive)
        self._look_at(self._crop_around(box))

    def add_drawing(self, kind: str, drawn: Mask, positive: bool) -> None:
        """A "scribble" or "lasso"; some voxel is marked."""
        drawn = tight(drawn)
        self.channels.add_drawing(drawn.low, drawn.voxels, kind, positive)
        self._look_at(self._crop_around(Region(drawn.low, drawn.high)))

    def start_from(self, mask: Mask) -> None:
        """Forget everything and take this for the mask so far."""
        self.channels.clear()
        self.mask = tight(mask)
        self._crop, self._whole = None, False

    def refine_all(self) -> None:
        """With the next prediction, look at all of the mask again."""
        self._look_at(self._crop_around(Region(self.mask.low, self.mask.high)))
        self._whole = True

    def predict(self) -> Program[None]:
        """Update `mask`; nothing where no prompt came since the last time."""
        if self._crop is None:
            return
        first, whole = self._crop, self._whole
        crop = Crop(first.center, min(LARGEST, first.zoom), self.patch)
        crop, found = yield from self._look(crop)
        if crop.zoom == 1:
            self.mask = pasted(self.mask, [crop.region], found, crop.region)
        else:
            coarse = _enlarged(found, crop)
            del found
            boxes = plan(
                coarse, crop, self.mask, whole, Region.around(first.center, self.patch), self.draws(self.predictions)
            )
            canvas = canvas_of(boxes, coarse, crop, self.mask)
            del coarse
            yield from refined(self.unit, self.image, self.channels, boxes, canvas, self.rules.official)
            self.mask = pasted(self.mask, boxes, canvas.voxels, hull(boxes))
        self.predictions += 1
        self._crop, self._whole = None, False

    def _look(self, crop: Crop) -> Program[tuple[Crop, torch.Tensor]]:
        """The first pass, from further and further away while the organ goes on beyond the crop."""
        while True:
            found = yield from self._see(crop)
            beyond = changes_at_border(found, seen_before(self.mask, crop))
            if not (beyond and self.rules.autozoom) or crop.zoom >= LARGEST:
                return crop, found
            crop = Crop(crop.center, further(crop.zoom), self.patch)

    def _see(self, crop: Crop) -> Program[torch.Tensor]:
        """One prediction; its input is made when a batch needs it: 13 organs that wait hold none."""
        found: list[torch.Tensor] = []

        def items() -> Iterator[Tensors]:
            yield (network_input(self.image, self.mask, self.channels, crop),)

        def sink(_: int, outputs: Tensors) -> None:
            found.append(foreground(outputs[0], self.unit).to(self.image.device))

        yield Work(self.unit, items(), 1, sink)
        return found[0]

    def _look_at(self, crop: Crop) -> None:
        self._crop = crop

    def _crop_around(self, region: Region) -> Crop:
        """A region with a third of a patch around it."""
        center = triple(round((lo + hi) / 2) for lo, hi in zip(region.low, region.high, strict=True))
        shares = [(n + p // 3) / p for n, p in zip(region.size, self.patch, strict=True)]
        return Crop(center, max(1, *shares), self.patch)


def _enlarged(found: torch.Tensor, crop: Crop) -> torch.Tensor:
    """A first pass uint8 [*patch] at the crop's own size."""
    if not crop.shrinks:
        return found
    return (interpolate(found[None, None].float(), crop.region.size, mode="trilinear")[0, 0] >= 0.5).to(torch.uint8)
