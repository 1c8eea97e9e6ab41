"""The scan that models are profiled on: a phantom, a part of one, or the user's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from umd_engine.bench.profile.asked import Asked
from umd_engine.bench.profile.subject import request_of
from umd_engine.data.labelset import load_label_set
from umd_engine.data.manifest import ScanRow, scan_row
from umd_engine.data.nifti import read, write, write_labels
from umd_engine.data.phantom import PhantomScan, make_subject
from umd_engine.data.phantom.scanner import LABEL_SET
from umd_engine.data.volume import Volume
from umd_engine.errors import UmdEngineError

SUBJECT, SEED = 1, 0  # all 13 organs are there
PART = (slice(36, 86), slice(38, 86), slice(84, 108))  # of a small phantom: the upper abdomen
ASKED_FOR = "liver"  # of the part's organs, the one that prompts are for
MADE_UP = "clicks at made-up places, as it has no label"
SIDE = 5  # voxels of a made-up organ


@dataclass(frozen=True)
class Scanned:
    """A scan on disk.

    Attributes:
        title: what a row calls it.
        organs: that prompted models are asked for; empty: all of its label.
    """

    row: ScanRow
    title: str
    organs: tuple[str, ...] = ()


def scans_of(asked: Asked, folder: Path) -> dict[str, Scanned]:
    """Every model's scan, written below a folder: the user's or a phantom CT, full-size on a CUDA device, else small.

    With `quick` a part of a small one, but for models with a checkpoint.
    """
    if asked.scan is not None:
        return dict.fromkeys(asked.models, given(folder, asked.scan))
    whole = [text for text in asked.models if not asked.quick or request_of(text) is not None]
    size = "full" if torch.device(asked.device).type == "cuda" and not asked.quick else "small"
    found = dict.fromkeys(whole, phantom(folder, size)) if whole else {}
    if len(whole) < len(asked.models):
        found = dict.fromkeys(asked.models, phantom(folder, "small", part=True)) | found
    return found


def phantom(folder: Path, size: str, part: bool = False) -> Scanned:
    """A phantom CT, written below a folder.

    Args:
        size: "small" or "full". part: of a small one, the upper abdomen alone, and one organ.
    """
    made = _made(size)
    image, label = (_cut(volume) if part else volume for volume in (made.image, made.label))
    stem = f"phantom-{size}{'-part' if part else ''}"
    paths = folder / f"{stem}.nii.gz", folder / f"{stem}-label.nii.gz"
    for path, volume in zip(paths, (image, label), strict=True):
        write(path, volume)
    row = _row(stem, paths[0], paths[1])
    if part:
        return Scanned(row, f"part of a phantom CT {_size(image)}, prompts for the {ASKED_FOR}", (ASKED_FOR,))
    return Scanned(row, f"phantom CT {_size(image)}")


@lru_cache(maxsize=1)
def _made(size: str) -> PhantomScan:
    return make_subject("petct", SUBJECT, SEED, size).scans[0]


def given(folder: Path, path: Path) -> Scanned:
    """The user's scan, as a CT; a label with one small box an organ is made up below a folder.

    One that cannot be read has no label: running it will say what is wrong.
    """
    try:
        image = read(path)
        label = folder / "made-up-label.nii.gz"
        write_labels(label, boxes(image), image)
    except UmdEngineError:
        return Scanned(_row("scan", path, None), "the scan given")
    return Scanned(_row("scan", path, label), f"the scan given, {_size(image)}, {MADE_UP}")


def boxes(image: Volume) -> np.ndarray:
    """uint8 [X, Y, Z]: a box an organ of the label set, evenly over the voxels that are brighter than the mean."""
    ids = [numbers[0] for numbers in load_label_set(LABEL_SET).ids.values()]
    bright = image.voxels > image.voxels.mean()
    inside = np.flatnonzero(bright if bright.any() else np.ones_like(bright))
    places = inside[np.linspace(0, len(inside) - 1, len(ids) + 2).astype(int)[1:-1]]
    labels = np.zeros(image.shape, np.uint8)
    for number, place in zip(ids, np.stack(np.unravel_index(places, image.shape), 1), strict=True):
        labels[tuple(slice(max(at - SIDE // 2, 0), at + SIDE // 2 + 1) for at in place)] = number
    return labels


def _row(name: str, image: Path, label: Path | None) -> ScanRow:
    label_set = None if label is None else LABEL_SET
    return scan_row(
        cohort="profile", subject=name, scan_id=name, modality="ct", images=(image,), unit="HU",
        label=label, label_set=label_set,
    )  # fmt: skip


def _size(volume: Volume) -> str:
    return "x".join(map(str, volume.shape))


def _cut(volume: Volume) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [box.start for box in PART]
    return Volume.from_array(np.ascontiguousarray(volume.voxels[PART]), affine)
