"""SAT's network in its two sizes, and the unit that programs call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.models.mask import Triple
from umd_engine.models.sat.query_decoder import WIDTH, QueryDecoder, positions
from umd_engine.models.sat.unet import Backbone

PATCH: Triple = (288, 288, 96)  # (H, W, D) = (X, Y, Z)


@dataclass(frozen=True)
class Size:
    """A published size.

    Attributes:
        features: of the U-Net's six stages.
        convs: a stage.
        token_width: of the hidden layer between features and tokens.
        head_width: of the hidden layer between an organ's embedding and its kernel.
    """

    title: str
    file: str
    features: tuple[int, ...]
    convs: int
    token_width: int
    head_width: int


NANO = Size("SAT-Nano", "SAT_Nano.pth", (64, 64, 128, 256, 512, 768), 2, 768, 256)
PRO = Size("SAT-Pro", "SAT_Pro.pth", (128, 128, 256, 512, 1024, 1536), 3, 1536, 384)
SIZES = {"sat-nano": NANO, "sat-pro": PRO}


class Network(nn.Module):
    """Image and organ queries to logits; names as published.

    The U-Net's features do not depend on the queries, but passing them between units would move 2 GB a patch (Pro,
    float16): one unit does both.
    """

    def __init__(self, size: Size):
        super().__init__()
        features = size.features
        self.backbone = Backbone(features, size.convs)
        self.projection_layer = _mlp(sum(features), size.token_width, WIDTH)
        self.transformer_decoder = QueryDecoder()
        self.mask_embed_proj = _mlp(WIDTH, size.head_width, features[0])

    def forward(self, image: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """Image [B, 1, H, W, D] of multiples of 32, queries [B, N, 768] -> logits [B, N, H, W, D]."""
        outputs = self.backbone.encoder(image)
        memory = self.projection_layer(_tokens(outputs))
        h, w, d = outputs[-1].shape[2:]
        organs = self.transformer_decoder(queries, memory, positions((h, w, d), image.device))
        kernels = self.mask_embed_proj(organs)  # [B, N, features[0]]
        pixels = self.backbone.decoder(outputs)
        return (kernels @ pixels.flatten(2)).unflatten(2, tuple(image.shape[2:]))


def _mlp(width: int, hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, out), nn.GELU())


def _tokens(outputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """[B, tokens, sum of features]: every stage averaged to the last one's grid, H slowest, D fastest."""
    depth = len(outputs) - 1
    pooled = [F.avg_pool3d(x, 2 ** (depth - i)) if i < depth else x for i, x in enumerate(outputs)]
    return torch.cat(pooled, dim=1).flatten(2).transpose(1, 2)


def build_network(size: Size) -> Network:
    """The network with memory but without values: it is about to be loaded, and drawing 475 M of them takes seconds."""
    with torch.device("meta"):
        network = Network(size)
    return network.to_empty(device="cpu").eval()


def network_unit(name: str, network: nn.Module, queries: int, patch: Triple = PATCH) -> Unit:
    """The unit for that many organs at once."""
    inputs = (TensorSpec("image", (1, *patch)), TensorSpec("queries", (queries, WIDTH), axes=("queries",)))
    return Unit(f"{name}.network.{queries}", network, inputs, ("logits",))
