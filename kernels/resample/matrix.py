"""The cubic B-spline along one axis or all: products of bands with the volume, each one large matrix product."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from umd_engine.kernels.resample.arguments import Sizes
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


def along_all(volume: torch.Tensor, shape: Sizes, rows: int) -> torch.Tensor:
    """`volume` [X, Y, Z] float64 resampled to `shape`.

    Each step takes the axis at one end and leaves it at the other, so that after three steps all axes are back
    in place and no step has to copy. The end that shrinks more goes first.
    """
    if shape[0] / volume.shape[0] <= shape[2] / volume.shape[2]:
        source = volume.reshape(volume.shape[0], -1)
        for axis in range(3):
            source = _first_to_last(source.view(volume.shape[axis], -1), shape[axis], rows)
    else:
        source = volume.reshape(-1, volume.shape[2])
        for axis in (2, 1, 0):
            source = _last_to_first(source.view(-1, volume.shape[axis]), shape[axis], rows)
    return source.view(shape)


def _first_to_last(source: torch.Tensor, size: int, rows: int) -> torch.Tensor:
    """[old, rest] -> [rest, size]."""
    result = source.new_empty((source.shape[1], size))
    for band, weights in _bands(source, len(source), size, rows):
        torch.mm(source[band.first : band.last].T, weights.T, out=result[:, band.start : band.stop])
    return result


def _last_to_first(source: torch.Tensor, size: int, rows: int) -> torch.Tensor:
    """[rest, old] -> [size, rest]."""
    result = source.new_empty((size, len(source)))
    for band, weights in _bands(source, source.shape[1], size, rows):
        torch.mm(weights, source[:, band.first : band.last].T, out=result[band.start : band.stop])
    return result


def _bands(data: torch.Tensor, old: int, new: int, rows: int) -> Iterator[tuple[Band, torch.Tensor]]:
    for band in cubic(old, new, rows):
        yield band, torch.from_numpy(band.weights).to(data.device)
