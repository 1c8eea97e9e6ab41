"""A small cohort on disk for the runner's tests, and the model folder it is run with."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nibabel
import numpy as np

from umd_engine.evaluation.store import Store

MODEL = Path(__file__).parents[1] / "recordings" / "nnunet_plain_model"
COLUMNS = "cohort,subject,scan_id,modality,image,unit,label,label_set"
ORGANS = {"liver": 1, "spleen": 2, "kidney_left": 3}  # the model also knows kidney_right


def affine(spacing=(1.5, 1.5, 2.0), flips=(1, 1, 1)) -> np.ndarray:
    result = np.diag([*(s * f for s, f in zip(spacing, flips, strict=True)), 1.0])
    result[:3, 3] = (-20, -30, 40)
    return result


def image_of(seed: int, shape=(34, 36, 30)) -> np.ndarray:
    """A CT-like int16 image: air, and a noisy body."""
    rng = np.random.default_rng(seed)
    smooth = np.kron(rng.standard_normal([-(-n // 6) for n in shape]), np.ones((6, 6, 6)))
    body = smooth[tuple(slice(n) for n in shape)] * 120 + rng.standard_normal(shape) * 15
    body[:3] = -1000
    return body.astype(np.int16)


def label_of(seed: int, shape=(34, 36, 30)) -> np.ndarray:
    rng = np.random.default_rng(seed + 1000)
    labels = np.zeros(shape, np.uint8)
    for i in ORGANS.values():
        low = rng.integers(0, 15, 3)
        labels[tuple(slice(a, a + 12) for a in low)] = i
    return labels


def write_scan(folder: Path, name: str, seed: int, flips=(1, 1, 1)) -> str:
    """Image and label of one scan; returns its manifest row."""
    place = affine(flips=flips)
    nibabel.save(nibabel.Nifti1Image(image_of(seed), place), folder / f"{name}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label_of(seed), place), folder / f"{name}_label.nii.gz")
    return f"petct,{name},{name}_ct,ct,{name}.nii.gz,HU,{name}_label.nii.gz,labels.json"


def write_manifest(folder: Path, rows: list[str]) -> Path:
    (folder / "labels.json").write_text(json.dumps({"name": "cohort", "labels": ORGANS}))
    path = folder / "scans.csv"
    path.write_text("\n".join([COLUMNS, *rows]) + "\n")
    return path


def make_cohort(folder: Path, subjects: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    flips = [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)]
    return write_manifest(folder, [write_scan(folder, f"s{i:03d}", i, flips[i % 3]) for i in range(subjects)])


def command_of(manifest, run, *more) -> list[str]:
    """`evaluate` as a process of its own."""
    return [
        sys.executable, "-m", "umd_engine.cli", "evaluate", str(manifest), "--out", str(run),
        "--model", f"nnunet={MODEL}", "--set", "nnunet.folds=0", *map(str, more),
    ]  # fmt: skip


def rows_of(run):
    with Store(run / "store.sqlite", create=False) as store:
        return list(store.rows())


def counts_of(run):
    return {(r.scan_id, r.organ): (r.status, r.tp, r.fp, r.fn) for r in rows_of(run)}
