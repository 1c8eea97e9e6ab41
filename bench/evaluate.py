"""The whole job against a plain script: read, segment, write and score six volumes.

Each run is a fresh process with the allocator's defaults; imports are not counted. Run as a module it is
one side: `python -m umd_engine.bench.evaluate engine|plain FOLDER MODEL`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

VOLUMES, REPEATS = 6, 3
SHAPE = (48, 48, 32)
ORGANS = {"liver": 1, "spleen": 2, "kidney_left": 3, "kidney_right": 4}
HEADER = "cohort,subject,scan_id,modality,image,unit,label,label_set"


def make_cohort(folder: Path) -> None:
    """Six CT-like int16 volumes with label maps, on the recorded model's scale of spacing."""
    import json

    import nibabel

    (folder / "labels.json").write_text(json.dumps({"name": "bench", "labels": ORGANS}))
    rows = [HEADER]
    for i in range(VOLUMES):
        rng = np.random.default_rng(i)
        coarse = rng.standard_normal([n // 8 for n in SHAPE]) * 150
        image = np.kron(coarse, np.ones((8, 8, 8))) + rng.standard_normal(SHAPE) * 20
        labels = rng.integers(0, 5, [n // 8 for n in SHAPE]).repeat(8, 0).repeat(8, 1).repeat(8, 2)
        affine = np.diag([1.4, 1.4, 2.2, 1.0])
        nibabel.save(nibabel.Nifti1Image(image.astype(np.int16), affine), folder / f"{i}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels.astype(np.uint8), affine), folder / f"{i}_label.nii.gz")
        rows.append(f"petct,s{i},{i},ct,{i}.nii.gz,HU,{i}_label.nii.gz,labels.json")
    (folder / "scans.csv").write_text("\n".join(rows) + "\n")


def run(model: Path) -> dict[str, Any]:
    """Median seconds of both sides, alternating, and their ratio; the counts must be equal first."""
    times: dict[str, list[float]] = {"engine": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder:
        make_cohort(Path(folder))
        results = set()
        for _ in range(REPEATS):
            for side in ("plain", "engine"):
                command = [sys.executable, "-m", "umd_engine.bench.evaluate", side, folder, str(model)]
                ended = subprocess.run(command, check=True, capture_output=True, text=True)
                seconds, counts = ended.stdout.strip().splitlines()[-2:]
                times[side].append(float(seconds))
                results.add(counts)
    if len(results) != 1:
        raise AssertionError("engine and plain script count different voxels: no time is reported")
    ours, plain = median(times["engine"]), median(times["plain"])
    return {
        "name": "evaluate, 6 volumes",
        "seconds": ours,
        "peer": "plain per-scan script",
        "peer_seconds": plain,
        "ratio": plain / ours,
        "target": 1.0,
        "spread": {side: [min(t), max(t)] for side, t in times.items()},
    }


def _plain(folder: Path, model: Path) -> tuple[float, list[Any]]:
    from umd_engine.bench import plain_nnunet

    images = [folder / f"{i}.nii.gz" for i in range(VOLUMES)]
    labels: list[Path | None] = [folder / f"{i}_label.nii.gz" for i in range(VOLUMES)]
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        scores = plain_nnunet.run(model, images, labels, Path(out))
        seconds = time.perf_counter() - start
    return seconds, sorted((str(i), organ, *c) for i, score in enumerate(scores) for organ, c in (score or {}).items())


def _engine(folder: Path, model: Path) -> tuple[float, list[Any]]:
    from umd_engine.data.manifest import read_manifest
    from umd_engine.engine.host_memory import keep_freed_memory
    from umd_engine.evaluation.run import Evaluation, Settings
    from umd_engine.evaluation.store import Store
    from umd_engine.models.catalog import Request

    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        keep_freed_memory()  # as the command line does
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
