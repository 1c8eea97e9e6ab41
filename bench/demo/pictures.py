"""The pictures of docs/phantom.md: `python -m umd_engine.bench.demo.pictures docs/phantom`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from umd_engine.data.phantom import PhantomScan, Subject, make_subject

COHORT_SUBJECT = {"petct": 5, "petmri": 2}
SEED = 3
SOFT_TISSUE, LUNG = (-160.0, 240.0), (-1100.0, 150.0)  # HU
SUV = (0.0, 7.0)
HALF_WIDTH = 242.0  # mm
NOTE = "Synthetic data: umd-engine's phantom, no patient"


def main(folder: Path) -> None:
    """Write ct.png, pet.png and mr.png, full size."""
    folder.mkdir(parents=True, exist_ok=True)
    petct, petmri = (make_subject(cohort, number, SEED, "full") for cohort, number in COHORT_SUBJECT.items())
    ct, pet = petct.scans
    mr = petmri.scans[0]
    panels = [
        ("CT, spine and kidneys", _coronal(ct, -36), SOFT_TISSUE, None),
        ("CT, heart and liver", _coronal(ct, 6), SOFT_TISSUE, None),
        ("lung window", _coronal(ct, 6), LUNG, None),
        ("labels over CT", _coronal(ct, 6), SOFT_TISSUE, _coronal(ct, 6, labels=True)),
    ]
    _draw(folder / "ct.png", petct, ct, panels)
    panels = [
        ("FDG PET, maximum intensity", _project(pet, 1), SUV, None),
        ("from the side", _project(pet, 0), SUV, None),
        ("one slice", _coronal(pet, 6), SUV, None),
        ("labels over PET", _coronal(pet, 6), SUV, _coronal(pet, 6, labels=True)),
    ]
    _draw(folder / "pet.png", petct, pet, panels, cmap="gray_r")
    top = float(np.percentile(mr.image.voxels, 99.5))
    panels = [(f"T1 MR, y = {y} mm", _coronal(mr, y), (0.0, top), None) for y in (-40, 4, 40)]
    panels.append(("labels over MR", _coronal(mr, 4), (0.0, top), _coronal(mr, 4, labels=True)))
    _draw(folder / "mr.png", petmri, mr, panels)


def _coronal(scan: PhantomScan, y: float, labels: bool = False) -> np.ndarray:
    """The slice y mm before the middle, as a picture: head up, the patient's right on the left."""
    voxels = (scan.label if labels else scan.image).voxels
    return _upright(voxels[:, round(voxels.shape[1] / 2 + y / scan.image.spacing[1])], scan)


def _project(scan: PhantomScan, axis: int) -> np.ndarray:
    return _upright(scan.image.voxels.max(axis), scan)


def _upright(plane: np.ndarray, scan: PhantomScan) -> np.ndarray:
    """[X or Y, Z] in RAS+ as rows from the head down, HALF_WIDTH to both sides; x runs to the patient's right."""
    half = min(plane.shape[0] // 2, round(HALF_WIDTH / scan.image.spacing[0]))
    middle = plane.shape[0] // 2
    return plane[middle - half : middle + half][::-1, ::-1].T


def _draw(path: Path, subject: Subject, scan: PhantomScan, panels: Sequence[Any], cmap: str = "gray") -> None:
    from matplotlib.figure import Figure

    spacing = scan.image.spacing
    ratio = spacing[2] / spacing[0]
    rows, columns = panels[0][1].shape
    wide = 11 / len(panels)
    figure = Figure(figsize=(11, wide * ratio * rows / columns + 0.5), dpi=90, layout="constrained", facecolor="white")
    for axes, (title, plane, window, labels) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axes.imshow(plane, cmap=cmap, vmin=window[0], vmax=window[1], aspect=ratio, interpolation="bilinear")
        if labels is not None:
            shown = np.ma.masked_equal(labels, 0)
            axes.imshow(shown, cmap="tab20", vmin=1, vmax=20, alpha=0.6, aspect=ratio, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    person = subject.person
    figure.suptitle(f"{NOTE}. {subject.name}, seed {SEED}, {person.sex}, {person.age} y", fontsize=9)
    figure.savefig(path, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
