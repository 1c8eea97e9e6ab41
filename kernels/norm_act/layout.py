"""The memory formats that are read where they lie."""

from __future__ import annotations

import torch

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def memory_format(x: torch.Tensor) -> torch.memory_format:
    """Contiguous or channels last; contiguous for a tensor that is neither and has to be copied."""
    last = _CHANNELS_LAST.get(x.ndim)
    if last is None or x.is_contiguous() or not x.is_contiguous(memory_format=last):
        return torch.contiguous_format
    return last


def rows(x: torch.Tensor) -> torch.Tensor:
    """[N, voxels, C] of a channels-last tensor, a view."""
    return x.movedim(1, -1).view(x.shape[0], -1, x.shape[1])


def planes(x: torch.Tensor) -> torch.Tensor:
    """[N, C, voxels] of a contiguous tensor, a view."""
    return x.view(x.shape[0], x.shape[1], -1)
