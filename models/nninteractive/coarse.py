"""The first pass: a crop around the prompt, shrunk to the patch, and whether it shows the whole organ."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate

from umd_engine.models.mask import Mask, Triple
from umd_engine.models.nninteractive.channels import Channels
from umd_engine.models.nninteractive.folder import Settings
from umd_engine.models.nninteractive.pooling import block_means, nearest_indices, nearest_odd
from umd_engine.models.nninteractive.region import Region, cut, triple

MANY, SOME, SHARE = 1500, 100, 0.2  # voxels of a face, and the relative change, that say: look further


@dataclass(frozen=True)
class Crop:
    """What is shown to the network in one patch.

    Attributes:
        zoom: its size as a multiple of the patch, 1 to 4.
    """

    center: Triple
    zoom: float
    patch: Triple

    @property
    def region(self) -> Region:
        return Region.around(self.center, triple(round(n * self.zoom) for n in self.patch))

    @property
    def shrinks(self) -> bool:
        return self.region.size != self.patch


def image_patch(image: torch.Tensor, crop: Crop) -> torch.Tensor:
    """float32 [1, *patch], zeros outside the scan; shrunk trilinearly, without smoothing, as the official."""
    seen = cut(image, crop.region)[None]
    return interpolate(seen[None], crop.patch, mode="trilinear")[0] if crop.shrinks else seen


def network_input(image: torch.Tensor, mask: Mask, channels: Channels, crop: Crop) -> torch.Tensor:
    """float32 [1 + channels, *patch]; channels that hold nothing stay zero and cost nothing."""
    settings = channels.settings
    patch = torch.zeros((1 + settings.channels, *crop.patch), device=image.device)
    patch[:1] = image_patch(image, crop)
    show_previous(patch, mask, crop, settings, channels.dtype)
    show_channels(patch, channels, crop)
    return patch


def show_previous(patch: torch.Tensor, mask: Mask, crop: Crop, settings: Settings, dtype: torch.dtype) -> None:
    region = crop.region
    if not crop.shrinks:
        patch[1 + settings.previous] = mask.crop(region.low, region.high)
        return
    seen = region.overlap(Region(mask.low, mask.high))
    if not seen.empty:
        voxels, at = mask.crop(seen.low, seen.high), seen.moved(region.low, -1)
        patch[1 + settings.previous] = block_means(voxels, at, region.size, crop.patch, dtype)


def show_channels(patch: torch.Tensor, channels: Channels, crop: Crop) -> None:
    """Write the prompts' channels into a patch [1 + channels, ...]; the newest prompt is 1."""
    for number in channels.writes:
        # thin prompts are widened before they are shrunk, so that they stay visible
        widens = crop.shrinks and number in channels.settings.thin
        radius = nearest_odd(crop.zoom * 2 - 1) // 2 if widens else 0
        if (found := channels.render(number, crop.region, radius)) is None:
            continue
        written, values = found
        if crop.shrinks:
            at = written.moved(crop.region.low, -1)
            values = block_means(values, at, crop.region.size, crop.patch, channels.dtype)
            patch[1 + number] = (values / channels.intensity).float()
        else:
            patch[1 + number][written.seen_from(crop.region)] = (values / channels.intensity).float()


def seen_before(mask: Mask, crop: Crop) -> torch.Tensor:
    """The mask so far as the border test sees it: uint8 [*patch], the nearest voxel where the crop shrinks."""
    region = crop.region
    if not crop.shrinks:
        return mask.crop(region.low, region.high)
    seen = region.overlap(Region(mask.low, mask.high))
    out = torch.zeros(crop.patch, dtype=torch.uint8, device=mask.voxels.device)
    if seen.empty:
        return out
    values, inside = mask.crop(seen.low, seen.high), []
    for axis, (size, patch) in enumerate(zip(region.size, crop.patch, strict=True)):
        index = nearest_indices(size, patch, out.device) + (region.low[axis] - seen.low[axis])
        within = torch.nonzero((index >= 0) & (index < seen.size[axis]))[:, 0]
        values = values.index_select(axis, index[within])
        inside.append(within)
    out[torch.meshgrid(*inside, indexing="ij")] = values
    return out


def changes_at_border(now: torch.Tensor, before: torch.Tensor) -> bool:
    """Whether the organ seems to go on beyond a face of the crop: AutoZoom's question.

    A face says so where more than 1500 voxels changed, or more than 100 and its area by more than a fifth.
    """
    counts = []
    for axis in range(3):
        for index in (0, now.shape[axis] - 1):
            old, new = before.select(axis, index), now.select(axis, index)
            counts.append(torch.stack([old.sum(), new.sum(), (old != new).sum()]))
    for old, new, changed in torch.stack(counts).tolist():
        relative = max(old, new) / max(min(old, new), 1e-5) - 1
        if changed > MANY or (changed > SOME and relative > SHARE):
            return True
    return False
