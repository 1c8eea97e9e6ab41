"""The CPU's loops, plain Python that numba compiles; each call writes planes `start` to `stop` of the result.

Unsigned integers stand for order 0, which copies bits whatever they mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def weigh_planes(
    source: Any,
    first_x: Any,
    first_y: Any,
    first_z: Any,
    weights_x: Any,
    weights_y: Any,
    weights_z: Any,
    result: Any,
    start: int,
    stop: int,
) -> None:
    """Weighted sums (`taps.Taps`) along X, then Y, then Z of `source` [X, Y, Z], plane by plane.

    A plane of X holds the lines that are needed, each made once; a line of Z is summed from them: what was read stays
    in the cache. A tap of weight 0 is left out in X and Y, since zero times infinity is no number.
    """
    plane = np.empty(source.shape[1:], result.dtype)
    made_for = np.full(source.shape[1], -1)  # the x that a line of the plane was made for
    line = np.empty(source.shape[2], result.dtype)
    for x in range(start, stop):
        for y in range(result.shape[1]):
            for needed in range(first_y[y], first_y[y] + weights_y.shape[0]):
                if made_for[needed] == x:
                    continue
                made_for[needed] = x
                held, row, weight = plane[needed], source[first_x[x], needed], weights_x[0, x]
                for z in range(held.size):
                    held[z] = weight * row[z]
                for tap in range(1, weights_x.shape[0]):
                    row, weight = source[first_x[x] + tap, needed], weights_x[tap, x]
                    if weight != 0:
                        for z in range(held.size):
                            held[z] += weight * row[z]
            held, weight = plane[first_y[y]], weights_y[0, y]
            for z in range(line.size):
                line[z] = weight * held[z]
            for tap in range(1, weights_y.shape[0]):
                held, weight = plane[first_y[y] + tap], weights_y[tap, y]
                if weight != 0:
                    for z in range(line.size):
                        line[z] += weight * held[z]
            out, weights = result[x, y], weights_z[0]
            for z in range(out.size):
                out[z] = weights[z] * line[first_z[z]]
            for tap in range(1, weights_z.shape[0]):
                weights = weights_z[tap]
                for z in range(out.size):
                    out[z] += weights[z] * line[first_z[z] + tap]


def gather_nearest(
    source: Any, terms_x: Any, terms_y: Any, terms_z: Any, bound: bool, result: Any, start: int, stop: int
) -> None:
    """Order 0 at places terms_x[:, x] + terms_y[:, y] + terms_z[:, z]; with `bound`, places outside stay unwritten."""
    last_0, last_1, last_2 = source.shape[0] - 1, source.shape[1] - 1, source.shape[2] - 1
    for x in range(start, stop):
        for y in range(result.shape[1]):
            line_0, line_1, line_2 = (
                terms_x[0, x] + terms_y[0, y],
                terms_x[1, x] + terms_y[1, y],
                terms_x[2, x] + terms_y[2, y],
            )
            for z in range(result.shape[2]):
                at_0, at_1, at_2 = line_0 + terms_z[0, z], line_1 + terms_z[1, z], line_2 + terms_z[2, z]
                below = at_0 < -0.5 or at_1 < -0.5 or at_2 < -0.5
                above = at_0 > last_0 + 0.5 or at_1 > last_1 + 0.5 or at_2 > last_2 + 0.5
                if bound and (below or above):
                    continue
                i = int(min(max(np.floor(at_0 + 0.5), 0.0), last_0))
                j = int(min(max(np.floor(at_1 + 0.5), 0.0), last_1))
                k = int(min(max(np.floor(at_2 + 0.5), 0.0), last_2))
                result[x, y, z] = source[i, j, k]


def gather_linear(
    source: Any, terms_x: Any, terms_y: Any, terms_z: Any, bound: bool, result: Any, start: int, stop: int
) -> None:
    """Order 1, as `gather_nearest`; computed in float64."""
    last_0, last_1, last_2 = source.shape[0] - 1, source.shape[1] - 1, source.shape[2] - 1
    for x in range(start, stop):
        for y in range(result.shape[1]):
            line_0, line_1, line_2 = (
                terms_x[0, x] + terms_y[0, y],
                terms_x[1, x] + terms_y[1, y],
                terms_x[2, x] + terms_y[2, y],
            )
            for z in range(result.shape[2]):
                at_0, at_1, at_2 = line_0 + terms_z[0, z], line_1 + terms_z[1, z], line_2 + terms_z[2, z]
                below = at_0 < -0.5 or at_1 < -0.5 or at_2 < -0.5
                above = at_0 > last_0 + 0.5 or at_1 > last_1 + 0.5 or at_2 > last_2 + 0.5
                if bound and (below or above):
                    continue
                at_0, at_1, at_2 = (
                    min(max(at_0, 0.0), last_0),
                    min(max(at_1, 0.0), last_1),
                    min(max(at_2, 0.0), last_2),
                )
                i, j, k = int(at_0), int(at_1), int(at_2)
                up_0, up_1, up_2 = min(i + 1, last_0), min(j + 1, last_1), min(k + 1, last_2)
                part_0, part_1, part_2 = at_0 - i, at_1 - j, at_2 - k
                a = source[i, j, k] + part_2 * (source[i, j, up_2] - source[i, j, k])
                b = source[i, up_1, k] + part_2 * (source[i, up_1, up_2] - source[i, up_1, k])
                c = source[up_0, j, k] + part_2 * (source[up_0, j, up_2] - source[up_0, j, k])
                d = source[up_0, up_1, k] + part_2 * (source[up_0, up_1, up_2] - source[up_0, up_1, k])
                a += part_1 * (b - a)
                c += part_1 * (d - c)
                result[x, y, z] = a + part_0 * (c - a)


def gather_cubic(
    source: Any,
    terms_x: Any,
    terms_y: Any,
    terms_z: Any,
    bound: bool,
    low: float,
    high: float,
    result: Any,
    start: int,
    stop: int,
) -> None:
    """Order 3, as `gather_nearest`, of coefficients with PAD more voxels at each border; computed in float64.

    From HOLD voxels beyond the border on, the value there stays. The result is kept within low and high.
    """
    last_0, last_1, last_2 = source.shape[0] - 1, source.shape[1] - 1, source.shape[2] - 1
    weights = np.empty((3, 4))
    for x in range(start, stop):
        for y in range(result.shape[1]):
            for z in range(result.shape[2]):
                at_0 = terms_x[0, x] + terms_y[0, y] + terms_z[0, z]
                at_1 = terms_x[1, x] + terms_y[1, y] + terms_z[1, z]
                at_2 = terms_x[2, x] + terms_y[2, y] + terms_z[2, z]
                below = at_0 < -0.5 or at_1 < -0.5 or at_2 < -0.5
                above = at_0 > last_0 - 9.5 or at_1 > last_1 - 9.5 or at_2 > last_2 - 9.5  # 2 PAD - 1/2
                if bound and (below or above):
                    continue
                at_0 = min(max(at_0 + 5.0, 1.0), last_0 - 1.0)  # PAD
                at_1 = min(max(at_1 + 5.0, 1.0), last_1 - 1.0)
                at_2 = min(max(at_2 + 5.0, 1.0), last_2 - 1.0)
                i, j, k = (
                    min(int(at_0), last_0 - 2),
                    min(int(at_1), last_1 - 2),
                    min(int(at_2), last_2 - 2),
                )
                for axis, t in enumerate((at_0 - i, at_1 - j, at_2 - k)):
                    s = 1.0 - t
                    weights[axis, 0] = s * s * s / 6
                    weights[axis, 1] = (4 - 6 * t * t + 3 * t * t * t) / 6
                    weights[axis, 2] = (4 - 6 * s * s + 3 * s * s * s) / 6
                    weights[axis, 3] = t * t * t / 6
                # four neighbours of Z are summed over X and Y side by side: one vector operation
                sum_0 = sum_1 = sum_2 = sum_3 = 0.0
                for p in range(4):
                    for q in range(4):
                        line, weight = source[i - 1 + p, j - 1 + q], weights[0, p] * weights[1, q]
                        sum_0 += weight * line[k - 1]
                        sum_1 += weight * line[k]
                        sum_2 += weight * line[k + 1]
                        sum_3 += weight * line[k + 2]
                total = weights[2, 0] * sum_0 + weights[2, 1] * sum_1 + weights[2, 2] * sum_2 + weights[2, 3] * sum_3
                if total < low:
                    total = low
                elif total > high:
                    total = high
                result[x, y, z] = total
