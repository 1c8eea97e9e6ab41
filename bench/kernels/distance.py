"""Distances of all organs against SciPy and the edt library, on whole volumes and on the same boxes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
import torch

from umd_engine.bench.floor import Entry, Promise
from umd_engine.data.phantom import make_subject
from umd_engine.kernels.distance import OrganDistance, cases, organ_distances

SHAPE, IDS = (256, 256, 300), tuple(range(1, 14))
SPACING = (1.95, 1.95, 3.5)
CASE = "256x256x300, 13 organs of a phantom"
WHOLE_TARGET, BOXES_TARGET = 10.0, 2.0
PROMISE = Promise("H200", seconds=2e-3)
SUBJECT = 1  # the first of the seed whose 13 organs are all there
PADDED = "np.pad(label[box] == id, 1)"


@lru_cache(maxsize=1)
def organs() -> np.ndarray:
    """[256, 256, 300] uint8: a phantom's label, drawn onto that grid by nearest voxel."""
    voxels = make_subject("petct", SUBJECT, 0, "small").scans[0].label.voxels
    index = [np.arange(new) * old // new for new, old in zip(SHAPE, voxels.shape, strict=True)]
    return np.ascontiguousarray(voxels[np.ix_(*index)].astype(np.uint8))


def entries() -> list[Entry]:
    label = organs()
    found = organ_distances(label, IDS, SPACING)
    boxes = {name: one.box for name, one in found.items()}
    voxels = sum(one.distance.size for one in found.values())
    # the map is read, and a float32 written a voxel of each box
    moved = label.size + 4 * voxels
    check = _checker(label)
    peers = _peers(label, boxes)
    return [
        Entry("distance", "cpu", CASE, lambda: organ_distances(label, IDS, SPACING), moved, check),
        Entry("distance", "gpu", CASE, _on_gpu(label), moved, check, promise=PROMISE),
        *(
            Entry("distance", f"peer:{name}", CASE, run, 0, _check_peer(found), True, call, target=target)
            for name, (run, call, target) in peers.items()
        ),
    ]


def _peers(label: np.ndarray, boxes: dict[int, Any]) -> dict[str, tuple[Callable[[], Any], str, float]]:
    def whole() -> dict[int, np.ndarray]:
        from scipy.ndimage import distance_transform_edt

        return {name: distance_transform_edt(label == name, sampling=SPACING)[boxes[name]] for name in IDS}

    def on_boxes() -> dict[int, np.ndarray]:
        from scipy.ndimage import distance_transform_edt

        return {
            name: distance_transform_edt(np.pad(label[boxes[name]] == name, 1), sampling=SPACING)[1:-1, 1:-1, 1:-1]
            for name in IDS
        }

    def edt_boxes() -> dict[int, np.ndarray]:
        edt = import_module("edt")
        return {
            name: edt.edt(np.pad(label[boxes[name]] == name, 1), anisotropy=SPACING, parallel=2)[1:-1, 1:-1, 1:-1]
            for name in IDS
        }

    scipy = "scipy.ndimage.distance_transform_edt"
    return {
        f"{scipy} x 13, whole volume": (whole, f"{scipy}(label == id, sampling=spacing) x 13", WHOLE_TARGET),
        f"{scipy} x 13, own boxes": (on_boxes, f"{scipy}({PADDED}, sampling=spacing) x 13", BOXES_TARGET),
        "edt.edt x 13, own boxes": (edt_boxes, f"edt.edt({PADDED}, anisotropy=spacing, parallel=2) x 13", 0.0),
    }


def _checker(label: np.ndarray) -> Callable[[Any], None]:
    """Every organ is SciPy's on the whole volume, within float32 rounding."""
    expected: dict[int, OrganDistance] = {}

    def check(found: dict[int, OrganDistance]) -> None:
        if not expected:
            expected.update(organ_distances(label, IDS, SPACING, backend="reference"))
        for name, one in expected.items():
            there = found[name].distance
            array = there.cpu().numpy() if isinstance(there, torch.Tensor) else there
            if not np.allclose(array, one.distance, rtol=cases.TOLERANCE, atol=0):
                raise AssertionError(f"distances of organ {name} are not the reference's")

    return check


def _check_peer(ours: dict[int, OrganDistance]) -> Callable[[Any], None]:
    def check(found: dict[int, np.ndarray]) -> None:
        for name, distances in found.items():
            if not np.allclose(distances, ours[name].distance, rtol=1e-5, atol=0):
                raise AssertionError(f"distances of organ {name} differ")

    return check


def _on_gpu(label: np.ndarray) -> Callable[[], Any]:
    there: list[torch.Tensor] = []

    def run() -> Any:
        if not there:
            there.append(torch.from_numpy(label).cuda())
        return organ_distances(there[0], IDS, SPACING)

    return run
