"""The image encoder: a ViT over patches of 16^3 voxels, and a neck that narrows its tokens."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from umd_engine.models.sam_med3d.attention import GRID, HEADS, WIDTH, WINDOW, Attention
from umd_engine.models.sam_med3d.layers import Mlp, channel_norm, parts, split_cells

DIM = HEADS * WIDTH
NARROW = 384
PATCH = 16
BLOCKS, GLOBAL = 12, (2, 5, 8, 11)  # the other blocks attend within windows


class PatchEmbed(torch.nn.Module):
    """A convolution whose stride is its kernel, as the matrix product that it is."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = torch.nn.Conv3d(1, DIM, PATCH, PATCH)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        tokens = F.linear(split_cells(image[:, 0], PATCH), self.proj.weight.flatten(1), self.proj.bias)
        return tokens.unflatten(1, (GRID, GRID, GRID))


class Block(torch.nn.Module):
    """Pre-norm attention and MLP over tokens [B, 8, 8, 8, 768]."""

    def __init__(self, size: int, reduced: bool):
        super().__init__()
        self.norm1 = torch.nn.LayerNorm(DIM, eps=1e-6)
        self.attn = Attention(size, reduced)
        self.norm2 = torch.nn.LayerNorm(DIM, eps=1e-6)
        self.mlp = Mlp(DIM, 4 * DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Encoder(torch.nn.Module):
    """image [B, 1, 128, 128, 128] -> embedding [B, 384, 8, 8, 8].

    Args:
        reduced: window attention in its exact short form (104.6 instead of 368.6 GFLOP).
    """

    def __init__(self, reduced: bool = True):
        super().__init__()
        self.patch_embed = PatchEmbed()
        self.pos_embed = torch.nn.Parameter(torch.zeros(1, GRID, GRID, GRID, DIM))
        sizes = [GRID if block in GLOBAL else WINDOW for block in range(BLOCKS)]
        self.blocks = torch.nn.ModuleList(Block(size, reduced) for size in sizes)
        self.neck = torch.nn.ModuleList(
            [
                torch.nn.Conv3d(DIM, NARROW, 1, bias=False),
                channel_norm(NARROW),
                torch.nn.Conv3d(NARROW, NARROW, 3, padding=1, bias=False),
                channel_norm(NARROW),
            ]
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed(image) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        narrow, norm1, conv, norm2 = parts(self.neck)
        x = norm1(F.linear(x, narrow.weight.flatten(1)))
        x = conv(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        return norm2(x).permute(0, 4, 1, 2, 3)
