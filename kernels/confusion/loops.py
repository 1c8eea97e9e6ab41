"""The counting loops, plain Python that numba compiles.

Both add the pairs of two uint8 maps to `histogram` [WAYS, 256 * stride + 256] at `label * stride + prediction`
and the highest ids to `highest` [2]. A block of 64 voxels that holds one pair only is one addition. In other
blocks neighbouring voxels add to different histograms, since an addition to a counter that was just stored
waits for the store.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BLOCK = 64
SIDE = 8  # of a block of a grid: SIDE * SIDE voxels in the first and last axis
WAYS = 4
REPEAT = np.uint64(0x0101010101010101)  # times an id: eight voxels of it


def count_flat(left: Any, right: Any, stride: int, histogram: Any, highest: Any) -> None:
    """Two contiguous 1-D maps."""
    blocks = left.size // BLOCK
    words_left = left[: blocks * BLOCK].view(np.uint64)
    words_right = right[: blocks * BLOCK].view(np.uint64)
    top_left = top_right = np.uint8(0)
    for block in range(blocks):
        start = block * BLOCK
        first_left, first_right = left[start], right[start]
        run_left, run_right = np.uint64(first_left) * REPEAT, np.uint64(first_right) * REPEAT
        unlike = np.uint64(0)
        for word in range(start // 8, start // 8 + BLOCK // 8):
            unlike |= (words_left[word] ^ run_left) | (words_right[word] ^ run_right)
        if unlike == 0:
            histogram[0, np.int64(first_left) * stride + np.int64(first_right)] += BLOCK
            top_left, top_right = max(top_left, first_left), max(top_right, first_right)
            continue
        for voxel in range(start, start + BLOCK, WAYS):
            for way in range(WAYS):
                one, other = left[voxel + way], right[voxel + way]
                histogram[way, np.int64(one) * stride + np.int64(other)] += 1
                top_left, top_right = max(top_left, one), max(top_right, other)
    for voxel in range(blocks * BLOCK, left.size):
        one, other = left[voxel], right[voxel]
        histogram[0, np.int64(one) * stride + np.int64(other)] += 1
        top_left, top_right = max(top_left, one), max(top_right, other)
    highest[0] = max(highest[0], np.int64(top_left))
    highest[1] = max(highest[1], np.int64(top_right))


def count_grid(left: Any, right: Any, stride: int, histogram: Any, highest: Any) -> None:
    """Two 3-D maps of any strides; blocks of SIDE x SIDE voxels in the first and last axis."""
    nx, ny, nz = left.shape
    full_x, full_z = nx // SIDE * SIDE, nz // SIDE * SIDE
    top_left = top_right = np.uint8(0)
    for x0 in range(0, nx, SIDE):
        for y in range(ny):
            for z0 in range(0, nz, SIDE):
                if x0 < full_x and z0 < full_z:
                    first_left, first_right = left[x0, y, z0], right[x0, y, z0]
                    unlike = 0
                    for x in range(x0, x0 + SIDE):
                        for z in range(z0, z0 + SIDE):
                            unlike |= left[x, y, z] ^ first_left
                    for z in range(z0, z0 + SIDE):
                        for x in range(x0, x0 + SIDE):
                            unlike |= right[x, y, z] ^ first_right
                    if unlike == 0:
                        code = np.int64(first_left) * stride + np.int64(first_right)
                        histogram[0, code] += SIDE * SIDE
                        top_left, top_right = max(top_left, first_left), max(top_right, first_right)
                        continue
                for x in range(x0, min(x0 + SIDE, nx)):
                    for z in range(z0, min(z0 + SIDE, nz)):
                        one, other = left[x, y, z], right[x, y, z]
                        histogram[z % WAYS, np.int64(one) * stride + np.int64(other)] += 1
                        top_left, top_right = max(top_left, one), max(top_right, other)
    highest[0] = max(highest[0], np.int64(top_left))
    highest[1] = max(highest[1], np.int64(top_right))
