"""Records what MONAI's own VISTA3D code computes, wired as the published bundles and the research command line do.

    oracle/bin/pip install torch==2.13.0 monai==1.6.1 einops scikit-image scipy nibabel
    oracle/bin/python tests/recordings/record_vista3d.py            # writes into vista3d_parity/
    oracle/bin/python tests/recordings/record_vista3d.py NAME ...   # those alone

Transforms, network, sliding window, point windows and post-processing are MONAI's; their arguments are those of
model-zoo's `models/vista3d/configs/inference.json` and `scripts/inferer.py`, of NV-Segment-CTMR's
`configs/inference.json` and of the research repository's `configs/infer.yaml` and `scripts/infer.py`. Weights and
images are made by the recipe of models/parity/recipe.py. Ids above 132 go to the class head as they are: MONAI's
inferer takes them for zero-shot ones.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.apps.vista3d.inferer import point_based_window_inferer
from monai.apps.vista3d.transforms import VistaPostTransformd, VistaPreTransformd
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer, SlidingWindowInfererAdapt
from monai.networks.nets.vista3d import vista3d132
from monai.transforms import (
    Compose,
    CropForegroundd,
    Invertd,
    Orientationd,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentilesd,
    Spacingd,
)

HERE = Path(__file__).parent
FOLDER = HERE / "vista3d_parity"
SPACING = {"keys": "image", "pixdim": (1.5, 1.5, 1.5), "mode": "bilinear"}
WINDOW = {"a_min": -963.8247715525971, "a_max": 1053.678477684517, "b_min": 0, "b_max": 1, "clip": True}
RAS = {"keys": "image", "axcodes": "RAS"}


def load_recipe() -> types.ModuleType:
    """The recipe alone: this environment has no umd_engine."""
    path = HERE.parents[1] / "models" / "parity" / "recipe.py"
    spec = importlib.util.spec_from_file_location("recipe", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECIPE = load_recipe()


def turned(spacing: tuple[float, float, float], axes: tuple[int, int, int], signs: tuple[int, int, int]) -> np.ndarray:
    """An affine whose file axis i runs along `axes[i]`, a little obliquely."""
    matrix = np.zeros((4, 4))
    for column, (row, sign, size) in enumerate(zip(axes, signs, spacing, strict=True)):
        matrix[row, column] = sign * size
    c, s = np.cos(0.12), np.sin(0.12)
    matrix = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ matrix
    matrix[:, 3] = 21, -13, 44, 1
    return matrix


# an image that is thinner than the patch along one axis; a foreground that does not fill it; points on both sides
RUNS: dict[str, dict[str, Any]] = {
    "vista3d_other": {
        "model": "vista3d",
        "fill": 23,
        "image": {"volume": [23, "image", [30, 22, 47]], "times": 2600, "plus": -1500},
        "affine": turned((1.4, 2.1, 1.2), (1, 2, 0), (-1, 1, 1)),
        "patch": [32, 32, 48],
        "steps": [
            {"classes": [1, 3, 6, 20, 115, 132], "seg": "seg", "logits": "logits"},
            {"classes": [4], "seg": "one_seg"},
            {"points": [[15, 11, 20], [12, 9, 33], [20, 14, 22]], "labels": [1, 1, 0], "seg": "point_seg"},
            {"classes": [1], "points": [[15, 11, 20], [9, 13, 35]], "labels": [1, 0], "seg": "both_seg"},
            {"classes": [28], "points": [[17, 10, 24]], "labels": [1], "seg": "special_seg"},
        ],
    },
    "vista3d_research": {
        "model": "vista3d",
        "protocol": "research",
        "fill": 23,
        "image": {"volume": [5, "image", [30, 26, 21]], "times": 2600, "plus": -1500},
        "affine": turned((1.7, 1.9, 2.2), (0, 1, 2), (-1, -1, 1)),
        "patch": [32, 32, 32],
        "steps": [{"classes": [1, 14, 5, 3], "seg": "seg", "logits": "logits"}],
    },
    "vista3d_ctmr": {
        "model": "vista3d-ctmr",
        "fill": 31,
        "image": {"volume": [31, "image", [40, 21, 30]], "times": 900, "plus": -200},
        "affine": turned((1.5, 1.9, 1.5), (0, 2, 1), (-1, 1, -1)),
        "patch": [48, 32, 48],
        "steps": [{"classes": [1, 14, 5, 135, 136, 3, 146], "seg": "seg", "logits": "logits"}],
    },
}


def transforms(run: dict[str, Any]) -> Compose:
    """What comes before the network."""
    cropping = CropForegroundd(keys="image", allow_smaller=True, margin=10, source_key="image")
    if run.get("protocol") == "research":
        scaling = ScaleIntensityRanged(keys="image", **WINDOW)
        return Compose([scaling, Orientationd(**RAS), Spacingd(**SPACING, align_corners=True)])
    if run["model"] == "vista3d-ctmr":
        scaling = ScaleIntensityRangePercentilesd(keys="image", lower=1, upper=99, b_min=0, b_max=1, clip=True)
    else:
        scaling = ScaleIntensityRanged(keys="image", **WINDOW)
    return Compose([Spacingd(**SPACING), cropping, scaling, Orientationd(**RAS)])


class Run:
    """One recording: an image through everything that was published, step by step."""

    def __init__(self, run: dict[str, Any]):
        self.run, self.before = run, transforms(run)
        seed, name, shape = run["image"]["volume"]
        voxels = RECIPE.volume(seed, name, tuple(shape)) * np.float32(run["image"]["times"])
        voxels = (voxels + np.float32(run["image"]["plus"])).astype(np.float32)
        affine = torch.from_numpy(run["affine"])
        image = MetaTensor(torch.from_numpy(voxels)[None], affine=affine, meta={"original_affine": affine})
        self.image = self.before({"image": image})["image"]
        self.network = vista3d132()
        self.network.load_state_dict(RECIPE.fill(self.network.state_dict(), run["fill"]))
        self.network.eval()

    def asked(self, step: dict[str, Any]) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """Ids [B, 1], points [1, N, 3] of the prepared image, and their labels [1, N]."""
        data: dict[str, Any] = {"label_prompt": step.get("classes"), "point_labels": step.get("labels")}
        data = VistaPreTransformd(keys="image", subclass={"20": [28, 29, 30, 31, 32]})(data)
        ids = None if data["label_prompt"] is None else torch.tensor(data["label_prompt"])[:, None]
        if "points" not in step:
            return ids, None, None
        voxels = np.concatenate([np.array(step["points"]), np.ones((len(step["points"]), 1))], axis=1)
        placed = np.linalg.inv(self.image.affine.numpy()) @ self.run["affine"] @ voxels.T
        return ids, torch.from_numpy(placed.T[None, :, :3]), torch.tensor([data["point_labels"]])

    @torch.no_grad()
    def logits(self, ids: Any, points: Any, labels: Any) -> torch.Tensor:
        """[B, x, y, z] on the prepared grid."""
        common = {"transpose": True, "point_coords": points, "point_labels": labels, "class_vector": ids}
        common |= {"prompt_class": ids, "prev_mask": None, "labels": None, "label_set": None}
        if points is not None:
            return point_based_window_inferer(
                inputs=self.image[None], roi_size=self.run["patch"], sw_batch_size=1, with_coord=True,
                predictor=self.network, mode="gaussian", overlap=0.3, **common,
            )[0]  # fmt: skip
        size = {"roi_size": self.run["patch"], "sw_batch_size": 1, "with_coord": True}
        if self.run.get("protocol") == "research":
            inferer: SlidingWindowInferer = SlidingWindowInferer(mode="gaussian", overlap=0.625, **size)
        else:
            padding = "replicate" if self.run["model"] == "vista3d-ctmr" else "constant"
            inferer = SlidingWindowInfererAdapt(padding_mode=padding, **size)
        return inferer(self.image[None], self.network, **common)[0]

    def label_map(self, logits: torch.Tensor, ids: Any, points: Any, labels: Any) -> np.ndarray:
        """On the file's grid; 255 where no window was."""
        data: dict[str, Any] = {"image": self.image, "pred": MetaTensor(logits.clone(), meta=self.image.meta)}
        data |= {"label_prompt": None if ids is None else ids[:, 0], "points": points, "point_labels": labels}
        data = VistaPostTransformd(keys="pred")(data)
        back = Invertd(keys="pred", transform=self.before, orig_keys="image", nearest_interp=True, to_tensor=True)
        return torch.nan_to_num(back(data)["pred"], nan=255).numpy().astype(np.uint8)


def probe(values: np.ndarray, count: int = 4096) -> dict[str, np.ndarray]:
    """Shape, statistics and values at evenly spaced flat positions, as in the parity recordings."""
    flat = values.ravel()
    at = np.linspace(0, flat.size - 1, min(count, flat.size)).astype(np.int64)
    stats = [flat.mean(dtype=np.float64), flat.std(dtype=np.float64), flat.min(), flat.max()]
    return {"shape": np.array(values.shape), "stats": np.array(stats), "values": flat[at]}


def record(name: str) -> None:
    run = Run(RUNS[name])
    arrays: dict[str, np.ndarray] = {"affine": RUNS[name]["affine"]}
    steps = []
    for step in RUNS[name]["steps"]:
        ids, points, labels = run.asked(step)
        logits = run.logits(ids, points, labels)
        arrays[step["seg"]] = run.label_map(logits, ids, points, labels)
        found, count = np.unique(arrays[step["seg"]], return_counts=True)
        print(
            name, step["seg"], tuple(logits.shape), dict(zip(found.tolist(), count.tolist(), strict=True)), flush=True
        )
        step = {**step, "logits": step["seg"].replace("seg", "logits")}
        shown = torch.nan_to_num(logits, nan=0.0).numpy()
        arrays |= {f"{step['logits']}/{key}": value for key, value in probe(shown).items()}
        steps.append(step)
    spec = {key: RUNS[name][key] for key in ("model", "protocol", "patch") if key in RUNS[name]}
    spec["weights"] = {"state_dict": {"fill": RUNS[name]["fill"]}}
    spec["image"] = {**RUNS[name]["image"], "affine": "affine"}
    spec["steps"], spec["tolerance"] = steps, {"of_range": 1e-5, "voxels": 5}
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
    (FOLDER / f"{name}.spec.json").write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for asked in sys.argv[1:] or RUNS:
        record(asked)
