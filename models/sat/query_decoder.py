"""From organ queries and image tokens to organ embeddings, with SAT's names."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, HEADS, MLP_WIDTH, LAYERS = 768, 8, 2048, 6


def positions(grid: tuple[int, int, int], device: torch.device) -> torch.Tensor:
    """Sines and cosines of the tokens' places, [h * w * d, 768], h slowest.

    A third of the channels an axis, in its order; channel 2 i is sin(p f_i) and channel 2 i + 1 is cos(p f_i), with
    p the token's index along the axis and f_i = 10000^(-2 i / 256).
    """
    third = WIDTH // 3
    frequencies = 10000.0 ** (-torch.arange(0, third, 2, device=device, dtype=torch.float32) / third)
    axes = []
    for axis, n in enumerate(grid):
        angles = torch.arange(n, device=device, dtype=torch.float32)[:, None] * frequencies  # [n, 128]
        own = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)  # [n, 256]
        shape = [n if other == axis else 1 for other in range(3)]
        axes.append(own.view(*shape, third).expand(*grid, third))
    return torch.cat(axes, dim=-1).flatten(0, 2)


class CrossAttention(nn.Module):
    """Multi-head attention with the packed names of `torch.nn.MultiheadAttention`.

    Written as products and a softmax: torch's fused attention does not export to ONNX at every shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * WIDTH, WIDTH))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * WIDTH))
        self.out_proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """[B, N, 768] queries, [B, M, 768] keys and values -> [B, N, 768]."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        projected = (F.linear(x, w, b) for x, w, b in zip((q, k, v), weights, biases, strict=True))
        query, key, value = (x.unflatten(2, (HEADS, -1)).transpose(1, 2) for x in projected)  # [B, 8, tokens, 96]
        shares = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(WIDTH // HEADS), dim=-1)
        return self.out_proj((shares @ value).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Queries look at the image tokens, each for itself, then pass an MLP; `norm1` is loaded and not used."""

    def __init__(self) -> None:
        super().__init__()
        self.multihead_attn = CrossAttention()
        self.linear1, self.linear2 = nn.Linear(WIDTH, MLP_WIDTH), nn.Linear(MLP_WIDTH, WIDTH)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(WIDTH, eps=1e-5) for _ in range(3))

    def forward(self, x: torch.Tensor, keys: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        x = x + self.multihead_attn(self.norm2(x), keys, memory)
        return x + self.linear2(torch.relu(self.linear1(self.norm3(x))))


class QueryDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer() for _ in range(LAYERS)])
        self.norm = nn.LayerNorm(WIDTH, eps=1e-5)

    def forward(self, queries: torch.Tensor, memory: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Queries [B, N, 768], image tokens [B, M, 768], their positions [M, 768] -> [B, N, 768]."""
        for layer in self.layers:
            queries = layer(queries, memory + places, memory)
        return self.norm(queries)
