"""The labelling loops, plain Python that numba compiles.

A run is a maximal stretch of one id other than 0 along the last axis. Runs are numbered in C order, and a set's
parent is its first run, so that components come out in the C order of their first voxels. `rows` [X * Y + 1] holds
each row's first run.
"""

from __future__ import annotations

from typing import Any


def count_runs(volume: Any, rows: Any, first: int, last: int) -> None:
    """rows[x * Y + y + 1] = runs of the row, of x in [first, last)."""
    ny, nz = volume.shape[1:]
    for x in range(first, last):
        for y in range(ny):
            row = volume[x, y]
            runs = 1 if nz > 0 and row[0] != 0 else 0
            for z in range(1, nz):
                runs += (row[z] != 0) & (row[z] != row[z - 1])
            rows[x * ny + y + 1] = runs


def fill_runs(volume: Any, rows: Any, starts: Any, ends: Any, ids: Any, first: int, last: int) -> None:
    """starts, ends [runs]: half-open stretches along the last axis; ids [runs]."""
    ny, nz = volume.shape[1:]
    for x in range(first, last):
        for y in range(ny):
            run, stop = rows[x * ny + y], rows[x * ny + y + 1]
            row = volume[x, y]
            z = 0
            while run < stop:
                while row[z] == 0:
                    z += 1
                starts[run], ids[run] = z, row[z]
                while z < nz and row[z] == ids[run]:
                    z += 1
                ends[run] = z
                run += 1


def join_runs(
    rows: Any,
    starts: Any,
    ends: Any,
    ids: Any,
    shape: Any,
    side: int,
    corner: int,
    parent: Any,
    numbers: Any,
    sizes: Any,
) -> int:
    """Joins runs of one id that touch, numbers the components from 1; returns how many there are.

    Args:
        side: how far runs of rows that share a side may lie apart along the last axis: 0 (overlap) or 1.
        corner: the same of rows that share an edge only; -1 where those never touch.
        parent, numbers: [runs], the run's set and its component. sizes: [runs], voxels of component i + 1.
    """
    nx, ny, _ = shape
    for run in range(rows[nx * ny]):
        parent[run] = run
    for row in range(nx * ny):
        x, y = row // ny, row % ny
        for dx, dy, slack in ((0, -1, side), (-1, -1, corner), (-1, 0, side), (-1, 1, corner)):
            if slack < 0 or x + dx < 0 or y + dy < 0 or y + dy >= ny:
                continue
            near = row + dx * ny + dy
            begin, stop = rows[near], rows[near + 1]
            for run in range(rows[row], rows[row + 1]):
                while begin < stop and ends[begin] + slack <= starts[run]:
                    begin += 1
                other, own = begin, parent[run]
                while other < stop and starts[other] < ends[run] + slack:
                    if ids[other] == ids[run]:
                        while parent[own] != own:
                            own = parent[own]
                        root = parent[other]
                        while parent[root] != root:
                            root = parent[root]
                        first = min(own, root)
                        # both paths now end at the set's first run
                        parent[own] = parent[root] = parent[other] = parent[run] = own = first
                    other += 1
    count = 0
    for run in range(rows[nx * ny]):
        # a parent comes before its runs and is numbered already, though it need not be the first run of its set
        if parent[run] == run:
            count += 1
            numbers[run], sizes[count - 1] = count, 0
        numbers[run] = numbers[parent[run]]
        sizes[numbers[run] - 1] += ends[run] - starts[run]
    return count


def paint_runs(out: Any, rows: Any, starts: Any, ends: Any, values: Any, first: int, last: int) -> None:
    """out [X, Y, Z] = values [runs] inside runs, 0 elsewhere, of x in [first, last)."""
    ny = out.shape[1]
    for x in range(first, last):
        out[x] = 0
        for y in range(ny):
            for run in range(rows[x * ny + y], rows[x * ny + y + 1]):
                for z in range(starts[run], ends[run]):
                    out[x, y, z] = values[run]
