"""Deliberately wrong surface distances: each a mistake that a fast one makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from umd_engine.kernels.surface import SurfaceDistances, surface_distances

Found = dict[int, SurfaceDistances]
Spacing = Sequence[float]
Ids = Sequence[int]


def _plain(label: np.ndarray, prediction: np.ndarray, ids: Ids, spacing: Spacing, elements: str) -> Found:
    return surface_distances(label, prediction, ids, spacing, elements=elements, backend="reference")


def _changed(found: Found, change: Callable[[SurfaceDistances], SurfaceDistances]) -> Found:
    return {name: change(one) for name, one in found.items()}


def ignores_spacing(label: np.ndarray, prediction: np.ndarray, ids: Ids, spacing: Spacing, elements: str) -> Found:
    return _plain(label, prediction, ids, (1.0, 1.0, 1.0), elements)


def reverses_spacing(label: np.ndarray, prediction: np.ndarray, ids: Ids, spacing: Spacing, elements: str) -> Found:
    return _plain(label, prediction, ids, spacing[::-1], elements)


def weighs_all_alike(label: np.ndarray, prediction: np.ndarray, ids: Ids, spacing: Spacing, elements: str) -> Found:
    """Surfels without their areas."""

    def change(one: SurfaceDistances) -> SurfaceDistances:
        sides = np.ones_like(one.label_areas), np.ones_like(one.prediction_areas)
        return dataclasses.replace(one, label_areas=sides[0], prediction_areas=sides[1])

    return _changed(_plain(label, prediction, ids, spacing, elements), change)


def swaps_the_maps(label: np.ndarray, prediction: np.ndarray, ids: Ids, spacing: Spacing, elements: str) -> Found:
    return _plain(prediction, label, ids, spacing, elements)


def measures_one_way(label: np.ndarray, prediction: np.ndarray, ids: Ids, spacing: Spacing, elements: str) -> Found:
    """The label's distances for both."""

    def change(one: SurfaceDistances) -> SurfaceDistances:
        return dataclasses.replace(one, prediction_to_label=one.label_to_prediction, prediction_areas=one.label_areas)

    return _changed(_plain(label, prediction, ids, spacing, elements), change)


def open_at_the_border(label: np.ndarray, prediction: np.ndarray, ids: Ids, spacing: Spacing, elements: str) -> Found:
    """No surface where an organ leaves the volume: as if its last voxels went on."""
    if 0 in label.shape:
        return _plain(label, prediction, ids, spacing, elements)
    wide = [np.pad(one, 40, mode="edge") for one in (label, prediction)]
    return _plain(wide[0], wide[1], ids, spacing, elements)


def empty_is_perfect(label: np.ndarray, prediction: np.ndarray, ids: Ids, spacing: Spacing, elements: str) -> Found:
    """A missed organ at distance 0."""

    def change(one: SurfaceDistances) -> SurfaceDistances:
        return one if one.status == "ok" else SurfaceDistances("ok", elements, *(np.zeros(1), np.ones(1)) * 2)

    return _changed(_plain(label, prediction, ids, spacing, elements), change)


def measures_to_the_mask(label: np.ndarray, prediction: np.ndarray, ids: Ids, spacing: Spacing, elements: str) -> Found:
    """Distances to the other mask instead of its surface: 0 deep inside."""
    found = _plain(label, prediction, ids, spacing, elements)
    if elements != "voxels":
        return found
    for name, one in found.items():
        if one.status == "ok":
            mask, other = label == name, prediction == name
            edge = mask & ~ndimage.binary_erosion(mask)
            away = np.sort(ndimage.distance_transform_edt(~other, sampling=spacing)[edge])
            found[name] = dataclasses.replace(one, label_to_prediction=away)
    return found


def single_precision(label: np.ndarray, prediction: np.ndarray, ids: Ids, spacing: Spacing, elements: str) -> Found:
    def change(one: SurfaceDistances) -> SurfaceDistances:
        away = one.label_to_prediction.astype(np.float32).astype(np.float64)
        return dataclasses.replace(one, label_to_prediction=away)

    return _changed(_plain(label, prediction, ids, spacing, elements), change)


def looks_only_near(label: np.ndarray, prediction: np.ndarray, ids: Ids, spacing: Spacing, elements: str) -> Found:
    """A search that ends after eight voxels."""
    reach = 8 * max(spacing)
    found = _plain(label, prediction, ids, spacing, elements)
    return _changed(
        found, lambda one: dataclasses.replace(one, label_to_prediction=np.minimum(one.label_to_prediction, reach))
    )


def surfels_for_voxels(label: np.ndarray, prediction: np.ndarray, ids: Ids, spacing: Spacing, elements: str) -> Found:
    found = _plain(label, prediction, ids, spacing, "surfels")
    return _changed(found, lambda one: dataclasses.replace(one, elements=elements))


WRONG = (
    ignores_spacing,
    reverses_spacing,
    weighs_all_alike,
    swaps_the_maps,
    measures_one_way,
    open_at_the_border,
    empty_is_perfect,
    measures_to_the_mask,
    single_precision,
    looks_only_near,
    surfels_for_voxels,
)
