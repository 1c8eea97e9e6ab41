"""Stand-in weights and inputs: every tensor is a function of (seed, its name, its shape).

Two implementations of one network are compared without its published checkpoint: both are filled by the
same rule and fed the same input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch


def normal(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal float32 values: Philox keyed by the first 16 bytes of SHA-256 of "seed:name"."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8")))
    return generator.standard_normal(shape, dtype=np.float32)


def tensor(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 value of parameter or buffer `name`: weights are scaled by 1/sqrt(fan in)."""
    x = normal(seed, name, shape)
    if len(shape) >= 2:
        return x / np.sqrt(np.prod(shape[1:], dtype=np.float64)).astype(np.float32)
    if name.endswith("running_var"):
        return 1 + np.abs(0.1 * x)
    if name.endswith("weight"):  # scale of a normalisation layer
        return 1 + 0.1 * x
    return 0.1 * x


def volume(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A smooth float32 input in [0, 1]: noise on an 8 times coarser grid by nearest neighbour, plus fine noise."""
    coarse = normal(seed, f"{name}:coarse", shape[:-3] + tuple(-(-n // 8) for n in shape[-3:]))
    for axis in (-3, -2, -1):
        coarse = np.repeat(coarse, 8, axis=axis)
    nx, ny, nz = shape[-3:]
    x = coarse[..., :nx, :ny, :nz] + 0.1 * normal(seed, f"{name}:fine", shape)
    return ((x - x.min()) / (x.max() - x.min())).astype(np.float32)


def fill(state: Mapping[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """A copy of a state dict with every floating tensor replaced by `tensor`."""
    return {
        name: torch.from_numpy(np.ascontiguousarray(tensor(seed, name, tuple(t.shape)))).to(t.dtype).reshape(t.shape)
        if t.is_floating_point()
        else t.clone()
        for name, t in state.items()
    }
