"""Real nnunetv2 in an environment of its own, whose interpreter the user names."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from umd_engine.bench.floor.job import ALLOCATOR
from umd_engine.bench.pipeline.clock import Counts, Seconds, Told
from umd_engine.bench.pipeline.cohort import NETWORKS, Cohort, case_of
from umd_engine.data.labelset import load_label_set
from umd_engine.errors import BackendError

VARIABLE = "UMD_ENGINE_NNUNET_PYTHON"
MEND = (
    f"python -m venv nnunet; nnunet/bin/pip install torch==2.13.0 torchvision==0.28.0 nnunetv2==2.8.1; then "
    f"--nnunet-python nnunet/bin/python or {VARIABLE}"
)
SCRIPT = Path(__file__).with_name("nnunet_script.py")
POOLS = {"predict": 3, "score": 1}  # that start one after another: one a network, one to score


def predict(cohort: Cohort, python: str, workers: int) -> Told:
    """`predict_from_files`, each network on its modality, then `nnUNetv2_evaluate_folder` on all masks.

    Raises:
        BackendError: no interpreter, or it has no nnunetv2, or that failed.
    """
    masks = Path(tempfile.mkdtemp(dir=cohort.folder))
    return _told("predict", cohort, masks, python, workers)


def score(cohort: Cohort, masks: Path, python: str, workers: int) -> Told:
    """`nnUNetv2_evaluate_folder` on masks that exist."""
    return _told("score", cohort, masks, python, workers)


def scorers() -> int:
    """Processes that score: one a CPU that this process may use."""
    return len(os.sched_getaffinity(0))


def _told(word: str, cohort: Cohort, masks: Path, python: str, workers: int) -> Told:
    if not python:
        raise BackendError("no interpreter with nnunetv2 was named", mend=MEND)
    with tempfile.TemporaryDirectory(dir=cohort.folder) as name:
        folder = Path(name)
        task = _task(cohort, masks, workers, folder / "summary.json")
        (folder / "task.json").write_text(json.dumps(task))
        _run([python, str(SCRIPT), word, str(folder / "task.json"), str(folder / "told.json")], folder)
        told = json.loads((folder / "told.json").read_text())
        counts = _counts(json.loads((folder / "summary.json").read_text()))
    note = f"{POOLS[word] * told['start']:.1f} s of it start its workers"
    return Told(Seconds(told["wall"], told["cpu"]), masks, counts, note)


def _task(cohort: Cohort, masks: Path, workers: int, summary: Path) -> dict[str, Any]:
    networks = [
        {
            "folder": str(folder),
            "images": [str(row.images[0]) for row in cohort.of(modality)],
            "masks": [str(masks / case_of(row)) for row in cohort.of(modality)],
        }
        for modality, folder in NETWORKS.items()
    ]
    paths = {"labels": str(cohort.labels), "masks": str(masks), "summary": str(summary)}
    return {"networks": networks, "workers": workers, "scorers": scorers(), **paths}


def _run(command: list[str], folder: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*ALLOCATOR, "PYTHONPATH"))}
    theirs = {name: str(folder) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env={**kept, **theirs})
    except OSError as error:
        raise BackendError(f"cannot be started: {error.strerror}", where=command[0], mend=MEND) from None
    if ended.returncode:
        said = (ended.stderr.strip().splitlines() or ["nothing said"])[-1]
        raise BackendError(f"nnunetv2 ended with {ended.returncode}: {said}", where=command[0], mend=MEND)


def _counts(summary: dict[str, Any]) -> Counts:
    names = {numbers[0]: organ for organ, numbers in load_label_set("umd13").ids.items()}
    return {
        Path(case["prediction_file"]).name.removesuffix(".nii.gz"): {
            names[int(label)]: (found["TP"], found["FP"], found["FN"]) for label, found in case["metrics"].items()
        }
        for case in summary["metric_per_case"]
    }
