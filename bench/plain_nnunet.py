"""The peer that the engine is held against: an nnU-Net script as a lab would write it.

One scan after another, one window after another, nothing of the engine but its safe
loading: nibabel, SciPy, torch and a loop.
It sums in float32 and resamples logits trilinearly in float32, as the engine's default variant does, for
one-channel CT models with isotropic resampling (the recorded model folders).
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from scipy import ndimage

from umd_engine.models.checkpoint import load_checkpoint

Scores = dict[str, tuple[int, int, int]]


def load(folder: Path, fold: int | str = 0) -> tuple[torch.nn.Module, dict[str, Any], dict[str, Any]]:
    """The network of one fold, its plans and its dataset.json."""
    from dynamic_network_architectures.architectures import unet

    plans = json.loads((folder / "plans.json").read_text())
    dataset = json.loads((folder / "dataset.json").read_text())
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    arguments = dict(architecture["arch_kwargs"])
    for key in architecture["_kw_requires_import"]:
        arguments[key] = getattr(torch.nn, arguments[key].rsplit(".", 1)[-1]) if arguments[key] else None
    network = getattr(unet, architecture["network_class_name"].rsplit(".", 1)[-1])(
        input_channels=1, num_classes=len(dataset["labels"]), deep_supervision=False, **arguments
    )
    path = folder / f"fold_{fold}" / "checkpoint_final.pth"
    network.load_state_dict(load_checkpoint(path)["network_weights"])
    return network.eval(), plans, dataset


def gaussian(patch: list[int]) -> torch.Tensor:
    impulse = np.zeros(patch)
    impulse[tuple(n // 2 for n in patch)] = 1
    weights = ndimage.gaussian_filter(impulse, [n / 8 for n in patch], mode="constant")
    weights = torch.from_numpy(weights / weights.max() * 10).float()
    weights[weights == 0] = weights[weights > 0].min()
    return weights


@torch.no_grad()
def segment(
    image: nibabel.Nifti1Image, network: torch.nn.Module, plans: dict[str, Any], mirror: bool = True
) -> np.ndarray:
    """The label map in the file's order."""
    config = plans["configurations"]["3d_fullres"]
    data = np.asanyarray(image.dataobj).astype(np.float32).transpose(2, 1, 0)
    spacing = [float(s) for s in image.header.get_zooms()[::-1]]
    full = data.shape
    where = np.argwhere(data != 0)
    low, high = where.min(0), where.max(0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    data = data[box]
    cropped = data.shape
    stats = plans["foreground_intensity_properties_per_channel"]["0"]
    data = (np.clip(data, stats["percentile_00_5"], stats["percentile_99_5"]) - stats["mean"]) / stats["std"]
    shape = [round(a / b * n) for a, b, n in zip(spacing, config["spacing"], data.shape, strict=True)]
    if list(data.shape) != shape:
        low_value, high_value = data.min(), data.max()
        factors = [b / a for a, b in zip(data.shape, shape, strict=True)]
        data = ndimage.zoom(data.astype(float), factors, order=3, mode="nearest", grid_mode=True)
        data = np.clip(data, low_value, high_value)
    logits = sliding_window(torch.from_numpy(data.astype(np.float32)), network, config["patch_size"], mirror)
    logits = torch.nn.functional.interpolate(logits[None], cropped, mode="trilinear")[0]
    labels = np.zeros(full, np.uint8)
    labels[box] = logits.argmax(0).numpy()
    return labels.transpose(2, 1, 0)


def sliding_window(data: torch.Tensor, network: torch.nn.Module, patch: list[int], mirror: bool) -> torch.Tensor:
    """Mean logits of overlapping windows, each averaged over its eight mirrorings if `mirror`."""
    turns = [(2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4)] if mirror else []
    inner = [slice(max(p - n, 0) // 2, max(p - n, 0) // 2 + n) for p, n in zip(patch, data.shape, strict=True)]
    padded = torch.zeros([max(p, n) for p, n in zip(patch, data.shape, strict=True)])
    padded[tuple(inner)] = data
    weights = gaussian(patch)
    sums: torch.Tensor | None = None
    total = torch.zeros(padded.shape)
    starts = []
    for n, p in zip(padded.shape, patch, strict=True):
        count = int(np.ceil((n - p) / (p * 0.5))) + 1
        starts.append([int(np.round((n - p) / max(count - 1, 1) * i)) for i in range(count)])
    for corner in itertools.product(*starts):
        where = tuple(slice(s, s + p) for s, p in zip(corner, patch, strict=True))
        window = padded[where][None, None]
        mean = network(window)
        for axes in turns:
            mean = mean + network(window.flip(axes)).flip(axes)
        weighted = mean[0] / (len(turns) + 1) * weights
        if sums is None:
            sums = torch.zeros((len(weighted), *padded.shape))
        sums[(slice(None), *where)] += weighted
        total[where] += weights
    assert sums is not None
    return (sums / total)[(slice(None), *inner)]


def counts(label: np.ndarray, prediction: np.ndarray, ids: dict[str, int]) -> Scores:
    """(TP, FP, FN) by one pair of masks an organ."""
    result = {}
    for organ, i in ids.items():
        a, b = label == i, prediction == i
        result[organ] = (int((a & b).sum()), int((~a & b).sum()), int((a & ~b).sum()))
    return result


def run(
    folder: Path, images: list[Path], labels: list[Path | None], out: Path, mirror: bool = True
) -> list[Scores | None]:
    """Predict, write and score scan after scan; None where there is no label."""
    network, plans, dataset = load(folder)
    scores: list[Scores | None] = []
    for path, reference in zip(images, labels, strict=True):
        image = nibabel.load(path)
        assert isinstance(image, nibabel.Nifti1Image)
        prediction = segment(image, network, plans, mirror)
        nibabel.save(nibabel.Nifti1Image(prediction, image.affine, image.header, dtype="uint8"), out / path.name)
        if reference is None:
            scores.append(None)
            continue
        label = np.asanyarray(nibabel.load(reference).dataobj)
        scores.append(counts(label, prediction, {k: v for k, v in dataset["labels"].items() if v}))
    return scores
