"""From a network's values on its lattice to a label map on the scan's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from umd_engine.engine.accumulator import Sums
from umd_engine.kernels.components import largest_component
from umd_engine.kernels.windows import finish
from umd_engine.models.custom.description import Activation, Output
from umd_engine.models.custom.frame import ORDERS, Frame, Turn

SLAB = 16  # planes that are activated at a time


def activate(values: torch.Tensor, activation: Activation) -> torch.Tensor:
    """[H, X, Y, Z] in place: softmax over the channels, sigmoid, or nothing."""
    if activation == "sigmoid":
        return values.sigmoid_()
    if activation == "softmax":
        for first in range(0, values.shape[1], SLAB):
            slab = values[:, first : first + SLAB]
            slab.copy_(torch.softmax(slab, 0))
    return values


def label_ids(output: Output) -> dict[str, tuple[int, ...]]:
    """Organ -> ids in the label map: the channel's number, with a threshold one more, as 0 is nothing."""
    more = 0 if output.threshold is None else 1
    return {organ: tuple(channel + more for channel in channels) for organ, channels in output.of_organ.items()}


def labels_of(sums: Sums, frame: Frame, turn: Turn, output: Output, classes: Sequence[int] = ()) -> torch.Tensor:
    """uint8 [X, Y, Z] in RAS+ on the scan's grid; ids as `label_ids`.

    Args:
        classes: the number that each channel of the sums answers for; empty: its own.
    """
    values = activate(sums.mean(), output.activation)
    painted: list[int] | None = None
    if output.threshold is not None:
        order = [channel for channels in output.of_organ.values() for channel in channels]
        rows = [classes.index(number) for number in order] if classes else order
        values = values[rows].sub_(output.threshold)  # above 0 is above the threshold
        painted = [channel + 1 for channel in order]
    interpolation = ORDERS[output.interpolation]
    if frame.steps is None:
        orders = (0, 0, 0) if frame.shape == frame.size else (interpolation,) * 3
        labels = finish(values, frame.size, orders=orders, regions=painted, full=frame.full, corner=frame.low)
    else:
        labels = _one_by_one(values, frame, interpolation, painted)
    labels = turn.back(labels).contiguous()
    return _cleaned(labels, output)


def _one_by_one(values: torch.Tensor, frame: Frame, order: int, painted: Sequence[int] | None) -> torch.Tensor:
    """Each channel resampled, then compared with the largest so far, or painted where it is above 0."""
    box = torch.zeros(frame.size, dtype=torch.uint8, device=values.device)
    best: torch.Tensor | None = None
    for head in range(len(values)):
        here = frame.onto_box(values[head], order)
        if painted is not None:
            box[here > 0] = painted[head]
        elif best is None:
            best = here
        else:
            box[here > best] = head
            best = torch.maximum(best, here)
    full = torch.zeros(frame.full, dtype=torch.uint8, device=values.device)
    full[frame.box] = box
    return full


def _cleaned(labels: torch.Tensor, output: Output) -> torch.Tensor:
    """Channels that are no organ's go; then components and holes, organ by organ."""
    ids = label_ids(output)
    keep = torch.zeros(256, dtype=torch.uint8, device=labels.device)
    for numbers in ids.values():
        keep[list(numbers)] = torch.tensor(numbers, dtype=torch.uint8, device=labels.device)
    labels = keep[labels.long()]
    chosen: Mapping[str, tuple[int, ...]] = {}
    if output.largest_component is True:
        chosen = ids
    elif output.largest_component is not False:
        chosen = {organ: ids[organ] for organ in output.largest_component}
    for numbers in chosen.values():
        organ = _mask(labels, numbers)
        labels[(organ != 0) & (largest_component(organ, output.connectivity) == 0)] = 0
    if output.fill_holes:
        for numbers in ids.values():
            organ = _mask(labels, numbers)
            labels[(_filled(organ) != 0) & (labels == 0)] = numbers[0]
    return labels


def _mask(labels: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
    return torch.isin(labels, torch.tensor(numbers, dtype=labels.dtype, device=labels.device)).to(torch.uint8)


def _filled(mask: torch.Tensor) -> torch.Tensor:
    from scipy.ndimage import binary_fill_holes

    return torch.from_numpy(binary_fill_holes(mask.cpu().numpy()).astype(np.uint8)).to(mask.device)
