"""Where the voxels of an output grid lie on an input grid: an affine map, as three tables of terms.

A coordinate is the sum of the X term, the Y term and the Z term, added in this order in float64. Every
implementation adds the same rounded numbers, so that all of them take the same voxel at a tie.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from umd_engine.errors import KernelError
from umd_engine.kernels.resample.arguments import Sizes
from umd_engine.kernels.resample.axes import Axes, Axis


@dataclass(frozen=True)
class Placement:
    """Input coordinates of output voxel (x, y, z): terms[0][:, x] + terms[1][:, y] + terms[2][:, z].

    Args:
        old: the input's (X, Y, Z).
        new: the output's (X, Y, Z).
        terms: [3, X], [3, Y] and [3, Z] of the output, float64; the first holds the translation too.
        diagonal: whether each input axis follows one output axis, the same.
    """

    old: Sizes
    new: Sizes
    terms: tuple[np.ndarray, np.ndarray, np.ndarray]
    diagonal: bool

    @property
    def axes(self) -> Axes:
        """The three axes of a diagonal placement."""
        x, y, z = (self._axis(axis) for axis in range(3))
        return x, y, z

    def _axis(self, axis: int) -> Axis:
        assert self.diagonal
        own = self.terms[axis][axis]
        places = own if axis == 0 else self.terms[0][axis, 0] + own  # the X term is the translation alone
        return Axis(self.old[axis], tuple(places.tolist()))

    @property
    def joined(self) -> np.ndarray:
        """[3, X + Y + Z] of the output: the tables one after another."""
        return np.concatenate(self.terms, axis=1)

    @property
    def coordinates(self) -> np.ndarray:
        """[3, X, Y, Z] of the output, in input voxels."""
        x, y, z = self.terms
        return x[:, :, None, None] + y[:, None, :, None] + z[:, None, None, :]


def place(matrix: Any, old: Sequence[int], new: Sizes) -> Placement:
    """The placement of `matrix` (4, 4) or (3, 4): output voxel -> input voxel.

    Raises:
        KernelError: another shape, entries that are not finite, a last row that is not (0, 0, 0, 1).
    """
    full = np.asarray(matrix, dtype=np.float64)
    if full.shape not in ((4, 4), (3, 4)) or not np.isfinite(full).all():
        raise KernelError(f"resample: the matrix {full.tolist()} is not a finite (4, 4) or (3, 4)")
    if full.shape == (4, 4) and full[3].tolist() != [0, 0, 0, 1]:
        raise KernelError(f"resample: the matrix' last row is {full[3].tolist()}", mend="it has to be (0, 0, 0, 1)")
    x, y, z = (full[:3, axis, None] * np.arange(new[axis]) for axis in range(3))
    linear = full[:3, :3]
    diagonal = np.array_equal(linear, np.diag(np.diag(linear)))
    return Placement(_sizes(old), new, (x + full[:3, 3, None], y, z), diagonal)


def placed(axes: Axes) -> Placement:
    """The placement of three axes that do not mix."""
    old, new = _sizes(axis.old for axis in axes), _sizes(axis.new for axis in axes)
    x, y, z = (np.zeros((3, axis.new)) for axis in axes)
    x[0], y[1], z[2] = (axis.where for axis in axes)
    return Placement(old, new, (x, y, z), diagonal=True)


def _sizes(numbers: Iterable[int]) -> Sizes:
    x, y, z = (int(number) for number in numbers)
    return x, y, z
