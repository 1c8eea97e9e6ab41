"""A batch of any size where a backend's artifacts have fixed batch sizes: in pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from umd_engine.engine.work import Tensors


def pieces(count: int, sizes: Sequence[int]) -> list[int]:
    """The fewest of `sizes` that make up `count`, the largest first; `sizes` holds 1.

    >>> pieces(7, (1, 4, 8))
    [4, 1, 1, 1]
    """
    found = []
    for size in sorted(sizes, reverse=True):
        times, count = divmod(count, size)
        found += [size] * times
    assert count == 0, "1 is not among the sizes"
    return found


def in_sizes(call: Callable[[Tensors], Tensors], inputs: Tensors, sizes: Sequence[int]) -> Tensors:
    """`call` on pieces of the batch that have one of `sizes`; the outputs as of one call."""
    parts = pieces(len(inputs[0]), sizes)
    if len(parts) == 1:
        return call(inputs)
    split = zip(*(x.split(parts) for x in inputs), strict=True)
    return tuple(torch.cat(column) for column in zip(*(call(piece) for piece in split), strict=True))
