"""The two-way transformer between prompt tokens and image tokens, with SegVol's names and widths."""

from __future__ import annotations

import math

import torch
from torch import nn

WIDTH, HEADS, MLP_WIDTH = 768, 8, 2048


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than its outer one.

    Written as products and a softmax: torch's fused attention does not export to ONNX at every shape.
    """

    def __init__(self, inner: int):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(WIDTH, inner) for _ in range(3))
        self.out_proj = nn.Linear(inner, WIDTH)

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """[B, N, 768] queries, [B, M, 768] keys and values -> [B, N, 768]."""
        heads = [self._heads(x) for x in (self.q_proj(q), self.k_proj(k), self.v_proj(v))]  # [B, 8, tokens, inner / 8]
        scale = 1 / math.sqrt(heads[0].shape[-1])
        weights = torch.softmax(heads[0] @ heads[1].transpose(-1, -2) * scale, dim=-1)
        return self.out_proj((weights @ heads[2]).transpose(1, 2).flatten(2))

    @staticmethod
    def _heads(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (HEADS, -1)).transpose(1, 2)


class MlpBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lin1, self.lin2 = nn.Linear(WIDTH, MLP_WIDTH), nn.Linear(MLP_WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lin2(torch.relu(self.lin1(x)))


class TwoWayBlock(nn.Module):
    """Tokens to themselves, tokens to image, an MLP, image to tokens; each followed by its LayerNorm.

    Args:
        first: the first block's self-attention has neither positions nor a residual.
    """

    def __init__(self, first: bool):
        super().__init__()
        self.first = first
        self.self_attn = Attention(WIDTH)
        self.norm1 = nn.LayerNorm(WIDTH)
        self.cross_attn_token_to_image = Attention(WIDTH // 2)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = MlpBlock()
        self.norm3 = nn.LayerNorm(WIDTH)
        self.norm4 = nn.LayerNorm(WIDTH)
        self.cross_attn_image_to_token = Attention(WIDTH // 2)

    def forward(
        self, queries: torch.Tensor, keys: torch.Tensor, query_pe: torch.Tensor, key_pe: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.first:
            queries = self.self_attn(queries, queries, queries)
        else:
            q = queries + query_pe
            queries = queries + self.self_attn(q, q, queries)
        queries = self.norm1(queries)
        k = keys + key_pe
        queries = self.norm2(queries + self.cross_attn_token_to_image(queries + query_pe, k, keys))
        queries = self.norm3(queries + self.mlp(queries))
        keys = self.norm4(keys + self.cross_attn_image_to_token(k, queries + query_pe, queries))
        return queries, keys


class TwoWayTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([TwoWayBlock(first=True), TwoWayBlock(first=False)])
        self.final_attn_token_to_image = Attention(WIDTH // 2)
        self.norm_final_attn = nn.LayerNorm(WIDTH)

    def forward(
        self, image: torch.Tensor, image_pe: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Image tokens [B, M, 768] with positions [1, M, 768] and prompt tokens [B, N, 768]: both, transformed.

        The prompt tokens as they came are their own positions.
        """
        queries, keys = tokens, image
        for layer in self.layers:
            queries, keys = layer(queries, keys, tokens, image_pe)
        attended = self.final_attn_token_to_image(queries + tokens, keys + image_pe, keys)
        return self.norm_final_attn(queries + attended), keys
