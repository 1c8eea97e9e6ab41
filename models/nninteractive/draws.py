"""Random indices for the refinement planner's last resort."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import torch

from umd_engine.models.nninteractive.planner import Draw

Draws = Callable[[int], Draw]  # number of the prediction, from 0 -> its draws
SAMPLES = 1 << 16  # voxels that name a scan


def numpys_stream(seed: int) -> Draws:
    """One stream that runs on from prediction to prediction and from organ to organ, as the official code's."""
    state = np.random.RandomState(seed)
    return lambda prediction: lambda count: int(state.choice(count))


def keyed(seed: int, scan: str, organ: str) -> Draws:
    """Philox, keyed by SHA-256 of the run's seed, the scan, the organ and the prediction: no case moves another's."""

    def of(prediction: int) -> Draw:
        digest = hashlib.sha256(f"{seed}:{scan}:{organ}:{prediction}".encode()).digest()
        generator = np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8")))
        return lambda count: int(generator.integers(count))

    return of


def name_of(image: torch.Tensor) -> str:
    """SHA-256 of a float32 image's shape and of every k-th voxel, about 65536.

    Of the voxels as stored it is the same wherever the file lies, and on every device.
    """
    step = max(1, image.numel() // SAMPLES)
    sample = image.reshape(-1)[::step].cpu().contiguous().numpy()
    return hashlib.sha256(str(tuple(image.shape)).encode() + sample.tobytes()).hexdigest()
