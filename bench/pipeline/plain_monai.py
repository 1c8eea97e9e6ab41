"""The loop of MONAI's tutorials, scan after scan: transforms, sliding windows, back onto the scan, argmax, Dice."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from umd_engine.bench.pipeline.clock import Seconds, Told
from umd_engine.bench.pipeline.cohort import NETWORKS, Cohort, case_of
from umd_engine.bench.plain_nnunet import load
from umd_engine.data.nifti import read_header, write_labels

CALL = (
    "LoadImaged, Orientationd, ScaleIntensityRanged or NormalizeIntensityd, "
    "Spacingd(bilinear, align_corners=True, scale_extent=True), "
    "sliding_window_inference(sw_batch_size=2, overlap=0.5, mode=gaussian), Invertd, argmax, compute_dice"
)


@torch.no_grad()
def evaluate(cohort: Cohort) -> Told:
    """Masks are written outside the clock: the loop needs none."""
    from monai.inferers import sliding_window_inference
    from monai.metrics import compute_dice
    from monai.transforms import Invertd

    masks = Path(tempfile.mkdtemp(dir=cohort.folder))
    seconds = Seconds()
    for modality, folder in NETWORKS.items():
        with seconds.counted():
            network, plans, dataset = load(folder, "all")
            before = _transforms(plans, modality)
            patch = plans["configurations"]["3d_fullres"]["patch_size"]
            back = Invertd("logits", before, orig_keys="image", nearest_interp=False)
        for row in cohort.of(modality):
            with seconds.counted():
                case = before({"image": str(row.images[0]), "label": str(row.label)})
                logits = sliding_window_inference(case["image"][None], patch, 2, network, 0.5, "gaussian")[0]
                labels = back({"image": case["image"], "logits": logits})["logits"].argmax(0, keepdim=True)
                dice = compute_dice(labels[None], case["label"][None], False, num_classes=len(dataset["labels"]))
            assert dice.shape == (1, len(dataset["labels"]) - 1)
            header = read_header(row.images[0])
            voxels = header.grid.to_canonical(labels[0].numpy())
            write_labels(masks / f"{case_of(row)}.nii.gz", voxels, header)
    return Told(seconds, masks)


def _transforms(plans: dict[str, Any], modality: str) -> Any:
    from monai import transforms as t

    spacing = plans["configurations"]["3d_fullres"]["spacing"]
    stats = plans["foreground_intensity_properties_per_channel"]["0"]
    low, high = stats["percentile_00_5"], stats["percentile_99_5"]
    scaled = [(value - stats["mean"]) / stats["std"] for value in (low, high)]
    normalize = {
        "ct": t.ScaleIntensityRanged("image", low, high, *scaled, clip=True),
        "pet": t.NormalizeIntensityd("image"),
    }
    return t.Compose([
        t.LoadImaged(["image", "label"], ensure_channel_first=True),
        t.Orientationd("image", "SAR"),  # nnU-Net's networks see z, y, x
        normalize[modality],
        t.Spacingd("image", spacing, mode="bilinear", align_corners=True, scale_extent=True, dtype=torch.float32),
    ])  # fmt: skip
