"""16-bit values on their way through float32 loops, in memory that each thread keeps.

Not by torch, whose conversions start threads of their own beside those of the caller.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def widen(bits: Any, words: Any) -> None:
    """Bits of bfloat16 [n] as uint16 -> bits of float32 [n] as uint32; compiled by numba."""
    for index in range(bits.size):
        words[index] = np.uint32(bits[index]) << np.uint32(16)


def narrow(words: Any, bits: Any) -> None:
    """Bits of float32 [n] -> of bfloat16 [n], to nearest, ties to even; NaN stays NaN; compiled by numba."""
    for index in range(words.size):
        word = words[index]
        odd = (word >> np.uint32(16)) & np.uint32(1)
        rounded = (word + np.uint32(0x7FFF) + odd) >> np.uint32(16)
        nan = (word & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
        bits[index] = np.uint16(0x7FC0) if nan else np.uint16(rounded)


class Scratch:
    """Parts as float32 arrays: of float32 tensors the part itself, of others a copy in the calling thread's memory.

    Args:
        compiled: makes a fast function of `widen` and of `narrow`.
    """

    def __init__(self, compiled: Callable[[Callable[..., None]], Callable[..., None]]) -> None:
        self._kept = threading.local()
        self._widen, self._narrow = compiled(widen), compiled(narrow)

    def read(self, part: torch.Tensor, role: str) -> np.ndarray:
        """The part's values; a copy lasts until the thread reads another part in this role."""
        if part.dtype == torch.float32:
            return part.numpy()
        values = self._take(role, part.shape)
        if part.dtype == torch.bfloat16:
            self._widen(_bits(part), values.reshape(-1).view(np.uint32))
        else:
            np.copyto(values, part.numpy())
        return values

    def target(self, out: torch.Tensor) -> np.ndarray:
        """Where a loop writes float32: into `out`, or beside it. Never over what it reads: that halves its speed."""
        return out.numpy() if out.dtype == torch.float32 else self._take("result", out.shape)

    def store(self, result: np.ndarray, out: torch.Tensor) -> None:
        """Rounds the result to the type of `out`, unless it was written there."""
        if out.dtype == torch.bfloat16:
            self._narrow(result.reshape(-1).view(np.uint32), _bits(out))
        elif out.dtype == torch.float16:
            with np.errstate(over="ignore"):  # beyond 65504 it is infinite, as torch rounds
                np.copyto(out.numpy(), result, casting="same_kind")

    def _take(self, role: str, shape: torch.Size) -> np.ndarray:
        kept = getattr(self._kept, role, None)
        if kept is None or kept.size < shape.numel():
            kept = np.empty(shape.numel(), np.float32)
            setattr(self._kept, role, kept)
        taken: np.ndarray = kept[: shape.numel()].reshape(shape)
        return taken


def _bits(part: torch.Tensor) -> np.ndarray:
    """The 16 bits of each value, flat, in the tensor's memory."""
    flat: np.ndarray = part.view(torch.int16).numpy().reshape(-1).view(np.uint16)
    return flat
