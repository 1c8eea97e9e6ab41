"""The mask decoder: an embedding and prompt tokens to low-resolution logits and a quality."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from umd_engine.models.sam_med3d.attention import GRID
from umd_engine.models.sam_med3d.encoder import NARROW
from umd_engine.models.sam_med3d.layers import Head, channel_norm, parts
from umd_engine.models.sam_med3d.transformer import TwoWayTransformer

MASKS = 4
MIDDLE, FINE = NARROW // 4, NARROW // 8
LOW = 4 * GRID  # 32 voxels along an axis of the logits


class MaskDecoder(torch.nn.Module):
    """Only the first of four masks and qualities is computed; all four mask tokens take part in the attention."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer()
        self.iou_token = torch.nn.Embedding(1, NARROW)
        self.mask_tokens = torch.nn.Embedding(MASKS, NARROW)
        self.output_upscaling = torch.nn.ModuleList(
            [
                torch.nn.ConvTranspose3d(NARROW, MIDDLE, 2, 2),
                channel_norm(MIDDLE),
                torch.nn.GELU(),
                torch.nn.ConvTranspose3d(MIDDLE, FINE, 2, 2),
                torch.nn.GELU(),
            ]
        )
        self.output_hypernetworks_mlps = torch.nn.ModuleList(Head((NARROW, NARROW, NARROW, FINE)) for _ in range(MASKS))
        self.iou_prediction_head = Head((NARROW, 256, 256, MASKS))

    def forward(
        self, image: torch.Tensor, places: torch.Tensor, prompts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Image tokens [B, 512, 384], their position code, prompt tokens [B, N + 1, 384].

        Returns:
            logits [B, 1, 32, 32, 32] and the estimated IoU [B, 1].
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        start = torch.cat([own.expand(prompts.shape[0], 1 + MASKS, NARROW), prompts], dim=1)
        tokens, image = self.transformer(start, image, places)
        weights = self.output_hypernetworks_mlps[0](tokens[:, 1])  # [B, 48]
        fine = self._upscale(image)  # [B, 512, 8, 8, 48]
        logits = _interleave((fine.flatten(1, 3) @ weights[..., None])[..., 0])
        return logits[:, None], self.iou_prediction_head(tokens[:, 0])[:, :1]

    def _upscale(self, image: torch.Tensor) -> torch.Tensor:
        """Tokens [B, 512, 384] to [B, 512, 8 children, 8 grandchildren, 48].

        A transposed convolution whose stride is its kernel gives each voxel 8 children of its own: a matrix product.
        """
        up1, norm, act1, up2, act2 = parts(self.output_upscaling)
        middle = act1(norm(_children(image, up1)))
        return act2(_children(middle, up2))


def _children(x: torch.Tensor, up: torch.nn.ConvTranspose3d) -> torch.Tensor:
    """[..., C] to [..., 8, C'], the children in C order."""
    weight = up.weight.flatten(2).permute(2, 1, 0)  # [8, C', C]
    assert up.bias is not None
    return F.linear(x, weight.flatten(0, 1)).unflatten(-1, (8, up.out_channels)) + up.bias


def _interleave(x: torch.Tensor) -> torch.Tensor:
    """[B, 512 voxels x 8 children x 8 grandchildren], each in C order, to [B, 32, 32, 32].

    In two steps: TensorRT has eight axes at most.
    """
    middle = x.reshape(-1, GRID, GRID, GRID, 2, 2, 2, 8).permute(0, 1, 4, 2, 5, 3, 6, 7)
    fine = middle.reshape(-1, LOW // 2, LOW // 2, LOW // 2, 2, 2, 2).permute(0, 1, 4, 2, 5, 3, 6)
    return fine.reshape(-1, LOW, LOW, LOW)
