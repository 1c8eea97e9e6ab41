"""The trained-model folder: plans, dataset and checkpoint with the entries that nnU-Net v2 (2.8.1) writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from umd_engine.bench.demo.training.recipe import Recipe
from umd_engine.data.atomic import atomic_file
from umd_engine.data.labelset import load_label_set

CONFIGURATION, TRAINER, FOLD = "3d_fullres", "nnUNetTrainer", "all"
MODEL = f"{TRAINER}__nnUNetPlans__{CONFIGURATION}"
CHECKPOINT = f"fold_{FOLD}/checkpoint_final.pth"
NOTICE = "Trained on a synthetic phantom. Not for patients, nor for any conclusion about them."
Json = dict[str, Any]

_RESAMPLER = "resample_data_or_seg_to_shape"


def _resampling() -> Json:
    rules = {"data": (False, 3), "seg": (True, 1), "probabilities": (False, 1)}
    entries: Json = {}
    for what, (is_seg, order) in rules.items():
        entries[f"resampling_fn_{what}"] = _RESAMPLER
        entries[f"resampling_fn_{what}_kwargs"] = {
            "is_seg": is_seg,
            "order": order,
            "order_z": 0,
            "force_separate_z": None,
        }
    return entries


def _architecture(recipe: Recipe) -> Json:
    stages = len(recipe.features)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(recipe.features),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [list(stride) for stride in recipe.strides],
            "n_conv_per_stage": [recipe.convolutions_down] * stages,
            "n_conv_per_stage_decoder": [recipe.convolutions_up] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def make_plans(recipe: Recipe, statistics: Mapping[str, float], shape: tuple[int, ...]) -> Json:
    """`plans.json`.

    Args:
        statistics: of the foreground's intensities (HU or SUV).
        shape: median voxels of the training images at the plans' spacing, [Z, Y, X].
    """
    configuration = {
        "data_identifier": f"nnUNetPlans_{CONFIGURATION}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": recipe.batch,
        "patch_size": list(recipe.patch),
        "median_image_size_in_voxels": [float(n) for n in shape],
        "spacing": list(recipe.spacing),
        "normalization_schemes": [recipe.normalization],
        "use_mask_for_norm": [False],
        **_resampling(),
        "architecture": _architecture(recipe),
        "batch_dice": True,
    }
    return {
        "dataset_name": recipe.dataset,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(recipe.spacing),
        "original_median_shape_after_transp": list(shape),
        # the reader that turns every file to RAS+: without it a file stored left to right swaps the kidneys
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {CONFIGURATION: configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": dict(statistics)},
    }


def make_dataset(recipe: Recipe) -> Json:
    """`dataset.json`: the 13 organs with their umd13 ids."""
    organs = {organ: ids[0] for organ, ids in load_label_set("umd13").ids.items()}
    return {
        "channel_names": {"0": recipe.channel},
        "labels": {"background": 0, **organs},
        "numTraining": recipe.subjects,
        "file_ending": ".nii.gz",
        "name": recipe.dataset,
        "description": NOTICE,
        "synthetic": True,
    }


def write_json(path: Path, content: Json) -> None:
    with atomic_file(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def write_plans(folder: Path, plans: Json, dataset: Json) -> None:
    write_json(folder / "plans.json", plans)
    write_json(folder / "dataset.json", dataset)


def halved(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights in float16. nnU-Net's networks name each tensor two or three times: it stays one tensor."""
    found: dict[int, torch.Tensor] = {}
    return {name: found.setdefault(tensor.data_ptr(), tensor.detach().half()) for name, tensor in state.items()}


def write_checkpoint(folder: Path, state: Mapping[str, torch.Tensor], plans: Json, dataset: Json, epoch: int) -> Path:
    """`fold_all/checkpoint_final.pth`: weights in float16, no optimizer state, no mirroring at inference."""
    path = folder / CHECKPOINT
    checkpoint = {
        "network_weights": halved(state),
        "optimizer_state": None,
        "grad_scaler_state": None,
        "logging": {},
        "_best_ema": None,
        "current_epoch": epoch,
        "init_args": {"plans": plans, "configuration": CONFIGURATION, "fold": FOLD, "dataset_json": dataset},
        "trainer_name": TRAINER,
        "inference_allowed_mirroring_axes": None,
    }
    with atomic_file(path) as file:
        torch.save(checkpoint, file)
    return path
