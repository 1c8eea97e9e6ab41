"""The network of a bundle: a class of MONAI's from a list, literal arguments, weights that are data only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from umd_engine.errors import CheckpointError, MissingFileError, UnsupportedModelError
from umd_engine.models.checkpoint import load_checkpoint, load_strictly
from umd_engine.models.custom.bundle.config import MEND, Config

NETWORKS = (
    "AttentionUnet", "BasicUNet", "BasicUNetPlusPlus", "DynUNet", "HighResNet", "MedNeXt", "SegResNet", "SwinUNETR",
    "UNet", "UNETR", "VNet",
)  # fmt: skip
MODULES = ("monai.networks.nets.",)
WEIGHTS = "models/model.pt"


def build(config: Config, key: str = "network_def") -> torch.nn.Module:
    """The network without weights.

    Raises:
        UnsupportedModelError: a class outside the list, or arguments that are no literals.
        CheckpointError: arguments that the class does not take.
    """
    given = config.content.get(key)
    if not isinstance(given, dict) or "_target_" not in given:
        raise config.refused(f"no {key} with a _target_")
    name = str(given["_target_"])
    short = name.rsplit(".", 1)[-1]
    if short not in NETWORKS or not (name == short or name.startswith(MODULES)):
        raise UnsupportedModelError(
            f"network class '{name}' is not on the allow-list",
            where=config.path,
            mend=f"allowed: {', '.join(NETWORKS)} of monai.networks.nets",
        )
    arguments = {k: v for k, v in given.items() if k not in ("_target_", "_meta_", "_mode_", "_desc_")}
    if odd := [k for k in arguments if k.startswith("_")]:
        raise config.refused(f"{key} with {odd[0]}")
    arguments = config.value(arguments)
    _check_literal(arguments, config)
    if short == "SwinUNETR":
        arguments.pop("img_size", None)  # of older MONAI; decided nothing but what was checked
    from monai.networks import nets

    try:
        return getattr(nets, short)(**arguments).eval()
    except Exception as error:  # whatever MONAI's class raises of what it does not take
        raise CheckpointError(
            f"{short} cannot be built from {key}: {error}", where=config.path, mend="use the bundle's own file"
        ) from None


def weights_file(config: Config) -> str:
    """The path of the weights, relative to the bundle's folder, which it must not leave.

    Raises:
        CheckpointError: it leaves the folder. MissingFileError: it is not there.
    """
    loader = config.content.get("checkpointloader")
    path = WEIGHTS
    if isinstance(loader, dict) and "load_path" in loader:
        path = str(config.value(loader["load_path"]))
    folder = config.folder.resolve()
    if not (folder / path).resolve().is_relative_to(folder):
        raise CheckpointError(f"its weights '{path}' lie outside the bundle", where=config.path, mend="put them inside")
    if not (folder / path).is_file():
        raise MissingFileError("no such weights", where=config.folder / path, mend="download the bundle's weights")
    return str(Path(path))


def load_weights(network: torch.nn.Module, path: Path) -> None:
    """Load a state dict, also one below `model`, `state_dict` or `network`, strictly."""
    state: Any = load_checkpoint(path)
    for key in ("model", "state_dict", "network"):
        if isinstance(state.get(key), dict):
            state = state[key]
            break
    load_strictly(network, state, path)


def _check_literal(value: Any, config: Config) -> None:
    if isinstance(value, dict):
        if "_target_" in value:
            raise UnsupportedModelError(f"an argument is made by '{value['_target_']}'", where=config.path, mend=MEND)
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            _check_literal(inner, config)
