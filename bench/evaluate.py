"""The whole job against a plain script: read, segment, write and score six volumes.

Each run is a fresh process; the engine's has the allocator's settings of its command line. Imports are not counted. Run
as a module it is one side: `python -m umd_engine.bench.evaluate engine|plain FOLDER MODEL`.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from umd_engine.bench.floor import Entry
from umd_engine.engine import host_memory

Told = tuple[float, str]  # seconds, counts
VOLUMES = 6
TARGET = 1.0
SHAPE = (48, 48, 32)
ORGANS = {"liver": 1, "spleen": 2, "kidney_left": 3, "kidney_right": 4}
HEADER = "cohort,subject,scan_id,modality,image,unit,label,label_set"


def make_cohort(folder: Path, volumes: int = VOLUMES) -> None:
    """CT-like int16 volumes with label maps, on the recorded model's scale of spacing."""
    import json

    import nibabel

    (folder / "labels.json").write_text(json.dumps({"name": "bench", "labels": ORGANS}))
    rows = [HEADER]
    for i in range(volumes):
        rng = np.random.default_rng(i)
        coarse = rng.standard_normal([n // 8 for n in SHAPE]) * 150
        image = np.kron(coarse, np.ones((8, 8, 8))) + rng.standard_normal(SHAPE) * 20
        labels = rng.integers(0, 5, [n // 8 for n in SHAPE]).repeat(8, 0).repeat(8, 1).repeat(8, 2)
        affine = np.diag([1.4, 1.4, 2.2, 1.0])
        nibabel.save(nibabel.Nifti1Image(image.astype(np.int16), affine), folder / f"{i}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels.astype(np.uint8), affine), folder / f"{i}_label.nii.gz")
        rows.append(f"petct,s{i},{i},ct,{i}.nii.gz,HU,{i}_label.nii.gz,labels.json")
    (folder / "scans.csv").write_text("\n".join(rows) + "\n")


def entries(model: str | Path, volumes: int = VOLUMES) -> list[Entry]:
    """Both sides on one cohort; every run has to count the voxels that the plain script counts.

    Args:
        model: a trained nnU-Net folder.
    """
    folder = tempfile.TemporaryDirectory()
    make_cohort(Path(folder.name), volumes)

    def run(side: str) -> Told:
        command = [sys.executable, "-m", "umd_engine.bench.evaluate", side, folder.name, str(model)]
        settings = host_memory.SETTINGS if side == "engine" else {}  # as the command line does
        ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **settings})
        seconds, counts = ended.stdout.strip().splitlines()[-2:]
        return float(seconds), counts

    expected = functools.cache(lambda: run("plain")[1])

    def check(found: Told) -> None:
        assert found[1] == expected(), "engine and plain script count different voxels"

    case = f"{volumes} volumes"
    ours = Entry("evaluate", "engine", case, lambda: run("engine"), 0, check, seconds=lambda found: found[0])
    plain = replace(
        ours,
        implementation="peer:plain per-scan script",
        run=lambda: run("plain"),
        peer=True,
        call="python -m umd_engine.bench.evaluate plain",
        target=TARGET,
    )
    return [ours, plain]


def _plain(folder: Path, model: Path) -> tuple[float, list[Any]]:
    from umd_engine.bench import plain_nnunet

    volumes = len(list(folder.glob("*_label.nii.gz")))
    images = [folder / f"{i}.nii.gz" for i in range(volumes)]
    labels: list[Path | None] = [folder / f"{i}_label.nii.gz" for i in range(volumes)]
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        scores = plain_nnunet.run(model, images, labels, Path(out))
        seconds = time.perf_counter() - start
    return seconds, sorted((str(i), organ, *c) for i, score in enumerate(scores) for organ, c in (score or {}).items())


def _engine(folder: Path, model: Path) -> tuple[float, list[Any]]:
    from umd_engine.data.manifest import read_manifest
    from umd_engine.evaluation.run import Evaluation, Settings
    from umd_engine.evaluation.store import Store
    from umd_engine.models.catalog import Request

    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        loaded = Request.parse(f"nnunet={model}").load({"folds": "0"})
        rows = read_manifest(folder / "scans.csv")
        for ended in Evaluation(rows, [loaded], Path(out), Settings(save_masks=True)).run():
            if ended.error is not None:
                raise ended.error
        seconds = time.perf_counter() - start
        with Store(Path(out) / "store.sqlite") as store:
            return seconds, sorted((r.scan_id, r.organ, r.tp, r.fp, r.fn) for r in store.rows())


def main(side: str, folder: str, model: str) -> None:
    import torch  # noqa: F401  imports are not part of the job
    from dynamic_network_architectures.architectures import unet  # noqa: F401

    from umd_engine.evaluation import run as runner  # noqa: F401

    seconds, counts = {"engine": _engine, "plain": _plain}[side](Path(folder), Path(model))
    print(seconds)
    print(counts)


if __name__ == "__main__":
    main(*sys.argv[1:])
