"""Inputs that every implementation of the resampling is held against the reference on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-12  # of the range of the data, float64
TOLERANCE_SINGLE = 1e-5  # of the range of the data, float32


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


@dataclass(frozen=True)
class AffineCase:
    """A volume, and a grid of shape `new` that lies on it by `matrix` (4, 4), output voxel -> input voxel.

    Args:
        old, dtype, view: as of `Case`.
    """

    name: str
    old: tuple[int, int, int, int]
    new: tuple[int, int, int]
    matrix: np.ndarray
    order: int = 1
    border: str = "nearest"
    fill: float = 0.0
    clip: str | None = None
    dtype: type[np.generic] = np.float32
    view: Callable[[np.ndarray], np.ndarray] = lambda data: data

    def make(self, seed: int = 0) -> np.ndarray:
        """As `Case.make`."""
        return Case(self.name, self.old, self.new, dtype=self.dtype, view=self.view).make(seed)

    @property
    def bytes_moved(self) -> int:
        """Bytes that any implementation has to move: all of the input and a float32 (order 0: its type) output."""
        size = np.dtype(self.dtype).itemsize
        return math.prod(self.old) * size + self.old[0] * math.prod(self.new) * (4 if self.order else size)


def matrix(
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0),
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0),
    turn: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """(4, 4): output voxels scaled, turned by `turn` radians about Z and then about X, and shifted."""
    result = np.eye(4)
    about_z, about_x = (np.array([[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]]) for t in turn)
    result[:2, :2] = about_z
    result[1:3, :3] = about_x @ result[1:3, :3]
    result[:3, :3] *= scale
    result[:3, 3] = shift
    return result


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

SINGLE_CASES = (
    *(case for case in CASES if any(case.orders)),
    Case("linear-outer", (1, 9, 3, 1), (31, 2, 4), orders=(1, 1, 1)),
    Case("linear-1025", (1, 1, 2, 1025), (1, 3, 1024), orders=(1, 1, 1), dtype=np.float32),
    Case("linear-10:1", (1, 60, 50, 6), (40, 33, 60), orders=(1, 1, 1), dtype=np.float32),
    Case("cubic-10:1", (1, 60, 50, 6), (40, 33, 60), dtype=np.float32),
    Case("linear-slices", (1, 31, 17, 5), (60, 9, 5), orders=(1, 1, 1), clip="slice:2", dtype=np.int16),
)

CORNER_CASES = (
    Case("no-channel", (0, 4, 5, 6), (8, 3, 7)),
    Case("one-voxel", (1, 1, 1, 1), (3, 1, 2)),
    Case("to-one-voxel", (1, 7, 6, 5), (1, 1, 1), orders=(1, 1, 1)),
    Case("cubic", (2, 20, 31, 17), (33, 12, 18)),
    Case("linear", (2, 20, 31, 17), (33, 12, 18), orders=(1, 1, 1)),
    Case("nearest", (2, 20, 31, 17), (33, 12, 18), orders=(0, 0, 0), dtype=np.uint8),
    Case("line-1025", (1, 1025, 1, 2), (1024, 3, 1), orders=(1, 1, 1)),
)

AREA_CASES = (
    Case("no-channel", (0, 4, 5, 6), (2, 3, 3)),
    Case("one-voxel", (1, 1, 1, 1), (1, 1, 1)),
    Case("one-to-many", (1, 1, 2, 1), (3, 4, 5)),
    Case("whole", (2, 7, 6, 5), (1, 1, 1)),
    Case("halves", (1, 8, 6, 10), (4, 3, 5)),
    Case("unlike-boxes", (2, 20, 31, 17), (7, 12, 16)),
    Case("10:1", (1, 60, 50, 6), (6, 33, 6)),
    Case("line-1023", (1, 1, 1, 1023), (1, 1, 100)),
    Case("line-1024", (1, 1, 1024, 1), (1, 1024, 1)),
    Case("line-1025", (1, 1025, 1, 1), (1024, 1, 1)),
    Case("grow", (1, 5, 4, 3), (8, 9, 3)),
    Case("int16", (1, 20, 31, 17), (7, 12, 16), dtype=np.int16),
    Case("flipped", (2, 12, 13, 14), (5, 9, 3), view=lambda data: data[:, ::-1, :, ::-1]),
    Case("fortran", (2, 12, 13, 14), (5, 9, 3), view=np.asfortranarray),
)

TURNED = matrix((0.9, 1.1, 1.0), (2.0, -3.0, 1.5), (0.2, -0.1))
THIN = matrix((1.2, 1.2, 0.12), (-2.0, 3.0, -0.3), (0.3, 0.0))  # onto voxels ten times as thick as wide
HALVES = matrix((0.5, 2.0, 1.0), (0.5, -0.5, 1.5))  # places in the middle of two voxels
QUARTER = matrix(shift=(0.5, 9, 0.5), turn=(-math.pi / 2, 0))
SCALED = matrix((0.5, 1.7, 0.8), (-1, 0.3, 0))
SMALL = matrix((0.4, 0.4, 0.4), (-0.3, -0.3, -0.3), (0.1, 0))
AWAY = matrix(shift=(90, -90, 0))


def _of_order(order: int) -> tuple[AffineCase, ...]:
    return (
        AffineCase(f"turned-{order}", (2, 20, 31, 17), (9, 24, 25), TURNED, order),
        AffineCase(f"turned-filled-{order}", (2, 20, 31, 17), (9, 24, 25), TURNED, order, "constant", 7.0),
        AffineCase(f"thin-{order}", (1, 30, 25, 6), (8, 21, 60), THIN, order, "constant", -1024, dtype=np.int16),
        AffineCase(f"scaled-{order}", (2, 9, 8, 7), (20, 5, 9), SCALED, order),
        AffineCase(f"scaled-filled-{order}", (2, 9, 8, 7), (20, 5, 9), SCALED, order, "constant"),
        AffineCase(f"halves-{order}", (1, 9, 8, 7), (20, 5, 9), HALVES, order, "constant", 3.0),
        AffineCase(f"quarter-turn-{order}", (1, 9, 8, 7), (9, 8, 7), QUARTER, order),
        AffineCase(f"far-outside-{order}", (1, 4, 5, 6), (5, 5, 5), AWAY @ matrix(turn=(0.1, 0)), order),
        AffineCase(f"far-outside-scaled-{order}", (1, 4, 5, 6), (5, 5, 5), AWAY @ SCALED, order),
        AffineCase(f"nothing-inside-{order}", (1, 4, 5, 6), (5, 5, 5), AWAY, order, "constant", 5.0),
        AffineCase(f"one-voxel-{order}", (1, 1, 1, 1), (3, 3, 3), SMALL, order, "constant", 9.0),
        AffineCase(f"fortran-{order}", (2, 12, 13, 14), (9, 10, 11), TURNED, order, view=np.asfortranarray),
        AffineCase(f"flipped-{order}", (2, 12, 13, 14), (9, 10, 11), TURNED, order, view=lambda data: data[:, ::-1]),
        AffineCase(f"crop-{order}", (2, 12, 13, 14), (9, 10, 11), TURNED, order, view=lambda data: data[:, 1:, 2:]),
    )


AFFINE_CASES = (
    *_of_order(0),
    *_of_order(1),
    *_of_order(3),
    AffineCase("no-channel", (0, 4, 5, 6), (3, 3, 3), TURNED, 3, clip="volume"),
    AffineCase("flipped-axis", (1, 9, 8, 7), (9, 8, 7), matrix((-1, 1, 1), (8, 0, 0)), 1),
    AffineCase("flipped-scaled", (1, 9, 8, 7), (12, 8, 9), matrix((-0.7, -1.3, -0.6), (8, 9, 6)), 1),
    AffineCase("clipped", (2, 20, 31, 17), (9, 24, 25), TURNED, 3, "constant", -1e5, clip="volume"),
    AffineCase("clipped-scaled", (2, 9, 8, 7), (20, 5, 9), matrix((0.5, 1.7, 0.8)), 3, "constant", 1e5, clip="volume"),
    AffineCase("line-1023", (1, 1, 1023, 1), (1, 1025, 1), matrix(turn=(1e-4, 0))),
    AffineCase("line-1024", (1, 1, 1024, 1), (1, 1023, 1), matrix(turn=(1e-4, 0)), 3),
    AffineCase("line-1025", (1, 1, 1, 1025), (2, 1, 1024), matrix(turn=(0, 1e-4)), 0),
    AffineCase("uint8-labels", (1, 20, 31, 17), (9, 24, 25), TURNED, 0, "constant", 255, dtype=np.uint8),
    AffineCase("float64-labels", (1, 20, 31, 17), (9, 24, 25), TURNED, 0, dtype=np.float64),
    AffineCase("uint16-linear", (1, 20, 31, 17), (9, 24, 25), TURNED, 1, dtype=np.uint16),
)
