"""A cheap network in SegVol's place, and a scan to run it on: for the official protocol and ours alike.

The encoder packs the window, averaged to 32 x 64 x 64, into an embedding's shape; the decoder unpacks it and adds a
bump for everything it is prompted with. Every step works element by element, so a batch changes no bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

ORGANS = ("broad", "cornered", "speck", "lost")
SHAPE = (290, 236, 44)  # of the file
SPACING = (0.9, 1.3, 4.0)  # mm


class Packing(nn.Module):
    """[B, 1, 32, 256, 256] -> [B, 768, 8, 16, 16], of whose channels 64 are used."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        low = image[:, 0].unflatten(3, (64, 4)).unflatten(2, (64, 4)).mean((3, 5))  # [B, 32, 64, 64]
        cells = low.unflatten(3, (16, 4)).unflatten(2, (16, 4)).unflatten(1, (8, 4))  # [B, 8, 4, 16, 4, 16, 4]
        packed = cells.permute(0, 2, 4, 6, 1, 3, 5).reshape(-1, 64, 8, 16, 16)
        return torch.cat([packed, packed.new_zeros(packed.shape[0], 704, 8, 16, 16)], dim=1)


def unpack(embedding: torch.Tensor) -> torch.Tensor:
    """[B, 32, 64, 64] of an embedding."""
    cells = embedding[:, :64].unflatten(1, (4, 4, 4))  # [B, 4, 4, 4, 8, 16, 16]
    return cells.permute(0, 4, 1, 5, 2, 6, 3).reshape(-1, 32, 64, 64)


class Bumps(nn.Module):
    """Logits [B, 32, 64, 64] from an embedding and prompts, named by `kinds` in their order."""

    def __init__(self, kinds: tuple[str, ...]):
        super().__init__()
        self.kinds = kinds

    def forward(self, embedding: torch.Tensor, *prompts: torch.Tensor) -> torch.Tensor:
        given = dict(zip(self.kinds, prompts, strict=True))
        logits = unpack(embedding) - 1.5
        if "points" in given:
            for n in range(given["points"].shape[1]):
                kind = given["labels"][:, n, None, None, None]
                sign = torch.where(kind == 1, 2.0, torch.where(kind == 0, -1.0, 0.01))
                logits = logits + sign * bump(given["points"][:, n], torch.tensor([[5.0, 30.0, 30.0]]))
        if "box" in given:
            first, last = given["box"][:, :3], given["box"][:, 3:]
            logits = logits + 4 * bump((first + last) / 2, (last - first) / 2 + 2)
        if "text" in given:
            middle = torch.sigmoid(given["text"][:, :3]) * torch.tensor([32.0, 256.0, 256.0])
            logits = logits + bump(middle, torch.tensor([[12.0, 80.0, 80.0]]))
        return logits


def bump(middle: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """[B, 32, 64, 64]: exp(-r^2) around voxels of the window [B, 3]."""
    lines = (torch.arange(32.0), torch.arange(64) * 4 + 1.5, torch.arange(64) * 4 + 1.5)
    result = torch.ones(1)
    for axis, line in enumerate(lines):
        away = (line - middle[:, axis, None]) / width[:, axis, None]
        shape = [len(middle), 1, 1, 1]
        shape[axis + 1] = len(line)
        result = result * torch.exp(-(away**2)).reshape(shape)
    return result


@dataclass(frozen=True)
class Scan:
    """int16 [X, Y, Z] in the file's order, its label map and its affine."""

    image: np.ndarray
    label: np.ndarray
    affine: np.ndarray


def make_scan(seed: int = 5) -> Scan:
    """An off-centre body in air on a flipped, oblique, anisotropic grid, with organs of three kinds.

    "broad" takes several windows; "cornered" lies at the border, so that its region is cut off there; "speck" is one
    voxel, which a window's mirrored box loses; "lost" another one, which the resized label loses.
    """
    random = np.random.Generator(np.random.Philox(seed))
    x, y, z = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij", sparse=True)
    body = ((x - 146) / 138) ** 2 + ((y - 112) / 104) ** 2 + 0 * z < 1
    body &= (z >= 2) & (z < 41)
    image = np.where(body, 40, -1000) + np.where(body, random.integers(-60, 60, SHAPE), 0)
    label = np.zeros(SHAPE, np.uint8)
    label[(x > 14) & (x < 276) & (abs(y - 110) < 35) & (z > 4) & (z < 39)] = 1
    label[(x - 266) ** 2 / 10 + (y - 112) ** 2 / 24 + (z - 36) ** 2 < 18] = 2
    image += 300 * (label == 1) + 160 * (label == 2)
    label[100, 30, 20] = 3
    label[120, 60, 21] = 4
    return Scan(image.astype(np.int16), label, make_affine())


def make_affine() -> np.ndarray:
    """Axes run to the left, forwards and down, tilted; far from the origin."""
    turn = np.eye(3)
    for axis, degrees in ((0, 14), (1, -8), (2, 11)):
        i, j = (a for a in range(3) if a != axis)
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        step = np.eye(3)
        step[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
        turn = turn @ step
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.0, 1.0, -1.0]) @ np.diag(SPACING)
    affine[:3, 3] = (151.0, -302.5, 77.25)
    return affine


def probe(values: Any, count: int = 512) -> np.ndarray:
    """Values at evenly spaced flat positions."""
    flat = np.asarray(values, dtype=np.float32).ravel()
    return flat[np.linspace(0, flat.size - 1, min(count, flat.size)).astype(np.int64)]
