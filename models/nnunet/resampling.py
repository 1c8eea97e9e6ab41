"""nnU-Net's resampling rules (nnunetv2 2.8.1, preprocessing/resampling)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import interpolate

from umd_engine.kernels.parts import does
from umd_engine.kernels.resample import zoom, zoom_separate
from umd_engine.models.nnunet.plans import Resampling, Triple


def separate_axis(
    force: bool | None, spacing: Sequence[float], new_spacing: Sequence[float], threshold: float = 3
) -> int | None:
    """The axis that is resampled apart from the other two, or None.

    It is the axis of the largest spacing where that is more than `threshold` times the smallest, looked for before
    and then after resampling; two equally coarse axes are not separated.
    """
    if force is False:
        return None
    for candidate in (spacing,) if force else (spacing, new_spacing):
        if force or max(candidate) / min(candidate) > threshold:
            coarse = [i for i, s in enumerate(candidate) if max(candidate) / s == 1]
            return coarse[0] if len(coarse) == 1 else None
    return None


@does("resample")
def resample(
    data: torch.Tensor,
    shape: Triple,
    spacing: Sequence[float],
    new_spacing: Sequence[float],
    rule: Resampling,
    exact: bool = True,
) -> torch.Tensor:
    """Resample [C, X, Y, Z] to `shape` by the plans' rule.

    Args:
        spacing, new_spacing: mm before and after; they decide only which axis is separated.
        exact: compute splines in float64 and return the input's type, as the official code does;
            otherwise trilinear resampling stays in float32.
    """
    if tuple(data.shape[1:]) == tuple(shape) or rule.function == "no_resampling_hack":
        return data
    axis = separate_axis(rule.force_separate_z, spacing, new_spacing, rule.anisotropy_threshold)
    if rule.function == "resample_torch_fornnunet":
        return _by_torch(data, shape, axis)
    if axis is None and rule.order == 1 and not exact:
        return interpolate(data[None].float(), shape, mode="trilinear")[0]
    result = torch.empty((data.shape[0], *shape), dtype=data.dtype, device=data.device)
    for c in range(data.shape[0]):  # a channel at a time: float64 copies of all would be most of the memory
        channel = data[c : c + 1].double()
        if axis is None:
            result[c : c + 1] = zoom(channel, shape, (rule.order,) * 3, clip="volume")
        else:
            result[c : c + 1] = zoom_separate(channel, shape, axis, rule.order, rule.order_z)
    return result


def _by_torch(data: torch.Tensor, shape: Triple, axis: int | None) -> torch.Tensor:
    """`resample_torch_fornnunet`: float32 linear; a separated axis by nearest-exact afterwards."""
    data = data.float()
    if axis is None:
        return interpolate(data[None], shape, mode="trilinear")[0]
    in_plane = [n for i, n in enumerate(shape) if i != axis]
    slices = data.movedim(axis + 1, 1)  # [C, slices, rows, columns]
    channels, count = slices.shape[:2]
    slices = slices.flatten(0, 1)[:, None]
    if list(slices.shape[2:]) != in_plane:
        slices = interpolate(slices, in_plane, mode="bilinear")
    volume = slices.reshape(channels, count, *in_plane).movedim(1, axis + 1)
    if tuple(volume.shape[1:]) == tuple(shape):
        return volume
    return interpolate(volume[None], shape, mode="nearest-exact")[0]
