"""Boxes, counts and centroids of 13 organs against cc3d and SciPy."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from umd_engine.bench.floor import Entry
from umd_engine.bench.kernels.confusion import CLASSES, VOXELS, noise, pair
from umd_engine.kernels.bounds import Bounds, bounds

CASE = f"256x256x300, {CLASSES} ids"
CC3D = "cc3d.statistics(label)"
SCIPY = (
    "scipy.ndimage.find_objects(label); numpy.bincount(label.ravel(), minlength=14); "
    "scipy.ndimage.center_of_mass(numpy.broadcast_to(1, label.shape), label, range(14))"
)


def entries() -> list[Entry]:
    """Organs, and noise, where every run of an id is short."""
    noisy = f"{CASE}, noise"
    return [
        Entry("bounds", "cpu", CASE, lambda: bounds(pair()[0], CLASSES, "cpu"), VOXELS, _check),
        Entry("bounds", "gpu", CASE, lambda: bounds(_there(), CLASSES), VOXELS, _check),
        Entry("bounds", "peer:cc3d.statistics", CASE, _cc3d, 0, _check_cc3d, True, CC3D),
        Entry("bounds", "peer:scipy.ndimage", CASE, _scipy, 0, _check_scipy, True, SCIPY),
        Entry("bounds", "cpu", noisy, lambda: bounds(noise()[0], CLASSES, "cpu"), VOXELS, _check_noise),
    ]


@cache
def _expected(noisy: bool = False) -> Bounds:
    return bounds((noise() if noisy else pair())[0], CLASSES, backend="reference")


@cache
def _there() -> torch.Tensor:
    return torch.from_numpy(pair()[0]).cuda()


def _check(found: Bounds, noisy: bool = False) -> None:
    expected = _expected(noisy)
    for name in ("boxes", "counts", "centroids"):
        if not np.array_equal(getattr(found, name), getattr(expected, name), equal_nan=True):
            raise AssertionError(f"{name} are not the reference's")


def _check_noise(found: Bounds) -> None:
    _check(found, noisy=True)


def _cc3d() -> dict[str, Any]:
    import cc3d

    return dict(cc3d.statistics(pair()[0]))


def _check_cc3d(found: dict[str, Any]) -> None:
    if not np.array_equal(found["voxel_counts"], _expected().counts):
        raise AssertionError("cc3d's counts are not the reference's")
    if not np.allclose(found["centroids"], _expected().centroids, rtol=1e-4):
        raise AssertionError("cc3d's centroids are not the reference's")


def _scipy() -> tuple[Any, np.ndarray, np.ndarray]:
    from scipy import ndimage

    label = pair()[0]
    counts = np.bincount(label.ravel(), minlength=CLASSES)
    centroids = ndimage.center_of_mass(np.broadcast_to(1, label.shape), label, range(CLASSES))
    return ndimage.find_objects(label), counts, np.array(centroids)


def _check_scipy(found: tuple[Any, np.ndarray, np.ndarray]) -> None:
    boxes, counts, centroids = found
    if [_expected().slices(one) for one in range(1, CLASSES)] != boxes:
        raise AssertionError("SciPy's boxes are not the reference's")
    if not np.array_equal(counts, _expected().counts) or not np.allclose(centroids, _expected().centroids):
        raise AssertionError("SciPy's counts or centroids are not the reference's")
