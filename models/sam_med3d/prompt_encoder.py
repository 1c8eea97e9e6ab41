"""Clicks as tokens, the previous mask as a grid of tokens."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from umd_engine.models.sam_med3d.attention import GRID
from umd_engine.models.sam_med3d.encoder import NARROW
from umd_engine.models.sam_med3d.layers import channel_norm, parts, position_code, split_cells

CROP = 128
CELL = 4  # voxels of the mask prompt along an axis of a token


class PositionCode(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(3, NARROW // 3))

    @property
    def frequencies(self) -> torch.Tensor:
        return self.positional_encoding_gaussian_matrix  # type: ignore[return-value]

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        return position_code(places, self.frequencies)


class PromptEncoder(torch.nn.Module):
    """Prompts as the decoder takes them. `no_mask_embed` belongs to the checkpoint and is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.pe_layer = PositionCode()
        self.point_embeddings = torch.nn.ModuleList(torch.nn.Embedding(1, NARROW) for _ in range(2))
        self.not_a_point_embed = torch.nn.Embedding(1, NARROW)
        self.mask_downscaling = torch.nn.ModuleList(
            [
                torch.nn.Conv3d(1, 4, 2, 2),
                channel_norm(4),
                torch.nn.GELU(),
                torch.nn.Conv3d(4, 16, 2, 2),
                channel_norm(16),
                torch.nn.GELU(),
                torch.nn.Conv3d(16, NARROW, 1),
            ]
        )
        self.no_mask_embed = torch.nn.Embedding(1, NARROW)

    def points(self, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Voxels of the crop [B, N, 3] with labels [B, N], 1 or 0: tokens [B, N + 1, 384].

        The last token says that no more points follow.
        """
        negative, positive = (embedding.weight for embedding in parts(self.point_embeddings))
        tokens = self.pe_layer((points + 0.5) / CROP) + torch.where(labels[..., None] > 0.5, positive, negative)
        end = self.not_a_point_embed.weight.expand(points.shape[0], 1, NARROW)
        return torch.cat([tokens, end], dim=1)

    def mask(self, mask: torch.Tensor) -> torch.Tensor:
        """Raw logits of the previous mask [B, 1, 32, 32, 32], zeros before the first: tokens [B, 512, 384].

        The convolutions' stride is their kernel: matrix products over cells of 4^3 voxels.
        """
        conv1, norm1, act1, conv2, norm2, act2, conv3 = parts(self.mask_downscaling)
        cells = split_cells(mask[:, 0], CELL).unflatten(-1, (2, 2, 2, 2, 2, 2))  # [B, 512, (outer, inner) an axis]
        cells = cells.permute(0, 1, 2, 4, 6, 3, 5, 7).flatten(5).flatten(2, 4)  # [B, 512, outer 8, inner 8]
        x = act1(norm1(F.linear(cells, conv1.weight.flatten(1), conv1.bias)))  # [B, 512, outer 8, 4]
        weight = conv2.weight.flatten(2).transpose(1, 2).flatten(1)  # [16, outer 8 x 4]
        x = act2(norm2(F.linear(x.flatten(2), weight, conv2.bias)))
        return F.linear(x, conv3.weight.flatten(1), conv3.bias)

    def grid(self) -> torch.Tensor:
        """The position code of every image token [512, 384]; its first two axes are swapped, as in training."""
        place = (torch.arange(GRID, device=self.pe_layer.frequencies.device) + 0.5) / GRID
        first, second, third = torch.meshgrid(place, place, place, indexing="ij")
        return self.pe_layer(torch.stack([second, first, third], dim=-1)).flatten(0, 2)
