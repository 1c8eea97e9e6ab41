"""One axis of a scan and of its 1.5 mm lattice, where the one's voxels lie on the other.

TorchIO resamples in the file's order of axes and turns to RAS+ afterwards; the lattice shares the scan's axes and its
centre, so every axis can be treated alone. Coordinates run along the file's axis, since ties are broken there:
`flipped` says that the canonical axis runs against it. Sequences over voxels are in canonical order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from umd_engine.errors import GeometryError

SPACING = 1.5  # mm


@dataclass(frozen=True, eq=False)
class Axis:
    """Coordinates as real arithmetic gives them, but for rounding errors far below `tie`.

    Attributes:
        old: voxels of the scan.
        new: voxels of the lattice.
        flipped: canonical against file order.
        spacing: mm of the scan's voxels.
    """

    old: int
    new: int
    flipped: bool
    spacing: float

    tie: ClassVar[float] = 1e-9  # added to a coordinate midway between two voxels, so that the later is the nearest

    @property
    def step(self) -> float:
        """Scan voxels from one lattice voxel to the next."""
        return SPACING / self.spacing

    def places(self) -> np.ndarray:
        """File coordinate of every lattice voxel, float64."""
        return self._turned(self.step * (np.arange(self.new) - (self.new - 1) / 2) + (self.old - 1) / 2)

    def back(self, begin: int) -> np.ndarray:
        """Coordinate of every scan voxel on a crop whose first voxel is lattice voxel `begin`, in crop voxels."""
        centred = np.arange(self.old) - (self.old - 1) / 2
        return centred / self.step + (self.new - 1) / 2 - begin

    def nearest(self) -> np.ndarray:
        """The canonical scan voxel of every lattice voxel; of two the one that comes later in the file."""
        found = np.clip(np.floor(self.places() + (0.5 + self.tie)).astype(np.int64), 0, self.old - 1)
        return self.old - 1 - found if self.flipped else found

    def _turned(self, along_the_file: np.ndarray) -> np.ndarray:
        return along_the_file[::-1] if self.flipped else along_the_file


@dataclass(frozen=True, eq=False)
class ItkAxis(Axis):
    """Coordinates as ITK and TorchIO compute them in float64, for axes along those of the world.

    Ties are common (a 3 mm voxel's centre lies between two of 1.5 mm) and truncated intensities are sensitive; what
    the official code makes of them depends on its rounding errors. Each formula is of one coordinate of the world.

    Attributes:
        origin: of the file's first voxel, mm.
        sign: +1 where the file's axis runs along the world's (RAS).
        first: it is the file's first axis, which ITK interpolates between the ends of a line.
    """

    origin: float
    sign: int
    first: bool

    tie: ClassVar[float] = 0.0

    @property
    def _new_origin(self) -> float:
        last = self.origin + self.sign * self.spacing * (self.old - 1)
        return (last + self.origin) / 2 - self.sign * ((self.new - 1) / 2 * SPACING)

    def places(self) -> np.ndarray:
        def place(index: np.ndarray) -> np.ndarray:
            point = self._new_origin + self.sign * SPACING * index
            return self.sign * (1 / self.spacing) * (point - self.origin)

        return self._turned(self._line(place, self.new))

    def back(self, begin: int) -> np.ndarray:
        low = self._new_origin
        if self.sign < 0:
            low = self._new_origin + self.sign * SPACING * (self.new - 1)
        low = low + SPACING * begin

        def place(index: np.ndarray) -> np.ndarray:
            return (1 / SPACING) * (self.origin + self.sign * self.spacing * index - low)

        return self._turned(self._line(place, self.old))

    def _line(self, place: Callable[[np.ndarray], np.ndarray], count: int) -> np.ndarray:
        index = np.arange(count, dtype=np.float64)
        if not self.first:
            return place(index)
        start, end = place(np.array([0.0, float(count)]))
        return start + index / count * (end - start)


def lattice_size(old: int, spacing: float) -> int:
    """Voxels of 1.5 mm that fit into the axis; one stays one.

    Raises:
        GeometryError: none fits.
    """
    if old == 1:
        return 1
    size = math.floor(old * spacing / SPACING)
    if size == 0:
        raise GeometryError(
            f"an axis of {old} voxels of {spacing:g} mm is thinner than a voxel of {SPACING} mm",
            mend="give a scan with more slices",
        )
    return size
