"""Clicks on a CUDA device: launches only, nothing is copied to the host. The tests run the same launches on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from umd_engine.kernels.clicks.rules import ANY_DEPTH, DEEPEST, RULES, Rule
from umd_engine.kernels.clicks.source import BLOCK, BLOCKS, RULE_BITS, SOURCE
from umd_engine.kernels.clicks.volumes import MAX_SLOTS, Volumes
from umd_engine.kernels.launch import Launch, on_device

NO_BOX = (2**31 - 1,) * 3 + (-1,) * 3
NO_CLICK = (-1, -1, -1, 0, 0)
Place = Callable[[np.ndarray], Any]  # to where the kernels run


@dataclass(frozen=True)
class Workspace:
    """Buffers of one size for every organ in turn: 1 to 10 bytes a voxel of the volume, as the rule needs.

    Attributes:
        state, eroded: uint8. one, two: int32, parents and sizes of components, then float32 rows and planes.
    """

    state: Any
    eroded: Any
    one: Any
    two: Any


def draw(volumes: Volumes, rule: Rule, words: np.ndarray) -> torch.Tensor:
    """int64 [N, 5] on the device: x, y, z, positive, drawn of each organ."""
    device = volumes.label.device

    def place(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device, non_blocking=True)

    def empty(voxels: int, dtype: str) -> torch.Tensor:
        return torch.empty(voxels, dtype=getattr(torch, dtype), device=device)

    with torch.cuda.device(device):
        return run(on_device(SOURCE), place, workspace(rule, volumes.shape, empty), volumes, rule, words)


def workspace(rule: Rule, shape: tuple[int, int, int], empty: Callable[[int, str], Any]) -> Workspace:
    """empty(voxels, dtype) allocates."""
    voxels = int(np.prod(shape))
    wide = voxels if rule.largest or rule.depth != ANY_DEPTH else 1
    return Workspace(
        empty(voxels, "uint8"),
        empty(voxels if rule.erode else 1, "uint8"),
        empty(wide, "int32"),
        empty(wide, "int32"),
    )


def run(launch: Launch, place: Place, work: Workspace, volumes: Volumes, rule: Rule, words: np.ndarray) -> Any:
    """The launches; `place` moves a small array to where they run."""
    rows = place(np.array([NO_CLICK] * volumes.count, np.int64).reshape(volumes.count, 5))
    if not volumes.count or not all(volumes.shape):
        return rows
    case = _Case(launch, place, work, volumes, words, rows)
    case.draw(rule, volumes.prediction)
    if rule.fallback and volumes.prediction is not None:
        case.draw(RULES["random"], None)  # organs that have a click keep it
    return rows


class _Case:
    """A case's arrays where the kernels run."""

    def __init__(self, launch: Launch, place: Place, work: Workspace, volumes: Volumes, words: np.ndarray, rows: Any):
        self._launch, self._place, self._work, self._volumes, self._rows = launch, place, work, volumes, rows
        self._table = place(volumes.table.astype(np.uint32).view(np.int32))
        self._words = place(words.view(np.int32))
        self._costs = place(volumes.costs)
        self._slices = place(np.zeros(volumes.shape[0], np.int32))

    def draw(self, rule: Rule, prediction: Any | None) -> None:
        label, (nx, ny, nz) = self._volumes.label, self._volumes.shape
        read = (label, prediction, _wide(label), 0 if prediction is None else _wide(prediction), self._table)
        boxes = self._place(np.array([NO_BOX] * MAX_SLOTS, np.int32))
        values = self._place(np.zeros((MAX_SLOTS, 3), np.int64))
        wanted = (1 << self._volumes.count) - 1
        wanted -= (wanted >> 31) << 32  # the bits, as a signed number
        self._launch("survey", (nx,), (BLOCK,), (*read, wanted, boxes, ny, nz))
        for slot in range(self._volumes.count):
            self._over_box("load", *read, boxes, slot, int(rule.split), self._work.state, ny, nz)
            state = self._reduce(rule, boxes, slot, values)
            bits = rule_bits(rule)
            found = state, self._work.one, values, boxes, slot, bits
            self._launch("count_candidates", (nx,), (BLOCK,), (*found, self._slices))
            inside = label, read[2], self._table
            self._launch("pick", (1,), (BLOCK,), (*inside, *found, self._slices, self._words, self._rows, ny, nz))

    def _reduce(self, rule: Rule, boxes: Any, slot: int, values: Any) -> Any:
        """The state that is left of the regions; with a depth, that lies in `one`."""
        work, state = self._work, self._work.state
        if rule.erode:
            self._over_box("erode", state, work.eroded, boxes, slot, *self._volumes.shape)
            state = work.eroded
        if rule.largest:
            self._over_box("start", state, work.one, work.two, boxes, slot)
            self._over_box("join", state, work.one, boxes, slot)
            self._over_box("count", work.one, work.two, boxes, slot)
            self._over_box("find_largest", state, work.one, work.two, values, boxes, slot)
            self._over_box("keep_largest", state, work.one, values, boxes, slot)
        if rule.depth != ANY_DEPTH:
            # sizes of components make way for depths: a rule with both does not split, so that nothing compares them
            if rule.largest:
                values[:] = 0
            steps = int(self._costs.shape[1])
            self._over_box("scan_rows", state, work.one, self._costs, steps, boxes, slot)
            self._over_box("search_columns", state, work.one, work.two, self._costs, steps, boxes, slot)
            self._over_box("search_planes", state, work.two, work.one, self._costs, values, boxes, slot)
        return state

    def _over_box(self, name: str, *arguments: Any) -> None:
        blocks = min(-(-int(np.prod(self._volumes.shape)) // BLOCK), BLOCKS)
        self._launch(name, (blocks,), (BLOCK,), arguments)


def rule_bits(rule: Rule) -> int:
    """The rule as the kernels read it."""
    flags = {
        "first": rule.first,
        "split": rule.split,
        "ties_positive": rule.ties_positive,
        "largest": rule.largest,
        "deepest": rule.depth == DEEPEST,
        "half": rule.depth not in (ANY_DEPTH, DEEPEST),
    }
    return sum(RULE_BITS[name] for name, on in flags.items() if on)


def _wide(volume: Any) -> int:
    """Whether a volume holds bit planes."""
    return int(volume.dtype not in (np.dtype(np.uint8), torch.uint8))
