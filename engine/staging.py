"""Inputs of a batch on their way to a GPU: through pinned memory, on a stream of their own.

What a batch needs from the host is copied while the batch before it computes: the copy's stream waits for nobody, and
the stream that computes waits for the copy alone. torch's allocator of pinned memory keeps a buffer until its copy is
done and gives it to a later batch, so as many are in use as there are batches in flight. Not measured yet.
"""

from __future__ import annotations

from functools import cache

import torch

from umd_engine.engine.work import Tensors
from umd_engine.kernels.parts import doing


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on a device, where it may be already."""
    if tensor.device.type == device.type == "cpu":
        return tensor
    with doing("transfer"):
        return tensor.to(device)


def staged(inputs: Tensors, device: torch.device) -> Tensors:
    """The inputs on `device`, for its current stream to use; those that are there already stay as they are."""
    if device.type != "cuda" or all(x.is_cuda for x in inputs):
        return tuple(x.to(device) for x in inputs)
    with doing("transfer"):
        return _copied(inputs, device)


def _copied(inputs: Tensors, device: torch.device) -> Tensors:
    stream, computing = _copies(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(stream):
        copies = tuple(x.to(device) if x.is_cuda else x.pin_memory().to(device, non_blocking=True) for x in inputs)
    computing.wait_stream(stream)
    for before, after in zip(inputs, copies, strict=True):
        if after is not before:
            after.record_stream(computing)  # it is the copies' memory: not to be used again before it was read
    return copies


@cache
def _copies(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
