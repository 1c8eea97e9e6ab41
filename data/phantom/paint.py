"""Loops that paint shapes into a volume of tissue codes, compiled by numba.

Each row of voxels along x meets a shape in one span, whose ends are solved for: the cost is that of the voxels
painted, not of the box around them. A canvas is uint8 [Z, Y, X] of tissue codes; voxel (i, j, k) lies at
(x0 + i dx - shift_x[k], ys[j] - shift_y[k], zs[k]) in mm of the reference body. Only voxels whose tissue t has
over[t] are painted.
"""

from __future__ import annotations

import math
from typing import Any

from umd_engine.kernels.compiled import compile_loop

# Spans end at the last voxel whose centre is inside; a hair more, so that the same shape on the same grid does
# not depend on rounding.
HAIR = 1e-9


@compile_loop
def fill(row: Any, low: float, high: float, x0: float, dx: float, tissue: int, over: Any) -> None:
    """The voxels of a row with low <= x <= high."""
    first = max(0, math.ceil((low - x0) / dx - HAIR))
    last = min(row.size - 1, math.floor((high - x0) / dx + HAIR))
    for i in range(first, last + 1):
        if over[row[i]]:
            row[i] = tissue


@compile_loop
def loft(canvas: Any, axes: Any, sections: Any, inside: Any, tissue: int, over: Any) -> None:
    """A superellipse in each slice k with inside[k]; sections [Z, 6]: x, y, half width, front, back, exponent."""
    x0, dx, ys, zs, shift_x, shift_y = axes
    for k in range(zs.size):
        if not inside[k]:
            continue
        cx, cy, width, front, back, n = sections[k]
        for j in range(ys.size):
            t = ys[j] - shift_y[k] - cy
            t = t / front if t > 0 else -t / back
            if t >= 1.0:
                continue
            half = width * (1.0 - t**n) ** (1.0 / n)
            origin = x0 - shift_x[k]
            fill(canvas[k, j], cx - half, cx + half, origin, dx, tissue, over)


@compile_loop
def ellipsoid(
    canvas: Any, axes: Any, centre: Any, to_unit: Any, extent: Any, cuts: Any, tissue: int, over: Any
) -> None:
    """|to_unit (p - centre)| <= 1 and, for each row (a, b, c, d) of `cuts`, a x + b y + c z <= d.

    extent: half the box of the ellipsoid, mm.
    """
    x0, dx, ys, zs, shift_x, shift_y = axes
    m = to_unit
    a = m[0, 0] ** 2 + m[1, 0] ** 2 + m[2, 0] ** 2
    for k in range(zs.size):
        z = zs[k] - centre[2]
        if abs(z) > extent[2]:
            continue
        for j in range(ys.size):
            y = ys[j] - shift_y[k] - centre[1]
            if abs(y) > extent[1]:
                continue
            # |u + v x|^2 = 1 with u what y and z give
            u0, u1, u2 = m[0, 1] * y + m[0, 2] * z, m[1, 1] * y + m[1, 2] * z, m[2, 1] * y + m[2, 2] * z
            b = u0 * m[0, 0] + u1 * m[1, 0] + u2 * m[2, 0]
            root = b * b - a * (u0 * u0 + u1 * u1 + u2 * u2 - 1.0)
            if root < 0.0:
                continue
            low = centre[0] + (-b - math.sqrt(root)) / a
            high = centre[0] + (-b + math.sqrt(root)) / a
            for cut in cuts:
                rest = cut[3] - cut[1] * (y + centre[1]) - cut[2] * (z + centre[2])
                if cut[0] > 0.0:
                    high = min(high, rest / cut[0])
                elif cut[0] < 0.0:
                    low = max(low, rest / cut[0])
                elif rest < 0.0:
                    high = low - dx
            fill(canvas[k, j], low, high, x0 - shift_x[k], dx, tissue, over)


@compile_loop
def spheres(canvas: Any, axes: Any, balls: Any, tissue: int, over: Any) -> None:
    """The union of balls [n, 4]: x, y, z, radius."""
    x0, dx, ys, zs, shift_x, shift_y = axes
    dy = ys[1] - ys[0] if ys.size > 1 else 1.0
    dz = zs[1] - zs[0] if zs.size > 1 else 1.0
    for n in range(balls.shape[0]):
        cx, cy, cz, radius = balls[n]
        for k in range(max(0, math.ceil((cz - radius - zs[0]) / dz)), zs.size):
            rest = radius * radius - (zs[k] - cz) ** 2
            if rest < 0.0:
                break
            reach = math.sqrt(rest)
            at = cy + shift_y[k]
            for j in range(max(0, math.ceil((at - reach - ys[0]) / dy)), ys.size):
                left = rest - (ys[j] - at) ** 2
                if left < 0.0:
                    break
                half = math.sqrt(left)
                fill(canvas[k, j], cx - half, cx + half, x0 - shift_x[k], dx, tissue, over)
