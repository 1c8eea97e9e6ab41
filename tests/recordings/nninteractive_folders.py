"""The two trained-model folders of nnInteractive's recordings, and the prompts that they are asked with.

`turned`: an old folder (decay 0.9), a patch of three lengths, a flat scan; AutoZoom, refinement, the random
fallback. `queued`: a new folder (decay 0.98), no AutoZoom; prompts that wait for one prediction, a box larger than
the patch, a scan smaller than it, a segmentation to start from.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
CONFIGURATION = "3d_fullres_ps192_bs24"


def plans(patch: list[int]) -> Json:
    """Plans with a configuration that inherits, as the published ones may."""
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [4, 8, 8],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * 3,
            "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
            "n_blocks_per_stage": [1, 1, 1],
            "n_conv_per_stage_decoder": [1, 1],
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
    base = {
        "data_identifier": "nnUNetResEncUNetLPlans_noResampling_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [192, 192, 192],
        "median_image_size_in_voxels": [139.0, 248.0, 250.0],
        "spacing": [1.25, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "no_resampling_hack",
        "resampling_fn_seg": "no_resampling_hack",
        "resampling_fn_probabilities": "no_resampling_hack",
        "resampling_fn_data_kwargs": {},
        "resampling_fn_seg_kwargs": {},
        "resampling_fn_probabilities_kwargs": {},
        "architecture": architecture,
        "batch_dice": True,
    }
    return {
        "dataset_name": "Dataset225_nnInteractiveV2",
        "plans_name": "nnUNetResEncUNetLPlans_noResampling",
        "original_median_spacing_after_transp": [1.25, 1.0, 1.0],
        "original_median_shape_after_transp": [139, 248, 250],
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [2, 0, 1],  # nnInteractive does not follow it
        "transpose_backward": [1, 2, 0],
        "configurations": {"3d_fullres": base, CONFIGURATION: {"inherits_from": "3d_fullres", "patch_size": patch}},
        "experiment_planner_used": "nnUNetPlannerResEncL",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
    }


def dataset() -> Json:
    """Labels are those of the training data; the network has two outputs all the same."""
    labels = {"background": 0, "object": 1, "another": 300}
    return {"channel_names": {"0": "nonCT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}


def box(*spans: tuple[int, int]) -> list[list[int]]:
    return [list(span) for span in spans]


TURNED: Json = {
    "patch": [64, 80, 72],
    "bias": 0.6,
    "session": ("inference_session_class.json", "nnInteractiveInferenceSession"),
    "shape": [44, 120, 96],
    "logits": 3e-4,  # between backends: ONNX Runtime is 1.9e-4 off
    "autozoom": True,
    "steps": [
        {"point": [20, 60, 47], "positive": True},
        {"box": box((10, 34), (30, 95), (52, 53)), "positive": True},
        {"point": [0, 119, 95], "positive": False},
        {
            "scribble": {"shape": [12, 30, 1], "ones": box((2, 11), (3, 28), (0, 1))},
            "at": box((20, 32), (50, 80), (40, 41)),
            "positive": True,
        },
    ],
}
QUEUED: Json = {
    "patch": [72, 64, 80],
    "bias": 0.6,
    "session": (
        "inference_info.json",
        {
            "inference_class": "nnInteractiveInferenceSession",
            "inference_class_min_version": "2.0.0",
            "point_radius": 4,
            "supported_interactions": {"bbox3d": False},
            "channel_mapping": {"prev_seg": 0, "scribble": [-2, -1]},
            "interaction_channels": 6,
        },
    ),
    "shape": [98, 40, 110],
    "autozoom": False,
    "steps": [
        {"point": [30, 20, 30], "positive": True, "predict": False},
        {"point": [34, 22, 36], "positive": True, "predict": False},
        {"point": [60, 10, 90], "positive": False},
        {
            "lasso": {"shape": [90, 1, 100], "ones": box((4, 84), (0, 1), (6, 92))},
            "at": box((2, 92), (21, 22), (5, 105)),
            "positive": False,
        },
        {"initial_segmentation": {"ones": box((20, 50), (8, 33), (30, 70))}, "predict": False},
        {"point": [52, 20, 50], "positive": True},
        {"initial_segmentation": {"ones": box((25, 60), (5, 30), (20, 75))}},
    ],
}
FOLDERS = {"turned": TURNED, "queued": QUEUED}
