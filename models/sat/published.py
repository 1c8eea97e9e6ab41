"""SAT's published checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from umd_engine.errors import CheckpointError, MissingFileError
from umd_engine.models.checkpoint import load_checkpoint, load_strictly
from umd_engine.models.sat.network import SIZES, Network, Size, build_network

UNUSED = "mid_mask_embed_proj."  # of another training stage
# a layer's second name -> its first
ALIASES = {".all_modules.0.": ".conv.", ".all_modules.1.": ".norm."}


def load_published(path: Path, size: Size) -> Network:
    """The network with a checkpoint's weights.

    Args:
        path: the published file, or a folder with it under its published name.

    Raises:
        MissingFileError: no such file.
        CheckpointError: not a SAT checkpoint, one of the other size, damaged, with missing or unexpected names, or a
            layer whose two names hold unequal values.
    """
    file = path / size.file if path.is_dir() else path
    state = {key: tensor for key, tensor in read_state(file, "backbone.").items() if not key.startswith(UNUSED)}
    _check_size(state, size, file)
    network = build_network(size)
    load_strictly(network, state, file)
    check_aliases(state, file)
    return network


def read_state(file: Path, part: str) -> dict[str, torch.Tensor]:
    """The names under `["model_state_dict"]` without `module.`.

    Args:
        part: how some name begins; empty: that is not looked at.

    Raises:
        MissingFileError, CheckpointError: no such file, or none of this kind.
    """
    if not file.is_file():
        raise MissingFileError(
            "no such checkpoint", where=file, mend=f"put {file.name} there as its authors publish it"
        )
    named = load_checkpoint(file).get("model_state_dict")
    if not isinstance(named, dict):
        raise CheckpointError(
            "holds no 'model_state_dict': not a checkpoint of SAT", where=file, mend="give the file as published"
        )
    state = {str(key).removeprefix("module."): tensor for key, tensor in named.items()}
    if not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise CheckpointError("the weights are no dictionary of tensors", where=file, mend="give the file as published")
    if part and not any(key.startswith(part) for key in state):
        raise CheckpointError(
            f"holds no '{part}*': not a checkpoint of SAT's network", where=file, mend="give the file as published"
        )
    return state


def aliases_of(names: Mapping[str, object]) -> dict[str, str]:
    """Second name -> first name of every layer that is registered twice."""
    found = {}
    for name in names:
        for second, first in ALIASES.items():
            if second in name:
                found[name] = name.replace(second, first)
    return found


def check_aliases(state: Mapping[str, torch.Tensor], where: Path) -> None:
    """Raise CheckpointError where a layer's two names hold unequal values: one of them would be lost."""
    unequal = [alias for alias, name in aliases_of(state).items() if not torch.equal(state[alias], state[name])]
    if unequal:
        raise CheckpointError(
            f"{len(unequal)} layers have two names with unequal values ({unequal[0]}, ...)",
            where=where,
            mend="get the checkpoint from its authors again",
            unexpected=sorted(unequal),
        )


def _check_size(state: Mapping[str, torch.Tensor], size: Size, where: Path) -> None:
    """A checkpoint of the other size is named as such, before a hundred shapes are."""
    first = state.get("backbone.encoder.stages.0.0.convs.0.conv.weight")
    for name, other in SIZES.items():
        if first is not None and other is not size and first.shape[:1] == (other.features[0],):
            raise CheckpointError(
                f"is a checkpoint of {other.title}, not of {size.title}", where=where, mend=f"use --model {name}"
            )


def named_once(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without the second names of layers that have two."""
    aliases = aliases_of(state)
    return {name: tensor for name, tensor in state.items() if name not in aliases}
