"""Layers that the parts of the network share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional as F


class Mlp(torch.nn.Module):
    """Two linear layers, the official names `lin1` and `lin2`.

    Args:
        relu: ReLU in between; otherwise the exact GELU.
    """

    def __init__(self, dim: int, hidden: int, relu: bool = False):
        super().__init__()
        self.lin1 = torch.nn.Linear(dim, hidden)
        self.lin2 = torch.nn.Linear(hidden, dim)
        self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.lin1(x)
        return self.lin2(F.relu(x) if self.relu else F.gelu(x))


class Head(torch.nn.Module):
    """Linear layers with ReLU in between, the official name `layers`."""

    def __init__(self, sizes: Sequence[int]):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def parts(modules: torch.nn.ModuleList) -> list[Any]:
    """The members of a list whose classes differ: no type says more than that each is a module."""
    return list(modules)


def channel_norm(channels: int) -> torch.nn.LayerNorm:
    """Over the channels of one voxel; the tensors are channels last, so torch's LayerNorm is the official one."""
    return torch.nn.LayerNorm(channels, eps=1e-6)


def split_cells(x: torch.Tensor, size: int) -> torch.Tensor:
    """Cells of size^3 voxels of [B, n, n, n] as [B, (n / size)^3, size^3], both in C order."""
    n = x.shape[-1] // size
    x = x.reshape(-1, n, size, n, size, n, size).permute(0, 1, 3, 5, 2, 4, 6)
    return x.flatten(4).flatten(1, 3)


def position_code(places: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """[sin, cos, sin](2 pi (2 c - 1) G) of places c in 0..1 [..., 3] with G [3, 128]: [..., 384].

    A sum of products, not a matrix product: these angles do not bear TF32 or bfloat16.
    """
    centred = 2 * places - 1
    angles = (
        centred[..., 0:1] * frequencies[0] + centred[..., 1:2] * frequencies[1] + centred[..., 2:3] * frequencies[2]
    )
    angles = 2 * math.pi * angles
    return torch.cat([angles.sin(), angles.cos(), angles.sin()], dim=-1)
