"""The cubic B-spline along one axis: each band of its matrix is one large product with the volume."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from umd_engine.kernels.resample.weights import Band, cubic


def along(volume: torch.Tensor, axis: int, size: int, rows: int) -> torch.Tensor:
    """`volume` [X, Y, Z] float64 with `axis` resampled to `size`, the order of its axes kept."""
    if axis == 1:  # lines lie in the middle: swap two axes, which moves whole lines of Z
        return along(volume.transpose(0, 1).contiguous(), 0, size, rows).transpose(0, 1)
    old = volume.shape[axis]
    if axis == 0:
        source = volume.reshape(old, -1)  # [X, Y * Z]
        result = volume.new_empty((size, source.shape[1]))
        for band, weights in _bands(volume, old, size, rows):
            torch.mm(weights, source[band.first : band.last], out=result[band.start : band.stop])
        return result.view(size, *volume.shape[1:])
    source = volume.reshape(-1, old)  # [X * Y, Z]
    result = volume.new_empty((len(source), size))
    for band, weights in _bands(volume, old, size, rows):
        torch.mm(source[:, band.first : band.last], weights.T, out=result[:, band.start : band.stop])
    return result.view(*volume.shape[:2], size)


def _bands(data: torch.Tensor, old: int, new: int, rows: int) -> Iterator[tuple[Band, torch.Tensor]]:
    for band in cubic(old, new, rows):
        yield band, torch.from_numpy(band.weights).to(data.device)
