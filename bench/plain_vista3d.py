"""The peer that VISTA3D is held against: MONAI's transforms, network, sliding window and inverse, as in the bundle.

`models/vista3d` of the model zoo: configs/inference.json and scripts/inferer.py, float32, no amp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from umd_engine.data.volume import Volume
from umd_engine.models.mask import Triple

WINDOW = {"a_min": -963.8247715525971, "a_max": 1053.678477684517, "b_min": 0, "b_max": 1, "clip": True}


@torch.no_grad()
def segment(image: Volume, network: Any, ids: Sequence[int], patch: Triple) -> np.ndarray:
    """Label map of class ids [X, Y, Z], all ids in one call of the network a window."""
    from monai.apps.vista3d.transforms import VistaPostTransformd
    from monai.data import MetaTensor
    from monai.inferers import SlidingWindowInfererAdapt
    from monai.transforms import Invertd

    grid, before = image.grid, _before()
    voxels = torch.from_numpy(np.array(grid.to_file_order(image.voxels), dtype=np.float32))[None]
    prepared = before({"image": MetaTensor(voxels, affine=torch.from_numpy(grid.file_affine))})["image"]
    asked = torch.tensor(ids)
    inferer = SlidingWindowInfererAdapt(roi_size=patch, sw_batch_size=1, with_coord=True)
    logits = inferer(
        prepared[None], network, transpose=True, point_coords=None, point_labels=None, class_vector=asked[:, None],
        prompt_class=asked[:, None], prev_mask=None, labels=None, label_set=None,
    )  # fmt: skip
    data = {"image": prepared, "pred": MetaTensor(logits[0], meta=prepared.meta), "label_prompt": asked}
    data = VistaPostTransformd(keys="pred")(data)
    back = Invertd(keys="pred", transform=before, orig_keys="image", nearest_interp=True, to_tensor=True)
    labels = back(data)["pred"][0].numpy().astype(np.uint8)
    return np.ascontiguousarray(grid.to_canonical(labels))


def _before() -> Any:
    from monai import transforms

    return transforms.Compose(
        [
            transforms.Spacingd(keys="image", pixdim=(1.5, 1.5, 1.5), mode="bilinear"),
            transforms.CropForegroundd(keys="image", allow_smaller=True, margin=10, source_key="image"),
            transforms.ScaleIntensityRanged(keys="image", **WINDOW),
            transforms.Orientationd(keys="image", axcodes="RAS"),
        ]
    )
