"""Deliberately wrong distance transforms: each a mistake that a fast one makes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from umd_engine.kernels.distance import OrganDistance, organ_distances
from umd_engine.kernels.distance.regions import slices, widened, within

Found = dict[int, OrganDistance]
Spacing = Sequence[float]


def _each(labels: np.ndarray, ids: Sequence[int], spacing: Spacing, border: str, squared: bool) -> Found:
    return organ_distances(labels, ids, spacing, border=border, squared=squared, backend="reference")


def ignores_spacing(labels: np.ndarray, ids: Sequence[int], spacing: Spacing, border: str, squared: bool) -> Found:
    return _each(labels, ids, (1.0, 1.0, 1.0), border, squared)


def reverses_spacing(labels: np.ndarray, ids: Sequence[int], spacing: Spacing, border: str, squared: bool) -> Found:
    return _each(labels, ids, spacing[::-1], border, squared)


def forgets_the_root(labels: np.ndarray, ids: Sequence[int], spacing: Spacing, border: str, squared: bool) -> Found:
    return _each(labels, ids, spacing, border, True)


def ignores_the_border(labels: np.ndarray, ids: Sequence[int], spacing: Spacing, border: str, squared: bool) -> Found:
    return _each(labels, ids, spacing, "ignored", squared)


def always_pads(labels: np.ndarray, ids: Sequence[int], spacing: Spacing, border: str, squared: bool) -> Found:
    return _each(labels, ids, spacing, "background", squared)


def other_organs_are_inside(
    labels: np.ndarray, ids: Sequence[int], spacing: Spacing, border: str, squared: bool
) -> Found:
    """Measures to the background of all organs."""
    found = _each(labels, ids, spacing, border, squared)
    whole = _each((labels > 0).astype(np.uint8), (1,), spacing, border, squared)[1]
    full = np.zeros(labels.shape, np.float32)
    full[whole.box] = whole.distance
    return {
        name: OrganDistance(one.box, np.where(labels[one.box] == name, full[one.box], np.float32(0)))
        for name, one in found.items()
    }


def forgets_the_layer(labels: np.ndarray, ids: Sequence[int], spacing: Spacing, border: str, squared: bool) -> Found:
    """The organ's own box without the layer of background around it."""
    found = _each(labels, ids, spacing, border, squared)
    return {
        name: OrganDistance(
            one.box,
            _each(labels[one.box], (name,), spacing, border, squared)[name].distance
            if one.distance.size
            else one.distance,
        )
        for name, one in found.items()
    }


def city_blocks(labels: np.ndarray, ids: Sequence[int], spacing: Spacing, border: str, squared: bool) -> Found:
    """The sum of the steps along the axes."""
    found = {}
    for name, one in _each(labels, ids, spacing, border, squared).items():
        box = np.array([(part.start, part.stop) for part in one.box])
        wide = widened(box, labels.shape, border)
        mask = np.pad(labels == name, 1)[slices(wide + 1)] if one.distance.size else np.zeros((0, 0, 0), bool)
        away = ndimage.distance_transform_cdt(mask, "taxicab") if mask.size and not mask.all() else one.distance
        distance = away[within(box, wide)] if mask.size and not mask.all() else away
        found[name] = OrganDistance(one.box, distance.astype(np.float32))
    return found


def eight_bit_steps(labels: np.ndarray, ids: Sequence[int], spacing: Spacing, border: str, squared: bool) -> Found:
    """Steps along a line end at 255."""
    return {
        name: OrganDistance(one.box, np.minimum(one.distance, np.float32(255 * max(spacing))))
        for name, one in _each(labels, ids, spacing, border, squared).items()
    }


def reads_memory_order(labels: np.ndarray, ids: Sequence[int], spacing: Spacing, border: str, squared: bool) -> Found:
    return _each(labels.ravel(order="K").reshape(labels.shape), ids, spacing, border, squared)


WRONG = (
    ignores_spacing,
    reverses_spacing,
    forgets_the_root,
    ignores_the_border,
    always_pads,
    other_organs_are_inside,
    forgets_the_layer,
    city_blocks,
    eight_bit_steps,
    reads_memory_order,
)
