"""Records TotalSegmentator's way of running several nnU-Nets, with its own resampling and nnunetv2's own predictor.

    oracle/bin/pip install --no-deps totalsegmentator==2.18.0; oracle/bin/pip install joblib nibabel
    oracle/bin/python tests/recordings/custom_record_total.py     # the environment of record_nnunet.py

custom_total/ holds two trained-model folders in TotalSegmentator's layout, the second a ResEnc network with the name of
nnUNetPlannerResEncM's plans, and recorded.npz: `image` and `affine` of a file in LAS order, `resampled` (what the
networks are shown), `seg` on the file's grid.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

SCRATCH = tempfile.TemporaryDirectory(prefix="nnunet")
for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ[variable] = SCRATCH.name

import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402
from folders import CT_INTENSITIES, SKIMAGE, Folder, _architecture, _configuration, _plans  # noqa: E402
from images import draw  # noqa: E402
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO  # noqa: E402
from totalsegmentator.alignment import as_closest_canonical, undo_canonical  # noqa: E402
from totalsegmentator.resampling import change_spacing  # noqa: E402
from trained import open_predictor, write_model  # noqa: E402

OUT = Path(__file__).parent / "custom_total"
SPACING, STEP = 1.5, 0.8
PARTS = {
    "Dataset291_TotalSegmentator_part1_organs_1559subj": ({"spleen": 1, "liver": 2}, "nnUNetPlans", None),
    "Dataset292_TotalSegmentator_part2_vertebrae_1532subj": (
        {"aorta": 1, "heart": 2},
        "nnUNetResEncUNetMPlans",
        [1, 2, 2],
    ),
}
IDS = {"spleen": 1, "liver": 2, "aorta": 3, "heart": 4}


def folder_of(name: str, labels: dict[str, int], plans: str, blocks: list[int] | None, seed: int) -> Folder:
    architecture = _architecture([[3, 3, 3]] * 3, [[1, 1, 1], [2, 2, 2], [2, 2, 2]], blocks)
    configuration = _configuration([20, 20, 20], [SPACING] * 3, ["CTNormalization"], SKIMAGE, architecture=architecture)
    made: dict[str, Any] = _plans({"3d_fullres": configuration}, [CT_INTENSITIES])
    made["plans_name"], made["dataset_name"] = plans, name
    dataset = {"channel_names": {"0": "CT"}, "labels": {"background": 0, **labels}, "numTraining": 2,
               "file_ending": ".nii.gz"}  # fmt: skip
    image = {"kind": "ct", "shape": [1, 30, 28, 26], "spacing": [SPACING] * 3}
    return Folder(name, "3d_fullres", made, dataset, (0,), None, image, seed=seed)


def predict(model: Path, image: nib.Nifti1Image) -> np.ndarray:
    """As nnUNetv2_predict with --disable_tta and TotalSegmentator's step."""
    predictor = open_predictor(model, (0,))
    predictor.use_mirroring, predictor.tile_step_size = False, STEP
    path = Path(SCRATCH.name) / "s01_0000.nii.gz"
    nib.save(image, path)
    data, properties = SimpleITKIO().read_images([str(path)])
    seg = predictor.predict_single_npy_array(data, properties, None, None, False)
    written = Path(SCRATCH.name) / "s01.nii.gz"
    SimpleITKIO().write_seg(seg, str(written), properties)
    return np.asanyarray(nib.load(written).dataobj).astype(np.uint8)


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    models = []
    for seed, (name, (labels, plans, blocks)) in enumerate(PARTS.items()):
        folder = folder_of(name, labels, plans, blocks, 31 + seed)
        made = write_model(replace(folder, name="made"), Path(SCRATCH.name), draw(folder.image, folder.seed))
        target = OUT / name / f"nnUNetTrainerNoMirroring__{plans}__3d_fullres"
        shutil.copytree(made, target)
        models.append((target, labels))
    rng = np.random.default_rng(5)
    voxels = draw({"kind": "ct", "shape": [1, 33, 29, 18]}, 5)[0] + rng.integers(0, 3, (33, 29, 18)).astype(np.int16)
    affine = np.array([[-1.1, 0, 0, 20], [0, 1.3, 0, -7], [0, 0, 2.2, 3], [0, 0, 0, 1]])
    original = nib.Nifti1Image(voxels, affine)
    image = as_closest_canonical(original)
    resampled = change_spacing(image, SPACING, order=3, dtype=np.int32, nr_cpus=1)
    combined = np.zeros(resampled.shape, np.uint8)
    for model, labels in models:
        seg = predict(model, resampled)
        lut = np.zeros(len(labels) + 1, np.uint8)
        for organ, number in labels.items():
            lut[number] = IDS[organ]
        mapped = lut[seg]
        np.copyto(combined, mapped, where=mapped != 0)
    merged = nib.Nifti1Image(combined, resampled.affine)
    back = change_spacing(merged, SPACING, image.shape, order=0, dtype=np.uint8, nr_cpus=1, force_affine=image.affine)
    final = np.asanyarray(undo_canonical(back, original).dataobj)
    print(resampled.shape, np.bincount(final.ravel()) / final.size)
    np.savez_compressed(
        OUT / "recorded.npz", image=voxels, affine=affine, resampled=np.asanyarray(resampled.dataobj), seg=final
    )


if __name__ == "__main__":
    main()
