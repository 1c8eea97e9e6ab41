"""From an image to what the network sees: transpose, crop, normalise, resample, in nnU-Net's order.

Normalising before resampling matters: the mask of a masked z-score fits the voxels it was made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from umd_engine.errors import CheckpointError
from umd_engine.models.nnunet.plans import Normalization, Plans, Triple
from umd_engine.models.nnunet.resampling import resample


@dataclass(frozen=True, eq=False)
class Prepared:
    """What the network sees, and how to come back.

    Attributes:
        data: [C, X, Y, Z] float32, normalised, at the plans' spacing.
        spacing: mm of the image, in transposed order.
        full_shape: before cropping, in transposed order.
        crop: the non-zero box of that shape.
    """

    data: torch.Tensor
    spacing: tuple[float, ...]
    full_shape: Triple
    crop: tuple[slice, slice, slice]

    @property
    def crop_shape(self) -> Triple:
        return tuple(s.stop - s.start for s in self.crop)


def prepare_image(image: torch.Tensor, spacing: Sequence[float], plans: Plans) -> Prepared:
    """Prepare [C, ...] in the order nnU-Net's readers give (slowest axis first), spacing (mm) likewise."""
    spacing = tuple(float(spacing[i]) for i in plans.transpose)
    image = image.float().permute(0, *(i + 1 for i in plans.transpose))
    full_shape: Triple = tuple(image.shape[1:])  # type: ignore[assignment]
    nonzero = (image != 0).any(0)
    crop = bounding_box(nonzero)
    data = image[(slice(None), *crop)].clone(memory_format=torch.contiguous_format)
    mask = _filled(nonzero[crop]) if any(n.masked for n in plans.normalization) else None
    for channel, rule in zip(data, plans.normalization, strict=True):
        normalize(channel, rule, mask if rule.masked else None)
    data = resample(data, resampled_shape(data.shape[1:], spacing, plans), spacing, plans.spacing, plans.resampling)
    return Prepared(data, spacing, full_shape, crop)


def resampled_shape(shape: Sequence[int], spacing: Sequence[float], plans: Plans) -> Triple:
    """At the plans' spacing, of a shape and spacing in transposed order."""
    # round halves to even, as Python does
    x, y, z = (round(old / new * n) for old, new, n in zip(spacing, plans.spacing, shape, strict=True))
    return x, y, z


def bounding_box(mask: torch.Tensor) -> tuple[slice, slice, slice]:
    """The box of all true voxels; the whole grid where there are none."""
    box = []
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        at = mask.any(others[1]).any(others[0]).nonzero()
        box.append(slice(int(at[0]), int(at[-1]) + 1) if len(at) else slice(0, mask.shape[axis]))
    return tuple(box)  # type: ignore[return-value]


def _filled(mask: torch.Tensor) -> torch.Tensor:
    from scipy.ndimage import binary_fill_holes

    return torch.from_numpy(binary_fill_holes(mask.cpu().numpy())).to(mask.device)


def normalize(channel: torch.Tensor, rule: Normalization, mask: torch.Tensor | None) -> None:
    """Normalise one channel [X, Y, Z] in place; with a mask, voxels outside it stay as they are."""
    if rule.scheme == "CTNormalization":
        try:
            low, high, mean, std = (rule.statistics[k] for k in ("percentile_00_5", "percentile_99_5", "mean", "std"))
        except KeyError as error:
            raise CheckpointError(
                f"the plans lack the CT statistic {error}", mend="use the plans.json that nnU-Net wrote"
            ) from None
        channel.clamp_(low, high).sub_(mean).div_(max(std, 1e-8))
    elif rule.scheme == "ZScoreNormalization":
        # sums in float64: a float32 sum over a whole body loses digits
        values = (channel[mask] if mask is not None else channel).double()
        normalized = (channel - values.mean().float()) / values.std(correction=0).float().clamp(min=1e-8)
        channel.copy_(torch.where(mask, normalized, channel) if mask is not None else normalized)
    elif rule.scheme == "RescaleTo01Normalization":
        channel.sub_(channel.min())
        channel.div_(channel.max().clamp(min=1e-8))
    elif rule.scheme == "RGBTo01Normalization":
        channel.div_(255.0)
    else:
        assert rule.scheme == "NoNormalization", rule.scheme
