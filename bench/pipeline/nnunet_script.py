"""nnunetv2's side, run by an interpreter that has it: `python nnunet_script.py predict|score TASK OUT`, JSON files.

It imports nothing of umd_engine. Worker processes are nnunetv2's own; how long a pool of them takes to start and import
is measured apart and told.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import time
from pathlib import Path
from typing import Any


def predict(task: dict[str, Any]) -> None:
    """`predict_from_files` of each network on the scans of its modality."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    for network in task["networks"]:
        predictor = nnUNetPredictor(perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(network["folder"], ("all",), "checkpoint_final.pth")
        images = [[image] for image in network["images"]]
        workers = task["workers"]
        predictor.predict_from_files(
            images,
            network["masks"],
            num_processes_preprocessing=workers,
            num_processes_segmentation_export=workers,
        )


def score(task: dict[str, Any]) -> None:
    """What the command `nnUNetv2_evaluate_folder` calls."""
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder2

    folder = Path(task["networks"][0]["folder"])
    compute_metrics_on_folder2(
        task["labels"],
        task["masks"],
        str(folder / "dataset.json"),
        str(folder / "plans.json"),
        task["summary"],
        num_processes=task["scorers"],
    )


def start_of_pool(workers: int) -> float:
    """Seconds until a pool of nnunetv2's kind has started and imported what it works with."""
    from nnunetv2.evaluation.evaluate_predictions import label_or_region_to_key

    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(label_or_region_to_key, range(workers))
    return time.perf_counter() - began


def cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main(word: str, path: str, out: str) -> None:
    import nnunetv2.evaluation.evaluate_predictions
    import nnunetv2.inference.predict_from_raw_data  # noqa: F401  imports are not counted

    task = json.loads(Path(path).read_text())
    start = start_of_pool(task["scorers"])
    wall, used = time.perf_counter(), cpu()
    if word == "predict":
        predict(task)
    score(task)
    told = {"wall": time.perf_counter() - wall, "cpu": cpu() - used, "start": start}
    Path(out).write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
