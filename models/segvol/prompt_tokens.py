"""Points and boxes as tokens, with SegVol's names."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import nn

WINDOW = (32, 256, 256)  # voxels of the network's input, (d, h, w)
CELLS = (8, 16, 16)  # image tokens, (d, h, w)
WIDTH = 768
# Voxels of d are divided by 256 and those of h by 32: so the published weights were trained.
DIVISORS = (256.0, 32.0, 256.0)


class Positions(nn.Module):
    """Sine and cosine of a random projection of coordinates in [0, 1]."""

    positional_encoding_gaussian_matrix: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(3, WIDTH // 2))

    def forward(self, where: torch.Tensor) -> torch.Tensor:
        """[..., 3] -> [..., 768]. A sum of products, which autocast leaves in float32: phases reach hundreds."""
        matrix = self.positional_encoding_gaussian_matrix
        phase = 2 * math.pi * ((2 * where - 1)[..., None] * matrix).sum(-2)
        return torch.cat([phase.sin(), phase.cos()], dim=-1)

    def of_voxels(self, voxels: torch.Tensor) -> torch.Tensor:
        """Voxels [..., 3] of the window, (d, h, w) -> [..., 768]."""
        return self((voxels + 0.5) / torch.tensor(DIVISORS, device=voxels.device))

    def of_cells(self) -> torch.Tensor:
        """[1, 2048, 768]: the centres of all image tokens, d slowest; here h comes first, then d, then w."""
        device = self.positional_encoding_gaussian_matrix.device
        d, h, w = ((torch.arange(n, device=device, dtype=torch.float32) + 0.5) / n for n in CELLS)
        where = torch.stack(torch.broadcast_tensors(h[None, :, None], d[:, None, None], w[None, None, :]), dim=-1)
        return self(where.reshape(1, -1, 3))


class ChannelNorm(nn.Module):
    """Weights of the unused mask branch: they are in every checkpoint."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))


class PromptEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pe_layer = Positions()
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, WIDTH) for _ in range(4)])
        self.not_a_point_embed = nn.Embedding(1, WIDTH)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, 2, 2), ChannelNorm(4), nn.GELU(), nn.Conv2d(4, 16, 2, 2), ChannelNorm(16), nn.GELU(),
            nn.Conv2d(16, WIDTH, 1),
        )  # fmt: skip
        self.no_mask_embed = nn.Embedding(1, WIDTH)

    def points(self, voxels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """[B, N, 3] voxels (d, h, w) and [B, N] labels -> [B, N, 768].

        Labels are 1 in the organ, 0 beside it and -1 for a place kept empty, which has no position.
        """
        negative, positive = self._kind(0), self._kind(1)
        where = self.pe_layer.of_voxels(voxels)
        kind = labels[..., None]
        empty = self.not_a_point_embed.weight.expand_as(where)
        return torch.where(kind == 1, where + positive, torch.where(kind == 0, where + negative, empty))

    def box(self, corners: torch.Tensor) -> torch.Tensor:
        """[B, 6] voxels (d0, h0, w0, d1, h1, w1), the last ones inside the box -> [B, 2, 768]."""
        kinds = torch.cat([self._kind(2), self._kind(3)])
        return self.pe_layer.of_voxels(corners.unflatten(1, (2, 3))) + kinds

    def _kind(self, number: int) -> torch.Tensor:
        """[1, 768]: beside the organ, in it, a box's first corner, its last."""
        return cast(nn.Embedding, self.point_embeddings[number]).weight

    def no_point(self, batch: torch.Tensor) -> torch.Tensor:
        """[B, 1, 768]: the token that follows points where there is no box."""
        return self.not_a_point_embed.weight.expand(batch.shape[0], 1, WIDTH)
