"""The second pass: the changed parts once more at full resolution, patch by patch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program, Tensors, Work
from umd_engine.models.mask import Mask
from umd_engine.models.nninteractive.answer import foreground
from umd_engine.models.nninteractive.channels import Channels
from umd_engine.models.nninteractive.coarse import Crop, network_input
from umd_engine.models.nninteractive.planner import Draw, cover
from umd_engine.models.nninteractive.pooling import opened
from umd_engine.models.nninteractive.region import Region, hull, tight, triple


def plan(coarse: torch.Tensor, crop: Crop, mask: Mask, whole: bool, center_of_last: Region, draw: Draw) -> list[Region]:
    """Boxes of the patch's size, in the order in which they are to be computed.

    Args:
        coarse: uint8, the first pass at the size of `crop.region`.
        whole: look at all of the mask again, not only at what changed.
        center_of_last: the box to look at where nothing changed.
    """
    seen = crop.region.within(mask.shape)
    planned = hull([seen, Region(mask.low, mask.high)]) if whole and mask.voxels.numel() else seen
    changed = torch.zeros(planned.size, dtype=torch.uint8, device=coarse.device)
    different = coarse[seen.seen_from(crop.region)] != mask.crop(seen.low, seen.high)
    changed[seen.seen_from(planned)] = opened(different.to(torch.uint8), 2)
    if whole:
        torch.maximum(changed, mask.crop(planned.low, planned.high), out=changed)
    boxes = cover(changed, crop.patch, draw)
    return [box.moved(planned.low) for box in boxes] or [center_of_last]


def levels(boxes: Sequence[Region], apart: bool) -> list[list[Region]]:
    """Boxes that may share a batch: each waits for all before it that it meets.

    The result is that of one box after another: a box reads and writes only itself.

    Args:
        apart: every box alone, as the official code does.
    """
    if apart:
        return [[box] for box in boxes]
    depths: list[int] = []
    for number, box in enumerate(boxes):
        met = [depths[i] for i in range(number) if boxes[i].meets(box)]
        depths.append(1 + max(met, default=-1))
    return [[b for b, d in zip(boxes, depths, strict=True) if d == level] for level in range(max(depths) + 1)]


def canvas_of(boxes: Sequence[Region], coarse: torch.Tensor, crop: Crop, mask: Mask) -> Mask:
    """The mask over the boxes, overwritten by the first pass where that saw the scan; zeros outside the scan.

    It is a mask of its own frame, the hull of the boxes, since later boxes see what earlier ones found outside the
    scan.
    """
    frame = hull(boxes)
    voxels = mask.crop(frame.low, frame.high)
    seen = crop.region.within(mask.shape).overlap(frame)
    if not seen.empty:
        voxels[seen.seen_from(frame)] = coarse[seen.seen_from(crop.region)]
    return Mask(voxels, (0, 0, 0), frame.size)


def refined(
    unit: Unit, image: torch.Tensor, channels: Channels, boxes: Sequence[Region], canvas: Mask, apart: bool
) -> Program[None]:
    """Every box's prediction, written into the canvas; later boxes see it."""
    frame = hull(boxes)
    patch = boxes[0].size

    def view(box: Region) -> torch.Tensor:
        return canvas.voxels[box.seen_from(frame)]

    for together in levels(boxes, apart):

        def items(boxes: Sequence[Region] = together) -> Iterator[Tensors]:
            for box in boxes:
                crop = Crop(triple(lo + n // 2 for lo, n in zip(box.low, patch, strict=True)), 1, patch)
                shown = Mask(view(box), (0, 0, 0), patch)
                yield (_with_previous(image, channels, crop, shown),)

        def sink(item: int, outputs: Tensors, boxes: Sequence[Region] = together) -> None:
            view(boxes[item]).copy_(foreground(outputs[0], unit))

        yield Work(unit, items(), len(together), sink)


def _with_previous(image: torch.Tensor, channels: Channels, crop: Crop, shown: Mask) -> torch.Tensor:
    """The network's input with a previous segmentation that is already cut to the patch."""
    nothing = Mask.empty(shown.shape, shown.voxels.device)
    patch = network_input(image, nothing, channels, crop)
    patch[1 + channels.settings.previous] = shown.voxels
    return patch


def pasted(mask: Mask, boxes: Sequence[Region], canvas: torch.Tensor, frame: Region) -> Mask:
    """The mask with the boxes replaced by the canvas [frame], as far as they lie in the scan."""
    inside = [box.within(mask.shape) for box in boxes]
    inside = [box for box in inside if not box.empty]
    held = [Region(mask.low, mask.high)] if mask.voxels.numel() else []
    whole = hull([*inside, *held])
    voxels = mask.crop(whole.low, whole.high)
    for box in inside:
        voxels[box.seen_from(whole)] = canvas[box.seen_from(frame)]
    return tight(Mask(voxels, whole.low, mask.shape))
