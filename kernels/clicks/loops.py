"""The loops of the clicks, plain Python that numba compiles.

`label` and `prediction` are [X, Y, Z] maps or planes; `words` turns an id into its word (bit `slot` is organ `slot`),
and `planes` says of each whether its voxels are words already. A prediction of shape [1, 1, Z] repeats (`step` 0).
State: 0 outside, 1 in the region, 2 in the second one. Boxes are cut out of the volume; beyond a box lies no region.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BLOCK = 64


def survey(
    label: Any,
    prediction: Any,
    step: int,
    words: Any,
    planes: Any,
    counts: Any,
    lows: Any,
    highs: Any,
    first: int,
    last: int,
) -> None:
    """Where the label and the prediction differ, slice by slice along X.

    Adds to counts [X, N]; writes lows and highs [X, N, 2], the half-open range of y and z, where the count is not 0;
    of x in [first, last).
    """
    ny, nz = label.shape[1:]
    alike = planes[0] == planes[1]
    for x in range(first, last):
        for y in range(ny):
            left, right = label[x, y], prediction[x * step, y * step]
            start, previous = 0, 0
            for z0 in range(0, nz, BLOCK):
                stop = min(z0 + BLOCK, nz)
                ours, theirs = left[z0:stop], right[z0:stop]  # loops over slices from 0 are vectorised
                unlike = 0
                for z in range(stop - z0):
                    unlike |= ours[z] ^ theirs[z]
                if alike and unlike == 0 and previous == 0:
                    continue
                for z in range(z0, stop + 1 if stop == nz else stop):
                    word: Any = 0  # beyond the row
                    if z < nz:
                        one = np.int64(left[z]) if planes[0] else words[left[z]]
                        other = np.int64(right[z]) if planes[1] else words[right[z]]
                        word = one ^ other
                    if word == previous:
                        continue
                    slot = 0
                    while previous != 0:
                        if previous & 1:
                            if counts[x, slot] == 0:
                                lows[x, slot, 0], lows[x, slot, 1], highs[x, slot, 1] = y, start, z
                            highs[x, slot, 0] = y + 1
                            lows[x, slot, 1] = min(lows[x, slot, 1], start)
                            highs[x, slot, 1] = max(highs[x, slot, 1], z)
                            counts[x, slot] += z - start
                        previous >>= 1
                        slot += 1
                    start, previous = z, word


def load(
    label: Any, prediction: Any, step: int, words: Any, planes: Any, slot: int, low: Any, split: bool, state: Any
) -> None:
    """state [box] uint8: 1 where the organ differs; with `split` 2 where it is in the prediction alone."""
    for x in range(state.shape[0]):
        for y in range(state.shape[1]):
            left = label[low[0] + x, low[1] + y]
            right = prediction[(low[0] + x) * step, (low[1] + y) * step]
            for z in range(state.shape[2]):
                a, b = left[low[2] + z], right[low[2] + z]
                one = np.int64(a) if planes[0] else words[a]
                other = np.int64(b) if planes[1] else words[b]
                if ((one ^ other) >> slot) & 1 == 0:
                    state[x, y, z] = 0
                else:
                    state[x, y, z] = 2 if split and (other >> slot) & 1 else 1


def erode(state: Any, out: Any, axis: int, low: Any, shape: Any) -> None:
    """out = state where both neighbours along `axis` have it too or lie beyond the volume of `shape`, elsewhere 0."""
    nx, ny, nz = state.shape
    dx, dy, dz = axis == 0, axis == 1, axis == 2
    at_first = low[axis] == 0
    at_last = low[axis] + state.shape[axis] == shape[axis]
    for x in range(nx):
        for y in range(ny):
            for z in range(nz):
                kept = state[x, y, z]
                if x >= dx and y >= dy and z >= dz:
                    kept *= state[x - dx, y - dy, z - dz] == kept
                else:
                    kept *= at_first
                if x + dx < nx and y + dy < ny and z + dz < nz:
                    kept *= state[x + dx, y + dy, z + dz] == state[x, y, z]
                else:
                    kept *= at_last
                out[x, y, z] = kept


def measure_depth(state: Any, costs: Any, rows: Any, planes: Any, tops: Any) -> None:
    """planes [box] float32: squared distance to the nearest voxel of another state; tops [3]: the largest of each.

    Axis by axis: the distance within the row, then the least sum over the column, then over the other axis. A search
    ends where the step alone costs more than what was found, so that thin regions cost little. `rows`: [box] float32.
    """
    nx, ny, nz = state.shape
    for x in range(nx):
        for y in range(ny):
            start = 0
            for z in range(nz + 1):
                if z < nz and state[x, y, z] == state[x, y, start]:
                    continue
                for inside in range(start, z):
                    rows[x, y, inside] = costs[2, min(inside - start, z - 1 - inside) + 1]
                start = z
        for y in range(ny):
            for z in range(nz):
                own = state[x, y, z]
                if own == 0:
                    continue
                best = rows[x, y, z]
                far = 1
                while costs[1, far] < best:
                    near = costs[1, far]
                    for other in (y - far, y + far):
                        inside = 0 <= other < ny and state[x, other, z] == own
                        best = min(best, near + rows[x, other, z] if inside else near)
                    far += 1
                planes[x, y, z] = best
    for x in range(nx):
        for y in range(ny):
            for z in range(nz):
                own = state[x, y, z]
                if own == 0:
                    continue
                best = planes[x, y, z]
                far = 1
                while costs[0, far] < best:
                    near = costs[0, far]
                    for other in (x - far, x + far):
                        inside = 0 <= other < nx and state[other, y, z] == own
                        best = min(best, near + planes[other, y, z] if inside else near)
                    far += 1
                rows[x, y, z] = best
                tops[own] = max(tops[own], best)


def choose(state: Any, depth: Any, region: int, least: float, k: int) -> int:
    """Flat index of the k-th voxel in C order with state `region` and depth >= least; how many there are if k < 0."""
    states, depths = state.reshape(-1), depth.reshape(-1)
    seen = 0
    for i in range(states.size):
        if states[i] == region and (least <= 0 or depths[i] >= least):
            if seen == k:
                return i
            seen += 1
    return seen
