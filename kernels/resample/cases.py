"""Inputs that every implementation of the resampling is held against the reference on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-12  # of the range of the data, float64


@dataclass(frozen=True)
class Case:
    """A volume and what it is resampled to.

    Args:
        old: [C, X, Y, Z].
        new: the new (X, Y, Z).
        view: turns the C-ordered volume into the view that is resampled.
    """

    name: str
    old: tuple[int, int, int, int]
    new: tuple[int, int, int]
    orders: tuple[int, int, int] = (3, 3, 3)
    clip: str | None = "volume"
    dtype: type[np.generic] = np.float64
    view: Callable[[np.ndarray], np.ndarray] = lambda data: data

    def make(self, seed: int = 0) -> np.ndarray:
        """Noise of a standard deviation of 500 and edges, so that a cubic spline overshoots."""
        rng = np.random.default_rng(seed)
        noise = rng.normal(0, 500, self.old) + 1000 * (rng.random(self.old) < 0.1)
        if np.dtype(self.dtype).kind == "u":
            noise = np.clip(noise, 0, 200)
        return self.view(noise.astype(self.dtype))

    @property
    def bytes_moved(self) -> int:
        """Bytes that any implementation has to move: the input read and the float64 output written, once."""
        return math.prod(self.old) * np.dtype(self.dtype).itemsize + self.old[0] * math.prod(self.new) * 8


@dataclass(frozen=True)
class SeparateCase:
    """As `Case`, for the rule of anisotropic volumes."""

    name: str
    old: tuple[int, int, int, int]
    new: tuple[int, int, int]
    axis: int
    order: int = 3
    order_z: int = 0

    def make(self, seed: int = 0) -> np.ndarray:
        """As `Case.make`, float64."""
        return Case(self.name, self.old, self.new).make(seed)


CASES = (
    Case("no-channel", (0, 4, 5, 6), (8, 3, 7)),
    Case("one-voxel", (1, 1, 1, 1), (1, 1, 1)),
    Case("one-to-many", (1, 1, 1, 1), (3, 4, 5)),
    Case("many-to-one", (1, 7, 6, 5), (1, 1, 1)),
    Case("line-1023", (1, 1, 1, 1023), (1, 1, 1025)),
    Case("line-1024", (1, 1, 1024, 1), (1, 700, 1)),
    Case("line-1025", (1, 1025, 1, 1), (2048, 1, 1)),
    Case("shrink", (2, 40, 31, 37), (17, 20, 19)),
    Case("grow", (1, 9, 13, 7), (31, 29, 40)),
    Case("mixed", (3, 20, 31, 17), (33, 12, 18)),
    Case("several-bands", (1, 400, 3, 5), (531, 4, 5)),
    Case("one-axis-x", (2, 12, 5, 6), (23, 5, 6)),
    Case("one-axis-y", (2, 5, 12, 6), (5, 23, 6)),
    Case("one-axis-z", (2, 5, 6, 12), (5, 6, 23)),
    Case("same", (2, 5, 6, 7), (5, 6, 7)),
    Case("no-clip", (2, 20, 11, 17), (33, 19, 9), clip=None),
    Case("slices-x", (2, 5, 31, 17), (5, 60, 9), clip="slice:0"),
    Case("slices-y", (1, 31, 5, 17), (60, 5, 9), clip="slice:1"),
    Case("slices-z", (1, 31, 17, 5), (60, 9, 5), clip="slice:2"),
    Case("linear", (2, 20, 31, 17), (33, 12, 18), orders=(1, 1, 1)),
    Case("nearest", (2, 20, 31, 17), (33, 12, 18), orders=(0, 0, 0)),
    Case("nearest-ties", (1, 6, 2, 9), (3, 1, 6), orders=(0, 0, 0)),
    Case("orders", (1, 20, 31, 17), (33, 12, 40), orders=(3, 1, 0), clip=None),
    Case("orders-clipped", (2, 20, 11, 17), (9, 20, 33), orders=(0, 3, 1)),
    Case("float32", (1, 20, 31, 17), (33, 12, 18), dtype=np.float32),
    Case("int16", (1, 20, 31, 17), (33, 12, 18), dtype=np.int16),
    Case("uint16-labels", (1, 20, 31, 17), (33, 12, 18), orders=(0, 0, 0), dtype=np.uint16),
    Case("uint8-linear", (1, 20, 31, 17), (33, 12, 18), orders=(1, 1, 1), dtype=np.uint8),
    Case("fortran", (2, 12, 13, 14), (20, 9, 15), view=np.asfortranarray),
    Case("flipped", (2, 12, 13, 14), (20, 9, 15), view=lambda data: data[:, ::-1, :, ::-1]),
    Case("transposed", (2, 12, 13, 14), (20, 9, 15), view=lambda data: data.transpose(0, 3, 1, 2)),
    Case("crop", (2, 12, 13, 14), (20, 9, 15), view=lambda data: data[:, 1:-1, 2:, ::2]),
)

SEPARATE_CASES = (
    SeparateCase("x-slices", (2, 6, 31, 23), (17, 20, 41), 0),
    SeparateCase("y-slices", (1, 31, 6, 23), (20, 3, 41), 1),
    SeparateCase("z-slices", (2, 31, 23, 6), (44, 41, 17), 2),
    SeparateCase("linear-across", (1, 6, 31, 23), (17, 20, 41), 0, order_z=1),
    SeparateCase("cubic-across", (1, 31, 23, 6), (20, 41, 17), 2, order_z=3),
    SeparateCase("linear-in-plane", (1, 31, 23, 6), (20, 41, 17), 2, order=1, order_z=0),
    SeparateCase("nearest-everywhere", (1, 31, 23, 6), (20, 41, 4), 2, order=0, order_z=0),
    SeparateCase("in-plane-only", (1, 5, 31, 23), (5, 20, 41), 0),
    SeparateCase("across-only", (1, 5, 31, 23), (12, 31, 23), 0),
    SeparateCase("one-slice", (1, 1, 31, 23), (4, 20, 41), 0),
)
