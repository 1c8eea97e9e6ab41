"""Phantom scans as the network will see them: prepared by the very code that inference runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from umd_engine.bench.demo.training.recipe import Recipe
from umd_engine.data.volume import Volume
from umd_engine.models.nnunet.plans import Plans
from umd_engine.models.nnunet.prepare import prepare_image
from umd_engine.models.nnunet.protocol import pad_to

SAMPLES = 20_000  # foreground voxels of a case that enter the statistics; nnU-Net takes 10,000


@dataclass(frozen=True, eq=False)
class Labelled:
    """A scan of one subject: image (HU or SUV) and umd13 ids on one grid."""

    subject: str
    image: Volume
    label: Volume


@dataclass(frozen=True, eq=False)
class Case:
    """What is trained on: image [1, Z, Y, X] float32, normalised, and labels [Z, Y, X] uint8, at least a patch."""

    image: torch.Tensor
    label: torch.Tensor


def make_scans(cohort: str, modality: str, seed: int, numbers: Iterable[int]) -> list[Labelled]:
    """One modality of the phantom's subjects, small size."""
    from umd_engine.data.phantom import make_subject

    scans = []
    for number in numbers:
        subject = make_subject(cohort, number, seed, "small")
        (scan,) = (s for s in subject.scans if s.modality == modality)
        scans.append(Labelled(subject.name, scan.image, scan.label))
    return scans


def foreground_statistics(scans: Sequence[Labelled], seed: int) -> dict[str, float]:
    """What nnU-Net's fingerprint keeps of the labelled voxels' intensities (HU or SUV), over all scans."""
    drawn = []
    for number, scan in enumerate(scans):
        values = scan.image.voxels[scan.label.voxels > 0].astype(np.float64)
        rng = np.random.Generator(np.random.Philox(key=[seed, number]))
        drawn.append(rng.choice(values, SAMPLES) if len(values) else values)
    values = np.concatenate(drawn)
    low, median, high = np.percentile(values, (0.5, 50, 99.5))
    return {
        "max": float(values.max()),
        "mean": float(values.mean()),
        "median": float(median),
        "min": float(values.min()),
        "percentile_00_5": float(low),
        "percentile_99_5": float(high),
        "std": float(values.std()),
    }


def median_shape(scans: Sequence[Labelled], recipe: Recipe) -> tuple[int, ...]:
    """Median voxels [Z, Y, X] at the recipe's spacing."""
    sizes = [np.multiply(scan.image.shape, scan.image.spacing)[::-1] / np.array(recipe.spacing) for scan in scans]
    return tuple(round(float(n)) for n in np.median(sizes, axis=0))


def prepare_case(scan: Labelled, plans: Plans) -> Case:
    """The image by `prepare_image`, the label onto its grid by the nearest voxel; both padded to a patch."""
    image = torch.tensor(scan.image.voxels.astype(np.float32).transpose(2, 1, 0))[None]
    prepared = prepare_image(image, scan.image.spacing[::-1], plans)
    label = torch.tensor(scan.label.voxels.astype(np.uint8).transpose(2, 1, 0))[prepared.crop]
    label = nearest(label, tuple(prepared.data.shape[1:]))
    padded, _ = pad_to(prepared.data, plans.patch)
    return Case(padded.contiguous(), pad_to(label[None], plans.patch)[0][0].contiguous())


def nearest(label: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """A label map [Z, Y, X] on a grid of `shape` that covers the same box."""
    for axis, (old, new) in enumerate(zip(label.shape, shape, strict=True)):
        at = ((torch.arange(new, dtype=torch.float64) + 0.5) * old / new).long()
        label = label.index_select(axis, at)
    return label


def shares(cases: Sequence[Case], classes: int) -> torch.Tensor:
    """How common each class is, [classes] float32, sum 1."""
    counts = sum(torch.bincount(case.label.flatten().long(), minlength=classes).double() for case in cases)
    assert isinstance(counts, torch.Tensor)
    return (counts / counts.sum()).float()
