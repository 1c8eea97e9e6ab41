"""The network, MONAI's `vista3d132`, and the class unit: an image to the logits of all classes that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError, CheckpointError, MissingFileError
from umd_engine.models.catalog.entries import VISTA3D_FILES
from umd_engine.models.checkpoint import load_checkpoint, load_strictly
from umd_engine.models.mask import Triple

WIDTH = 48  # channels of the features


def build_network(width: int = WIDTH) -> nn.Module:
    """`vista3d132` without weights, its parameters on no device.

    Args:
        width: channels of the features.

    Raises:
        BackendError: MONAI is missing.
    """
    try:
        from monai.networks.nets.vista3d import vista3d132
    except ImportError as error:
        raise BackendError(f"VISTA3D needs {error.name}", mend="pip install monai einops scikit-image") from None
    with torch.device("meta"):  # no time for random weights
        return vista3d132(encoder_embed_dim=width, in_channels=1)


def read_network(path: Path) -> nn.Module:
    """The network with the weights of `model.pt`: a plain state dict of 259 tensors, two of them unused.

    Args:
        path: the file, or a folder with it, e.g. the bundle's.

    Raises:
        MissingFileError, CheckpointError: the file cannot be used; says what is missing or unexpected.
    """
    file = _file(path)
    state: Any = load_checkpoint(file)
    if "image_encoder.encoder.conv_init.weight" not in state:
        inner = next((state[key] for key in ("model", "state_dict") if isinstance(state.get(key), dict)), None)
        if inner is None:
            raise CheckpointError("lacks VISTA3D's image encoder", where=file, mend="give the bundle's model.pt")
        state = inner
    return filled(build_network(), state, file)


def filled(network: nn.Module, state: dict[str, torch.Tensor], where: Path) -> nn.Module:
    """The network with a state dict, strictly, in evaluation mode."""
    network.to_empty(device="cpu")
    load_strictly(network, state, where)
    return network.eval().requires_grad_(False)


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = next((path / name for name in VISTA3D_FILES if (path / name).is_file()), None)
    if found is None:
        raise MissingFileError("no model.pt there", where=path, mend="give the checkpoint, or the bundle's folder")
    return found


@torch.no_grad()
def class_table(network: Any) -> torch.Tensor:
    """[512, 48], row i: what class i's logits are the products of features with; nothing of it depends on the image."""
    head = network.class_head
    return head.mlp(head.class_embeddings.weight[:, None])[:, 0].contiguous()


class Encoder(nn.Module):
    """The encoder with one of its two decoders: [B, 1, x, y, z] -> [B, 48, x, y, z]."""

    def __init__(self, image_encoder: Any, levels: nn.ModuleList):
        super().__init__()
        self.encoder, self.levels = image_encoder.encoder, levels

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.decode(self.encoder(image))

    def decode(self, scales: Sequence[torch.Tensor]) -> torch.Tensor:
        """From the encoder's five scales, the finest first."""
        found = scales[-1]
        for level, skip in zip(self.levels, reversed(scales[:-1]), strict=True):
            found = level["blocks"](level["upsample"](found) + skip)  # type: ignore[index]
        return self.levels[-1]["head"](found)  # type: ignore[index]


def class_encoder(network: Any) -> Encoder:
    return Encoder(network.image_encoder, network.image_encoder.up_layers_auto)


class ClassNetwork(nn.Module):
    """Image [B, 1, x, y, z] -> logits [B, classes, x, y, z], or features [B, 48, x, y, z] without a table.

    Args:
        ids: rows of the folded table; empty: the features that the rows are multiplied with.
    """

    table: torch.Tensor

    def __init__(self, network: Any, ids: Sequence[int]):
        super().__init__()
        self.image_encoder = class_encoder(network)
        self.image_post_mapping = network.class_head.image_post_mapping
        self.register_buffer("table", class_table(network)[list(ids)])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.image_post_mapping(self.image_encoder(image))
        return classified(self.table, features) if len(self.table) else features


def classified(table: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Logits [B, K, x, y, z] of features [B, 48, x, y, z] and a table [K, 48] or [B, K, 48]."""
    logits = table @ features.flatten(2)
    return logits.unflatten(2, features.shape[2:])


def class_unit(name: str, network: nn.Module, ids: Sequence[int], patch: Triple) -> Unit:
    """The unit of all classes `ids`; without ids that of the features."""
    output = "logits" if ids else "features"
    module = ClassNetwork(network, ids).eval().requires_grad_(False)
    return Unit(f"{name}.{output}", module, (TensorSpec("image", (1, *patch)),), (output,))
