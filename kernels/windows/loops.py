"""The loops over windows, plain Python that numba compiles. Flips are bits: 1 along x, 2 along y, 4 along z."""

from __future__ import annotations

from typing import Any

import numpy as np

MIXED = 256  # no head's number


def gather_window(
    volume: Any, out: Any, start: Any, flip: int, intensity: Any, padding: Any, first: int, last: int
) -> None:
    """Rows `first` to `last` along x of one window: volume [C, X, Y, Z] -> out [C, px, py, pz] float32.

    intensity [C, 4] float32: low, high, mean, std of every channel.
    """
    channels, px, py, pz = out.shape
    nx, ny, nz = volume.shape[1:]
    begin, end = max(0, -start[2]), min(pz, nz - start[2])  # of the window's voxels inside, before the flip
    if flip & 4:
        begin, end = pz - end, pz - begin
    begin = min(max(begin, 0), pz)
    end = max(end, begin)
    for c in range(channels):
        low, high, mean, std = intensity[c, 0], intensity[c, 1], intensity[c, 2], intensity[c, 3]
        for i in range(first, last):
            x = start[0] + (px - 1 - i if flip & 1 else i)
            for j in range(py):
                y = start[1] + (py - 1 - j if flip & 2 else j)
                row = out[c, i, j]
                if x < 0 or x >= nx or y < 0 or y >= ny:
                    row[:] = padding
                    continue
                row[:begin] = padding
                row[end:] = padding
                line = volume[c, x, y]
                z, step = start[2], 1
                if flip & 4:
                    z, step = start[2] + pz - 1, -1
                for k in range(begin, end):
                    value = np.float32(line[z + step * k])
                    value = low if value < low else value  # NaN stays NaN
                    value = high if value > high else value
                    row[k] = np.divide(value - mean, std)  # a plain / would look for a 0 each time


def accumulate_windows(sums: Any, weights: Any, logits: Any, starts: Any, flips: Any, first: int, last: int) -> None:
    """Rows `first` to `last` along x of sums [H, X, Y, Z] += weights [px, py, pz] * logits [N, H, px, py, pz].

    A voxel's windows are added in their order, whatever the split of the rows.
    """
    windows, heads, px, py, pz = logits.shape
    for n in range(windows):
        sx, sy, sz, flip = starts[n, 0], starts[n, 1], starts[n, 2], flips[n]
        for head in range(heads):
            for x in range(max(first, sx), min(last, sx + px)):
                i = x - sx
                from_i = px - 1 - i if flip & 1 else i
                for j in range(py):
                    from_j = py - 1 - j if flip & 2 else j
                    row, weight = sums[head, x, sy + j, sz : sz + pz], weights[i, j]
                    line = logits[n, head, from_i, from_j]
                    if flip & 4:
                        for k in range(pz):
                            row[k] += weight[k] * line[pz - 1 - k]
                    else:
                        for k in range(pz):
                            row[k] += weight[k] * line[k]


def decide_plane(sums: Any, total: Any, by_regions: bool, means: Any, codes: Any) -> int:
    """Mean and code of every voxel of a plane; the number of means that are not finite.

    sums [H, Y, Z], total [Y, Z] -> means [H, Y, Z] float32, codes [Y, Z] int16: the first largest head, or by
    regions 1 + the last head above zero, 0 for none.
    """
    heads, ny, nz = sums.shape
    best = np.empty(nz, np.float32)
    bad = 0
    for y in range(ny):
        best[:] = np.float32(0.0) if by_regions else np.float32(-np.inf)
        code = codes[y]
        code[:] = 0
        weight = total[y]
        for head in range(heads):
            line, mean = sums[head, y], means[head, y]
            for z in range(nz):
                mean[z] = np.divide(line[z], weight[z])  # a plain / would raise at a weight of 0
            for z in range(nz):
                bad += not abs(mean[z]) < np.float32(np.inf)
            if by_regions:
                for z in range(nz):
                    code[z] = np.int16(head + 1) if mean[z] > np.float32(0.0) else code[z]
            else:
                for z in range(nz):
                    larger = mean[z] > best[z]
                    code[z] = np.int16(head) if larger else code[z]
                    best[z] = mean[z] if larger else best[z]
    return bad


def finish_plane(
    lower: Any,
    upper: Any,
    codes_lower: Any,
    codes_upper: Any,
    between: Any,
    along_y: Any,
    along_z: Any,
    by_regions: bool,
    labels: Any,
    out: Any,
) -> None:
    """One plane of the result, out [Y, Z] uint8, between two planes of means and codes.

    An interpolated value is a convex combination of eight means. Where one head is the largest at all eight (or
    the last above zero), it is so in between: only other voxels are interpolated, in runs along z.

    Args:
        lower, upper: means [H, y, z]; codes_lower, codes_upper: int16 [y, z].
        between: 0 at `lower`, 1 at `upper`.
        along_y, along_z: (below, above, fraction) of every voxel of the result.
        labels: [codes] the label of a code.
    """
    heads, _, nz = lower.shape
    new_z = out.shape[1]
    below_z, above_z, fraction_z = along_z
    same = np.empty(nz, np.int16)
    line, best, code = np.empty(nz, np.float32), np.empty(new_z, np.float32), np.empty(new_z, np.int16)
    one = np.float32(1.0)
    for j in range(out.shape[0]):
        y0, y1, fy = along_y[0][j], along_y[1][j], along_y[2][j]
        c00, c01, c10, c11 = codes_lower[y0], codes_lower[y1], codes_upper[y0], codes_upper[y1]
        for z in range(nz):
            alike = (c00[z] == c01[z]) & (c00[z] == c10[z]) & (c00[z] == c11[z])
            same[z] = c00[z] if alike else MIXED
        row = out[j]
        k = 0
        while k < new_z:
            found = same[below_z[k]]
            if found != MIXED and found == same[above_z[k]]:
                row[k] = labels[found]
                k += 1
                continue
            stop = k + 1
            while stop < new_z and (same[below_z[stop]] == MIXED or same[below_z[stop]] != same[above_z[stop]]):
                stop += 1
            code[k:stop] = 0
            best[k:stop] = np.float32(0.0) if by_regions else np.float32(-np.inf)
            for head in range(heads):
                m00, m01, m10, m11 = lower[head, y0], lower[head, y1], upper[head, y0], upper[head, y1]
                for z in range(below_z[k], above_z[stop - 1] + 1):
                    low = m00[z] * (one - fy) + m01[z] * fy
                    high = m10[z] * (one - fy) + m11[z] * fy
                    line[z] = low * (one - between) + high * between
                for at in range(k, stop):
                    value = line[below_z[at]] * (one - fraction_z[at]) + line[above_z[at]] * fraction_z[at]
                    larger = value > best[at]
                    code[at] = np.int16(head + by_regions) if larger else code[at]
                    best[at] = value if larger and not by_regions else best[at]
            for at in range(k, stop):
                row[at] = labels[code[at]]
            k = stop
