"""Clicks of 13 organs against the CVPR25 evaluator's steps, organ by organ as its script takes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from umd_engine.bench.floor import Entry
from umd_engine.data.phantom import make_subject
from umd_engine.kernels.clicks import ClickKey, Clicks, draw_clicks

SHAPE, ORGANS = (256, 256, 300), tuple(range(1, 14))
KEY = ClickKey(0, "bench")
CASE = "256x256x300, 13 organs"
EVALUATOR = (
    "cc3d.connected_components(error, connectivity=26); np.bincount; scipy.ndimage.distance_transform_edt(crop padded "
    "by 25 %); np.argwhere(edt == edt.max()); x 13"
)
TARGET = 10.0


def entries() -> list[Entry]:
    """Every rule on the error of one pair, the evaluator's steps, and NumPy's for a voxel by chance."""
    moved = 2 * int(np.prod(SHAPE))
    rows = []
    for rule in ("cvpr25", "random", "ritm", "vista3d"):
        case = f"{rule}, {CASE}"
        check = _check_cvpr25 if rule == "cvpr25" else _check_error
        rows.append(Entry("clicks", "cpu", case, _ours(rule), moved, check))
        rows.append(Entry("clicks", "gpu", case, _ours(rule, "cuda"), moved, check))
    rows.append(
        Entry(
            "clicks", "peer:CVPR25 evaluator", f"cvpr25, {CASE}", _evaluator, 0, _check_voxels, True, EVALUATOR,
            target=TARGET,
        )
    )  # fmt: skip
    call = "np.argwhere((label == organ) != (prediction == organ)) x 13; numpy.random.Generator.integers"
    rows.append(Entry("clicks", "peer:numpy argwhere", f"random, {CASE}", _argwhere, 0, _check_voxels, True, call))
    return rows


@cache
def pair() -> tuple[np.ndarray, np.ndarray]:
    """The phantom's 13 organs and the same moved by (3, 2, 2) voxels, uint8."""
    voxels = make_subject("petct", 0, 0, "small").scans[0].label.voxels
    nearest = [((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(SHAPE, voxels.shape, strict=True)]
    label = np.ascontiguousarray(voxels[np.ix_(*nearest)], np.uint8)
    return label, np.roll(label, (3, 2, 2), (0, 1, 2))


def evaluator_depth(label: np.ndarray, prediction: np.ndarray, organ: int) -> np.ndarray | None:
    """The volume that the CVPR25 evaluator looks for maxima in: its steps, its intermediates; None without error."""
    import cc3d
    from scipy.ndimage import distance_transform_edt

    error = ((prediction == organ).astype(np.uint8) != (label == organ).astype(np.uint8)).astype(np.uint8)
    if not np.sum(error):
        return None
    components = cc3d.connected_components(error, connectivity=26)
    sizes = np.bincount(components.flat)
    sizes[0] = 0
    largest = components == np.argmax(sizes)
    voxels = np.argwhere(largest)
    low, high = voxels.min(axis=0), voxels.max(axis=0) + 1
    box = tuple(map(slice, low, high))
    around = np.maximum(((high - low) * 0.25).astype(int), 1)
    crop = np.pad(largest[box].astype(np.uint8), [(pad, pad) for pad in around])
    inner = tuple(slice(pad, pad + size) for pad, size in zip(around, high - low, strict=True))
    depth = np.zeros(largest.shape)
    depth[box] = distance_transform_edt(crop)[inner]
    depth *= largest
    return depth


def _evaluator() -> np.ndarray:
    label, prediction = pair()
    voxels = np.full((len(ORGANS), 3), -1)
    for row, organ in enumerate(ORGANS):
        depth = evaluator_depth(label, prediction, organ)
        if depth is not None:
            deepest = np.argwhere(depth == depth.max())
            voxels[row] = deepest[np.random.default_rng(42).integers(len(deepest))]
    return voxels


def _argwhere() -> np.ndarray:
    label, prediction = pair()
    voxels, rng = np.full((len(ORGANS), 3), -1), np.random.default_rng(42)
    for row, organ in enumerate(ORGANS):
        error = np.argwhere((label == organ) != (prediction == organ))
        if len(error):
            voxels[row] = error[rng.integers(len(error))]
    return voxels


def _ours(rule: str, device: str = "cpu") -> Callable[[], Clicks]:
    there = cache(lambda: [torch.from_numpy(one).to(device) for one in pair()])

    def run() -> Clicks:
        label, prediction = pair() if device == "cpu" else there()
        return draw_clicks(label, ORGANS, KEY, rule, prediction)

    return run


def _check_cvpr25(found: Clicks) -> None:
    """Each voxel is one that the evaluator would draw from."""
    for organ, voxel, drawn in zip(ORGANS, _voxels(found.voxels), _voxels(found.drawn), strict=True):
        depth = evaluator_depth(*pair(), organ)
        if drawn != (depth is not None) or (depth is not None and depth[tuple(voxel)] != depth.max()):
            raise AssertionError(f"organ {organ}: voxel {voxel} is not one of the evaluator's")


def _check_error(found: Clicks) -> None:
    _check_voxels(_voxels(found.voxels))


def _check_voxels(voxels: np.ndarray) -> None:
    """Each organ that has an error has a voxel of it."""
    label, prediction = pair()
    for organ, voxel in zip(ORGANS, voxels, strict=True):
        error = (label == organ) != (prediction == organ)
        if error.any() and (voxel.min() < 0 or not error[tuple(voxel)]):
            raise AssertionError(f"organ {organ}: voxel {voxel} is not in the error")


def _voxels(field: Any) -> np.ndarray:
    return field.cpu().numpy() if isinstance(field, torch.Tensor) else field
