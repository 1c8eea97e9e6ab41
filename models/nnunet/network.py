"""The network that the plans describe, from a list of classes: plans are data and import nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from umd_engine.errors import CheckpointError, UnsupportedModelError
from umd_engine.models.nnunet.plans import Plans

NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet", "ResidualUNet")
LAYERS = {
    name: getattr(torch.nn, name)
    for name in ("Conv3d", "InstanceNorm3d", "BatchNorm3d", "LeakyReLU", "ReLU", "GELU", "Dropout3d")
}
_LIBRARY = "dynamic_network_architectures.architectures."
_TORCH = ("torch.nn.", "torch.nn.modules.")


def build_network(plans: Plans, where: Path) -> torch.nn.Module:
    """The network without weights.

    Raises:
        UnsupportedModelError: a class outside the lists above.
        CheckpointError: arguments that the class does not take.
    """
    from dynamic_network_architectures.architectures import unet

    architecture = plans.architecture
    name = architecture["network_class_name"]
    short = name.rsplit(".", 1)[-1]
    if short not in NETWORKS or not (name == short or name.startswith(_LIBRARY)):
        raise UnsupportedModelError(
            f"network class '{name}' is not on the allow-list",
            where=where,
            mend=f"allowed: {', '.join(NETWORKS)} of dynamic_network_architectures",
        )
    arguments = dict(architecture["arch_kwargs"])
    for key in architecture.get("_kw_requires_import", ()):
        if arguments.get(key) is not None:
            arguments[key] = _layer(arguments[key], where)
    arguments.pop("deep_supervision", None)
    try:
        return getattr(unet, short)(
            input_channels=len(plans.channels),
            num_classes=plans.labels.heads,
            deep_supervision=False,
            **arguments,
        )
    except (TypeError, ValueError, AssertionError, KeyError, RuntimeError, IndexError) as error:
        raise CheckpointError(
            f"{short} cannot be built from the plans: {error}",
            where=where,
            mend="use the plans nnU-Net wrote",
        ) from None


def _layer(name: Any, where: Path) -> type[torch.nn.Module]:
    short = str(name).rsplit(".", 1)[-1]
    if short not in LAYERS or not str(name).startswith(_TORCH):
        raise UnsupportedModelError(
            f"layer class '{name}' is not on the allow-list",
            where=where,
            mend=f"allowed: {', '.join(LAYERS)} of torch.nn",
        )
    return LAYERS[short]
