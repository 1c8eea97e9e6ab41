"""What points change in a class's mask, and which components of a point's mask stay: rules on components."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from umd_engine.kernels.components import components
from umd_engine.models.mask import Triple
from umd_engine.models.vista3d.lattice import Place

POSITIVE = (1, 3)  # labels of points in the object; 0 and 2 lie beside it
MARGINS = (0, 1, 2)  # voxels around a point in which its component is looked for, the nearest first


def merged(
    logits: torch.Tensor, point_logits: torch.Tensor, points: Sequence[Place], labels: Sequence[int]
) -> torch.Tensor:
    """A class's logits [x, y, z] in a window, those of the points where they say otherwise beside a point.

    Where the points add to the mask (all of it, once a point lies in the class's mask) or take from it, the components
    that a positive, respectively negative point touches are changed to the points' logits.

    Args:
        points: in voxels of the window.
    """
    has, wanted = torch.sigmoid(logits) > 0.5, torch.sigmoid(point_logits) > 0.5
    voxels = [_voxel(point, logits.shape) for point in points]
    inside = any(bool(logits[voxel] > 0) for voxel in voxels)
    gained, lost = (wanted if inside else ~has & wanted), has & ~wanted
    changed = torch.zeros_like(has)
    for region, positive in ((gained, True), (lost, False)):
        at = [voxel for voxel, label in zip(voxels, labels, strict=True) if (label in POSITIVE) is positive]
        if at:
            changed |= touched(region, at)
    return torch.where(changed, point_logits, logits)


def touched(region: torch.Tensor, voxels: Sequence[Triple]) -> torch.Tensor:
    """The components (26 neighbours) of a mask [x, y, z] that a voxel lies in, or at most 2 voxels beside.

    Of several that are equally near the last in the order of their first voxels.
    """
    numbers = components(region.contiguous()).numbers
    found = torch.zeros_like(region)
    for voxel in voxels:
        for margin in MARGINS:
            near = tuple(slice(max(v - margin, 0), v + margin + 1) for v in voxel)
            number = int(numbers[near].max())
            if number:
                found |= numbers == number
                break
    return found


def kept_with_positive(stitched: torch.Tensor, points: Sequence[Place], labels: Sequence[int]) -> torch.Tensor:
    """Logits [x, y, z], NaN outside of all windows, with every component that holds no positive point filled.

    The filling is the mean of all that is no kept component, as the official code has it.
    """
    positive = [p for p, label in zip(points, labels, strict=True) if label in POSITIVE]
    if not positive:
        return stitched
    mask = torch.nan_to_num(stitched, nan=-1.0) > 0
    numbers = components(mask).numbers
    found = {int(numbers[_voxel(point, stitched.shape)]) for point in positive} - {0}
    kept = torch.zeros_like(mask)
    for number in found:
        kept |= numbers == number
    rest = ~kept & ~torch.isnan(stitched)
    # picking these voxels instead would take 24 bytes each for their places
    filling = torch.where(rest, stitched, 0).sum(dtype=torch.float64) / rest.sum()
    return torch.where(mask & ~kept, filling.to(stitched), stitched)


def _voxel(point: Place, shape: Sequence[int]) -> Triple:
    """The nearest voxel; of two the even one."""
    x, y, z = (min(max(round(p), 0), n - 1) for p, n in zip(point, shape, strict=True))
    return x, y, z
