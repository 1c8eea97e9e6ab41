"""The loops over planes and over channels-last voxels, plain Python that numba compiles.

Statistics: mean and squared deviations of a block that stays in the first-level cache, then blocks merged
(Chan, Golub, LeVeque 1983), so that a mean far from zero costs no accuracy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

BLOCK = 4096  # values
LANES = 64  # partial sums of a block: additions that do not wait for each other


def norm_planes(planes: Any, scale: Any, shift: Any, eps: float, slope: Any, residual: Any, out: Any) -> None:
    """out = activation((planes - mean) / sqrt(variance + eps) * scale + shift + residual), plane by plane.

    `planes` and `out` are [C, voxels] float32, `scale` and `shift` [C]; an empty `residual` is none.
    """
    sums, squared = np.empty(LANES, np.float32), np.empty(LANES, np.float32)

    def statistics(plane: Any) -> tuple[float, float]:
        """Mean and biased variance of at least one value."""
        mean, squares = 0.0, 0.0
        for start in range(0, plane.size, BLOCK):
            block = plane[start : start + BLOCK]
            whole = block.size // LANES * LANES
            sums[:] = 0
            for begin in range(0, whole, LANES):
                part = block[begin : begin + LANES]
                for lane in range(LANES):
                    sums[lane] += part[lane]
            total = 0.0
            for lane in range(LANES):
                total += sums[lane]
            for value in block[whole:]:
                total += value
            middle = np.float32(total / block.size)
            sums[:] = 0
            squared[:] = 0
            for begin in range(0, whole, LANES):
                part = block[begin : begin + LANES]
                for lane in range(LANES):
                    away = part[lane] - middle
                    sums[lane] += away
                    squared[lane] += away * away
            rest, spread = 0.0, 0.0
            for lane in range(LANES):
                rest += sums[lane]
                spread += squared[lane]
            for value in block[whole:]:
                rest += value - middle
                spread += (value - middle) * (value - middle)
            # `middle` is off by its rounding errors; what they leave tells the exact mean
            off = rest / block.size
            apart = middle + off - mean
            squares += spread - rest * off + apart * apart * start * block.size / (start + block.size)
            mean += apart * block.size / (start + block.size)
        return mean, max(squares, 0.0) / plane.size

    for channel in range(planes.shape[0]):
        plane, to = planes[channel], out[channel]
        mean, variance = statistics(plane)
        middle, factor = np.float32(mean), np.float32(scale[channel] / np.sqrt(variance + eps))
        more = residual[channel] if residual.size else plane
        for voxel in range(plane.size):
            value = (plane[voxel] - middle) * factor + shift[channel]
            if residual.size:
                value += more[voxel]
            # 0 * -inf is no number, and ReLU of -inf is 0
            below = np.float32(0) if slope == 0 and value <= 0 else value * slope
            to[voxel] = value if value > 0 else below


def row_statistics(rows: Any, means: Any, squares: Any) -> None:
    """Means [C] and squared deviations [C], float64, of rows [voxels, C] float32."""
    channels = rows.shape[1]
    step = max(1, BLOCK // channels)
    sums, middle = np.empty(channels, np.float32), np.empty(channels, np.float32)
    rest, spread = np.empty(channels, np.float32), np.empty(channels, np.float32)
    means[:], squares[:] = 0, 0
    for start in range(0, rows.shape[0], step):
        size = min(step, rows.shape[0] - start)
        sums[:], rest[:], spread[:] = 0, 0, 0
        for voxel in range(start, start + size):
            row = rows[voxel]
            for channel in range(channels):
                sums[channel] += row[channel]
        for channel in range(channels):
            middle[channel] = sums[channel] / size
        for voxel in range(start, start + size):
            row = rows[voxel]
            for channel in range(channels):
                away = row[channel] - middle[channel]
                rest[channel] += away
                spread[channel] += away * away
        for channel in range(channels):
            off = np.float64(rest[channel]) / size
            apart = middle[channel] + off - means[channel]
            spread_here = spread[channel] - off * off * size
            squares[channel] += spread_here + apart * apart * start * size / (start + size)
            means[channel] += apart * size / (start + size)


def apply_rows(rows: Any, mean: Any, scale: Any, shift: Any, slope: Any, residual: Any, out: Any) -> None:
    """out = activation((rows - mean) * scale + shift + residual), rows [voxels, C], the others [C]."""
    added = residual.size > 0
    for voxel in range(rows.shape[0]):
        row, to = rows[voxel], out[voxel]
        more = residual[voxel] if added else row
        for channel in range(rows.shape[1]):
            value = (row[channel] - mean[channel]) * scale[channel] + shift[channel]
            if added:
                value += more[channel]
            below = np.float32(0) if slope == 0 and value <= 0 else value * slope
            to[channel] = value if value > 0 else below
