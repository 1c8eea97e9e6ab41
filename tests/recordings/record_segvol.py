"""Runs SegVol's official code (BAAI-DCAI/SegVol at 5768c97) and records what it returns.

    python record_segvol.py REPOSITORY network|steps|text

In a process of its own: it makes `cuda` do nothing, and hands MONAI 1.6 the arguments that it has renamed since.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from segvol_standin import ORGANS, Bumps, Packing, make_scan, probe

from umd_engine.models.parity import recipe

# imported by the official code for figures, 2D images and training, never called here
UNUSED = (
    "torchvision", "torchvision.transforms", "torchvision.transforms.functional", "torchvision.ops",
    "torchvision.ops.boxes", "matplotlib", "matplotlib.pyplot",
)  # fmt: skip
HERE = Path(__file__).parent
SEED = 3
BOX = [9, 31, 12, 22, 201, 140]
POINTS, LABELS = [[4, 200, 31], [30, 3, 250], [-1, -1, -1], [17, 99, 130]], [1, 0, -1, 1]
NAMES = ("liver", "right kidney", "inferior vena cava", "duodenum")


def record_network() -> None:
    """The three modules at other weights, another image and other prompts, as `../shared/parity` does at seed 7."""
    import monai.networks.nets as nets
    from segment_anything_volumetric import build_sam

    build_sam.ViT = lambda **said: nets.ViT(proj_type=said.pop("pos_embed"), **said)
    sam = build_sam.build_sam_vit_3d(SimpleNamespace(patch_size=(4, 16, 16), spatial_size=(32, 256, 256)))
    sam.load_state_dict(recipe.fill(sam.state_dict(), SEED))
    image = {"volume": [SEED, "scan", [1, 1, 32, 256, 256]], "times": 1.5, "plus": -0.25}
    pixels = torch.from_numpy(recipe.volume(*_recipe(image["volume"])) * np.float32(1.5) + np.float32(-0.25))
    text = torch.from_numpy(recipe.normal(SEED, "organ", (1, 768)))
    steps: list[dict[str, Any]] = [{"encode": "embedding"}]
    steps += [{"text": True}, {"box": [-1] * 6, "text": True}, {"points": POINTS, "labels": LABELS}]
    steps += [{"points": POINTS, "labels": LABELS, "box": BOX, "text": True}]
    arrays: dict[str, np.ndarray] = {}
    with torch.no_grad():
        embedding = sam.image_encoder(pixels)[0].transpose(1, 2).view(1, -1, 8, 16, 16)
        _store(arrays, "embedding", embedding)
        for number, step in enumerate(steps[1:]):
            step["logits"] = f"logits{number}"
            _store(arrays, step["logits"], _decode(sam, embedding, step, text))
    np.savez_compressed(HERE / "segvol_parity" / "segvol_seed3.npz", **arrays)
    spec = {"model": "segvol", "weights": {"state_dict": {"fill": SEED}}, "image": image}
    spec |= {"text": {"normal": [SEED, "organ", [1, 768]]}, "steps": steps}
    spec["tolerance"] = {"of_range": 2e-5, "absolute": 2e-6}
    (HERE / "segvol_parity" / "segvol_seed3.spec.json").write_text(json.dumps(spec, indent=1) + "\n")


def _recipe(said: Any) -> tuple[int, str, tuple[int, ...]]:
    return said[0], said[1], tuple(said[2])


def _decode(sam: Any, embedding: torch.Tensor, step: dict[str, Any], text: torch.Tensor) -> torch.Tensor:
    asked = text if step.get("text") else None
    points = (torch.tensor([step["points"]]).float(), torch.tensor([step["labels"]])) if "points" in step else None
    boxes = torch.tensor([[step["box"]]]).float() if "box" in step else None
    sparse, dense = sam.prompt_encoder(points=points, boxes=boxes, masks=None, text_embedding=asked)
    return sam.mask_decoder(
        image_embeddings=embedding, text_embedding=asked, image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=False,
    )[0]  # fmt: skip


def _store(arrays: dict[str, np.ndarray], name: str, output: torch.Tensor) -> None:
    flat = output.numpy().astype(np.float32).ravel()
    arrays[f"{name}/shape"] = np.array(output.shape)
    arrays[f"{name}/stats"] = np.array(
        [flat.mean(dtype=np.float64), flat.std(dtype=np.float64), flat.min(), flat.max()]
    )
    arrays[f"{name}/values"] = probe(output.numpy(), 4096)


def record_steps() -> None:
    """Preparation, glance, region, windows and mean, with the stand-in network and every combination of prompts."""
    import inference_demo as demo

    scan = make_scan()
    item = _prepared(scan)
    arrays = {"crop": np.array(item["image"].shape[1:]), "low": np.array(item["foreground_start_coord"])}
    arrays |= {"image": probe(item["image"]), "resized": probe(item["zoom_out_image"])}
    for number, organ in enumerate(ORGANS):
        arrays[f"resized_label/{organ}"] = _packed(item["zoom_out_label"][number] > 0)
    log: dict[str, Any] = {}
    kinds = {"box+text": (1, 1, 0), "box": (0, 1, 0), "text": (1, 0, 0), "points+text": (1, 0, 1), "points": (0, 0, 1)}
    for kind, uses in kinds.items():
        log[kind] = _run(demo, item, dict(zip(("text", "box", "point"), map(bool, uses), strict=True)), arrays, kind)
    np.savez_compressed(HERE / "segvol_steps.npz", **arrays)
    (HERE / "segvol_steps.json").write_text(json.dumps(log, indent=None, separators=(",", ":")) + "\n")


def _prepared(scan: Any) -> Any:
    import monai.transforms as transforms
    import nibabel as nib
    from data_process import demo_data_process as process

    loader = transforms.LoadImage
    transforms.LoadImage = partial(loader, image_only=False)
    # MONAI's Orientationd of today hands on tensors; the next step takes arrays, as MONAI's gave in its time
    turn = transforms.Orientationd

    class Turn(turn):  # type: ignore[misc, valid-type]
        def __call__(self, data: Any, lazy: bool | None = None) -> Any:
            return {k: np.asarray(v) if k in self.keys else v for k, v in super().__call__(data, lazy).items()}

    transforms.Orientationd = Turn
    with tempfile.TemporaryDirectory() as folder:
        for name, array in (("image", scan.image), ("label", scan.label)):
            nib.save(nib.Nifti1Image(array, scan.affine), Path(folder) / f"{name}.nii.gz")
        files = (str(Path(folder) / "image.nii.gz"), str(Path(folder) / "label.nii.gz"))
        item = process.process_ct_gt(*files, list(ORGANS), (32, 256, 256))
    tensors = ("image", "label", "zoom_out_image", "zoom_out_label")
    return {k: v.as_tensor().contiguous() if k in tensors else v for k, v in item.items()}


def _run(demo: Any, item: Any, uses: dict[str, bool], arrays: dict[str, np.ndarray], kind: str) -> list[Any]:
    calls: list[Any] = []
    args = SimpleNamespace(
        use_zoom_in=True, use_text_prompt=uses["text"], use_box_prompt=uses["box"], use_point_prompt=uses["point"],
        spatial_size=(32, 256, 256), infer_overlap=0.5,
    )  # fmt: skip
    demo.select_points = partial(_aside, demo.select_points)
    torch.manual_seed(0)  # what our `official` variant starts from
    image, label = item["image"].float()[None], item["label"][None]
    found = demo.zoom_in_zoom_out(
        args, partial(_network, calls), image, item["zoom_out_image"].float()[None], label,
        item["zoom_out_label"][None], categories=list(ORGANS),
    )  # fmt: skip
    for organ, values in found.items():
        arrays[f"{kind}/{organ}"] = _packed(torch.sigmoid(values[4]) > 0.5)
        arrays[f"{kind}/{organ}/logits"] = probe(values[4])
    return calls


def _aside(draw: Any, *args: Any, **kwargs: Any) -> Any:
    """The user's clicks come from a stream of their own."""
    while isinstance(draw, partial):  # wrapped before
        draw = draw.args[0]
    state = torch.get_rng_state()
    torch.manual_seed(int(args[0].sum()))
    drawn = draw(*args, **kwargs)
    torch.set_rng_state(state)
    return drawn


def _network(calls: list[Any], image: Any, text: Any = None, boxes: Any = None, points: Any = None) -> torch.Tensor:
    call: dict[str, Any] = {"window": [round(float(image.mean()), 7), round(float(image.std()), 7)]}
    given: dict[str, torch.Tensor] = {}
    if points is not None:
        given |= {"points": points[0], "labels": points[1]}
        call |= {"points": points[0][0].int().tolist(), "labels": points[1][0].int().tolist()}
    if boxes is not None:
        given["box"] = boxes
        call["box"] = boxes[0].int().tolist()
    if text is not None:
        given["text"] = torch.from_numpy(recipe.normal(0, text, (1, 768)))
        call["text"] = text
    calls.append(call)
    logits = Bumps(tuple(given))(Packing()(image), *given.values())
    size = (32, 256, 256)
    return torch.nn.functional.interpolate(logits[:, None], size=size, mode="trilinear", align_corners=False)


def _packed(mask: Any) -> np.ndarray:
    return np.packbits(np.asarray(mask).astype(bool))


def record_text() -> None:
    """The official text encoder at recipe weights: token ids of its own tokenizer, and what they become."""
    from network.model import TextEncoder

    encoder = TextEncoder(str(Path(sys.path[0]) / "config" / "clip"))
    state = {}
    for name, tensor in encoder.state_dict().items():
        published = name if "text_model.text_model." in name else name.replace("text_model.", "text_model.text_model.")
        state[name] = torch.from_numpy(recipe.tensor(SEED, published, tuple(tensor.shape)))
    encoder.load_state_dict(state)
    arrays = {}
    for name in NAMES:
        with torch.no_grad():
            arrays[f"{name}/vector"] = encoder.eval()(name)[0].numpy()
        arrays[f"{name}/ids"] = encoder.organ2tokens([name])["input_ids"][0].numpy()
    np.savez_compressed(HERE / "segvol_text.npz", **arrays)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path)
    parser.add_argument("what", choices=("network", "steps", "text"))
    given = parser.parse_args()
    sys.path.insert(0, str(given.repository))
    import transformers

    transformers.AutoTokenizer, transformers.CLIPTextModel  # noqa: B018 - loaded before what they look for is replaced

    for name in UNUSED:
        sys.modules[name] = MagicMock()
    torch.Tensor.cuda = lambda self, *_: self  # type: ignore[assignment]
    torch.nn.Module.cuda = lambda self, *_: self  # type: ignore[assignment]
    {"network": record_network, "steps": record_steps, "text": record_text}[given.what]()
