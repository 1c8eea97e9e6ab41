"""Records what SAM-Med3D's own code computes: its network, every step around it, and whole runs.

The official code and an environment of its own:

    git clone https://github.com/uni-medical/SAM-Med3D && git -C SAM-Med3D checkout f3de1fa
    python3.11 -m venv oracle
    oracle/bin/pip install torch==2.13.0 torchio==0.20.22 simpleitk==2.5.7 edt==3.1.2 nibabel==5.4.2
    oracle/bin/python tests/recordings/record_sam_med3d.py SAM-Med3D              # writes into sam_med3d/
    oracle/bin/python tests/recordings/record_sam_med3d.py SAM-Med3D --check DIR  # repeats DIR's, prints differences

`other_seed.*` is a recording of the network as `models parity` reads it. `steps.json` lists scans, made by the recipe
of models/parity/recipe.py; `steps.npz` holds for each of them, under NAME/..., what the functions of
utils/infer_utils.py gave for the first organ (see `record_steps`) and the label map that `validate_paired_img_gt` wrote
for all organs with a toy network (see `Toy`) and three clicks. Labels and masks are packed bits.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch.nn import functional as F

HERE = Path(__file__).parent
FOLDER = HERE / "sam_med3d"
Arrays = dict[str, np.ndarray]


def load_recipe() -> types.ModuleType:
    """The recipe alone: this environment has no umd_engine."""
    path = HERE.parents[1] / "models" / "parity" / "recipe.py"
    spec = importlib.util.spec_from_file_location("recipe", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECIPE = load_recipe()


def probe(values: Any, count: int = 4096) -> Arrays:
    """Shape, statistics and values at evenly spaced flat positions, as in the parity recordings."""
    flat = np.asarray(values, dtype=np.float32).ravel()
    at = np.linspace(0, flat.size - 1, min(count, flat.size)).astype(np.int64)
    stats = [flat.mean(dtype=np.float64), flat.std(dtype=np.float64), flat.min(), flat.max()]
    return {"shape": np.array(values.shape), "stats": np.array(stats), "values": flat[at]}


def keep(arrays: Arrays, name: str, values: Any, count: int = 4096) -> None:
    arrays.update({f"{name}/{key}": value for key, value in probe(values, count).items()})


# ---------------------------------------------------------------------------------------------------- network


def official_network(official: Path) -> torch.nn.Module:
    """`vit_b_ori`, without the package's __init__: it imports torchvision for the 2D models."""
    package = types.ModuleType("segment_anything")
    package.__path__ = [str(official / "segment_anything")]
    sys.modules["segment_anything"] = package
    from segment_anything.build_sam3D import build_sam3D_vit_b_ori

    return build_sam3D_vit_b_ori().eval()


@torch.no_grad()
def record_network(official: Path, spec: dict[str, Any]) -> Arrays:
    """Probes of the embedding, logits and IoU of every step of `spec`."""
    network = official_network(official)
    network.load_state_dict(RECIPE.fill(network.state_dict(), spec["weights"]["state_dict"]["fill"]))
    seed, name, shape = spec["image"]["volume"]
    image = RECIPE.volume(seed, name, tuple(shape)) * np.float32(spec["image"]["times"])
    image = torch.from_numpy((image + np.float32(spec["image"]["plus"])).astype(np.float32))
    arrays: Arrays = {}
    kept: dict[str, torch.Tensor] = {"zeros": torch.zeros(1, 1, 32, 32, 32)}
    for step in spec["steps"]:
        if "encode" in step:
            embedding = network.image_encoder(image)
            keep(arrays, step["encode"], embedding)
            continue
        points = torch.tensor([step["points"]], dtype=torch.float32), torch.tensor([step["labels"]])
        sparse, dense = network.prompt_encoder(points=points, boxes=None, masks=kept[step["mask"]])
        kept[step["logits"]], iou = network.mask_decoder(
            image_embeddings=embedding,
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        keep(arrays, step["logits"], kept[step["logits"]])
        keep(arrays, step["iou"], iou)
    return arrays


# ---------------------------------------------------------------------------------------------------- scans


def make_scan(case: dict[str, Any], folder: Path) -> tuple[Path, Path, np.ndarray]:
    """An image and a label map as files, and the labels [file axes]; both headers hold qform and sform."""
    shape = tuple(case["shape"])
    image = RECIPE.volume(case["seed"], case["name"], shape) * np.float32(case["times"]) + np.float32(case["plus"])
    labels = np.zeros(shape, dtype=np.uint8)
    for number, organ in enumerate(case["organs"], start=1):
        axes = np.ogrid[tuple(slice(0, n) for n in shape)]
        labels[sum(((x - c) / r) ** 2 for x, c, r in zip(axes, *organ, strict=True)) <= 1] = number
        image[labels == number] += np.float32(case["times"] * 0.1 * number)
    paths = folder / f"{case['name']}.nii.gz", folder / f"{case['name']}_label.nii.gz"
    for path, voxels in zip(paths, (image.astype(case["dtype"]), labels), strict=True):
        nii = nib.Nifti1Image(voxels, np.array(case["affine"]))
        nii.set_qform(np.array(case["affine"]), code=1)
        nii.set_sform(np.array(case["affine"]), code=1)
        nib.save(nii, path)
    return (*paths, labels)


class Toy(torch.nn.Module):
    """Stands where the network is: pooled voxels, a bump at every click, a share of the previous logits."""

    def image_encoder(self, image: torch.Tensor) -> torch.Tensor:
        return F.avg_pool3d(image, 4)

    def prompt_encoder(self, points: Any, boxes: None, masks: torch.Tensor) -> tuple[Any, torch.Tensor]:
        return points, masks

    def mask_decoder(
        self,
        image_embeddings: torch.Tensor,
        sparse_prompt_embeddings: Any,
        dense_prompt_embeddings: torch.Tensor,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        points, labels = sparse_prompt_embeddings
        grid = torch.stack(torch.meshgrid(*[torch.arange(32.0)] * 3, indexing="ij"), dim=-1)
        logits = 0.5 * image_embeddings + 0.25 * dense_prompt_embeddings - 1.5
        for point, label in zip(points[0], labels[0], strict=True):
            bump = torch.exp(-((grid - point / 4) ** 2).sum(-1) / 18)
            logits = logits + (3 if label > 0 else -3) * bump
        return logits, None


Toy.prompt_encoder.get_dense_pe = lambda: None  # type: ignore[attr-defined]


# ---------------------------------------------------------------------------------------------------- steps


def record_steps(case: dict[str, Any], official: Path) -> Arrays:
    """Resampled image and label, crop, z-score, clicks of seed 233, paste-back; then whole runs."""
    sys.path.insert(0, str(official))
    from utils import infer_utils

    with tempfile.TemporaryDirectory() as name:
        image, label, labels = make_scan(case, Path(name))
        arrays: Arrays = {"labels": np.packbits(labels == 1), "labels2": np.packbits(labels == 2)}
        _record_preprocessing(infer_utils, image, label, arrays)
        torch.manual_seed(0)
        infer_utils.validate_paired_img_gt(Toy(), str(image), str(label), f"{name}/out/seg.nii.gz", num_clicks=3)
        found = np.asarray(nib.load(f"{name}/out/seg.nii.gz").dataobj)
        arrays["run1"], arrays["run2"] = np.packbits(found == 1), np.packbits(found == 2)
    return {f"{case['name']}/{key}": value for key, value in arrays.items()}


def _record_preprocessing(infer_utils: Any, image: Path, label: Path, arrays: Arrays) -> None:
    import torchio as tio

    subject, meta = infer_utils.get_subject_and_meta_info(str(image), str(label))
    organ = copy.deepcopy(subject)
    organ.label.set_data((organ.label.data == 1).to(organ.label.data.dtype))
    canonical = tio.ToCanonical()(tio.Resample(target=(1.5, 1.5, 1.5))(organ))
    keep(arrays, "resampled", canonical.image.data[0].numpy())
    arrays["resampled_affine"] = canonical.image.affine
    arrays["resampled_label"] = np.packbits(canonical.label.data[0].numpy() > 0)
    cropped = tio.CropOrPad(mask_name="label", target_shape=(128, 128, 128))(canonical)
    keep(arrays, "crop", cropped.image.data[0].numpy())
    roi, truth, meta = infer_utils.data_preprocess(copy.deepcopy(subject), meta, 1, (1.5, 1.5, 1.5))
    keep(arrays, "z_score", roi[0, 0].numpy(), 8192)
    arrays["crop_label"] = np.packbits(truth[0, 0].numpy() > 0)
    arrays["crop_affine"] = meta["roi_subject_affine"]
    low = torch.from_numpy(RECIPE.normal(3, "low", (1, 1, 8, 8, 8)))
    low = F.interpolate(low, size=(32, 32, 32), mode="trilinear", align_corners=False)
    fine = F.interpolate(low, size=(128, 128, 128), mode="trilinear", align_corners=False)
    mask = (torch.sigmoid(fine).numpy().squeeze() > 0.5).astype(np.uint8)
    np.random.seed(233)
    first = infer_utils.random_sample_next_click(torch.zeros(128, 128, 128), truth[0, 0])
    second = infer_utils.random_sample_next_click(torch.from_numpy(mask), truth[0, 0])
    arrays["clicks"] = np.array([[*p.flatten().tolist(), int(n)] for p, n in (first, second)])
    arrays["pasted"] = np.packbits(infer_utils.data_postprocess(mask, meta).transpose(2, 1, 0))


def record(official: Path) -> dict[str, Arrays]:
    spec = json.loads((FOLDER / "other_seed.spec.json").read_text())
    steps: Arrays = {}
    for case in json.loads((FOLDER / "steps.json").read_text()):
        steps |= record_steps(case, official)
    return {"other_seed": record_network(official, spec), "steps": steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("official", type=Path, help="the cloned repository")
    parser.add_argument("--check", type=Path, help="compare with the recordings of this folder")
    arguments = parser.parse_args()
    for name, arrays in record(arguments.official.resolve()).items():
        if arguments.check is None:
            np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
            continue
        with np.load(arguments.check / f"{name}.npz") as stored:
            for key, values in arrays.items():
                print(f"{name} {key}: {np.abs(values.astype(np.float64) - stored[key]).max():.3g}")


if __name__ == "__main__":
    main()
