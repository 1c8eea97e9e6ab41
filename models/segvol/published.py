"""SegVol's published checkpoints."""

from __future__ import annotations

from pathlib import Path

import torch

from umd_engine.errors import CheckpointError, MissingFileError
from umd_engine.models.checkpoint import check_names, load_checkpoint, load_strictly
from umd_engine.models.segvol.network import Network, build_network
from umd_engine.models.segvol.text import expected_shapes

FILES = ("SegVol_v1.pth", "pytorch_model.bin")
TEXT = "text_encoder."


def load_published(path: Path) -> tuple[Network, dict[str, torch.Tensor]]:
    """The network and the text encoder's tensors (without their prefix).

    Args:
        path: `SegVol_v1.pth` (names under `["model"]`, prefix `module.`), the hub's `pytorch_model.bin` (prefix
            `model.`), or a folder with one of them.

    Raises:
        MissingFileError: no such file.
        CheckpointError: not a SegVol checkpoint, damaged, or with missing or unexpected names.
        BackendError: MONAI is not installed.
    """
    file = _file(path)
    content = load_checkpoint(file)
    nested = isinstance(content.get("model"), dict)
    named = content["model"] if nested else content
    prefix = "module." if nested else "model."
    if not any(str(key).startswith(f"{prefix}image_encoder.") for key in named):
        raise CheckpointError(
            f"holds no '{prefix}image_encoder.*': not a checkpoint of SegVol",
            where=file,
            mend=f"give {' or '.join(FILES)} as BAAI publishes them",
        )
    state = {str(key).removeprefix(prefix): tensor for key, tensor in named.items()}
    text = {key.removeprefix(TEXT): tensor for key, tensor in state.items() if key.startswith(TEXT)}
    text = {key: tensor for key, tensor in text.items() if not key.endswith("position_ids")}  # a counter, not a weight
    network = build_network()
    # first: it names what does not belong to either
    load_strictly(network, {key: tensor for key, tensor in state.items() if not key.startswith(TEXT)}, file)
    wanted = {TEXT + name: shape for name, shape in expected_shapes().items()}
    named = {TEXT + name: tensor for name, tensor in text.items()}
    check_names(wanted, named, "text encoder", file, "use the published checkpoint")
    return network, {key: tensor.float() for key, tensor in text.items()}


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in FILES:
        if (path / name).is_file():
            return path / name
    raise MissingFileError(f"no {' or '.join(FILES)}", where=path, mend="give SegVol's checkpoint file")
