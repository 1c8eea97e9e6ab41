"""HD95, ASSD and NSD of all organs against DeepMind's library an organ and MONAI on the one-hot."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch

from umd_engine.bench.floor import Entry, Promise
from umd_engine.bench.kernels.distance import CASE, IDS, SPACING, organs
from umd_engine.kernels.surface import SurfaceMetrics, surface_metrics

Scores = dict[int, tuple[float, ...]]
MOVED = (2, -1, 2)  # voxels that the prediction is off
TOLERANCE = 2.0  # mm, of the NSD
DEEPMIND_TARGET, MONAI_TARGET = 10.0, 5.0
PROMISE = Promise("H200", seconds=5e-3)
DEEPMIND = (
    "surface_distance.compute_surface_distances(label == id, prediction == id, spacing), then "
    "compute_robust_hausdorff(95), compute_average_surface_distance, compute_surface_dice_at_tolerance, x 13"
)
MONAI = (
    "monai.metrics.compute_hausdorff_distance(percentile=95), compute_average_surface_distance(symmetric=True), "
    "compute_surface_dice on one-hot tensors, spacing=spacing"
)


def entries() -> list[Entry]:
    label = organs()
    prediction = np.roll(label, MOVED, (0, 1, 2))
    moved = 2 * label.size
    rows = []
    for elements in ("surfels", "voxels"):
        case = f"{CASE}, {elements}"
        measure = partial(_metrics, label, prediction, elements)
        check = _checker(label, prediction, elements)
        rows.append(Entry("surface", "cpu", case, measure, moved, check))
        rows.append(Entry("surface", "gpu", case, _on_gpu(label, prediction, elements), moved, check, promise=PROMISE))
        expected = measure()
        run: Callable[[], Scores]
        if elements == "surfels":
            run = partial(_deepmind, label, prediction)
            same = partial(_check_scores, expected, ("hd95_max", "masd", "nsd"))
            name, call, target = "peer:surface-distance x 13", DEEPMIND, DEEPMIND_TARGET
        else:
            run = _monai(label, prediction)
            same = partial(_check_scores, expected, ("hd95_max", "assd", "nsd"))
            name, call, target = "peer:monai.metrics, three functions", MONAI, MONAI_TARGET
        rows.append(Entry("surface", name, case, run, 0, same, True, call, target=target))
    return rows


def _metrics(label: Any, prediction: Any, elements: str) -> dict[int, SurfaceMetrics]:
    return surface_metrics(label, prediction, IDS, SPACING, TOLERANCE, elements=elements)


def _deepmind(label: np.ndarray, prediction: np.ndarray) -> Scores:
    import surface_distance as peer

    found: Scores = {}
    for name in IDS:
        distances = peer.compute_surface_distances(label == name, prediction == name, SPACING)
        found[name] = (
            peer.compute_robust_hausdorff(distances, 95),
            float(np.mean(peer.compute_average_surface_distance(distances))),
            peer.compute_surface_dice_at_tolerance(distances, TOLERANCE),
        )
    return found


def _monai(label: np.ndarray, prediction: np.ndarray) -> Callable[[], Scores]:
    one, other = (
        torch.from_numpy(np.stack([maps == name for name in range(14)]))[None] for maps in (prediction, label)
    )
    asked: dict[str, Any] = {"include_background": False, "spacing": SPACING}

    def run() -> Scores:
        peer = import_module("monai.metrics")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            hd95 = peer.compute_hausdorff_distance(one, other, percentile=95, **asked)[0]
            assd = peer.compute_average_surface_distance(one, other, symmetric=True, **asked)[0]
            nsd = peer.compute_surface_dice(one, other, [TOLERANCE] * len(IDS), **asked)[0]
        rows = zip(hd95.tolist(), assd.tolist(), nsd.tolist(), strict=True)
        return dict(zip(IDS, rows, strict=True))

    return run


def _check_scores(ours: dict[int, SurfaceMetrics], names: tuple[str, ...], found: Scores) -> None:
    for organ, values in found.items():
        for name, value in zip(names, values, strict=True):
            if not np.isclose(value, getattr(ours[organ], name), rtol=1e-5, atol=1e-7):
                raise AssertionError(f"{name} of organ {organ} is {value}, here {getattr(ours[organ], name)}")


def _checker(label: np.ndarray, prediction: np.ndarray, elements: str) -> Callable[[Any], None]:
    """Every metric is the reference's."""
    expected: dict[int, SurfaceMetrics] = {}

    def check(found: dict[int, SurfaceMetrics]) -> None:
        if not expected:
            reference = surface_metrics(
                label, prediction, IDS, SPACING, TOLERANCE, elements=elements, backend="reference"
            )
            expected.update(reference)
        for organ, one in expected.items():
            for name, value in vars(one).items():
                other = getattr(found[organ], name)
                if other != value and not np.isclose(other, value, rtol=1e-9, atol=1e-9):
                    raise AssertionError(f"{name} of organ {organ} is {other}, the reference has {value}")

    return check


def _on_gpu(label: np.ndarray, prediction: np.ndarray, elements: str) -> Callable[[], Any]:
    there: list[torch.Tensor] = []

    def run() -> Any:
        if not there:
            there.extend(torch.from_numpy(maps).cuda() for maps in (label, prediction))
        return _metrics(there[0], there[1], elements)

    return run
