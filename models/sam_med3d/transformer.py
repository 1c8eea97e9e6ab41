"""The two-way transformer: prompt tokens attend to the image and the image to them."""

from __future__ import annotations

import torch

from umd_engine.models.sam_med3d.encoder import NARROW
from umd_engine.models.sam_med3d.layers import Mlp

HEADS = 8


class CrossAttention(torch.nn.Module):
    """Attention of queries [B, N, 384] to keys and values [B, M, 384].

    Args:
        inner: channels of all heads together.
    """

    def __init__(self, inner: int):
        super().__init__()
        self.q_proj = torch.nn.Linear(NARROW, inner)
        self.k_proj = torch.nn.Linear(NARROW, inner)
        self.v_proj = torch.nn.Linear(NARROW, inner)
        self.out_proj = torch.nn.Linear(inner, NARROW)
        self.scale = (inner // HEADS) ** -0.5

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k, v = _heads(self.q_proj(q)), _heads(self.k_proj(k)), _heads(self.v_proj(v))
        shares = (q * self.scale @ k.transpose(-2, -1)).softmax(-1)
        return self.out_proj((shares @ v).transpose(1, 2).flatten(2))


def _heads(x: torch.Tensor) -> torch.Tensor:
    return x.unflatten(-1, (HEADS, x.shape[-1] // HEADS)).transpose(1, 2)


class TwoWayLayer(torch.nn.Module):
    """Tokens among themselves, tokens to image, MLP, image to tokens; each added and then normalised.

    Args:
        first: its self-attention sees no positions and replaces the tokens instead of being added.
    """

    def __init__(self, first: bool):
        super().__init__()
        self.first = first
        self.self_attn = CrossAttention(NARROW)
        self.norm1 = torch.nn.LayerNorm(NARROW)
        self.cross_attn_token_to_image = CrossAttention(NARROW // 2)
        self.norm2 = torch.nn.LayerNorm(NARROW)
        self.mlp = Mlp(NARROW, 2048, relu=True)
        self.norm3 = torch.nn.LayerNorm(NARROW)
        self.norm4 = torch.nn.LayerNorm(NARROW)
        self.cross_attn_image_to_token = CrossAttention(NARROW // 2)

    def extra_repr(self) -> str:
        return f"first={self.first}"

    def forward(
        self, tokens: torch.Tensor, image: torch.Tensor, start: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens [B, T, 384], image [B, 512, 384]; `start` and `places` are added to queries and keys."""
        if self.first:
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            placed = tokens + start
            tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens))
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + start, image + places, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(image + places, tokens + start, tokens))
        return tokens, image


class TwoWayTransformer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([TwoWayLayer(first=True), TwoWayLayer(first=False)])
        self.final_attn_token_to_image = CrossAttention(NARROW // 2)
        self.norm_final_attn = torch.nn.LayerNorm(NARROW)

    def forward(
        self, start: torch.Tensor, image: torch.Tensor, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens [B, T, 384] and image [B, 512, 384], with the image's position code [512, 384]."""
        tokens = start
        for layer in self.layers:
            tokens, image = layer(tokens, image, start, places)
        tokens = tokens + self.final_attn_token_to_image(tokens + start, image + places, image)
        return self.norm_final_attn(tokens), image
