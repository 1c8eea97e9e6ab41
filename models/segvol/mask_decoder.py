"""From image tokens and prompt tokens to logits, with SegVol's names."""

from __future__ import annotations

import torch
from torch import nn

from umd_engine.models.segvol.prompt_tokens import CELLS, WIDTH
from umd_engine.models.segvol.two_way import TwoWayTransformer

LOW_RESOLUTION = (32, 64, 64)  # (d, h, w) of the logits; the window has four times as many along h and w
MASKS = 4


class Mlp(nn.Module):
    def __init__(self, hidden: int, out: int):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(WIDTH, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, out)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers[2](torch.relu(self.layers[1](torch.relu(self.layers[0](x)))))


class MaskDecoder(nn.Module):
    """Of its four masks only the first is computed: the official interface returns no other."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer()
        self.iou_token, self.mask_tokens = nn.Embedding(1, WIDTH), nn.Embedding(MASKS, WIDTH)
        doubled = [2 * n for n in CELLS]
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose3d(WIDTH, WIDTH // 4, 2, 2),
            nn.LayerNorm((WIDTH // 4, *doubled)),  # over 3.1 M elements: float32, also under autocast
            nn.GELU(),
            nn.ConvTranspose3d(WIDTH // 4, WIDTH // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList([Mlp(WIDTH, WIDTH // 8) for _ in range(MASKS)])
        self.iou_prediction_head = Mlp(256, MASKS)
        self.txt_align_upscaled_embedding = nn.Linear(WIDTH, WIDTH // 8)

    def forward(
        self, image: torch.Tensor, image_pe: torch.Tensor, prompts: torch.Tensor, text: torch.Tensor | None
    ) -> torch.Tensor:
        """Logits [B, 32, 64, 64].

        Args:
            image: [B, 2048, 768], the embedding plus the dense prompt.
            image_pe: [1, 2048, 768].
            prompts: [B, N, 768].
            text: [B, 768].
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(image.shape[0], -1, -1)
        tokens, image = self.transformer(image, image_pe, torch.cat([own, prompts], dim=1))
        features = self.output_upscaling(image.transpose(1, 2).unflatten(2, CELLS))  # [B, 96, 32, 64, 64]
        mixture = self.output_hypernetworks_mlps[0](tokens[:, 1])  # [B, 96]
        if text is not None:
            mixture = mixture + self.txt_align_upscaled_embedding(text)
        return (mixture[:, None] @ features.flatten(2)).view(-1, *LOW_RESOLUTION)
