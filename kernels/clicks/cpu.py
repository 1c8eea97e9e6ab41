"""Clicks on the CPU: numba; one pass over the volumes for all organs, then each on its own box, organs in threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from umd_engine.kernels.backends import missing_library
from umd_engine.kernels.clicks import loops
from umd_engine.kernels.clicks.philox import draw_index
from umd_engine.kernels.clicks.rules import ANY_DEPTH, DEEPEST, RULES, Rule
from umd_engine.kernels.clicks.volumes import Volumes
from umd_engine.kernels.compiled import compile_loop
from umd_engine.kernels.components.cpu import find_runs, paint
from umd_engine.kernels.threads import each_slab, run_all

NONE = (-1, -1, -1, 0, 0)
Box = tuple[np.ndarray, np.ndarray]  # low, high (half-open)


def draw(volumes: Volumes, rule: Rule, words: np.ndarray, threads: int | None = None) -> np.ndarray:
    """int64 [N, 5]: x, y, z, positive, drawn of each organ; at most `threads` (default: this process's CPUs)."""
    case = _Case(volumes, threads)
    rows = np.full((volumes.count, 5), NONE, np.int64)

    def task(slot: int) -> None:
        rows[slot] = case.draw(slot, rule, words[slot])

    largest_first = np.argsort(-case.volumes_of_boxes(), kind="stable").tolist()
    run_all([partial(task, slot) for slot in largest_first], threads)
    missing = np.flatnonzero(rows[:, 4] == 0)
    if rule.fallback and volumes.prediction is not None and missing.size:
        rows[missing] = draw(replace(volumes, prediction=None), RULES["random"], words, threads)[missing]
    return rows


class _Case:
    """A case's volumes as the loops read them, and the box of each organ's error."""

    def __init__(self, volumes: Volumes, threads: int | None):
        self._volumes, self._loops = volumes, _compiled()
        label, prediction = volumes.label, volumes.prediction
        step = int(prediction is not None)
        empty = np.zeros((1, 1, volumes.shape[2]), label.dtype)
        planes = (label.dtype != np.uint8, (empty if prediction is None else prediction).dtype != np.uint8)
        self._read = label, empty if prediction is None else prediction, step, volumes.table, planes
        nx, organs = volumes.shape[0], volumes.count
        self._counts = np.zeros((nx, organs), np.int64)
        self._lows, self._highs = (np.zeros((nx, organs, 2), np.int64) for _ in range(2))
        each_slab(self._survey, nx, threads)

    def _survey(self, first: int, last: int) -> None:
        self._loops["survey"](*self._read, self._counts, self._lows, self._highs, first, last)

    def volumes_of_boxes(self) -> np.ndarray:
        """int64 [N]: voxels of each organ's box."""
        boxes = map(self._box, range(self._volumes.count))
        return np.array([0 if box is None else np.prod(box[1] - box[0]) for box in boxes], np.int64)

    def _box(self, slot: int) -> Box | None:
        x = np.flatnonzero(self._counts[:, slot])
        if not x.size:
            return None
        low, high = self._lows[x, slot].min(axis=0), self._highs[x, slot].max(axis=0)
        return np.array([x[0], *low]), np.array([x[-1] + 1, *high])

    def draw(self, slot: int, rule: Rule, words: np.ndarray) -> tuple[int, ...]:
        box = self._box(slot)
        if box is None:
            return NONE
        if rule == Rule() or rule == RULES["sam_med3d"]:
            return self._draw_any(slot, box, words)
        state = self._region(slot, box, rule.split)
        if rule.erode:
            for axis in range(3):
                state, whole = np.empty_like(state), state
                self._loops["erode"](whole, state, axis, box[0], self._volumes.shape)
        values = np.zeros(3, np.float64)
        if rule.largest:
            state, values[1:] = _largest(state)
        depth = np.zeros((1, 1, 1), np.float32)
        if rule.depth != ANY_DEPTH:
            depth, values = self._depth(state)
        first_wins = values[1] > values[2] or (rule.ties_positive and values[1] == values[2])
        region = 1 if first_wins or not rule.split else 2
        choose = self._loops["choose"]
        least = _least_depth(rule, values[region])
        count = choose(state, depth, region, least, -1)
        if not count:
            return NONE
        where = choose(state, depth, region, least, 0 if rule.first else draw_index(words, count))
        return self._row(slot, box[0] + np.unravel_index(where, state.shape))

    def _draw_any(self, slot: int, box: Box, words: np.ndarray) -> tuple[int, ...]:
        """A voxel of the error by chance; only the slice along X that it lies in is looked at again."""
        ends = np.cumsum(self._counts[:, slot])
        k = draw_index(words, int(ends[-1]))
        x = int(np.searchsorted(ends, k, side="right"))
        low, high = box[0].copy(), box[1].copy()
        low[0], high[0] = x, x + 1
        state = self._region(slot, (low, high), False)
        rank = k - int(ends[x] - self._counts[x, slot])
        where = self._loops["choose"](state, np.zeros((1, 1, 1), np.float32), 1, 0.0, rank)
        return self._row(slot, low + np.unravel_index(where, state.shape))

    def _region(self, slot: int, box: Box, split: bool) -> np.ndarray:
        state = np.empty(tuple(box[1] - box[0]), np.uint8)
        self._loops["load"](*self._read, slot, box[0], split, state)
        return state

    def _depth(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Squared depths [box] float32 and the largest of each state [3]."""
        depth, scratch = np.empty(state.shape, np.float32), np.empty(state.shape, np.float32)
        tops = np.zeros(3, np.float32)
        self._loops["measure_depth"](state, self._volumes.costs, depth, scratch, tops)
        return depth, tops

    def _row(self, slot: int, voxel: np.ndarray) -> tuple[int, ...]:
        x, y, z = voxel.tolist()
        value = int(self._volumes.label[x, y, z])
        word = value if self._read[4][0] else int(self._volumes.table[value])
        return x, y, z, word >> slot & 1, 1


def _largest(state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest 26-connected component of each state, and its size [2]: of equals the first in C order."""
    runs = find_runs(state, 26, threads=1)
    ids = runs.component_ids()
    keep, sizes = np.zeros(ids.size, np.uint8), np.zeros(2)
    for region in (1, 2):
        if (ids == region).any():
            best = int(np.argmax(np.where(ids == region, runs.sizes, 0)))
            keep[best], sizes[region - 1] = region, runs.sizes[best]
    return paint(runs, keep[runs.numbers - 1], state.shape, np.uint8, threads=1), sizes


def _least_depth(rule: Rule, top: float) -> float:
    """The least squared depth that may be clicked; 0 for any."""
    if rule.depth == ANY_DEPTH:
        return 0.0
    if rule.depth == DEEPEST:
        return float(top)
    return float(np.nextafter(np.float32(top / 4), np.float32(np.inf)))  # more than half of the distance


@lru_cache(maxsize=1)
def _compiled() -> dict[str, Callable[..., Any]]:
    names = ("survey", "load", "erode", "measure_depth", "choose")
    try:
        return {name: compile_loop(getattr(loops, name)) for name in names}
    except ImportError as error:
        raise missing_library("clicks", "cpu", "numba") from error
