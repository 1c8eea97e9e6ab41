"""The loop over runs of one id, plain Python that numba compiles."""

from __future__ import annotations

from typing import Any

import numpy as np

REPEAT = np.uint64(0x0101010101010101)  # times an id: eight voxels of it
WORDS = 8  # compared at a time


def add_slab(flat: Any, x: int, nz: int, totals: Any) -> None:
    """totals [256, 10] += the voxels of the slab [ny, nz] at `x`, given as flat contiguous uint8.

    Columns: count; sums of x, y, z; lowest x, y, z; highest x, y, z and one more.
    """
    words = flat[: flat.size // 8 * 8].view(np.uint64)

    def end_of_words(first: int, run: Any) -> int:
        """The first word from `first` on that is not `run`."""
        while first + WORDS <= words.size:
            unlike = np.uint64(0)
            block = words[first : first + WORDS]
            for word in range(WORDS):
                unlike |= block[word] ^ run
            if unlike != 0:
                break
            first += WORDS
        while first < words.size and words[first] == run:
            first += 1
        return first

    def end_of_run(start: int) -> int:
        one = flat[start]
        stop = start + 1
        while stop < flat.size and stop % 8 != 0 and flat[stop] == one:
            stop += 1
        if stop % 8 == 0:
            stop = 8 * end_of_words(stop // 8, np.uint64(one) * REPEAT)
            while stop < flat.size and flat[stop] == one:
                stop += 1
        return stop

    def add_run(one: int, start: int, stop: int) -> None:
        """totals[one] += the voxels `start` to `stop`, which may run over several rows of the slab."""
        size, first, last = stop - start, start // nz, (stop - 1) // nz
        z0, z1 = start - first * nz, stop - last * nz
        totals[one, 0] += size
        totals[one, 1] += x * size
        totals[one, 4], totals[one, 7] = min(totals[one, 4], x), max(totals[one, 7], x + 1)
        totals[one, 5], totals[one, 8] = min(totals[one, 5], first), max(totals[one, 8], last + 1)
        if first == last:
            totals[one, 2] += first * size
            totals[one, 3] += (z0 + z1 - 1) * size // 2
            totals[one, 6], totals[one, 9] = min(totals[one, 6], z0), max(totals[one, 9], z1)
        else:
            between = last - first - 1
            totals[one, 2] += first * (nz - z0) + last * z1 + (first + last) * between // 2 * nz
            totals[one, 3] += ((z0 + nz - 1) * (nz - z0) + (z1 - 1) * z1) // 2 + between * (nz * (nz - 1) // 2)
            # its first row goes on to the end, its last one begins at 0
            totals[one, 6], totals[one, 9] = 0, nz

    start = 0
    while start < flat.size:
        stop = end_of_run(start)
        add_run(flat[start], start, stop)
        start = stop
