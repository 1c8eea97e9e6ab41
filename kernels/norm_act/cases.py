"""Inputs that every implementation of norm_act is held against the reference on, and timed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

# one rounding to the type of the result, and float32 arithmetic before it
ROUNDING = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
ARITHMETIC = 4e-6


@dataclass(frozen=True)
class Case:
    """Feature maps, parameters and an activation.

    Args:
        mean: of the values, whose spread is 1: far from zero it takes their digits.
        affine: with weight and bias.
        layout: "contiguous", "channels_last" or "view", which is neither.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    activation: str | None = "leaky_relu"
    slope: float = 0.01
    mean: float = 0.3
    affine: bool = True
    residual: bool = False
    layout: str = "contiguous"

    def make(self, seed: int = 0) -> dict[str, Any]:
        """The keyword arguments of `norm_act`."""
        generator = torch.Generator().manual_seed(seed)
        x = self._laid_out(torch.randn(self.shape, generator=generator) + self.mean)
        more = self._laid_out(torch.randn(self.shape, generator=generator)) if self.residual else None
        channels = self.shape[1]
        weight = torch.rand(channels, generator=generator) * 2 - 0.5 if self.affine else None
        bias = torch.randn(channels, generator=generator) if self.affine else None
        given = {"x": x, "weight": weight, "bias": bias, "residual": more}
        return {**given, "activation": self.activation, "slope": self.slope}

    def tolerance(self, expected: torch.Tensor) -> float:
        """Of the largest value: a rounding of the result, float32 arithmetic, and the input's digits at its mean."""
        largest = float(expected.abs().max()) if expected.numel() else 0.0
        return (2 * ROUNDING[self.dtype] + ARITHMETIC) * max(largest, 1.0) + 2.0**-22 * abs(self.mean)

    @property
    def bytes_moved(self) -> int:
        """Least bytes: x twice, as its statistics need all of a plane, the residual once, the result once."""
        values = torch.Size(self.shape).numel()
        return values * self.dtype.itemsize * (4 if self.residual else 3)

    def _laid_out(self, values: torch.Tensor) -> torch.Tensor:
        values = values.to(self.dtype)
        if self.layout == "channels_last":
            return values.contiguous(memory_format=torch.channels_last_3d)
        if self.layout == "view":
            return torch.nn.functional.pad(values, (1, 2, 0, 3))[..., :-3, 1:-2]
        return values


HALF, BRAIN = torch.float16, torch.bfloat16
CASES = (
    Case("empty", (2, 3, 4, 0, 5)),
    Case("no-item", (0, 3, 4, 4, 5)),
    Case("one", (1, 1, 1, 1, 1)),
    Case("one-voxel", (2, 5, 1, 1, 1), residual=True),
    Case("block-1", (1, 2, 1023)),
    Case("block", (1, 2, 1, 1, 1024), activation="relu"),
    Case("block+1", (1, 2, 1, 1025, 1), activation=None),
    Case("odd", (2, 3, 17, 11, 23), residual=True),
    Case("long", (1, 2, 21, 30, 40), activation="relu", residual=True),
    Case("not-affine", (1, 4, 9, 10, 11), affine=False),
    Case("large-mean", (1, 3, 16, 20, 33), mean=1e4, residual=True),
    Case("large-mean-last", (1, 20, 16, 20, 11), mean=1e4, layout="channels_last"),
    Case("last", (2, 7, 9, 10, 11), layout="channels_last", residual=True),
    Case("last-wide", (1, 130, 3, 5, 7), layout="channels_last", activation="relu"),
    Case("last-long", (1, 32, 16, 20, 13), layout="channels_last", activation=None),
    Case("last-one-voxel", (2, 16, 1, 1, 1), layout="channels_last"),
    Case("view", (2, 3, 7, 8, 9), layout="view", residual=True),
    Case("half", (1, 3, 17, 11, 23), HALF, residual=True),
    Case("half-sums", (1, 1, 40, 41, 43), HALF, mean=30.0),
    Case("half-last", (1, 6, 9, 11, 12), HALF, layout="channels_last", activation="relu"),
    Case("brain", (1, 3, 17, 11, 23), BRAIN, activation="relu", residual=True),
    Case("brain-last", (1, 33, 5, 6, 7), BRAIN, layout="channels_last", residual=True),
)
FULL = Case("60-million", (1, 29, 128, 128, 128), residual=True)
