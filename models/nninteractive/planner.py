"""Where to look again at full resolution: patches that cover what the first pass changed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch

from umd_engine.models.mask import Triple
from umd_engine.models.nninteractive.network import MARGIN
from umd_engine.models.nninteractive.region import Region, triple

DEPTH = 3  # how often candidates are moved closer together before they are drawn at random
DRAWS_ALL, DRAWS_REST = 25, 10
Draw = Callable[[int], int]  # n -> an index below n


def cover(changed: torch.Tensor, patch: Triple, draw: Draw) -> list[Region]:
    """Boxes of `patch` whose inner parts (24 voxels off every face) cover a uint8 mask; they may leave it.

    Candidates are set voxels on a lattice of a quarter of the mask's extent, halved until there are some; boxes are
    taken greedily by what they newly cover, the first of equals. What no candidate reaches is covered from random
    voxels of it.

    Args:
        draw: random indices, only asked where candidates do not suffice.
    """
    lines = [changed.amax(tuple(i for i in range(3) if i != axis)) for axis in range(3)]
    if not lines[0].any():
        return []
    ends = [torch.nonzero(line)[[0, -1], 0].tolist() for line in lines]
    strides = [max(1, round((high - low) / 4)) for low, high in ends]
    for _ in range(DEPTH + 1):
        axes = [np.arange(low, high + 1, stride) for (low, high), stride in zip(ends, strides, strict=True)]
        centers = _set_voxels(changed, axes)
        if len(centers):
            chosen = _greedy(changed, centers, patch)
            rest = _without(changed, chosen, patch)
            return [*chosen, *_at_random(rest, patch, draw, DRAWS_REST)]
        strides = [max(1, stride // 2) for stride in strides]
    return _at_random(changed.clone(), patch, draw, DRAWS_ALL)


def _set_voxels(mask: torch.Tensor, axes: Sequence[np.ndarray]) -> np.ndarray:
    """Lattice points [N, 3] where the mask is set, in C order."""
    for axis, index in enumerate(axes):
        mask = mask.index_select(axis, torch.from_numpy(index).to(mask.device))
    at = np.argwhere(mask.cpu().numpy() != 0)
    return np.stack([axes[axis][at[:, axis]] for axis in range(3)], -1)


def _inner(centers: np.ndarray, patch: Triple, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """What boxes around centers [N, 3] cover, [low, high)."""
    half = np.array(patch) // 2
    low = np.maximum(0, centers - half + MARGIN)
    return low, np.minimum(shape, centers - half + np.array(patch) - MARGIN)


def _greedy(mask: torch.Tensor, centers: np.ndarray, patch: Triple) -> list[Region]:
    """Counted on blocks between the candidates' faces: no candidate cuts one, so the counts are exact."""
    low, high = _inner(centers, patch, mask.shape)
    edges = [np.unique([0, n, *low[:, axis], *high[:, axis]]) for axis, n in enumerate(mask.shape)]
    left = _block_counts(mask, edges)
    first = np.stack([np.searchsorted(edges[axis], low[:, axis]) for axis in range(3)], -1)
    last = np.stack([np.searchsorted(edges[axis], high[:, axis]) for axis in range(3)], -1)
    open_, boxes = np.ones(len(centers), bool), []
    while open_.any() and left.any():
        numbers = np.flatnonzero(open_)
        gains = _sums(left, first[numbers], last[numbers])
        best = numbers[int(gains.argmax())]
        if gains.max() == 0:
            break
        boxes.append(Region.around(triple(centers[best]), patch))
        left[tuple(slice(a, b) for a, b in zip(first[best], last[best], strict=True))] = 0
        open_ &= ~((centers >= low[best]) & (centers < high[best])).all(1)
    return boxes


def _block_counts(mask: torch.Tensor, edges: Sequence[np.ndarray]) -> np.ndarray:
    """int64: set voxels between the edges of all three axes."""
    counts = mask
    for axis, edge in enumerate(edges):
        parts = [
            counts.narrow(axis, int(a), int(b - a)).sum(axis, keepdim=True, dtype=torch.int32)
            for a, b in itertools.pairwise(edge)
        ]
        counts = torch.cat(parts, axis)
    return counts.cpu().numpy().astype(np.int64)


def _sums(blocks: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Sums of blocks [first, last) by a summed volume."""
    table = np.pad(blocks, ((1, 0),) * 3).cumsum(0).cumsum(1).cumsum(2)
    total = np.zeros(len(first), np.int64)
    for corner in np.ndindex(2, 2, 2):
        at = np.where(np.array(corner) == 1, last, first)
        total += (-1) ** (3 - sum(corner)) * table[tuple(at.T)]
    return total


def _without(mask: torch.Tensor, boxes: Sequence[Region], patch: Triple) -> torch.Tensor:
    """A copy of the mask without what the boxes cover."""
    rest = mask.clone()
    for box in boxes:
        _clear(rest, box, patch)
    return rest


def _clear(mask: torch.Tensor, box: Region, patch: Triple) -> None:
    mask[box.grown(-MARGIN).within(mask.shape).seen_from(Region((0, 0, 0), triple(mask.shape)))] = 0


def _at_random(left: torch.Tensor, patch: Triple, draw: Draw, draws: int) -> list[Region]:
    """Until nothing is left: the best of some boxes around set voxels drawn at random. `left` is used up."""
    boxes: list[Region] = []
    while counts := _Rows(left):
        centers = [counts.voxel(draw(len(counts))) for _ in range(draws)]
        tried = [Region.around(center, patch) for center in centers]
        whole = Region((0, 0, 0), triple(left.shape))
        inner = [box.grown(-MARGIN).overlap(whole).seen_from(whole) for box in tried]
        gains = torch.stack([left[part].sum(dtype=torch.int64) for part in inner]).tolist()
        boxes.append(tried[gains.index(max(gains))])
        _clear(left, boxes[-1], patch)
    return boxes


class _Rows:
    """Set voxels in C order, found by their number without a list of all."""

    def __init__(self, mask: torch.Tensor):
        self.mask = mask
        self.ends = mask.sum((1, 2), dtype=torch.int64).cumsum(0).cpu().numpy()  # of each plane

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def voxel(self, number: int) -> Triple:
        plane = int(np.searchsorted(self.ends, number, side="right"))
        number -= int(self.ends[plane - 1]) if plane else 0
        y, z = torch.nonzero(self.mask[plane])[number].tolist()
        return plane, y, z
