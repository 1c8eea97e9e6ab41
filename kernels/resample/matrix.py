"""The cubic B-spline along one axis: each band of its matrix is one large product with the volume."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from umd_engine.kernels.resample.weights import Band, coefficients


def along(volume: torch.Tensor, axis: int, bands: Sequence[Band]) -> torch.Tensor:
    """`volume` [X, Y, Z], float64 or float32, with `axis` mapped by a matrix; the order of its axes is kept."""
    if axis == 1:  # lines lie in the middle: swap two axes, which moves whole lines of Z
        return along(volume.transpose(0, 1).contiguous(), 0, bands).transpose(0, 1)
    old, size = volume.shape[axis], bands[-1].stop
    if axis == 0:
        source = volume.reshape(old, -1)  # [X, Y * Z]
        result = volume.new_empty((size, source.shape[1]))
        for band in bands:
            torch.mm(_weights(band, volume), source[band.first : band.last], out=result[band.start : band.stop])
        return result.view(size, *volume.shape[1:])
    source = volume.reshape(-1, old)  # [X * Y, Z]
    result = volume.new_empty((len(source), size))
    for band in bands:
        torch.mm(source[:, band.first : band.last], _weights(band, volume).T, out=result[:, band.start : band.stop])
    return result.view(*volume.shape[:2], size)


def prefilter(volume: torch.Tensor, rows: int) -> torch.Tensor:
    """The spline's coefficients [X + 2 PAD, Y + 2 PAD, Z + 2 PAD] of `volume`, contiguous."""
    for axis in range(3):
        volume = along(volume, axis, coefficients(volume.shape[axis], rows))
    return volume.contiguous()


def _weights(band: Band, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(band.weights).to(like.device, like.dtype)
