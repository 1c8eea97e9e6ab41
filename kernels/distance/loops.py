"""The loops of the distance transform, plain Python that numba compiles.

Three passes over a box [nx, ny, nz] whose sites (distance 0) are given: steps to the nearest site along x, then the
lower envelope of parabolas along y and along z (Felzenszwalb and Huttenlocher 2012). Between the passes only the
steps are stored, 2 bytes a voxel; the squares are those of a few x, which stay in the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NONE = 65535  # steps on a line without a site; every axis is shorter


def scan(steps: Any, first: int, last: int) -> None:
    """Rows y of [first, last): steps [nx, ny, nz] uint16, 0 at sites and NONE elsewhere, become steps along x."""
    nx, _, nz = steps.shape
    none = np.uint16(NONE)
    for x in range(1, nx):
        for y in range(first, last):
            for z in range(nz):
                before = steps[x - 1, y, z]
                steps[x, y, z] = min(steps[x, y, z], np.uint16(before + np.uint16(before != none)))
    for x in range(nx - 2, -1, -1):
        for y in range(first, last):
            for z in range(nz):
                after = steps[x + 1, y, z]
                steps[x, y, z] = min(steps[x, y, z], np.uint16(after + np.uint16(after != none)))


def sweep(steps: Any, first: int, spacing: Any, axes: int, squares: Any) -> None:
    """squares [k, ny, nz] float64: squared distances of planes x = first, first + 1 ... in the plane of x and y.

    With `axes` 2 they are those in space. A line is cut at its sites: nothing beyond one is nearer, so each piece
    has an envelope of its own. inf where nothing is in reach.
    """
    planes, ny, nz = squares.shape
    longest = max(ny, nz)
    line = np.empty(longest)
    at, height, start = np.empty(longest + 1, np.int64), np.empty(longest + 1), np.empty(longest + 2)
    for plane in range(planes):
        square = squares[plane]
        for y in range(ny):
            for z in range(nz):
                count = steps[first + plane, y, z]
                away = count * spacing[0]
                square[y, z] = np.inf if count == NONE else away * away
        for axis in range(1, axes + 1):
            lines, length, step = (nz, ny, spacing[1]) if axis == 1 else (ny, nz, spacing[2])
            scale = 0.5 / (step * step)
            for other in range(lines):
                for p in range(length):
                    line[p] = square[p, other] if axis == 1 else square[other, p]
                p = 0
                while p < length:
                    if line[p] == 0.0:
                        p += 1
                        continue
                    begin = p
                    while p < length and line[p] != 0.0:
                        p += 1
                    # the parabolas of voxels begin to p - 1 and of the sites beside them
                    top = -1
                    for q in range(max(begin - 1, 0), min(p + 1, length)):
                        value = line[q]
                        if value == np.inf:
                            continue
                        cross = -np.inf
                        while top >= 0:
                            cross = (value - height[top]) * scale / (q - at[top]) + 0.5 * (q + at[top])
                            if cross > start[top]:
                                break
                            top -= 1
                            cross = -np.inf
                        if cross < p:
                            top += 1
                            at[top], height[top], start[top] = q, value, cross
                    if top < 0:
                        continue
                    start[top + 1] = np.inf
                    piece = 0
                    for q in range(begin, p):
                        while start[piece + 1] < q:
                            piece += 1
                        away = (q - at[piece]) * step
                        value = away * away + height[piece]
                        if axis == 1:
                            square[q, other] = value
                        else:
                            square[other, q] = value
