"""Each axis of a resampling is a linear map; here are its weights, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from umd_engine.kernels.resample.axes import Axis

POLE = np.sqrt(3.0) - 2.0  # of the cubic B-spline's inverse filter
REACH = 30  # |POLE| ** 30 = 7e-18: voxels further away do not change a float64
HOLD = 4  # voxels beyond a border: there the spline is the edge voxel, and stays so further out
PAD = HOLD + 1  # coefficients that this takes beyond each border


def nearest(axis: Axis) -> np.ndarray:
    """[new] int64, the old voxel each new one takes: floor(x + 0.5), a tie goes up."""
    return np.clip(np.floor(axis.where + 0.5), 0, axis.old - 1).astype(np.int64)


def linear(axis: Axis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[new] each: the voxel below, the voxel above and the weight of the one above."""
    where = np.clip(axis.where, 0, axis.old - 1)
    below = np.floor(where).astype(np.int64)
    return below, np.minimum(below + 1, axis.old - 1), where - below


@dataclass(frozen=True)
class Band:
    """Rows `start` to `stop` of an axis' matrix, and the columns in which they are not zero.

    Args:
        weights: [stop - start, last - first] float64, for old voxels first to last.
    """

    start: int
    stop: int
    first: int
    last: int
    weights: np.ndarray


@lru_cache(maxsize=64)
def cubic(axis: Axis, rows: int) -> tuple[Band, ...]:
    """The cubic B-spline matrix [new, old] in bands of at most `rows` rows.

    Interpolating coefficients are c[k] = sqrt(3) * sum_j POLE ** |k - j| * s[j] (Unser 1999, IEEE Signal
    Processing Magazine 16(6), with s continued by its edge voxels); the value at x sums c[k] * B3(x - k) over the
    four k around x. SciPy pads by 12 edge voxels and then mirrors: the difference is below |POLE| ** 24 = 2e-14.
    """
    where = np.clip(axis.where, -HOLD, axis.old - 1 + HOLD)
    below = np.floor(where).astype(np.int64)
    steps = np.arange(-REACH, REACH + 2)  # old voxels, from the one below
    knots = np.arange(-1, 3)
    filters = np.sqrt(3.0) * POLE ** np.abs(steps[None, :] - knots[:, None])  # [4, steps]
    return _bands(axis.old, below, steps, _basis(where - below) @ filters, rows)


@lru_cache(maxsize=64)
def coefficients(old: int, rows: int) -> tuple[Band, ...]:
    """The matrix [old + 2 * PAD, old] from voxels to the spline's coefficients -PAD to old + PAD - 1."""
    places = np.arange(-PAD, old + PAD)
    steps = np.arange(-REACH, REACH + 1)
    taps = np.broadcast_to(np.sqrt(3.0) * POLE ** np.abs(steps), (len(places), len(steps)))
    return _bands(old, places, steps, taps, rows)


def _basis(t: np.ndarray) -> np.ndarray:
    """[len(t), 4] cubic B-spline at distances 1 + t, t, 1 - t and 2 - t, for 0 <= t < 1."""
    return np.stack([(1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3], axis=1) / 6


def _bands(old: int, below: np.ndarray, steps: np.ndarray, taps: np.ndarray, rows: int) -> tuple[Band, ...]:
    """Bands of the matrix with taps[i, j] at column below[i] + steps[j]; columns beyond a border are the edge's."""
    columns = np.clip(below[:, None] + steps[None, :], 0, old - 1)
    new = len(below)
    return tuple(_band(columns, taps, start, min(start + rows, new)) for start in range(0, new, rows))


def _band(columns: np.ndarray, taps: np.ndarray, start: int, stop: int) -> Band:
    columns, taps = columns[start:stop], taps[start:stop]
    first, last = int(columns.min()), int(columns.max()) + 1
    weights = np.zeros((stop - start, last - first))
    np.add.at(weights, (np.arange(stop - start)[:, None], columns - first), taps)
    return Band(start, stop, first, last, weights)
