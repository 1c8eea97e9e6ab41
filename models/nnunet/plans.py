"""What a trained-model folder says: `plans.json` and `dataset.json`, checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umd_engine.errors import CheckpointError, MissingFileError, UnsupportedModelError

Triple = tuple[int, int, int]

READERS = {
    "SimpleITKIO": False,
    "NibabelIO": False,
    "SimpleITKIOWithReorient": True,
    "NibabelIOWithReorient": True,
}
NORMALIZATIONS = (
    "CTNormalization",
    "ZScoreNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
)
RESAMPLERS = ("resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack")


@dataclass(frozen=True)
class Normalization:
    """How one channel is normalised; `statistics` are the foreground's over the training set."""

    scheme: str
    masked: bool
    statistics: dict[str, float]


@dataclass(frozen=True)
class Resampling:
    """A resampling rule of the plans.

    Attributes:
        function: one of RESAMPLERS.
        order, order_z: spline order in the plane (or everywhere), and along a separated axis.
        force_separate_z: None separates an axis when the spacing's anisotropy exceeds the threshold.
    """

    function: str
    order: int
    order_z: int
    force_separate_z: bool | None
    anisotropy_threshold: float = 3


@dataclass(frozen=True)
class Labels:
    """Output heads and how they become a label map.

    Attributes:
        names: organ -> ids in the label map; a region has several.
        heads: output channels of the network.
        regions_order: id painted for each head in turn where sigmoid > 0.5; None: argmax over the heads.
    """

    names: dict[str, tuple[int, ...]]
    heads: int
    regions_order: tuple[int, ...] | None


@dataclass(frozen=True)
class Plans:
    """One configuration of a trained model. Spacing and patch are in the order after `transpose`."""

    configuration: str
    patch: Triple
    spacing: tuple[float, float, float]
    transpose: Triple
    transpose_back: Triple
    channels: tuple[str, ...]
    normalization: tuple[Normalization, ...]
    resampling: Resampling
    resampling_probabilities: Resampling
    architecture: dict[str, Any]
    labels: Labels
    reorients: bool


def read_plans(folder: Path, configuration: str) -> Plans:
    """The plans of one configuration.

    Raises:
        MissingFileError, CheckpointError: a file is missing, is no JSON or lacks a key.
        UnsupportedModelError: 2d, cascades, readers or rules this engine does not have.
    """
    where = folder / "plans.json"
    plans, dataset = read_json(where), read_json(folder / "dataset.json")
    try:
        return _parse(plans, dataset, configuration, where)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"the plans lack what inference needs: {type(error).__name__} {error}",
            where=where,
            mend="use the plans.json and dataset.json that nnU-Net v2 wrote beside the folds",
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFileError(
            "no such file",
            where=path,
            mend="a trained-model folder holds plans.json, dataset.json and fold_*",
        ) from None
    except ValueError as error:
        raise CheckpointError(f"not JSON: {error}", where=path, mend="copy the file again") from None


def _parse(plans: dict[str, Any], dataset: dict[str, Any], name: str, where: Path) -> Plans:
    config = _resolve(plans["configurations"], name, where, ())
    patch = tuple(int(n) for n in config["patch_size"])
    if len(patch) != 3:
        raise UnsupportedModelError(
            f"configuration '{name}' is 2d", where=where, mend="use a 3d_fullres or 3d_lowres model"
        )
    if config.get("previous_stage"):
        raise UnsupportedModelError(
            f"configuration '{name}' is a cascade: it needs the result of '{config['previous_stage']}'",
            where=where,
            mend="use a 3d_fullres or 3d_lowres model",
        )
    reader = plans.get("image_reader_writer", "SimpleITKIO")
    if reader not in READERS:
        raise UnsupportedModelError(
            f"image reader '{reader}' is not supported", where=where, mend=f"supported: {', '.join(READERS)}"
        )
    channels = tuple((dataset.get("channel_names") or dataset["modality"]).values())
    return Plans(
        configuration=name,
        patch=patch,
        spacing=tuple(float(s) for s in config["spacing"]),  # type: ignore[arg-type]
        transpose=tuple(plans["transpose_forward"]),
        transpose_back=tuple(plans["transpose_backward"]),
        channels=channels,
        normalization=_normalization(plans, config, len(channels), where),
        resampling=_resampling(config, "data", where),
        resampling_probabilities=_resampling(config, "probabilities", where),
        architecture=_architecture(config),
        labels=_labels(dataset, where),
        reorients=READERS[reader],
    )


def _resolve(configurations: dict[str, Any], name: str, where: Path, visited: tuple[str, ...]) -> dict[str, Any]:
    """A configuration with what it inherits: `inherits_from` chains, the child's entries winning."""
    if name in visited:
        raise CheckpointError(
            f"configurations inherit in a circle: {' -> '.join((*visited, name))}",
            where=where,
            mend="mend the plans",
        )
    if name not in configurations:
        raise CheckpointError(
            f"the checkpoint's configuration '{name}' is not in the plans ({', '.join(configurations)})",
            where=where,
            mend="use the plans that the checkpoint was trained with",
        )
    config = configurations[name]
    if "inherits_from" not in config:
        return dict(config)
    return _resolve(configurations, config["inherits_from"], where, (*visited, name)) | config


def _normalization(
    plans: dict[str, Any], config: dict[str, Any], channels: int, where: Path
) -> tuple[Normalization, ...]:
    # plans from before nnunetv2 2.0 say "by_modality"
    statistics = plans.get("foreground_intensity_properties_per_channel") or plans.get(
        "foreground_intensity_properties_by_modality", {}
    )
    schemes, masked = config["normalization_schemes"], config["use_mask_for_norm"]
    if not len(schemes) == len(masked) == channels:
        raise CheckpointError(
            f"{channels} channels, but {len(schemes)} normalisation schemes",
            where=where,
            mend="use the dataset.json of the same model",
        )
    for scheme in schemes:
        if scheme not in NORMALIZATIONS:
            raise UnsupportedModelError(
                f"normalisation '{scheme}' is not supported",
                where=where,
                mend=f"supported: {', '.join(NORMALIZATIONS)}",
            )
    return tuple(
        Normalization(scheme, bool(mask), statistics.get(str(i), {}))
        for i, (scheme, mask) in enumerate(zip(schemes, masked, strict=True))
    )


_KWARGS = {
    "resample_data_or_seg_to_shape": {"is_seg", "order", "order_z"},
    # where and in how many threads it runs does not change the result
    "resample_torch_fornnunet": {"is_seg", "num_threads", "device", "memefficient_seg_resampling", "mode"}
    | {"aniso_axis_mode"},
    "no_resampling_hack": set(),
}
_TORCH_MODES = {"mode": "linear", "aniso_axis_mode": "nearest-exact"}


def _resampling(config: dict[str, Any], what: str, where: Path) -> Resampling:
    function, options = config[f"resampling_fn_{what}"], config[f"resampling_fn_{what}_kwargs"]
    if function not in RESAMPLERS:
        raise UnsupportedModelError(
            f"resampling '{function}' is not supported", where=where, mend=f"supported: {', '.join(RESAMPLERS)}"
        )
    separation = {"force_separate_z", "separate_z_anisotropy_threshold"}
    unknown = sorted(options.keys() - _KWARGS[function] - separation)
    modes = [k for k, usual in _TORCH_MODES.items() if options.get(k, usual) != usual]
    orders = [k for k in ("order", "order_z") if options.get(k, 0) not in (0, 1, 3)]
    if refused := unknown + modes + orders:
        named = ", ".join(f"{key}={options[key]}" for key in refused)
        raise UnsupportedModelError(
            f"{function} with {named} is not supported", where=where, mend="use a model planned by nnU-Net's planners"
        )
    # the official functions' own defaults differ
    by_torch = function == "resample_torch_fornnunet"
    return Resampling(
        function,
        int(options.get("order", 3)),
        int(options.get("order_z", 0)),
        options.get("force_separate_z", None if by_torch else False),
        float(options.get("separate_z_anisotropy_threshold", 3)),
    )


def _labels(dataset: dict[str, Any], where: Path) -> Labels:
    """nnU-Net's label rule: a label with several ids makes every label a region; `ignore` is never predicted."""
    entries = {name: ids for name, ids in dataset["labels"].items() if name != "ignore"}
    as_tuples = {n: tuple(int(i) for i in (v if isinstance(v, list) else [v])) for n, v in entries.items()}
    foreground = {n: ids for n, ids in as_tuples.items() if set(ids) != {0}}
    if max(i for ids in as_tuples.values() for i in ids) > 255:
        raise UnsupportedModelError("label ids above 255 are not supported", where=where)
    if not any(len(ids) > 1 for ids in as_tuples.values()):
        found = sorted(i for ids in as_tuples.values() for i in ids)
        if found != list(range(len(found))):
            raise CheckpointError(
                f"label ids {found} are not 0, 1, 2, ... without gaps, as nnU-Net's heads are",
                where=where,
                mend="use the dataset.json of the same model",
            )
        return Labels(foreground, len({i for ids in as_tuples.values() for i in ids}), None)
    order = tuple(int(i) for i in dataset["regions_class_order"])
    if len(order) != len(foreground):
        raise CheckpointError(
            f"{len(foreground)} regions, but regions_class_order has {len(order)} entries",
            where=where,
            mend="use the dataset.json of the same model",
        )
    return Labels(foreground, len(foreground), order)


def _architecture(config: dict[str, Any]) -> dict[str, Any]:
    found = config.get("architecture") or _old_architecture(config)
    return {"_kw_requires_import": (), **{key: found[key] for key in ("network_class_name", "arch_kwargs")}, **found}


def _old_architecture(config: dict[str, Any]) -> dict[str, Any]:
    """Plans from before nnunetv2 2.3 name the network's numbers only; this is what the library makes of them."""
    plain = config["UNet_class_name"] == "PlainConvUNet"
    stages = len(config["n_conv_per_stage_encoder"])
    features = [min(config["UNet_base_num_features"] * 2**i, config["unet_max_num_features"]) for i in range(stages)]
    return {
        "network_class_name": config["UNet_class_name"],
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": features,
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": config["conv_kernel_sizes"],
            "strides": config["pool_op_kernel_sizes"],
            "n_conv_per_stage" if plain else "n_blocks_per_stage": config["n_conv_per_stage_encoder"],
            "n_conv_per_stage_decoder": config["n_conv_per_stage_decoder"],
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
