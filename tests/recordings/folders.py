"""The five trained-model folders of the recordings: plans and datasets as nnU-Net's planners write them.

Together they cover what plans can change in the official protocol; all networks have three stages with 4, 8
and 8 features, so that a folder takes about 100 kB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_CT = {"max": 2976.0, "mean": 90.0, "median": 75.0, "min": -1024.0, "std": 170.0}
CT_INTENSITIES = {**_CT, "percentile_00_5": -850.0, "percentile_99_5": 420.0}
MR_INTENSITIES = {
    "max": 900.0,
    "mean": 310.0,
    "median": 290.0,
    "min": 0.0,
    "percentile_00_5": 5.0,
    "percentile_99_5": 800.0,
    "std": 150.0,
}


@dataclass(frozen=True)
class Folder:
    """One trained-model folder and the image it is run on.

    Attributes:
        labels: `labels` of dataset.json, with or without regions and an ignore label.
        folds: names of the fold folders, in the order in which the predictor averages them.
        mirroring: `inference_allowed_mirroring_axes`; None leaves the key out of the checkpoint.
        image: how the image is drawn (`images.draw`), its shape [C, D0, D1, D2] and its spacing in mm,
            both in nnU-Net's order of axes before `transpose_forward`.
        region_quantiles: the share of voxels below the threshold of each region; empty without regions.
        seed: of weights and image, chosen so that few voxels lie where float16 sums round either way.
    """

    name: str
    configuration: str
    plans: Json
    dataset: Json
    folds: tuple[int | str, ...]
    mirroring: tuple[int, ...] | None
    image: Json
    region_quantiles: tuple[float, ...] = ()
    seed: int = 2026


def _default_resampling(order: int, order_z: int = 0, separate: bool | None = None, seg: bool = False) -> Json:
    return {"is_seg": seg, "order": order, "order_z": order_z, "force_separate_z": separate}


def _torch_resampling(seg: bool = False) -> Json:
    # as nnUNetPlannerResEncL_torchres_sepz writes them
    return {
        "is_seg": seg,
        "force_separate_z": None,
        "memefficient_seg_resampling": False,
        "separate_z_anisotropy_threshold": 3,
    }


def _resampling(function: str, data: Json, seg: Json, probabilities: Json) -> Json:
    return {
        "resampling_fn_data": function,
        "resampling_fn_seg": function,
        "resampling_fn_data_kwargs": data,
        "resampling_fn_seg_kwargs": seg,
        "resampling_fn_probabilities": function,
        "resampling_fn_probabilities_kwargs": probabilities,
    }


SKIMAGE = _resampling(
    "resample_data_or_seg_to_shape",
    _default_resampling(3),
    _default_resampling(1, seg=True),
    _default_resampling(1),
)
SKIMAGE_LINEAR_Z = _resampling(
    "resample_data_or_seg_to_shape",
    _default_resampling(3, order_z=1, separate=True),
    _default_resampling(1, order_z=1, separate=True, seg=True),
    _default_resampling(1, order_z=0, separate=True),
)
TORCH = _resampling("resample_torch_fornnunet", _torch_resampling(), _torch_resampling(seg=True), _torch_resampling())


def _architecture(kernels: list[list[int]], strides: list[list[int]], residual_blocks: list[int] | None = None) -> Json:
    family = "unet.PlainConvUNet" if residual_blocks is None else "unet.ResidualEncoderUNet"
    blocks = {"n_conv_per_stage": [2, 2, 2]} if residual_blocks is None else {"n_blocks_per_stage": residual_blocks}
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.{family}",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [4, 8, 8],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": kernels,
            "strides": strides,
            **blocks,
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


def _configuration(
    patch: list[int],
    spacing: list[float],
    schemes: list[str],
    resampling: Json,
    masked: bool = False,
    **more: Any,
) -> Json:
    return {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": patch,
        "median_image_size_in_voxels": [float(n) for n in patch],
        "spacing": spacing,
        "normalization_schemes": schemes,
        "use_mask_for_norm": [masked] * len(schemes),
        **resampling,
        **more,
        "batch_dice": False,
    }


def _plans(configurations: Json, intensities: list[Json], transpose: tuple[list[int], list[int]] | None = None) -> Json:
    forward, backward = transpose or ([0, 1, 2], [0, 1, 2])
    spacing = configurations["3d_fullres"]["spacing"]
    return {
        "dataset_name": "Dataset998_Recorded",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": spacing,
        "original_median_shape_after_transp": [40, 40, 40],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": forward,
        "transpose_backward": backward,
        "configurations": configurations,
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(c): v for c, v in enumerate(intensities)},
    }


def _dataset(channels: list[str], labels: Json, key: str = "channel_names", **more: Any) -> Json:
    named = {str(c): name for c, name in enumerate(channels)}
    return {key: named, "labels": labels, **more, "numTraining": 1, "file_ending": ".nii.gz"}


CUBES = [[3, 3, 3]] * 3
FLAT_THEN_CUBES = [[1, 3, 3], [3, 3, 3], [3, 3, 3]]
HALVINGS = [[1, 1, 1], [2, 2, 2], [2, 2, 2]]


def regions() -> Folder:
    """Regions, two MR channels, masked z-score, cropping, a transpose that is not its own inverse."""
    full = _configuration(
        [24, 20, 16],
        [1.3, 1.2, 1.1],
        ["ZScoreNormalization"] * 2,
        SKIMAGE,
        masked=True,
        architecture=_architecture(CUBES, HALVINGS),
    )
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enh": [3]}
    return Folder(
        "regions",
        "3d_fullres",
        _plans({"3d_fullres": full}, [MR_INTENSITIES] * 2, ([2, 0, 1], [1, 2, 0])),
        _dataset(["T1", "T2"], labels, regions_class_order=[1, 2, 3]),
        (0,),
        (0, 1, 2),
        {"kind": "brain", "shape": (2, 30, 44, 40), "spacing": (1.5, 1.0, 1.2)},
        (0.45, 0.7, 0.85),
        seed=5,
    )


def anisotropic() -> Folder:
    """CT at an anisotropy above 3, odd and even patch axes, two mirroring axes, an ignore label."""
    full = _configuration(
        [12, 27, 32],
        [5.0, 0.9, 0.8],
        ["CTNormalization"],
        SKIMAGE,
        architecture=_architecture(FLAT_THEN_CUBES, [[1, 1, 1], [1, 1, 2], [2, 1, 2]]),
    )
    labels = {"background": 0, "liver": 1, "spleen": 2, "ignore": 3}
    return Folder(
        "anisotropic",
        "3d_fullres",
        _plans({"3d_fullres": full}, [CT_INTENSITIES]),
        _dataset(["CT"], labels),
        (0,),
        (1, 2),
        {"kind": "ct", "shape": (1, 15, 30, 28), "spacing": (6.0, 1.2, 1.1)},
        seed=1,
    )


def lowres() -> Folder:
    """The first stage of a cascade, run alone: inherited settings, a residual encoder, padding, no mirroring.

    Axis 1 would have 45 * 2/4 = 22.5 voxels; Python rounds that to 22. Axis 0 is 3 voxels smaller than
    the patch.
    """
    full = _configuration(
        [32, 32, 32],
        [2.0, 2.0, 2.0],
        ["ZScoreNormalization"],
        SKIMAGE,
        architecture=_architecture(CUBES, HALVINGS, [1, 2, 2]),
    )
    low = {
        "inherits_from": "3d_fullres",
        "data_identifier": "nnUNetPlans_3d_lowres",
        "patch_size": [16, 16, 16],
        "spacing": [4.0, 4.0, 4.0],
        "next_stage": "3d_cascade_fullres",
    }
    cascade = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    return Folder(
        "lowres",
        "3d_lowres",
        _plans({"3d_fullres": full, "3d_lowres": low, "3d_cascade_fullres": cascade}, [MR_INTENSITIES]),
        _dataset(["PET"], {"background": 0, "brain": 1, "bladder": 2}),
        (0,),
        None,
        {"kind": "pet", "shape": (1, 26, 45, 40), "spacing": (2.0, 2.0, 2.5)},
    )


def torch_resampling() -> Folder:
    """Resampling by torch with its separate z along the last axis, three normalisations, fold_all."""
    full = _configuration(
        [32, 24, 8],
        [1.2, 1.3, 6.0],
        ["CTNormalization", "RescaleTo01Normalization", "NoNormalization"],
        TORCH,
        architecture=_architecture([[3, 3, 1], [3, 3, 3], [3, 3, 3]], [[1, 1, 1], [2, 2, 1], [2, 2, 2]]),
    )
    return Folder(
        "torch_resampling",
        "3d_fullres",
        _plans({"3d_fullres": full}, [CT_INTENSITIES, MR_INTENSITIES, MR_INTENSITIES]),
        _dataset(["CT", "rescale_0_1", "noNorm"], {"background": 0, "liver": 1, "spleen": 2, "aorta": 3}),
        ("all",),
        (0, 1),
        {"kind": "three_channels", "shape": (3, 32, 30, 12), "spacing": (1.5, 1.4, 7.0)},
        seed=1,
    )


def order_z1() -> Folder:
    """Linear resampling out of plane, plans and dataset of the oldest v2 format, two folds.

    The image's coarse axis is the last one and the plans' is the first one, so that the data and the
    probabilities are resampled separately along different axes.
    """
    full = _configuration(
        [16, 24, 24],
        [2.4, 1.2, 1.4],
        ["CTNormalization"],
        SKIMAGE_LINEAR_Z,
        UNet_class_name="PlainConvUNet",
        UNet_base_num_features=4,
        unet_max_num_features=8,
        n_conv_per_stage_encoder=[2, 2, 2],
        n_conv_per_stage_decoder=[1, 1],
        num_pool_per_axis=[1, 2, 2],
        pool_op_kernel_sizes=[[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        conv_kernel_sizes=FLAT_THEN_CUBES,
    )
    plans = _plans({"3d_fullres": full}, [CT_INTENSITIES])
    plans["foreground_intensity_properties_by_modality"] = plans.pop("foreground_intensity_properties_per_channel")
    return Folder(
        "order_z1",
        "3d_fullres",
        plans,
        _dataset(["CT"], {"background": 0, "liver": 1, "kidney": 2}, key="modality"),
        (0, 1),
        (0, 1, 2),
        {"kind": "ct", "shape": (1, 24, 34, 14), "spacing": (2.0, 1.1, 2.6)},
    )


FOLDERS = (regions, anisotropic, lowres, torch_resampling, order_z1)
