"""Surface distances of every organ of a case, measured where its masks are."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from umd_engine.evaluation.counting import Classes, Joint, LabelMap
from umd_engine.evaluation.prompts.reference import OrganLabel
from umd_engine.evaluation.surfaces import EMPTY, pack
from umd_engine.kernels.bounds import bounds
from umd_engine.kernels.surface import surface_distances
from umd_engine.kernels.surface.grids import ELEMENTS
from umd_engine.models.mask import Mask, Triple

Spacing = tuple[float, float, float]
Ids = Mapping[str, tuple[int, ...]]
T = TypeVar("T")
Keep = Callable[[Hashable, Callable[[], T]], T]


@dataclass(frozen=True, eq=False)
class _Map:
    """uint8 [X, Y, Z], a number an organ, and the box of each number."""

    voxels: LabelMap
    boxes: np.ndarray

    @classmethod
    def of(cls, classes: Classes, numbers: Mapping[int, int]) -> _Map:
        """Classes as numbers; those without one become 0, unless all are their own."""
        voxels = classes.voxels if all(a == b for a, b in numbers.items()) else _renumbered(classes.voxels, numbers)
        return cls(voxels, bounds(voxels, 256).boxes)


def _renumbered(voxels: LabelMap, numbers: Mapping[int, int]) -> LabelMap:
    if isinstance(voxels, torch.Tensor):
        made = torch.zeros_like(voxels)
        for number, new in numbers.items():
            made[voxels == number] = new
        return made
    table = np.zeros(256, np.uint8)
    table[list(numbers)] = list(numbers.values())
    return table[voxels]


def measured(joint: Joint, predicted: Ids, reference: Ids, spacing: Spacing, keep: Keep[Any]) -> dict[str, bytes]:
    """What a row keeps of the surfaces of each organ that both sides name.

    Args:
        predicted, reference: organ -> its ids on either side; several are their union.
        spacing: mm.
        keep: makes what the label gives once for all models, by key.
    """
    organs = [organ for organ in predicted if organ in reference]
    counts = joint.counts(organs, predicted, reference)
    both = [organ for organ, count in counts.items() if count.on_both_sides]
    found = dict.fromkeys(organs, EMPTY)
    for together in _rounds(joint, both, predicted, reference):
        found |= _round(joint, together, spacing, keep)
    return found


@dataclass(frozen=True)
class _Pair:
    """An organ's classes in the label and in the prediction."""

    organ: str
    label: frozenset[int]
    prediction: frozenset[int]


def _rounds(joint: Joint, organs: Sequence[str], predicted: Ids, reference: Ids) -> Iterator[list[_Pair]]:
    """Organs that share no class, so that a map can hold them; mostly all of them."""
    left = [
        _Pair(o, frozenset(joint.reference.classes(reference[o])), frozenset(joint.predicted.classes(predicted[o])))
        for o in organs
    ]
    while left:
        chosen: list[_Pair] = []
        for pair in left:
            if all(not pair.label & one.label and not pair.prediction & one.prediction for one in chosen):
                chosen.append(pair)
        yield chosen[:255]
        left = [pair for pair in left if pair not in chosen[:255]]


def _round(joint: Joint, pairs: Sequence[_Pair], spacing: Spacing, keep: Keep[Any]) -> dict[str, bytes]:
    """An organ's number is its first class in the label, whose map mostly stays as it is."""
    numbers = {pair.organ: min(pair.label) for pair in pairs}
    in_label = {c: numbers[pair.organ] for pair in pairs for c in pair.label}
    in_prediction = {c: numbers[pair.organ] for pair in pairs for c in pair.prediction}
    label = keep(("surface label", tuple(sorted(in_label.items()))), lambda: _Map.of(joint.reference, in_label))
    prediction = _Map.of(joint.predicted, in_prediction)
    found = _measure(label.voxels, prediction.voxels, list(numbers.values()), spacing, (label.boxes, prediction.boxes))
    return {organ: found[number] for organ, number in numbers.items()}


def _measure(label: Any, prediction: Any, ids: Sequence[int], spacing: Spacing, boxes: Any = None) -> dict[int, bytes]:
    kinds = [surface_distances(label, prediction, ids, spacing, elements=one, boxes=boxes) for one in ELEMENTS]
    return {number: pack([kind[number] for kind in kinds]) for number in ids}


def measured_mask(mask: Mask, label: OrganLabel, spacing: Spacing) -> bytes:
    """Of one organ's mask, within the box around both."""
    if not label.voxels or not bool(mask.voxels.any()):
        return EMPTY
    low = _triple([min(a, b) for a, b in zip(mask.low, label.mask.low, strict=True)])
    high = _triple([max(a, b) for a, b in zip(mask.high, label.mask.high, strict=True)])
    crops = label.mask.crop(low, high), mask.crop(low, high)
    return _measure(*crops, [1], spacing)[1]


def _triple(values: Sequence[int]) -> Triple:
    x, y, z = values
    return x, y, z
