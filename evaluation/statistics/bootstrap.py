"""Bootstrap intervals of means: BCa (Efron 1987), every column on the same resamples of the subjects."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

DRAWS = 10_000
LEVEL = 0.95
CHUNK = 500  # resamples at a time: 4 MB of weights for 954 subjects
ROUNDING = 1e-12  # of a column's largest deviation: a resampled mean that near to the mean is equal to it


def intervals(values: np.ndarray, draws: int = DRAWS, seed: int = 0, level: float = LEVEL) -> np.ndarray:
    """The interval of each column's mean, as `scipy.stats.bootstrap(method="BCa")` of `nanmean` over the rows.

    Subjects are drawn with replacement; a resample's mean is over those of its subjects that the column counts. The
    acceleration of a mean needs no jackknife: it is sum(d^3) / (6 sum(d^2)^1.5) of the deviations d from the mean.

    Args:
        values: [subject, column]; NaN does not count.

    Returns:
        [low or high, column]; NaN where fewer than two subjects count or all counted values are equal.
    """
    counted = ~np.isnan(values)
    number = counted.sum(0)
    total = np.where(counted, values, 0.0).sum(0)
    deviations = np.where(counted, values - total / np.maximum(number, 1), 0.0)
    largest = np.abs(deviations).max(0, initial=0)
    sound = (number > 1) & (largest > ROUNDING)
    found = np.full((2, values.shape[1]), np.nan)
    if sound.any():
        found[:, sound] = _bca(deviations[:, sound], counted[:, sound], draws, seed, level)
        found += total / np.maximum(number, 1)
    return found


def _bca(deviations: np.ndarray, counted: np.ndarray, draws: int, seed: int, level: float) -> np.ndarray:
    shifts = _resampled(deviations, counted, draws, np.random.default_rng(seed))  # [draw, column]
    drawn = (~np.isnan(shifts)).sum(0)
    nearly = ROUNDING * np.abs(deviations).max(0)
    below = (shifts < -nearly).sum(0) + (shifts <= nearly).sum(0)
    bias = ndtri(below / (2 * drawn))
    acceleration = (deviations**3).sum(0) / (6 * (deviations**2).sum(0) ** 1.5)
    z = bias + ndtri(np.array([[(1 - level) / 2], [(1 + level) / 2]]))  # [2, column]
    return _quantiles(shifts, drawn, ndtr(bias + z / (1 - acceleration * z)))


def _resampled(deviations: np.ndarray, counted: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Each resample's mean minus the mean; NaN where none of its subjects counts."""
    subjects = len(deviations)
    masks, mask_of = np.unique(counted, axis=1, return_inverse=True)
    shifts = np.empty((draws, deviations.shape[1]))
    for start in range(0, draws, CHUNK):
        rows = min(CHUNK, draws - start)
        drawn = rng.integers(0, subjects, (rows, subjects)) + subjects * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * subjects).reshape(rows, subjects).astype(float)
        numbers = (weights @ masks)[:, mask_of.ravel()]
        with np.errstate(invalid="ignore"):
            shifts[start : start + rows] = (weights @ deviations) / numbers
    return shifts


def _quantiles(shifts: np.ndarray, drawn: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Of each column at its own shares [share, column], linear between the neighbours."""
    place = shares * (drawn - 1)
    low = np.clip(np.floor(place).astype(np.intp), 0, drawn - 1)
    high = np.minimum(low + 1, drawn - 1)
    ordered = [np.partition(column, [*i, *j]) for column, i, j in zip(shifts.T, low.T, high.T, strict=True)]  # NaN last
    below, above = (np.array([o[i] for o, i in zip(ordered, at.T, strict=True)]).T for at in (low, high))
    return below + (place - low) * (above - below)
