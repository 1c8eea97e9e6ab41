"""Every model of the catalogue without a checkpoint: networks whose parameters have no memory.

Such a model says what it would ask of its units and what it would hold, and its units can be counted. It cannot run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from umd_engine.data.labelset import load_label_set
from umd_engine.errors import UnknownNameError
from umd_engine.models.catalog import entry
from umd_engine.models.catalog.options import parse_options
from umd_engine.models.mask import Triple
from umd_engine.models.model import Model, PromptedModel
from umd_engine.models.nnunet.plans import Labels, Normalization, Plans, Resampling

NOWHERE = Path()
SPACING, PATCH = (1.5, 1.5, 1.5), (128, 128, 128)  # of the nnU-Net: TotalSegmentator's
FEATURES = (32, 64, 128, 256, 320, 320)  # of its six stages
NNINTERACTIVE_PATCH = (192, 192, 192)
LAYER = "torch.nn.modules"


def outline(name: str, title: str, settings: Mapping[str, str]) -> Model | PromptedModel:
    """A model of the catalogue, a nnU-Net in its usual size; `settings` as of `Request.load`.

    Raises:
        UnknownNameError, OptionError: no such model or option. BackendError: a library of the network is missing.
    """
    if name not in OUTLINES:
        raise UnknownNameError("model", name, OUTLINES, where="plan without a checkpoint")
    options = parse_options(entry(name).code().options, settings, title)
    with torch.device("meta"):
        return OUTLINES[name](title, options)


def usual_plans(
    channels: int = 1,
    residual: bool = False,
    features: tuple[int, ...] = FEATURES,
    patch: Triple = PATCH,
    spacing: tuple[float, float, float] = SPACING,
) -> Plans:
    """nnU-Net's plans for the 13 organs at 1.5 mm; `residual`: the encoder of its larger presets."""
    stages = len(features)
    blocks = {"n_blocks_per_stage": (1, 3, 4, 6, 6, 6)} if residual else {"n_conv_per_stage": (2,) * stages}
    arguments: dict[str, Any] = {
        "n_stages": stages,
        "features_per_stage": features,
        "conv_op": f"{LAYER}.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
        **blocks,
        "n_conv_per_stage_decoder": (1 if residual else 2,) * (stages - 1),
        "conv_bias": True,
        "norm_op": f"{LAYER}.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    organs = load_label_set("umd13").ids
    linear = Resampling("resample_data_or_seg_to_shape", 1, 0, None)
    return Plans(
        configuration="3d_fullres",
        patch=patch,
        spacing=spacing,
        transpose=(0, 1, 2),
        transpose_back=(0, 1, 2),
        channels=tuple(f"image {i}" for i in range(channels)),
        normalization=(Normalization("ZScoreNormalization", False, {}),) * channels,
        resampling=Resampling("resample_data_or_seg_to_shape", 3, 0, None),
        resampling_probabilities=linear,
        architecture={
            "network_class_name": "ResidualEncoderUNet" if residual else "PlainConvUNet",
            "arch_kwargs": arguments,
            "_kw_requires_import": ("conv_op", "norm_op", "nonlin"),
        },
        labels=Labels({organ: (number + 1,) for number, organ in enumerate(organs)}, len(organs) + 1, None),
        reorients=False,
    )


def _nnunet(title: str, options: Any) -> Model:
    from umd_engine.models.nnunet.model import NnUNet

    return NnUNet.without_weights(title, usual_plans(), options, mirror_axes=(0, 1, 2))


def _nninteractive(title: str, options: Any) -> PromptedModel:
    from umd_engine.models.nninteractive.folder import Settings
    from umd_engine.models.nninteractive.model import NnInteractive
    from umd_engine.models.nnunet.network import build_network

    plans = usual_plans(1 + Settings().channels, residual=True)
    plans = Plans(**{**vars(plans), "labels": Labels({"object": (1,)}, 2, None)})
    network = build_network(plans, NOWHERE).eval()
    return NnInteractive(title, NOWHERE, options, (network, NNINTERACTIVE_PATCH))


def _sam_med3d(title: str, options: Any) -> PromptedModel:
    from umd_engine.models.sam_med3d.model import SamMed3D
    from umd_engine.models.sam_med3d.network import Network

    return SamMed3D(title, NOWHERE, options, Network(reduced=options.encoder == "reduced"))


def _segvol(title: str, options: Any) -> PromptedModel:
    from umd_engine.models.segvol.model import SegVol
    from umd_engine.models.segvol.network import build_network

    return SegVol(title, NOWHERE, options, build_network().to("meta"))


def _sat(title: str, options: Any, name: str = "sat-nano") -> PromptedModel:
    from umd_engine.models.sat.model import Sat
    from umd_engine.models.sat.network import SIZES, Network

    return Sat(title, NOWHERE, options, size=SIZES[name], network=Network(SIZES[name]).eval())


def _vista3d(title: str, options: Any) -> Model | PromptedModel:
    from umd_engine.models.vista3d.model import load_vista3d
    from umd_engine.models.vista3d.network import build_network

    return load_vista3d(title, NOWHERE, options, build_network().eval())


def _vista3d_ctmr(title: str, options: Any) -> Model:
    from umd_engine.models.vista3d.model import Vista3D
    from umd_engine.models.vista3d.network import build_network
    from umd_engine.models.vista3d.recipe import VISTA3D_CTMR

    return Vista3D(title, NOWHERE, options, VISTA3D_CTMR, build_network().eval())


OUTLINES: dict[str, Callable[[str, Any], Model | PromptedModel]] = {
    "nnunet": _nnunet,
    "sam-med3d-turbo": _sam_med3d,
    "segvol": _segvol,
    "nninteractive": _nninteractive,
    "sat-nano": _sat,
    "sat-pro": lambda title, options: _sat(title, options, "sat-pro"),
    "vista3d": _vista3d,
    "vista3d-ctmr": _vista3d_ctmr,
}
