"""The point head: one object's logits in a window from its points, alone or beside a class's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.models.mask import Triple
from umd_engine.models.vista3d.network import Encoder, class_encoder, class_table, classified

NEGATIVE, POSITIVE, SPECIAL = 0, 1, 2  # labels of points; SPECIAL is added for points of special classes


class PointHead(nn.Module):
    """Features [B, 48, x, y, z], points and labels to logits [B, 1, x, y, z].

    Same weights and sums as MONAI's `PointMappingSAM` for one object an image, without assignments to masked places:
    the graph has neither NonZero nor Scatter.
    """

    kinds: torch.Tensor
    mask_token: torch.Tensor
    supported: torch.Tensor

    def __init__(self, head: Any):
        super().__init__()
        self.feat_downsample, self.output_upscaling = head.feat_downsample, head.output_upscaling
        self.transformer, self.output_mlp = head.transformer, head.output_hypernetworks_mlps
        self.pe_layer = head.pe_layer
        negative, positive = (embedding.weight for embedding in head.point_embeddings)
        special = head.special_class_embed.weight
        kinds = torch.cat([negative, positive, negative + special, positive + special])
        self.register_buffer("kinds", kinds.detach().clone())
        self.register_buffer("mask_token", head.mask_tokens.weight.detach().clone())
        self.register_buffer("supported", head.supported_embed.weight.detach().clone())

    def forward(self, features: torch.Tensor, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Points [B, N, 3] as shares of the window in (0, 1), labels [B, N] of 0 to 3."""
        low = self.feat_downsample(features)
        tokens = self._tokens(points, labels)
        places = self.pe_layer(tuple(low.shape[2:]))[None].expand(low.shape[0], -1, -1, -1, -1)
        queries, keys = self.transformer(low, places, tokens)
        upscaled = self.output_upscaling(keys.transpose(1, 2).reshape(low.shape))
        return classified(self.output_mlp(queries[:, :1]), upscaled)

    def _tokens(self, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """[B, N + 2, 48]: the mask's token, the points', and that of a supported class."""
        angles = 2 * math.pi * ((2 * points - 1) @ self.pe_layer.positional_encoding_gaussian_matrix)
        kinds = (labels[..., None] == torch.arange(4, device=labels.device)).to(points.dtype) @ self.kinds
        placed = torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1) + kinds
        first, last = (token[None].expand(points.shape[0], -1, -1) for token in (self.mask_token, self.supported))
        return torch.cat([first, placed, last], dim=1)


class PointNetwork(nn.Module):
    """Image, points and labels to the object's logits [B, 1, x, y, z]."""

    def __init__(self, network: Any):
        super().__init__()
        self.image_encoder = Encoder(network.image_encoder, network.image_encoder.up_layers)
        self.point_head = PointHead(network.point_head)

    def forward(self, image: torch.Tensor, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.point_head(self.image_encoder(image), points, labels)


class BothNetwork(nn.Module):
    """Image, row of the class table [B, 48], points and labels to the class's and the object's logits."""

    def __init__(self, network: Any):
        super().__init__()
        self.class_encoder = class_encoder(network)
        self.image_post_mapping = network.class_head.image_post_mapping
        self.point_encoder = Encoder(network.image_encoder, network.image_encoder.up_layers)
        self.point_head = PointHead(network.point_head)

    def forward(
        self, image: torch.Tensor, row: torch.Tensor, points: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        scales = self.class_encoder.encoder(image)
        features = self.image_post_mapping(self.class_encoder.decode(scales))
        found = self.point_head(self.point_encoder.decode(scales), points, labels)
        return classified(row[:, None], features), found


class RowNetwork(nn.Module):
    """Image and row of the class table [B, 48] to the class's logits [B, 1, x, y, z]."""

    def __init__(self, both: BothNetwork):
        super().__init__()
        self.class_encoder, self.image_post_mapping = both.class_encoder, both.image_post_mapping

    def forward(self, image: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return classified(row[:, None], self.image_post_mapping(self.class_encoder(image)))


class Pieces:
    """The units of the point modes, one for every number of points in a window; all share the weights.

    Args:
        with_class: the units that give a class's logits too.
    """

    def __init__(self, name: str, network: nn.Module, patch: Triple, with_class: bool):
        self.name, self.patch, self.with_class = name, patch, with_class
        self._width = class_table(network).shape[1]
        self._units: dict[int, Unit] = {}
        build: Callable[[Any], nn.Module] = BothNetwork if with_class else PointNetwork
        self._module = build(network).eval().requires_grad_(False)

    def unit(self, points: int) -> Unit:
        """The unit for that many points, always the same object; of no point the class's alone."""
        if points not in self._units:
            self._units[points] = self._build(points)
        return self._units[points]

    def _build(self, points: int) -> Unit:
        image, row = TensorSpec("image", (1, *self.patch)), TensorSpec("row", (self._width,))
        if not points:
            assert isinstance(self._module, BothNetwork)
            return Unit(f"{self.name}.class", RowNetwork(self._module).eval(), (image, row), ("logits",))
        asked = (
            TensorSpec("points", (points, 3), axes=("clicks",)),
            TensorSpec("labels", (points,), axes=("clicks",)),
        )
        inputs = (image, row, *asked) if self.with_class else (image, *asked)
        outputs = ("logits", "point_logits") if self.with_class else ("point_logits",)
        return Unit(f"{self.name}.points{points}", self._module, inputs, outputs)
