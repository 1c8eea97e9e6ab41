"""The loops over surface elements, plain Python that numba compiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from umd_engine.kernels.distance.loops import NONE

REACH = 8  # voxels along y and z that a search around an element looks at


def mark_corners(mask: Any, codes: Any, steps: Any, counts: Any) -> None:
    """codes [nx, ny, nz] uint8: neighbour codes of the corners of mask [nx + 1, ny + 1, nz + 1], 0 for 255.

    steps become 0 at elements and NONE elsewhere; counts [nx], the elements of each plane.
    """
    nx, ny, nz = codes.shape
    for x in range(nx):
        found = 0
        for y in range(ny):
            for z in range(nz):
                low = mask[x, y, z] << 7 | mask[x, y, z + 1] << 6 | mask[x, y + 1, z] << 5 | mask[x, y + 1, z + 1] << 4
                x1 = x + 1
                high = mask[x1, y, z] << 3 | mask[x1, y, z + 1] << 2 | mask[x1, y + 1, z] << 1 | mask[x1, y + 1, z + 1]
                code = np.uint8(low | high)
                code = np.uint8(0) if code == 255 else code
                codes[x, y, z] = code
                steps[x, y, z] = np.uint16(0) if code else np.uint16(NONE)
                found += code != 0
        counts[x] = found


def mark_voxels(mask: Any, codes: Any, steps: Any, counts: Any) -> None:
    """The same of voxels: 1 in codes where one of mask [nx + 2, ny + 2, nz + 2] has a neighbour by face outside."""
    nx, ny, nz = codes.shape
    for x in range(nx):
        found = 0
        for y in range(ny):
            for z in range(nz):
                along = mask[x, y + 1, z + 1] & mask[x + 2, y + 1, z + 1] & mask[x + 1, y, z + 1]
                along &= mask[x + 1, y + 2, z + 1] & mask[x + 1, y + 1, z] & mask[x + 1, y + 1, z + 2]
                code = np.uint8(mask[x + 1, y + 1, z + 1] & (along ^ 1))
                codes[x, y, z] = code
                steps[x, y, z] = np.uint16(0) if code else np.uint16(NONE)
                found += code != 0
        counts[x] = found


def near(
    steps: Any, codes: Any, first: int, last: int, spacing: Any, starts: Any, distances: Any, found: Any, missed: Any
) -> None:
    """distances and found of every element in planes [first, last) of codes whose other surface is near.

    steps [nx, ny, nz] are those to the other surface along x. The search around an element looks REACH voxels along
    y and z; where that does not show that nothing is nearer, the distance is -1 and missed [nx] counts it.
    starts [nx]: where in distances the elements of each plane begin, in C order.
    """
    _, ny, nz = codes.shape
    # the search was wide enough for squares up to this; an axis no longer than the search has no voxel beyond it
    beyond_y = ((REACH + 1) * spacing[1]) ** 2 if ny > REACH + 1 else np.inf
    beyond_z = ((REACH + 1) * spacing[2]) ** 2 if nz > REACH + 1 else np.inf
    for x in range(first, last):
        offset = starts[x]
        for y in range(ny):
            for z in range(nz):
                code = codes[x, y, z]
                if code == 0:
                    continue
                best = np.inf
                for dz in range(REACH + 1):
                    away = dz * spacing[2]
                    along_z = away * away
                    if along_z >= best:
                        break
                    for dy in range(REACH + 1):
                        away = dy * spacing[1]
                        along_y = away * away
                        if along_y + along_z >= best:
                            break
                        for row in (y - dy, y + dy):
                            if row < 0 or row >= ny:
                                continue
                            for column in (z - dz, z + dz):
                                if column < 0 or column >= nz or steps[x, row, column] == NONE:
                                    continue
                                away = steps[x, row, column] * spacing[0]
                                best = min(best, away * away + along_y + along_z)
                far = best > min(beyond_y, beyond_z)
                missed[x] += far
                distances[offset] = -1.0 if far else np.sqrt(best)
                found[offset] = code
                offset += 1


def collect(squares: Any, codes: Any, first: int, spacing: Any, offset: int, distances: Any, found: Any) -> None:
    """distances and found, from `offset` on: of every element in planes first, first + 1 ... of codes, in C order.

    squares [k, ny, nz] are the squared distances, in the plane of x and y, to the other surface.
    """
    planes, ny, nz = squares.shape
    step = spacing[2]
    for plane in range(planes):
        for y in range(ny):
            row = squares[plane, y]
            for z in range(nz):
                code = codes[first + plane, y, z]
                if code == 0:
                    continue
                best = row[z]
                for k in range(1, nz):
                    away = k * step
                    square = away * away
                    if square >= best:
                        break
                    if k <= z:
                        best = min(best, row[z - k] + square)
                    if k < nz - z:
                        best = min(best, row[z + k] + square)
                distances[offset] = np.sqrt(best)
                found[offset] = code
                offset += 1


def locate(codes: Any, starts: Any, places: Any) -> None:
    """places [N, 3] int64: x, y, z of every element of codes [nx, ny, nz], in C order; starts as for `near`."""
    nx, ny, nz = codes.shape
    for x in range(nx):
        offset = starts[x]
        if offset == starts[x + 1]:
            continue
        for y in range(ny):
            for z in range(nz):
                if codes[x, y, z]:
                    places[offset, 0], places[offset, 1], places[offset, 2] = x, y, z
                    offset += 1
