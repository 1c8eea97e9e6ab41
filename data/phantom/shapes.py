"""Shapes in the reference body, and how a list of them becomes a volume of tissue codes.

Coordinates are mm in RAS+: x to the patient's right, y to the front, z to the head. A later shape covers an
earlier one, but only the tissues it names: a liver painted over CAVITY alone is cut by the diaphragm.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
from scipy.interpolate import PchipInterpolator

from umd_engine.data.phantom import paint
from umd_engine.data.phantom.tissues import TISSUES

SPHERE_STEP = 0.25  # between the balls of a tube, as a share of the radius
Point = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Loft:
    """Superellipses stacked along z.

    Args:
        sections: rows of z, x, y, half width, front, back (mm), ascending z; smooth in between.
        exponent: 2 is an ellipse, more is boxier.
        grow: mm added to width, front and back.
    """

    tissue: str
    over: tuple[str, ...]
    sections: Sequence[Sequence[float]]
    exponent: float = 2.3
    grow: float = 0.0

    @cached_property
    def table(self) -> np.ndarray:
        return np.asarray(self.sections, float)

    @cached_property
    def _smooth(self) -> PchipInterpolator:
        return PchipInterpolator(self.table[:, 0], self.table[:, 1:6])

    @property
    def reach(self) -> tuple[float, float]:
        return float(self.table[0, 0]), float(self.table[-1, 0])

    def paint(self, canvas: np.ndarray, axes: Axes) -> None:
        low, high = self.reach
        sections = np.full((axes.zs.size, 6), self.exponent)
        sections[:, :5] = self.at(axes.zs)
        inside = (axes.zs >= low) & (axes.zs <= high) & (sections[:, 2:5] > 0).all(1)
        paint.loft(canvas, axes.arrays, sections, inside, TISSUES[self.tissue].code, over_table(self.over))

    def at(self, z: float | np.ndarray) -> np.ndarray:
        """x, y, half width, front, back at `z`."""
        found = np.asarray(self._smooth(np.clip(z, *self.reach)))
        found[..., 2:] += self.grow
        return found


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid, turned, and cut by planes.

    Args:
        turn: degrees about x, then y, then z, right-handed.
        cuts: rows (a, b, c, d): what has a x + b y + c z > d is cut away.
    """

    tissue: str
    over: tuple[str, ...]
    centre: Point
    semi: Point
    turn: Point = (0.0, 0.0, 0.0)
    cuts: Sequence[Sequence[float]] = ()

    @cached_property
    def _axes(self) -> np.ndarray:
        """Half axes, the columns of [3, 3]."""
        return rotation(self.turn) * np.asarray(self.semi)

    @property
    def reach(self) -> tuple[float, float]:
        half = float(np.linalg.norm(self._axes[2]))
        return self.centre[2] - half, self.centre[2] + half

    def paint(self, canvas: np.ndarray, axes: Axes) -> None:
        extent = np.linalg.norm(self._axes, axis=1)
        cuts = np.asarray(self.cuts, float).reshape(-1, 4)
        code, over = TISSUES[self.tissue].code, over_table(self.over)
        shape = np.asarray(self.centre, float), np.linalg.inv(self._axes), extent, cuts
        paint.ellipsoid(canvas, axes.arrays, *shape, code, over)


@dataclass(frozen=True, eq=False)
class Tube:
    """A smooth curve through points, with a radius at each.

    Args:
        points: rows of x, y, z, radius.
        waves: radius modulation: amplitude as a share of it, and wavelength in mm (haustra).
    """

    tissue: str
    over: tuple[str, ...]
    points: Sequence[Sequence[float]]
    grow: float = 0.0
    waves: tuple[float, float] = (0.0, 1.0)

    def paint(self, canvas: np.ndarray, axes: Axes) -> None:
        paint.spheres(canvas, axes.arrays, self.balls, TISSUES[self.tissue].code, over_table(self.over))

    @property
    def reach(self) -> tuple[float, float]:
        balls = self.balls
        return float((balls[:, 2] - balls[:, 3]).min()), float((balls[:, 2] + balls[:, 3]).max())

    @cached_property
    def balls(self) -> np.ndarray:
        """Rows of x, y, z, radius, close enough for a smooth surface."""
        balls = curve(np.asarray(self.points, float))
        along = np.concatenate([[0.0], np.linalg.norm(np.diff(balls[:, :3], axis=0), axis=1).cumsum()])
        balls[:, 3] *= 1 + self.waves[0] * np.sin(2 * math.pi * along / self.waves[1])
        balls[:, 3] += self.grow
        return balls[balls[:, 3] > 0]


Shape = Loft | Ellipsoid | Tube


def curve(points: np.ndarray) -> np.ndarray:
    """Points [n, d] along a smooth curve through `points` (x, y, z, radius, ...), SPHERE_STEP radii apart."""
    lengths = np.linalg.norm(np.diff(points[:, :3], axis=0), axis=1)
    if len(points) == 1:
        return points.copy()
    knots = np.concatenate([[0.0], lengths.cumsum()])
    count = max(2, math.ceil(knots[-1] / (SPHERE_STEP * points[:, 3].min())) + 1)
    at = np.linspace(0.0, knots[-1], count)
    return np.asarray(PchipInterpolator(knots, points)(at))


def rotation(turn: Point) -> np.ndarray:
    """The matrix of turns (degrees) about x, then y, then z."""
    (cx, sx), (cy, sy), (cz, sz) = ((math.cos(math.radians(a)), math.sin(math.radians(a))) for a in turn)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


@dataclass(frozen=True, eq=False)
class Axes:
    """Where the voxels of a canvas [Z, Y, X] lie in the reference body, mm; the shifts bend the body."""

    x0: float
    dx: float
    ys: np.ndarray
    zs: np.ndarray
    shift_x: np.ndarray = field(repr=False)
    shift_y: np.ndarray = field(repr=False)
    size_x: int = 0

    @property
    def arrays(self) -> tuple[float, float, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return self.x0, self.dx, self.ys, self.zs, self.shift_x, self.shift_y

    def slab(self, first: int, last: int) -> Axes:
        part = slice(first, last)
        return Axes(self.x0, self.dx, self.ys, self.zs[part], self.shift_x[part], self.shift_y[part], self.size_x)


def render(shapes: Sequence[Shape], axes: Axes) -> np.ndarray:
    """Tissue codes, uint8 [Z, Y, X]; slabs are painted side by side."""
    canvas = np.zeros((axes.zs.size, axes.ys.size, axes.size_x), np.uint8)
    reaches = [shape.reach for shape in shapes]
    workers = len(os.sched_getaffinity(0))
    bounds = np.linspace(0, axes.zs.size, 4 * workers + 1).astype(int)

    def work(first: int, last: int) -> None:
        part = axes.slab(first, last)
        for shape, (low, high) in zip(shapes, reaches, strict=True):
            if low <= part.zs[-1] and high >= part.zs[0]:
                shape.paint(canvas[first:last], part)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, bounds[:-1], bounds[1:]))
    return canvas


@cache
def over_table(names: tuple[str, ...]) -> np.ndarray:
    """bool [256]: the tissues that may be covered; no name: every one."""
    table = np.zeros(256, bool)
    for name in names or TISSUES:
        table[TISSUES[name].code] = True
    return table
