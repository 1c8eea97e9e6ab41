"""SAT's U-Net, with the names of `dynamic_network_architectures`, under which its checkpoints hold it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

CHANNELS = 3  # of the first convolution: grey values, repeated


class GreyConv(nn.Conv3d):
    """A convolution of an image that is repeated on all its channels: of the image with the kernels' sum."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, 1, H, W, D]."""
        return self._conv_forward(x, self.weight.sum(1, keepdim=True), self.bias)


class ConvBlock(nn.Module):
    """Convolution, InstanceNorm, LeakyReLU.

    The library registers every layer twice, as `conv` and `norm` and in `all_modules`; a state dict has both names.
    """

    def __init__(self, channels: int, features: int, stride: int, grey: bool = False):
        super().__init__()
        self.conv = (GreyConv if grey else nn.Conv3d)(channels, features, 3, stride, 1)
        self.norm = nn.InstanceNorm3d(features, eps=1e-5, affine=True)
        self.all_modules = nn.Sequential(self.conv, self.norm, nn.LeakyReLU(0.01))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.all_modules(x)


class Stage(nn.Module):
    """Convolutions one after the other, the first with the stride."""

    def __init__(self, channels: int, features: int, stride: int, convs: int, grey: bool = False):
        super().__init__()
        first = ConvBlock(channels, features, stride, grey)
        self.convs = nn.Sequential(first, *(ConvBlock(features, features, 1) for _ in range(convs - 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convs(x)


class Encoder(nn.Module):
    def __init__(self, features: Sequence[int], convs: int):
        super().__init__()
        stages, channels = [], CHANNELS
        for depth, n in enumerate(features):
            stages.append(nn.Sequential(Stage(channels, n, 2 if depth else 1, convs, grey=depth == 0)))
            channels = n
        self.stages = nn.Sequential(*stages)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """[B, 1, H, W, D] -> the output of every stage, [B, features[i], H / 2^i, W / 2^i, D / 2^i]."""
        outputs = []
        for stage in self.stages:
            image = stage(image)
            outputs.append(image)
        return outputs


class Decoder(nn.Module):
    def __init__(self, features: Sequence[int], convs: int):
        super().__init__()
        upwards = list(zip(features[::-1], features[-2::-1], strict=False))
        self.stages = nn.ModuleList([Stage(2 * n, n, 1, convs) for _, n in upwards])
        self.transpconvs = nn.ModuleList([nn.ConvTranspose3d(m, n, 2, 2) for m, n in upwards])

    def forward(self, outputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """The encoder's outputs -> [B, features[0], H, W, D]."""
        x = outputs[-1]
        for up, stage, skip in zip(self.transpconvs, self.stages, outputs[-2::-1], strict=True):
            x = stage(torch.cat([up(x), skip], dim=1))
        return x


class Backbone(nn.Module):
    def __init__(self, features: Sequence[int], convs: int):
        super().__init__()
        self.encoder, self.decoder = Encoder(features, convs), Decoder(features, convs)
