"""The network and its checkpoint: a residual encoder U-Net over the image and the interaction channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from umd_engine.errors import CheckpointError, MissingFileError, UnsupportedModelError
from umd_engine.models.checkpoint import load_checkpoint, load_strictly
from umd_engine.models.mask import Triple
from umd_engine.models.nnunet.network import build_network
from umd_engine.models.nnunet.plans import Labels, Plans, Resampling, read_json

MARGIN = 24  # voxels of a refinement box whose prediction does not count as covered


def find_fold(folder: Path, fold: str) -> Path:
    """The fold's folder: the one asked for, or the only one.

    Raises:
        MissingFileError, CheckpointError: there is none, or several and none was asked for.
    """
    if not folder.is_dir():
        raise MissingFileError("no such folder", where=folder, mend="give nninteractive=PATH of a trained-model folder")
    found = sorted(path.name for path in folder.glob("fold_*") if path.is_dir())
    if fold:
        return folder / f"fold_{fold}"
    if not found:
        raise MissingFileError("no fold_*", where=folder, mend="give the folder that holds plans.json and fold_*")
    if len(found) > 1:
        raise CheckpointError(f"several folds: {', '.join(found)}", where=folder, mend="set the option fold")
    return folder / found[0]


def read_network(folder: Path, checkpoint: Path, channels: int) -> tuple[torch.nn.Module, Triple, dict[str, str]]:
    """The loaded network, its patch, and what its files say about themselves.

    Args:
        channels: interaction channels beside the image.

    Raises:
        MissingFileError, CheckpointError, UnsupportedModelError: the folder cannot be used.
    """
    content = load_checkpoint(checkpoint)
    try:
        state, trainer = content["network_weights"], str(content["trainer_name"])
        configuration = content["init_args"]["configuration"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"lacks {error}: not a checkpoint of nnInteractive",
            where=checkpoint,
            mend="give the checkpoint that its authors publish",
        ) from None
    plans = _plans(folder, configuration, 1 + channels)
    network = build_network(plans, folder / "plans.json")
    load_strictly(network, _with_twins(network, state, checkpoint), checkpoint)
    return network.eval(), plans.patch, {"trainer": trainer, "configuration": str(configuration)}


def _plans(folder: Path, name: str, inputs: int) -> Plans:
    """nnU-Net's plans as far as nnInteractive follows them: it neither resamples nor reorients."""
    where = folder / "plans.json"
    plans, dataset = read_json(where), read_json(folder / "dataset.json")
    try:
        images = len(dataset.get("channel_names") or dataset["modality"])
        config = _inherited(plans["configurations"], name, where)
        patch, architecture = tuple(int(n) for n in config["patch_size"]), dict(config["architecture"])
        architecture = {key: architecture[key] for key in ("network_class_name", "arch_kwargs")} | architecture
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"lacks what inference needs: {type(error).__name__} {error}",
            where=where,
            mend="use the plans.json and dataset.json beside the fold",
        ) from None
    if images != 1:
        raise UnsupportedModelError(f"takes {images} images", where=where, mend="use a model of one image channel")
    if len(patch) != 3 or min(patch) <= 2 * MARGIN:
        raise UnsupportedModelError(
            f"a patch of {patch} leaves nothing within margins of {MARGIN}", where=where, mend="use a larger patch"
        )
    none = Resampling("no_resampling_hack", 0, 0, None)
    return Plans(
        configuration=name,
        patch=patch,
        spacing=(1.0, 1.0, 1.0),
        transpose=(0, 1, 2),
        transpose_back=(0, 1, 2),
        channels=tuple(f"input_{i}" for i in range(inputs)),
        normalization=(),
        resampling=none,
        resampling_probabilities=none,
        architecture=architecture,
        labels=Labels({"object": (1,)}, 2, None),
        reorients=False,
    )


def _inherited(configurations: dict[str, Any], name: str, where: Path) -> dict[str, Any]:
    chain = [name]
    config = dict(configurations[name])
    while (parent := config.pop("inherits_from", None)) is not None:
        if parent in chain:
            raise CheckpointError(
                f"configurations inherit in a circle: {' -> '.join([*chain, parent])}",
                where=where,
                mend="copy the plans again",
            )
        chain.append(parent)
        config = configurations[parent] | config
    return config


def _is_twin(name: str) -> bool:
    """Names under which the library registers a tensor a second time; checkpoints come with and without them."""
    return name.startswith("decoder.encoder.") or ".all_modules." in name


def _with_twins(network: torch.nn.Module, state: Any, where: Path) -> dict[str, torch.Tensor]:
    """The state with every second name of a tensor set from its first."""
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError("the weights are no dictionary of tensors", where=where, mend="copy it again")
    plain = {name: tensor for name, tensor in state.items() if not _is_twin(name)}
    own = network.state_dict(keep_vars=True)
    first = {id(tensor): name for name, tensor in own.items() if not _is_twin(name)}
    twins = {name: first[id(tensor)] for name, tensor in own.items() if _is_twin(name)}
    return plain | {name: plain[twin] for name, twin in twins.items() if twin in plain}
