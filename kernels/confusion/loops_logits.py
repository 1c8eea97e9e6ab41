"""The argmax loop, plain Python that numba compiles."""

from __future__ import annotations

from typing import Any

import numpy as np

BLOCK = 1024  # voxels whose maxima stay in the first-level cache while the classes pass


def argmax(rows: Any, start: int, found: Any) -> bool:
    """`found[v]` uint8 = first class of the highest `rows[:, start + v]`, rows [classes, voxels] C-ordered.

    Returns:
        Whether a value was NaN; then `found` means nothing.
    """
    highest = np.empty(BLOCK, rows.dtype)
    unordered = 0
    for begin in range(0, found.size, BLOCK):
        ids = found[begin : begin + BLOCK]
        size = ids.size
        best = highest[:size]
        # slices with indices from 0: what else numba adds for negative indices keeps the loops from vectorising
        first = rows[0, start + begin : start + begin + size]
        for voxel in range(size):
            best[voxel] = first[voxel]
            ids[voxel] = 0
            unordered |= first[voxel] != first[voxel]
        for row in range(1, rows.shape[0]):
            line = rows[row, start + begin : start + begin + size]
            this = np.uint8(row)
            for voxel in range(size):
                value = line[voxel]
                higher = value > best[voxel]
                best[voxel] = value if higher else best[voxel]
                ids[voxel] = this if higher else ids[voxel]
                unordered |= value != value
    return unordered != 0
