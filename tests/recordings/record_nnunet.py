"""Records what nnunetv2's own code computes: five tiny trained-model folders, its readers, its resampling.

nnunetv2 needs an environment of its own (its torchvision is a CUDA build, which a CPU machine cannot
import, but the predictor never does):

    python3.11 -m venv oracle
    oracle/bin/pip install torch==2.13.0 torchvision==0.28.0 nnunetv2==2.8.1
    oracle/bin/python tests/recordings/record_nnunet.py              # writes all beside this file
    oracle/bin/python tests/recordings/record_nnunet.py --check DIR  # repeats DIR's, prints differences

NAME_model/ is a trained-model folder in nnU-Net's layout, its checkpoints written by
nnUNetTrainer.save_checkpoint; NAME.npz holds `image` [C, D0, D1, D2] and `spacing` (mm) in nnU-Net's order of
axes, `seg` [D0, D1, D2] and `prob` [heads, D0, D1, D2] as nnUNetPredictor.predict_single_npy_array returned
them on a CPU (prob rounded to float16); NAME.spec.json says how to repeat it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

SCRATCH = tempfile.TemporaryDirectory(prefix="nnunet")
for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ[variable] = SCRATCH.name
os.environ["nnUNet_def_n_proc"] = "2"  # noqa: SIM112

import numpy as np  # noqa: E402
from folders import FOLDERS, Folder  # noqa: E402
from images import draw  # noqa: E402
from record_readers import record_readers  # noqa: E402
from record_resampling import record_resampling  # noqa: E402
from trained import open_predictor, write_model  # noqa: E402

HERE = Path(__file__).parent


def predict(
    folder: Path, folds: tuple[int | str, ...], image: np.ndarray, spacing: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """seg and prob of one image [C, D0, D1, D2] with its spacing in mm."""
    predictor = open_predictor(folder, folds)
    properties = {"spacing": [float(s) for s in spacing]}
    seg, prob = predictor.predict_single_npy_array(image, properties, None, None, True)
    return seg.astype(np.uint8), prob.astype(np.float16)


def spec(folder: Folder) -> dict[str, Any]:
    return {
        "model": "nnunet",
        "weights": {"folder": f"{folder.name}_model", "folds": list(folder.folds)},
        "image": {"stored": "image", "spacing": "spacing"},
        "steps": [{"seg": "seg", "prob": "prob"}],
        "variant": "official",
        "tolerance": {"voxels": 5, "prob": 0.002},
    }


def record(folder: Folder, out: Path) -> None:
    image = draw(folder.image, folder.seed)
    spacing = np.array(folder.image["spacing"])
    model = write_model(folder, out, image)
    seg, prob = predict(model, folder.folds, image, spacing)
    fractions = np.bincount(seg.ravel()) / seg.size
    if fractions.min() < 0.01:
        raise RuntimeError(f"{folder.name}: a class in less than 1 % of the voxels: {fractions}")
    np.savez_compressed(out / f"{folder.name}.npz", image=image, spacing=spacing, seg=seg, prob=prob)
    (out / f"{folder.name}.spec.json").write_text(json.dumps(spec(folder), indent=1) + "\n")
    print(f"{folder.name}: classes {fractions.round(4).tolist()}")


def check(path: Path) -> None:
    """Runs one stored recording again and prints how far the official code is from it."""
    told = json.loads(path.read_text())
    stored = np.load(path.with_name(path.name.removesuffix(".spec.json") + ".npz"))
    weights, image = told["weights"], told["image"]
    model = path.parent / weights["folder"]
    folds = tuple(weights["folds"])
    seg, prob = predict(model, folds, stored[image["stored"]], stored[image["spacing"]])
    voxels = int((seg != stored["seg"]).sum())
    difference = np.abs(prob.astype(np.float32) - stored["prob"].astype(np.float32)).max()
    print(f"{path.name}: {voxels} of {seg.size} voxels differ, prob by at most {difference:.2e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--check", type=Path, nargs="+", default=[])
    options = parser.parse_args()
    for folder in options.check:
        for path in sorted(folder.glob("*.spec.json")):
            if json.loads(path.read_text())["model"] == "nnunet":
                check(path)
    if options.check:
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for build in FOLDERS:
        if not options.only or build.__name__ in options.only:
            record(build(), options.out)
    if not options.only or "readers" in options.only:
        record_readers(options.out)
    if not options.only or "resampling" in options.only:
        record_resampling(options.out)


if __name__ == "__main__":
    main()
