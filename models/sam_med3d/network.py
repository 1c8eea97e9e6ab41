"""The whole network under its official names, and the two pieces that programs call."""

from __future__ import annotations

from pathlib import Path

import torch

from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import CheckpointError
from umd_engine.models.checkpoint import load_checkpoint, load_strictly
from umd_engine.models.sam_med3d.attention import GRID
from umd_engine.models.sam_med3d.decoder import LOW, MaskDecoder
from umd_engine.models.sam_med3d.encoder import NARROW, Encoder
from umd_engine.models.sam_med3d.prompt_encoder import CROP, PromptEncoder


class Network(torch.nn.Module):
    """`vit_b_ori` of SAM-Med3D: 324 tensors of 100,509,616 numbers, the 384 fixed frequencies among them.

    Args:
        reduced: see `Encoder`; the weights are the same.
    """

    def __init__(self, reduced: bool = True):
        super().__init__()
        self.image_encoder = Encoder(reduced)
        self.prompt_encoder = PromptEncoder()
        self.mask_decoder = MaskDecoder()


class PromptedDecoder(torch.nn.Module):
    """Embedding [B, 384, 8, 8, 8], points [B, N, 3] (voxels of the crop), labels [B, N] (1 or 0) and the previous
    logits [B, 1, 32, 32, 32] to logits [B, 1, 32, 32, 32] and the estimated IoU [B, 1].

    `network` has its weights already: the position code of the image's tokens is computed here, once.
    """

    places: torch.Tensor

    def __init__(self, network: Network):
        super().__init__()
        self.prompt_encoder, self.mask_decoder = network.prompt_encoder, network.mask_decoder
        self.register_buffer("places", self.prompt_encoder.grid(), persistent=False)

    def forward(
        self, embedding: torch.Tensor, points: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        image = embedding.flatten(2).transpose(1, 2) + self.prompt_encoder.mask(mask)
        return self.mask_decoder(image, self.places, self.prompt_encoder.points(points, labels))


class Pieces:
    """The units of a network with weights: one encoder, and one decoder for every number of clicks asked for."""

    def __init__(self, name: str, network: Network):
        self.name = name
        self.encoder = Unit(
            f"{name}.encoder",
            network.image_encoder.eval(),
            (TensorSpec("image", (1, CROP, CROP, CROP)),),
            ("embedding",),
        )
        self._decoder = PromptedDecoder(network).eval()
        self._decoders: dict[int, Unit] = {}

    def decoder(self, clicks: int) -> Unit:
        """The decoder for that many clicks, always the same object; all share one module."""
        if clicks not in self._decoders:
            self._decoders[clicks] = Unit(
                f"{self.name}.decoder.{clicks}",
                self._decoder,
                (
                    TensorSpec("embedding", (NARROW, GRID, GRID, GRID)),
                    TensorSpec("points", (clicks, 3), axes=("clicks",)),
                    TensorSpec("labels", (clicks,), axes=("clicks",)),
                    TensorSpec("mask", (1, LOW, LOW, LOW)),
                ),
                ("logits", "iou"),
            )
        return self._decoders[clicks]


def read_network(path: Path, reduced: bool) -> Network:
    """The network with the weights of `sam_med3d_turbo.pth`.

    Raises:
        MissingFileError, CheckpointError: the file cannot be used; says what is missing or unexpected.
    """
    checkpoint = load_checkpoint(path)
    state = checkpoint.get("model_state_dict")
    if state is None:
        raise CheckpointError(
            "lacks 'model_state_dict': not a checkpoint of SAM-Med3D", where=path, mend="give sam_med3d_turbo.pth"
        )
    with torch.device("meta"):  # no time for random weights
        network = Network(reduced)
    network.to_empty(device="cpu")
    load_strictly(network, state, path)
    return network
