"""The area of the surface between eight voxels: 256 numbers, from geometry instead of a table of triangles.

A corner where eight voxels meet has a code, bit 7 - (4 a + 2 b + c) for the voxel at offset (a, b, c) of {0, 1}^3
(DeepMind's surface-distance numbers them so). Marching cubes cuts each edge between an inside and an outside voxel in
its middle; where a face is ambiguous the fewer of inside and outside are cut off one by one. What is cut off falls
into pieces of voxels joined by edges, and a piece has one of six forms. With n the sum of the triangles' normals in
units of the voxel's faces, whose length is the area once each component is scaled by the spacings of the other axes:

    a voxel          (1, 1, 1) / 8
    two, along a     1/2 (e_b + e_c)
    three in a face  3/8 (1, 1, 1), and the triangle 1/2 e_a over it, a the face's normal
    four in a face   e_a
    three around one 3/4 (1, 1, 1), a hexagon
    a chain a, b, c  1/2 (1, 1, 1) in two parallel triangles, 1/4 (e_a + e_b) and 1/4 (e_b + e_c)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np

Corner = tuple[int, int, int]
CORNERS: tuple[Corner, ...] = tuple((a, b, c) for a, b, c in product((0, 1), repeat=3))  # bit 7 first
DIAGONAL = np.ones(3)


@lru_cache(maxsize=64)
def surfel_areas(spacing: tuple[float, float, float]) -> np.ndarray:
    """float64 [256]: the area in mm^2 of each neighbour code; 0 for codes 0 and 255."""
    x, y, z = spacing
    faces = np.array([y * z, x * z, x * y])
    areas = [sum(float(np.linalg.norm(normal * faces)) for normal in normals(code)) for code in range(256)]
    result = np.array(areas)
    result.flags.writeable = False
    return result


def normals(code: int) -> list[np.ndarray]:
    """The normals, as long as their parts of the surface are large, of a code; without their signs."""
    inside = {corner for bit, corner in enumerate(CORNERS) if code >> (7 - bit) & 1}
    cut = inside if len(inside) <= 4 else set(CORNERS) - inside
    return [normal for piece in _pieces(cut) for normal in _normals_of(piece)]


def _pieces(corners: set[Corner]) -> list[set[Corner]]:
    """Corners joined by edges."""
    left, pieces = set(corners), []
    while left:
        piece = {left.pop()}
        while near := {one for one in left if any(_axis(one, other) is not None for other in piece)}:
            piece |= near
            left -= near
        pieces.append(piece)
    return pieces


def _axis(one: Corner, other: Corner) -> int | None:
    """That of the edge between two corners, if there is one."""
    unlike = [axis for axis in range(3) if one[axis] != other[axis]]
    return unlike[0] if len(unlike) == 1 else None


def _normals_of(piece: set[Corner]) -> list[np.ndarray]:
    unit = np.eye(3)
    flat = [axis for axis in range(3) if len({corner[axis] for corner in piece}) == 1]
    if len(piece) == 1:
        return [DIAGONAL / 8]
    if len(piece) == 2:
        return [(unit[flat[0]] + unit[flat[1]]) / 2]
    if len(piece) == 3:
        return [3 * DIAGONAL / 8, unit[flat[0]] / 2]
    if flat:
        return [unit[flat[0]]]
    edges = [[_axis(one, other) for other in piece if _axis(one, other) is not None] for one in piece]
    if max(map(len, edges)) == 3:
        return [3 * DIAGONAL / 4]
    # the axis of the chain's middle edge is the one that both inner corners have
    inner = [set(axes) for axes in edges if len(axes) == 2]
    (middle,) = inner[0] & inner[1]
    sides = [unit[middle] + unit[axis] for axis in range(3) if axis != middle]
    return [DIAGONAL / 2, *(side / 4 for side in sides)]


def element_areas(elements: str, spacing: Sequence[float]) -> np.ndarray:
    """float64 [256]: what an element of a code weighs; a surface voxel has code 1 and weighs 1."""
    if elements == "surfels":
        x, y, z = map(float, spacing)
        return surfel_areas((x, y, z))
    return np.ones(256)
