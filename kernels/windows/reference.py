"""Windows, the plain way: NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def gather(
    volumes: Sequence[np.ndarray],
    starts: np.ndarray,
    patch: tuple[int, int, int],
    source: np.ndarray,
    flips: Sequence[Sequence[int]],
    intensity: np.ndarray,
    padding: float,
) -> np.ndarray:
    """[N, C, *patch] float32: clip and normalise a whole volume, pad it by a patch on each side, cut, flip."""
    out = np.empty((len(starts), len(volumes[0]), *patch), np.float32)
    for n, (start, number) in enumerate(zip(starts, source, strict=True)):
        low, high, mean, std = intensity[number].T[:, :, None, None, None]
        volume = (np.clip(volumes[number].astype(np.float32), low, high) - mean) / std
        for axis in range(3):
            where = start[axis] + np.arange(patch[axis])
            inside = (where >= 0) & (where < volume.shape[axis + 1])
            rows = np.full((*volume.shape[: axis + 1], patch[axis], *volume.shape[axis + 2 :]), padding, np.float32)
            lead = (slice(None),) * (axis + 1)
            rows[(*lead, inside)] = volume[(*lead, where[inside])]
            volume = rows
        out[n] = np.flip(volume, tuple(axis + 1 for axis in flips[n]))
    return out


def accumulate(
    sums: np.ndarray, weights: np.ndarray, logits: np.ndarray, starts: np.ndarray, flips: Sequence[Sequence[int]]
) -> None:
    """sums [H, X, Y, Z] += weights * flipped logits [N, H, *patch], window after window."""
    for start, window, axes in zip(starts, logits.astype(np.float32), flips, strict=True):
        box = tuple(slice(s, s + n) for s, n in zip(start, weights.shape, strict=True))
        sums[(slice(None), *box)] += weights * np.flip(window, tuple(axis + 1 for axis in axes))


def resampled(
    sums: np.ndarray, total: np.ndarray | None, shape: Sequence[int], orders: Sequence[int], plane: int
) -> np.ndarray:
    """[H, Y, Z] float64: plane `plane` along x of the mean, resampled by SciPy."""
    from scipy.ndimage import map_coordinates

    lines = [(old / new) * (np.arange(new) + 0.5) - 0.5 for old, new in zip(sums.shape[1:], shape, strict=True)]
    lines = [np.floor(line + 0.5) if order == 0 else line for line, order in zip(lines, orders, strict=True)]
    where = np.stack(np.meshgrid(lines[0][plane : plane + 1], lines[1], lines[2], indexing="ij"))
    # the planes that this one lies between
    first = int(np.clip(np.floor(where[0].min()), 0, sums.shape[1] - 1)) if where.size else 0
    near = slice(first, first + 2)
    where[0] -= first
    mean = sums[:, near] if total is None else sums[:, near] / total[near]
    heads = [map_coordinates(head.astype(np.float64), where, order=1, mode="nearest")[0] for head in mean]
    return np.stack(heads)


def decided(logits: np.ndarray, regions: Sequence[int] | None) -> np.ndarray:
    """uint8 labels of logits [H, ...]: the first largest head, or regions painted in their order."""
    if regions is None:
        return logits.argmax(axis=0).astype(np.uint8)
    labels = np.zeros(logits.shape[1:], np.uint8)
    for head, label in zip(logits, regions, strict=True):
        labels[head > 0] = label
    return labels


def finish(
    sums: np.ndarray,
    total: np.ndarray | None,
    shape: Sequence[int],
    orders: Sequence[int],
    regions: Sequence[int] | None,
    out: np.ndarray,
) -> None:
    """Labels of the resampled mean into `out` [*shape], plane by plane."""
    for plane in range(shape[0]):
        out[plane] = decided(resampled(sums, total, shape, orders, plane), regions)
