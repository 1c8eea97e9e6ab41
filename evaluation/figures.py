"""Means and SDs of scores, and how they are printed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from umd_engine.evaluation.rows import ABSENT, Row

NO_FIGURE = "-"


def scan_score(rows: Sequence[Row], score: Callable[[Row], float]) -> float:
    """The mean over organs of the mean over repeats; NaN where nothing counts."""
    if len(rows) == 1:
        return score(rows[0])
    organs: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if not math.isnan(value := score(row)):
            organs[row.organ].append(value)
    return mean_of([mean_of(values) for values in organs.values()])


def between_draws(rows: Sequence[Row], score: Callable[[Row], float], ddof: int) -> float:
    """The SD of a scan's score between its repeats; NaN where fewer than two of them count or nothing was drawn."""
    if len({row.repeat for row in rows}) < 2 or all(row.status == ABSENT for row in rows):
        return math.nan
    repeats: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        repeats[row.repeat].append(row)
    scores = [value for value in (scan_score(r, score) for r in repeats.values()) if not math.isnan(value)]
    return sd_of(scores, ddof) if len(scores) > 1 else math.nan


def mean_of(values: Sequence[float]) -> float:
    """NaN of none."""
    return fmean(values) if len(values) > 1 else values[0] if values else math.nan


def sd_of(values: Sequence[float], ddof: int) -> float:
    """The SD that divides by n - ddof; NaN where n does not exceed ddof."""
    if len(values) <= ddof:
        return math.nan
    mean = fmean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - ddof))


def decimals(value: float) -> str:
    """Four decimals; "-" where there is no figure."""
    return NO_FIGURE if math.isnan(value) else f"{value:.4f}"


def signed(value: float, digits: int = 4) -> str:
    """With its sign, which is + where the figure is rounded to 0; "-" where there is no figure."""
    return NO_FIGURE if math.isnan(value) else f"{round(value, digits) + 0.0:+.{digits}f}"


def without_nan(value: Any) -> Any:
    """For JSON: null in the place of each NaN, at any depth."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
