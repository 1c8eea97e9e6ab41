"""Whether samples lie in two groups: a device that changes its clock, a call that takes one of two paths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ENOUGH = 30  # samples, below which chance makes groups of anything
SHARE = 0.1  # of the samples, the least that a group has: a few slow calls are a tail
APART = 0.05  # of the median, the least between the groups' means: to the rule of repetition less is the same
SEPARATED = 0.85


def in_two_groups(samples: Sequence[float]) -> bool:
    """Whether a split in two explains more than 85 % of the samples' variance.

    The split is Otsu's: it makes the variance between the groups' means largest, and the part of the whole variance
    that lies between them is his measure of separability (IEEE Trans. SMC 9(1), 1979). Of many samples it is 0.64 for a
    normal distribution, 0.75 for a uniform one and below 0.7 for an exponential one; of 30, one in a hundred exceeds
    0.79, 0.87 and 0.85. Two equal groups six of their standard deviations apart have 0.9.
    """
    ordered = np.sort(np.asarray(samples, np.float64))
    count, median = len(ordered), float(np.median(ordered)) if len(ordered) else 0.0
    if count < ENOUGH or not ordered.var():
        return False
    fewest = max(1, int(SHARE * count))
    below = np.arange(fewest, count - fewest + 1)  # samples of the lower group, of every split that is looked at
    sums = np.cumsum(ordered)
    low, high = sums[below - 1] / below, (sums[-1] - sums[below - 1]) / (count - below)
    between = below * (count - below) / count**2 * (high - low) ** 2
    best = int(between.argmax())
    return bool(between[best] > SEPARATED * ordered.var() and high[best] - low[best] > APART * median)
