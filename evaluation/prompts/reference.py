"""The reference of a scan on the device: each organ in its own box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from umd_engine.data.labelset import LabelSet
from umd_engine.data.scan import Scan
from umd_engine.engine.staging import moved
from umd_engine.evaluation.counting import Classes, compact, reference_of
from umd_engine.kernels.bounds import Bounds, bounds
from umd_engine.models.mask import Mask, Triple


@dataclass(frozen=True, eq=False)
class OrganLabel:
    """An organ in the label.

    Attributes:
        mask: in its box.
        voxels: how many; 0 where it is absent.
    """

    mask: Mask
    voxels: int


def organs_of(scan: Scan, organs: Sequence[str], device: torch.device) -> Mapping[str, OrganLabel]:
    """`organ_labels` of a scan, found once for all models that are asked for the same organs; none without a label.

    Raises:
        LabelError: more than 256 different ids.
    """
    label, label_set = reference_of(scan, device), scan.label_set
    if label is None or label_set is None:
        return {}
    return scan.once(("organs", tuple(organs), device.type), lambda: organ_labels(label, label_set, organs, device))


def organ_labels(
    labels: np.ndarray | Classes, label_set: LabelSet, organs: Sequence[str], device: torch.device
) -> Mapping[str, OrganLabel]:
    """The organs that the label set has; several ids are one organ, their union.

    Args:
        labels: label map [X, Y, Z] of unsigned integers.

    Raises:
        LabelError: more than 256 different ids.
    """
    classes = labels if isinstance(labels, Classes) else Classes(*compact(labels))
    voxels = classes.voxels
    if isinstance(voxels, np.ndarray):
        voxels = torch.from_numpy(np.array(voxels, order="K"))  # torch takes no flipped array
    on_device = moved(voxels, device)
    found = bounds(on_device, len(classes.ids))
    known = {organ: classes.classes(label_set.ids[organ]) for organ in organs if organ in label_set.ids}
    return {organ: _organ(on_device, numbers, found) for organ, numbers in known.items()}


def _organ(labels: torch.Tensor, classes: Sequence[int], found: Bounds) -> OrganLabel:
    here = [number for number in classes if found.counts[number]]
    shape = _triple(labels.shape)
    if not here:
        return OrganLabel(Mask.empty(shape, labels.device), 0)
    boxes = found.boxes[here]  # [n, 3, 2]
    low, high = _triple(boxes[:, :, 0].min(0)), _triple(boxes[:, :, 1].max(0))
    crop = labels[tuple(slice(lo, hi) for lo, hi in zip(low, high, strict=True))]
    voxels = crop == here[0]
    for number in here[1:]:
        voxels |= crop == number
    return OrganLabel(Mask(voxels.to(torch.uint8).contiguous(), low, shape), int(found.counts[here].sum()))


def _triple(values: Sequence[int] | np.ndarray | torch.Size) -> Triple:
    x, y, z = (int(value) for value in values)
    return x, y, z
